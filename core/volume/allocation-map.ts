// Which blocks of a volume hold data. A byte per grain of 64 KiB, a bit per block for grains that are mixed, and one state
// for a whole chunk of grains while they are all alike, so that a huge volume costs only what has been touched.
import type { Extent } from './volume.ts';

/** Bytes of a grain. */
export const GRAIN = 65_536;
/** Grains of a chunk (256 MiB) as a power of two. Grain numbers stay below 2^31: MAX_VOLUME is 2^30 grains. */
const CHUNK_SHIFT = 12;
const CHUNK_GRAINS = 1 << CHUNK_SHIFT;
const CHUNK = GRAIN * CHUNK_GRAINS;
/** Of a grain; of a chunk `mixed` means that its grains have states of their own. */
const State = { none: 0, all: 1, mixed: 2 } as const;

/** Bits set in a byte. */
const ONES = Uint8Array.from({ length: 256 }, (_, byte) => {
  let count = 0;
  for (let rest = byte; rest > 0; rest >>= 1) count += rest & 1;
  return count;
});

export class AllocationMap {
  readonly blockSize: number;
  readonly #bytesOfBits: number;
  #size: number;
  #chunks: Uint8Array;
  /** States of the grains of mixed chunks. */
  #grains: (Uint8Array | undefined)[];
  /** Bit sets of mixed grains, by grain number; bits beyond the end of the volume are 0. */
  readonly #bits = new Map<number, Uint8Array>();

  /** Nothing is mapped, or (with `full`) everything. Bytes. */
  constructor(size: number, blockSize: number, full = false) {
    this.#size = size;
    this.blockSize = blockSize;
    this.#bytesOfBits = GRAIN / blockSize / 8;
    this.#chunks = new Uint8Array(Math.ceil(size / CHUNK)).fill(full ? State.all : State.none);
    this.#grains = new Array<Uint8Array | undefined>(this.#chunks.length).fill(undefined);
  }

  /** True when every block of the range is mapped. Allocation-free. */
  allMapped(position: number, length: number): boolean {
    return this.#uniform(position, length, State.all);
  }

  /** True when no block of the range is mapped. Allocation-free. */
  noneMapped(position: number, length: number): boolean {
    return this.#uniform(position, length, State.none);
  }

  #uniform(position: number, length: number, wanted: number): boolean {
    const end = position + length;
    const last = Math.floor((end - 1) / GRAIN);
    for (let grain = Math.floor(position / GRAIN); grain <= last;) {
      const chunk = grain >> CHUNK_SHIFT;
      const whole = this.#chunks[chunk];
      if (whole === wanted) {
        grain = (chunk + 1) << CHUNK_SHIFT;
        continue;
      }
      const state = whole === State.mixed ? this.#state(grain) : whole;
      if (state !== wanted && (state !== State.mixed || !this.#bitsAre(grain, position, end, wanted === State.all))) {
        return false;
      }
      grain++;
    }
    return true;
  }

