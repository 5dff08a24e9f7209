// Which blocks of a volume hold data. One byte per grain of 64 KiB, and a bit per block for the grains that are mixed.
import type { Extent } from './volume.ts';

/** Bytes of a grain. */
export const GRAIN = 65_536;
const State = { none: 0, all: 1, mixed: 2 } as const;

export class AllocationMap {
  readonly blockSize: number;
  readonly #blocksPerGrain: number;
  #size: number;
  #grains: Uint8Array;
  /** Bit sets of mixed grains, by grain number. */
  readonly #mixed = new Map<number, Uint8Array>();

  /** Nothing is mapped, or (with `full`) everything. Bytes. */
  constructor(size: number, blockSize: number, full = false) {
    this.#size = size;
    this.blockSize = blockSize;
    this.#blocksPerGrain = GRAIN / blockSize;
    this.#grains = new Uint8Array(Math.ceil(size / GRAIN));
    if (full) this.#grains.fill(State.all);
  }

  /** True when every block of the range is mapped. Allocation-free. */
  allMapped(position: number, length: number): boolean {
    const last = Math.floor((position + length - 1) / GRAIN);
    for (let grain = Math.floor(position / GRAIN); grain <= last; grain++) {
      if (this.#grains[grain] !== State.all) return this.#allMappedSlow(position, length);
    }
    return true;
  }

  /** True when no block of the range is mapped. Allocation-free. */
  noneMapped(position: number, length: number): boolean {
    const last = Math.floor((position + length - 1) / GRAIN);
    for (let grain = Math.floor(position / GRAIN); grain <= last; grain++) {
      if (this.#grains[grain] !== State.none) return false;
    }
    return true;
  }

  /** Sets the state of whole blocks. Bytes. */
  mark(position: number, length: number, mapped: boolean): void {
    const end = position + length;
    for (let at = position; at < end;) {
      const grain = Math.floor(at / GRAIN);
      const grainEnd = Math.min((grain + 1) * GRAIN, this.#size);
      const upTo = Math.min(end, grainEnd);
      const state = this.#grains[grain] as number;
      if (state !== (mapped ? State.all : State.none)) {
        if (at === grain * GRAIN && upTo === grainEnd) this.#setWhole(grain, mapped);
        else this.#setPart(grain, at, upTo, mapped);
      }
      at = upTo;
    }
  }

  /** The states from `position` on: adjacent extents in order, at most `limit`. Bytes. */
  extents(position: number, length: number, limit: number): Extent[] {
    const out: { position: number; length: number; mapped: boolean }[] = [];
    const end = Math.min(position + length, this.#size);
    for (let at = position; at < end;) {
      const grain = Math.floor(at / GRAIN);
      const state = this.#grains[grain];
      const step = state === State.mixed ? this.blockSize : (grain + 1) * GRAIN - at;
      const mapped = state === State.mixed ? this.#bit(grain, at) : state === State.all;
      const upTo = Math.min(at + step, end);
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
    for (let grain = 0; grain < this.#grains.length; grain++) {
      const state = this.#grains[grain];
      if (state === State.all) bytes += Math.min(GRAIN, this.#size - grain * GRAIN);
      else if (state === State.mixed) bytes += countBits(this.#mixed.get(grain)) * this.blockSize;
    }
    return bytes;
  }

  resize(size: number): void {
    if (size < this.#size) this.mark(size, this.#size - size, false);
    const grains = new Uint8Array(Math.ceil(size / GRAIN));
    grains.set(this.#grains.subarray(0, grains.length));
    // A last grain that was whole because the volume ended in it is only partly mapped when the volume grows.
    const tail = Math.floor(this.#size / GRAIN);
    const whole = size > this.#size && this.#size % GRAIN !== 0 && grains[tail] === State.all;
    if (whole) grains[tail] = State.none;
    for (const grain of [...this.#mixed.keys()]) if (grain >= grains.length) this.#mixed.delete(grain);
    const before = this.#size;
    this.#grains = grains;
    this.#size = size;
    if (whole) this.mark(tail * GRAIN, before - tail * GRAIN, true);
  }

  /** The map as bytes, for keeping it in a file. */
  encode(): Buffer {
    const mixed = [...this.#mixed].map(([grain, bits]) => {
      const number = Buffer.alloc(4);
      number.writeUInt32BE(grain);
      return Buffer.concat([number, bits]);
    });
    return Buffer.concat([Buffer.from(this.#grains), ...mixed]);
  }

  /** Takes over what encode() returned. False: it does not fit this volume; the map is as before. */
  decode(bytes: Buffer): boolean {
    const perMixed = 4 + this.#blocksPerGrain / 8;
    const rest = bytes.length - this.#grains.length;
    if (rest < 0 || rest % perMixed !== 0) return false;
    const grains = Uint8Array.from(bytes.subarray(0, this.#grains.length));
    const mixed = new Map<number, Uint8Array>();
    for (let at = grains.length; at < bytes.length; at += perMixed) {
      mixed.set(bytes.readUInt32BE(at), Uint8Array.from(bytes.subarray(at + 4, at + perMixed)));
    }
    if (grains.some((state, grain) => state > State.mixed || (state === State.mixed) !== mixed.has(grain)))
      return false;
    this.#grains = grains;
    this.#mixed.clear();
    for (const [grain, bits] of mixed) this.#mixed.set(grain, bits);
    return true;
  }

  #allMappedSlow(position: number, length: number): boolean {
    for (let at = position; at < position + length; at += this.blockSize) {
      const grain = Math.floor(at / GRAIN);
      const state = this.#grains[grain];
      if (state === State.none || (state === State.mixed && !this.#bit(grain, at))) return false;
    }
    return true;
  }

  #bit(grain: number, at: number): boolean {
    const block = (at - grain * GRAIN) / this.blockSize;
    return (((this.#mixed.get(grain)?.[block >> 3] ?? 0) >> (block & 7)) & 1) === 1;
  }

  #setWhole(grain: number, mapped: boolean): void {
    this.#mixed.delete(grain);
    this.#grains[grain] = mapped ? State.all : State.none;
  }

  #setPart(grain: number, from: number, upTo: number, mapped: boolean): void {
    let bits = this.#mixed.get(grain);
    if (bits === undefined) {
      bits = new Uint8Array(this.#blocksPerGrain / 8).fill(this.#grains[grain] === State.all ? 0xff : 0);
      this.#mixed.set(grain, bits);
      this.#grains[grain] = State.mixed;
    }
    const first = (from - grain * GRAIN) / this.blockSize;
    const last = (upTo - grain * GRAIN) / this.blockSize;
    for (let block = first; block < last; block++) {
      const mask = 1 << (block & 7);
      const old = bits[block >> 3] as number;
      bits[block >> 3] = mapped ? old | mask : old & ~mask;
    }
    const inGrain = Math.min(GRAIN, this.#size - grain * GRAIN) / this.blockSize;
    const count = countBits(bits, inGrain);
    if (count === 0 || count === inGrain) this.#setWhole(grain, count !== 0);
  }
}

function countBits(bits: Uint8Array | undefined, blocks = Infinity): number {
  let count = 0;
  if (bits === undefined) return 0;
  for (let block = 0; block < Math.min(blocks, bits.length * 8); block++)
    count += ((bits[block >> 3] as number) >> (block & 7)) & 1;
  return count;
}
