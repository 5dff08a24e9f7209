// What the journal says that the metadata does not contain yet. Every record says what is, not what to do, so the last one
// counts for each block, and replaying twice gives the same.
import { JOURNAL_BATCH, JOURNAL_HEADER, JOURNAL_PARALLEL } from '../base/limits.ts';
import type { DiskFile } from '../base/world.ts';
import { ALL_BLOCKS, BLOCK, BLOCKS, GRAIN, blockMask } from '../volume/grain.ts';
import type { JournalMark } from './journal.ts';
import { decodeBatch, peekHeader } from './record.ts';
import type { GrainPlace, JournalRecord } from './record.ts';

/** What became of one grain of a volume. */
export interface GrainState {
  /** Where it lies since it was mapped anew; undefined: where the metadata says. */
  place: GrainPlace | undefined;
  /** Blocks that were cleared, and not written since, of what `place` or the metadata says. */
  cleared: number;
  /** Newest data: position in the journal, by block. */
  readonly data: Map<number, number>;
}

/** A range of blocks of a volume that was cleared; in order with the states of its grains. */
export interface Replay {
  /** By volume, then by grain. */
  readonly volumes: ReadonlyMap<number, ReadonlyMap<number, GrainState>>;
  /** Where the journal goes on. */
  readonly next: JournalMark;
  readonly batches: number;
  /** Bytes of data in it. */
  readonly dataBytes: number;
  /** A batch that was acknowledged is damaged: its number. What it and those behind it said is lost. */
  readonly damaged: number | undefined;
}

export interface ReplayOptions {
  readonly poolId: Buffer;
  readonly generation: number;
  /** Bytes of the ring. */
  readonly size: number;
  readonly from: JournalMark;
  /** Batches before this number say nothing new about the volume; undefined: there is no such volume. */
  readonly fence: (volume: number) => number | undefined;
  /** Grains of the volume that are mapped, from `first` up to and without `end`. */
  readonly mapped: (volume: number, first: number, end: number) => Iterable<number>;
}

/** Reads the journal from the mark on, as far as its batches are whole. */
export async function readJournal(file: DiskFile, options: ReplayOptions): Promise<Replay> {
  const volumes = new Map<number, Map<number, GrainState>>();
  let { position, seq } = options.from;
  let batches = 0;
  let dataBytes = 0;
  for (;;) {
    // A batch that did not fit before the end of the ring is at its beginning.
    const here = await batchAt(file, options, position, seq);
    const found = here ?? (position === 0 ? undefined : await batchAt(file, options, 0, seq));
    if (found === undefined) break;
    for (const record of found.records) {
      const fence = options.fence(record.volume);
      if (fence === undefined || seq < fence) continue;
      let grains = volumes.get(record.volume);
      if (grains === undefined) volumes.set(record.volume, (grains = new Map<number, GrainState>()));
      note(grains, record, found.position, options);
      if (record.type === 'data') dataBytes += record.sums.length * BLOCK;
    }
    position = found.end;
    seq++;
    batches++;
  }
  const behind = await batchBehind(file, options, position, seq);
  return { volumes, next: { position, seq }, batches, dataBytes, damaged: behind ? seq : undefined };
}

/**
 * True when a whole batch lies behind the end that says the missing one was stable before it was sent: a torn append at the
 * end of the journal is what a crash leaves, a hole in it is damage.
 */
async function batchBehind(file: DiskFile, options: ReplayOptions, position: number, seq: number): Promise<boolean> {
  const window = (JOURNAL_PARALLEL + 1) * (JOURNAL_HEADER + JOURNAL_BATCH);
  // Where the missing one and those sent with it may end; the ring goes on at its beginning.
  const ranges = [
    { from: position, to: Math.min(options.size, position + window) },
    { from: 0, to: Math.min(options.size, window) },
  ];
  for (const { from, to } of ranges) {
    if (to <= from) continue;
    const bytes = Buffer.allocUnsafe(to - from);
    await file.read(bytes, 0, bytes.length, from);
    for (let at = 0; at + BLOCK <= bytes.length; at += BLOCK) {
      const header = peekHeader(bytes.subarray(at, at + BLOCK), options.generation, options.poolId);
      if (header === undefined || header.stable < seq) continue;
      if ((await batchAt(file, options, from + at, header.seq)) !== undefined) return true;
    }
  }
  return false;
}

