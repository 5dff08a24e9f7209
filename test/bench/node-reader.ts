// The least a Node program can do to read a file: so many reads under way at once, each into memory that is there already. Its
// arguments: file, bytes of a read, reads at once, `random` or `sequential`, `direct` (O_DIRECT) or `buffered`, seconds.
import { constants, openSync, read, statSync } from 'node:fs';

const [file = '', size = '4096', depth = '32', order = 'random', way = 'buffered', seconds = '1'] =
  process.argv.slice(2);
const bytes = Number(size);
const places = Math.floor(statSync(file).size / bytes);
const direct = (constants as { O_DIRECT?: number }).O_DIRECT ?? 0;
const fd = openSync(file, constants.O_RDONLY | (way === 'direct' ? direct : 0));
export interface ReaderResult {
  /** Reads a second. */
  readonly iops: number;
}

interface Wasm {
  readonly Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
}
// Its pages begin where O_DIRECT wants memory to begin.
const { Memory } = (globalThis as unknown as { readonly WebAssembly: Wasm }).WebAssembly;
const memory = Buffer.from(new Memory({ initial: Math.ceil((bytes * Number(depth)) / 65_536) }).buffer).fill(1);

const WARM = 300;
const begun = performance.now();
const end = begun + WARM + Number(seconds) * 1000;
let counted = 0;
let next = 0;

function go(slot: number): void {
  const place = order === 'random' ? Math.floor(Math.random() * places) : next++ % places;
  read(fd, memory, slot * bytes, bytes, place * bytes, (error, done) => {
    if (error !== null || done !== bytes) throw error ?? new Error('a short read');
    const now = performance.now();
    if (now > end) {
      const result: ReaderResult = { iops: counted / Number(seconds) };
      console.log(JSON.stringify(result));
      process.exit(0);
    }
    if (now > begun + WARM) counted++;
    go(slot);
  });
}
for (let slot = 0; slot < Number(depth); slot++) go(slot);