  /** Sets the state of whole blocks. Bytes. Allocates only where a grain or chunk becomes mixed. */
  mark(position: number, length: number, mapped: boolean): void {
    const end = Math.min(position + length, this.#size);
    const wanted = mapped ? State.all : State.none;
    for (let at = position; at < end;) {
      const grain = Math.floor(at / GRAIN);
      const chunk = grain >> CHUNK_SHIFT;
      const chunkEnd = Math.min((chunk + 1) * CHUNK, this.#size);
      if (this.#chunks[chunk] === wanted) {
        at = Math.min(end, chunkEnd);
      } else if (at === chunk * CHUNK && end >= chunkEnd) {
        this.#setChunk(chunk, wanted);
        at = chunkEnd;
      } else {
        const grainEnd = Math.min((grain + 1) * GRAIN, this.#size);
        const upTo = Math.min(end, grainEnd);
        if (at === grain * GRAIN && upTo === grainEnd) this.#setGrain(grain, wanted);
        else if (this.#state(grain) !== wanted) this.#setBits(grain, at, upTo, mapped);
        at = upTo;
      }
    }
  }

  /** The states from `position` on: adjacent extents in order, at most `limit`. Bytes. */
  extents(position: number, length: number, limit: number): Extent[] {
    const out: { position: number; length: number; mapped: boolean }[] = [];
    const end = Math.min(position + length, this.#size);
    for (let at = position; at < end;) {
      const grain = Math.floor(at / GRAIN);
      const chunk = grain >> CHUNK_SHIFT;
      const state = this.#state(grain);
      let upTo = (grain + 1) * GRAIN;
      if (state === State.mixed) upTo = at + this.blockSize;
      else if (this.#chunks[chunk] !== State.mixed) upTo = (chunk + 1) * CHUNK;
      const mapped = state === State.mixed ? this.#bit(grain, at) : state === State.all;
      upTo = Math.min(upTo, end);
      const last = out.at(-1);
      if (last?.mapped === mapped) last.length += upTo - at;
      else if (out.length === limit) break;
      else out.push({ position: at, length: upTo - at, mapped });
      at = upTo;
    }
    return out;
  }

  get mappedBytes(): number {
    let bytes = 0;
    for (let chunk = 0; chunk < this.#chunks.length; chunk++) {
      const whole = this.#chunks[chunk];
      if (whole === State.all) bytes += Math.min(CHUNK, this.#size - chunk * CHUNK);
      if (whole !== State.mixed) continue;
      for (let grain = chunk << CHUNK_SHIFT; grain * GRAIN < Math.min((chunk + 1) * CHUNK, this.#size); grain++) {
        const state = this.#state(grain);
        if (state === State.all) bytes += Math.min(GRAIN, this.#size - grain * GRAIN);
        else if (state === State.mixed) bytes += countBits(this.#bits.get(grain)) * this.blockSize;
      }
    }
    return bytes;
  }

  /** Follows the volume to `size` bytes; what is new is unmapped. */
  resize(size: number): void {
    const before = this.#size;
    if (size < before) this.mark(size, before - size, false);
    else this.#splitEnd();
    const count = Math.ceil(size / CHUNK);
    const chunks = new Uint8Array(count);
    chunks.set(this.#chunks.subarray(0, count));
    this.#chunks = chunks;
    this.#grains = Array.from({ length: count }, (_, chunk) => this.#grains[chunk]);
    this.#size = size;
    // The last grain may have become uniform with the blocks that are left of it.
    const tail = Math.floor(size / GRAIN);
    if (size < before && size % GRAIN !== 0 && this.#state(tail) === State.mixed) this.#settle(tail);
  }

  /** Before growing: what counted as whole only because the volume ends in it is no longer whole. */
  #splitEnd(): void {
    const grain = Math.floor(this.#size / GRAIN);
    const chunk = grain >> CHUNK_SHIFT;
    if (this.#chunks[chunk] === State.all) this.#grainsOf(chunk);
    if (this.#size % GRAIN !== 0 && this.#state(grain) === State.all) this.#bitsOf(grain);
  }

  /** The map as bytes, for keeping it in a file: states of the chunks, of grains of mixed chunks, bits of mixed grains. */
  encode(): Buffer {
    const parts: Uint8Array[] = [this.#chunks];
    for (const grains of this.#grains) if (grains !== undefined) parts.push(grains);
    for (const [grain, bits] of this.#bits) {
      const number = Buffer.alloc(4);
      number.writeUInt32BE(grain);
      parts.push(number, bits);
    }
    return Buffer.concat(parts);
  }

  /** Takes over what encode() returned. False: it does not fit this volume; the map is as before. */
  decode(bytes: Buffer): boolean {
    const count = this.#chunks.length;
    const chunks = Uint8Array.from(bytes.subarray(0, count));
    if (chunks.length < count || chunks.some((state) => state > State.mixed)) return false;
    const grains = new Array<Uint8Array | undefined>(count).fill(undefined);
    let at = count;
    let mixed = 0;
    for (let chunk = 0; chunk < count; chunk++) {
      if (chunks[chunk] !== State.mixed) continue;
      const states = Uint8Array.from(bytes.subarray(at, at + CHUNK_GRAINS));
      if (states.length < CHUNK_GRAINS || states.some((state) => state > State.mixed)) return false;
      for (const state of states) if (state === State.mixed) mixed++;
      grains[chunk] = states;
      at += CHUNK_GRAINS;
    }
    const each = 4 + this.#bytesOfBits;
    if (bytes.length - at !== mixed * each) return false;
    const bits = new Map<number, Uint8Array>();
    for (; at < bytes.length; at += each) {
      const grain = bytes.readUInt32BE(at);
      if (grains[grain >>> CHUNK_SHIFT]?.[grain & (CHUNK_GRAINS - 1)] !== State.mixed) return false;
      bits.set(grain, Uint8Array.from(bytes.subarray(at + 4, at + each)));
    }
    if (bits.size !== mixed) return false;
    this.#chunks = chunks;
    this.#grains = grains;
    this.#bits.clear();
    for (const [grain, set] of bits) this.#bits.set(grain, set);
    return true;
  }

  #state(grain: number): number {
    const chunk = grain >> CHUNK_SHIFT;
    const whole = this.#chunks[chunk] as number;
    return whole === State.mixed ? (this.#grains[chunk]?.[grain & (CHUNK_GRAINS - 1)] as number) : whole;
  }

  #setChunk(chunk: number, state: number): void {
    const grains = this.#grains[chunk];
    if (grains !== undefined) {
      for (let i = 0; i < CHUNK_GRAINS; i++) {
        if (grains[i] === State.mixed) this.#bits.delete((chunk << CHUNK_SHIFT) + i);
      }
      this.#grains[chunk] = undefined;
    }
    this.#chunks[chunk] = state;
  }

  /** The states of a chunk's grains, made if they were all alike. Grains beyond the end of the volume are `none`. */
  #grainsOf(chunk: number): Uint8Array {
    const made = this.#grains[chunk];
    if (made !== undefined) return made;
    const present = Math.min(CHUNK_GRAINS, Math.ceil((this.#size - chunk * CHUNK) / GRAIN));
    const grains = new Uint8Array(CHUNK_GRAINS).fill(this.#chunks[chunk] as number, 0, present);
    this.#grains[chunk] = grains;
    this.#chunks[chunk] = State.mixed;
    return grains;
  }

  #setGrain(grain: number, state: number): void {
    const before = this.#state(grain);
    if (before === state) return;
    if (before === State.mixed) this.#bits.delete(grain);
    this.#grainsOf(grain >> CHUNK_SHIFT)[grain & (CHUNK_GRAINS - 1)] = state;
  }

  /** Blocks of a grain that lie inside the volume. */
  #blocksIn(grain: number): number {
    return Math.min(GRAIN, this.#size - grain * GRAIN) / this.blockSize;
  }

  /** The bit set of a grain, made (and the grain mixed) if its blocks were all alike. */
  #bitsOf(grain: number): Uint8Array {
    const made = this.#bits.get(grain);
    if (made !== undefined) return made;
    const bits = new Uint8Array(this.#bytesOfBits);
    if (this.#state(grain) === State.all) setRange(bits, 0, this.#blocksIn(grain), true);
    this.#grainsOf(grain >> CHUNK_SHIFT)[grain & (CHUNK_GRAINS - 1)] = State.mixed;
    this.#bits.set(grain, bits);
    return bits;
  }

  #setBits(grain: number, from: number, upTo: number, mapped: boolean): void {
    const base = grain * GRAIN;
    setRange(this.#bitsOf(grain), (from - base) / this.blockSize, (upTo - base) / this.blockSize, mapped);
    this.#settle(grain);
  }

  /** A mixed grain whose blocks are all alike is mixed no longer. */
  #settle(grain: number): void {
    const count = countBits(this.#bits.get(grain));
    if (count === 0) this.#setGrain(grain, State.none);
    else if (count === this.#blocksIn(grain)) this.#setGrain(grain, State.all);
  }

  #bit(grain: number, at: number): boolean {
    const block = Math.floor((at - grain * GRAIN) / this.blockSize);
    return (((this.#bits.get(grain)?.[block >> 3] ?? 0) >> (block & 7)) & 1) === 1;
  }

  /** True when all bits of a mixed grain between two positions, clipped to the grain, are as wanted. */
  #bitsAre(grain: number, from: number, upTo: number, wanted: boolean): boolean {
    const end = Math.min(upTo, (grain + 1) * GRAIN);
    for (let at = Math.max(from, grain * GRAIN); at < end; at += this.blockSize) {
      if (this.#bit(grain, at) !== wanted) return false;
    }
    return true;
  }
}

function setRange(bits: Uint8Array, first: number, end: number, value: boolean): void {
  for (let block = first; block < end; block++) {
    const mask = 1 << (block & 7);
    const old = bits[block >> 3] as number;
    bits[block >> 3] = value ? old | mask : old & ~mask;
  }
}

function countBits(bits: Uint8Array | undefined): number {
  let count = 0;
  if (bits !== undefined) for (const byte of bits) count += ONES[byte] as number;
  return count;
}