async function batchAt(
  file: DiskFile,
  options: ReplayOptions,
  position: number,
  seq: number,
): Promise<{ records: JournalRecord[]; position: number; end: number } | undefined> {
  if (position + BLOCK > options.size) return undefined;
  const length = Math.min(JOURNAL_HEADER + JOURNAL_BATCH, options.size - position);
  const first = Buffer.alloc(BLOCK);
  await file.read(first, 0, BLOCK, position);
  const header = peekHeader(first, options.generation, options.poolId);
  if (header?.seq !== seq) return undefined;
  const bytes = header.headerBytes + header.payloadBytes;
  if (bytes > length) return undefined;
  const batch = Buffer.allocUnsafe(bytes);
  await file.read(batch, 0, bytes, position);
  const records = decodeBatch(batch, header);
  return records === undefined ? undefined : { records, position, end: position + bytes };
}

function stateOf(grains: Map<number, GrainState>, grain: number): GrainState {
  let state = grains.get(grain);
  if (state === undefined)
    grains.set(grain, (state = { place: undefined, cleared: 0, data: new Map<number, number>() }));
  return state;
}

function note(grains: Map<number, GrainState>, record: JournalRecord, batchAt: number, options: ReplayOptions): void {
  if (record.type === 'data') {
    record.sums.forEach((_, i) => {
      const block = record.block + i;
      stateOf(grains, Math.floor(block / BLOCKS)).data.set(block % BLOCKS, batchAt + record.dataAt + i * BLOCK);
    });
  } else if (record.type === 'map') {
    record.places.forEach((place, i) => {
      const state = stateOf(grains, record.grain + i);
      state.place = place;
      state.cleared = 0;
      state.data.clear();
    });
  } else {
    clear(grains, record.volume, record.block, record.blocks, options);
  }
}

function clear(
  grains: Map<number, GrainState>,
  volume: number,
  block: number,
  blocks: number,
  options: ReplayOptions,
): void {
  const end = block + blocks;
  const first = Math.floor(block / BLOCKS);
  const last = Math.ceil(end / BLOCKS);
  // Only grains that hold something; a cleared range can be the whole volume.
  const touched = new Set(options.mapped(volume, first, last));
  for (const grain of grains.keys()) if (grain >= first && grain < last) touched.add(grain);
  for (const grain of touched) {
    const mask = blockMask(Math.max(block - grain * BLOCKS, 0), Math.min(end - grain * BLOCKS, BLOCKS));
    const state = stateOf(grains, grain);
    state.cleared |= mask & ALL_BLOCKS;
    for (const each of [...state.data.keys()]) if (((mask >> each) & 1) === 1) state.data.delete(each);
  }
}

/** Reads the newest data of the grain into `buffer`, which is one grain: which blocks. What lies together is read in one piece. */
export async function readData(file: DiskFile, state: GrainState, buffer: Buffer): Promise<number> {
  if (buffer.length < GRAIN) throw new RangeError('the buffer is smaller than a grain');
  let mask = 0;
  for (let block = 0; block < BLOCKS;) {
    const position = state.data.get(block);
    let end = block + 1;
    if (position !== undefined) {
      while (state.data.get(end) === position + (end - block) * BLOCK) end++;
      await file.read(buffer, block * BLOCK, (end - block) * BLOCK, position);
      mask |= blockMask(block, end);
    }
    block = end;
  }
  return mask;
}
