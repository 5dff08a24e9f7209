// The least a Node program can do to read a file: so many reads under way at once, each into memory that is there already. Its
// arguments: file, bytes of a read, reads at once, `random` or `sequential`, `direct` (O_DIRECT, by the threads of libuv) or
// `submit` (the same by io_submit, as a pool does), seconds, first byte and bytes of the part of the file that is read.
import { constants, openSync, read } from 'node:fs';
import { addressOf } from '../../core/base/memory-address.ts';
import { asyncReads, learnAsyncReads } from '../../core/world/async-reads.ts';

const [
  file = '',
  size = '4096',
  depth = '32',
  order = 'random',
  way = 'direct',
  seconds = '1',
  from = '0',
  part = '0',
] = process.argv.slice(2);
const bytes = Number(size);
const places = Math.floor(Number(part) / bytes);
const fd = openSync(file, constants.O_RDONLY | ((constants as { O_DIRECT?: number }).O_DIRECT ?? 0));
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

const WARM = 1000;
if (way === 'submit') await learnAsyncReads();
const submit = way === 'submit' ? asyncReads() : undefined;
const address = submit === undefined ? 0 : (addressOf(memory) ?? 0);
const begun = performance.now();
const end = begun + WARM + Number(seconds) * 1000;
let counted = 0;
let next = 0;

function ended(slot: number, done: number): void {
  if (done !== bytes) throw new Error(`a read ended with ${String(done)}`);
  const now = performance.now();
  if (now > end) {
    const result: ReaderResult = { iops: counted / Number(seconds) };
    console.log(JSON.stringify(result));
    process.exit(0);
  }
  if (now > begun + WARM) counted++;
  go(slot);
}

function go(slot: number): void {
  const place = order === 'random' ? Math.floor(Math.random() * places) : next++ % places;
  const position = Number(from) + place * bytes;
  const at = slot * bytes;
  if (submit !== undefined) {
    const begins = submit.read(fd, memory, address + at, bytes, position, (result) => {
      ended(slot, result);
    });
    if (!begins) throw new Error('too many reads at once');
    return;
  }
  read(fd, memory, at, bytes, position, (error, done) => {
    if (error !== null) throw error;
    ended(slot, done);
  });
}
for (let slot = 0; slot < Number(depth); slot++) go(slot);
