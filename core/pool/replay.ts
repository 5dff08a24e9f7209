// What the journal says that the metadata does not contain yet. Every record says what is, not what to do, so the last one
// counts for each block, and replaying twice gives the same.
import { JOURNAL_BATCH, JOURNAL_HEADER, JOURNAL_PARALLEL, MAX_NAMED_RANGES } from '../base/limits.ts';
import type { DiskFile } from '../base/world.ts';
import { ALL_BLOCKS, BLOCK, BLOCKS, GRAIN, blockMask } from '../volume/grain.ts';
import type { JournalMark } from './journal.ts';
import { decodeBatch, isWhole, mendedHeader, peekHeader } from './record.ts';
import type { GrainPlace, JournalRecord } from './record.ts';

/** What became of one grain of a volume. */
export interface GrainState {
  /** Where it lies since it was mapped anew; undefined: where the metadata says. */
  place: GrainPlace | undefined;
  /** Blocks that were cleared, and not written since, of what `place` or the metadata says. */
  cleared: number;
  /** Newest data: position in the journal, by block. */
  readonly data: Map<number, number>;
  /** Blocks of `data` that were damaged in the journal, with the checksum they had. */
  readonly lost: Map<number, number>;
}

/** Blocks of a volume that a batch of the journal is about. */
export interface BlockRange {
  readonly volume: number;
  readonly block: number;
  readonly blocks: number;
}

/** A batch that was acknowledged, or written in full, and that cannot be read any more. */
export interface DamagedBatch {
  readonly seq: number;
  /** What it was about, as far as that can be told. */
  readonly had: readonly BlockRange[];
  /** What whole batches behind it are about, which is lost with it. */
  readonly behind: readonly BlockRange[];
}

/** An append that was cut off, as it seems. */
export interface CutOff {
  readonly seq: number;
  readonly had: readonly BlockRange[];
  /** Blocks that match their checksum but for one bit: damage looks like that, too. */
  readonly flipped: readonly BlockRange[];
}

export interface Replay {
  /** By volume, then by grain. */
  readonly volumes: ReadonlyMap<number, ReadonlyMap<number, GrainState>>;
  /** Where the journal goes on. */
  readonly next: JournalMark;
  readonly batches: number;
  /** Bytes of data in it. */
  readonly dataBytes: number;
  /** What this batch and those behind it said is lost. Damage of data alone is in the states of the grains. */
  readonly damaged: DamagedBatch | undefined;
  readonly cutOff: CutOff | undefined;
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

/** Reads the journal from the mark on, as far as its batches are whole, or all but data that was acknowledged. */
export async function readJournal(file: DiskFile, options: ReplayOptions): Promise<Replay> {
  const volumes = new Map<number, Map<number, GrainState>>();
  let { position, seq } = options.from;
  let batches = 0;
  let dataBytes = 0;
  let cutOff: CutOff | undefined;
  for (;;) {
    // A batch that did not fit before the end of the ring is at its beginning.
    const here = await batchAt(file, options, position, seq);
    const found = here ?? (position === 0 ? undefined : await batchAt(file, options, 0, seq));
    if (found === undefined) break;
    if (!isWhole(found.records) && (await batchBehind(file, options, position, seq)) === undefined) {
      cutOff = { seq, had: rangesOf(found.records), flipped: flippedOf(found.records) };
      break;
    }
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
  const damaged = cutOff === undefined ? await damagedBatch(file, options, position, seq) : undefined;
  return { volumes, next: { position, seq }, batches, dataBytes, damaged, cutOff };
}

/**
 * The batch behind the end, if it was once there in full: a whole one behind it says that it was stable, or it is whole but for
 * one bit of its header.
 */
async function damagedBatch(
  file: DiskFile,
  options: ReplayOptions,
  position: number,
  seq: number,
): Promise<DamagedBatch | undefined> {
  const mended =
    (await mendedAt(file, options, position, seq)) ??
    (position === 0 ? undefined : await mendedAt(file, options, 0, seq));
  const behind = await batchBehind(file, options, position, seq);
  // One that says nothing (see Journal) takes nothing along.
  const isComplete = mended !== undefined && isWhole(mended.records) && mended.records.length > 0;
  if (behind === undefined && !isComplete) return undefined;
  return { seq, had: rangesOf(mended?.records ?? []), behind: behind ?? [] };
}

/**
 * What batches are about that lie behind the end, if one of them says that the missing one was stable before it was sent: a torn
 * append at the end of the journal is what a crash leaves, a hole in it is damage. undefined: none says so.
 */
async function batchBehind(
  file: DiskFile,
  options: ReplayOptions,
  position: number,
  seq: number,
): Promise<BlockRange[] | undefined> {
  const window = (JOURNAL_PARALLEL + 1) * (JOURNAL_HEADER + JOURNAL_BATCH);
  // Where the missing one and those sent with it may end; the ring goes on at its beginning.
  const ranges = [
    { from: position, to: Math.min(options.size, position + window) },
    { from: 0, to: Math.min(options.size, window) },
  ];
  // By batch: what lies at the beginning of the ring may be in both.
  const found = new Map<number, BlockRange[]>();
  for (const { from, to } of ranges) {
    if (to <= from) continue;
    const bytes = Buffer.allocUnsafe(to - from);
    await file.read(bytes, 0, bytes.length, from);
    for (let at = 0; at + BLOCK <= bytes.length; at += BLOCK) {
      const header = peekHeader(bytes.subarray(at, at + BLOCK), options.generation, options.poolId);
      if (header === undefined || header.stable < seq) continue;
      const batch = await batchAt(file, options, from + at, header.seq);
      if (batch === undefined) continue;
      // Its header is whole, and that is what says so.
      found.set(header.seq, rangesOf(batch.records));
    }
  }
  return found.size === 0 ? undefined : joined([...found.values()].flat());
}

/** Neighbouring ones in one piece; of many the first. */
function rangesOf(records: readonly JournalRecord[]): BlockRange[] {
  return joined(
    records.map((record) => {
      const { volume } = record;
      if (record.type === 'map') return { volume, block: record.grain * BLOCKS, blocks: record.places.length * BLOCKS };
      return { volume, block: record.block, blocks: record.type === 'data' ? record.sums.length : record.blocks };
    }),
  );
}

function flippedOf(records: readonly JournalRecord[]): BlockRange[] {
  return joined(
    records.flatMap((record) =>
      record.type === 'data'
        ? record.flipped.map((i) => ({ volume: record.volume, block: record.block + i, blocks: 1 }))
        : [],
    ),
  );
}

function joined(ranges: readonly BlockRange[]): BlockRange[] {
  const found: BlockRange[] = [];
  for (const each of ranges) {
    const last = found.at(-1);
    if (last?.volume === each.volume && last.block + last.blocks === each.block) {
      found[found.length - 1] = { ...last, blocks: last.blocks + each.blocks };
    } else if (found.length < MAX_NAMED_RANGES) found.push(each);
  }
  return found;
}

interface FoundBatch {
  readonly records: JournalRecord[];
  readonly position: number;
  readonly end: number;
}

/** The batch `seq` at this position, if its header is whole. */
async function batchAt(
  file: DiskFile,
  options: ReplayOptions,
  position: number,
  seq: number,
): Promise<FoundBatch | undefined> {
  if (position + BLOCK > options.size) return undefined;
  const first = Buffer.alloc(BLOCK);
  await file.read(first, 0, BLOCK, position);
  const header = peekHeader(first, options.generation, options.poolId);
  if (header?.seq !== seq) return undefined;
  const bytes = header.headerBytes + header.payloadBytes;
  if (bytes > options.size - position) return undefined;
  const batch = Buffer.allocUnsafe(bytes);
  await file.read(batch, 0, bytes, position);
  const records = decodeBatch(batch, header);
  return records === undefined ? undefined : { records, position, end: position + bytes };
}

/** The same of one whose header is whole but for one bit. */
async function mendedAt(
  file: DiskFile,
  options: ReplayOptions,
  position: number,
  seq: number,
): Promise<FoundBatch | undefined> {
  const batch = Buffer.alloc(Math.min(JOURNAL_HEADER + JOURNAL_BATCH, options.size - position));
  await file.read(batch, 0, batch.length, position);
  const head = mendedHeader(batch, options.generation, options.poolId, seq);
  if (head === undefined) return undefined;
  head.copy(batch);
  const header = peekHeader(head, options.generation, options.poolId);
  const records = header === undefined ? undefined : decodeBatch(batch, header);
  if (header === undefined || records === undefined) return undefined;
  return { records, position, end: position + header.headerBytes + header.payloadBytes };
}

function stateOf(grains: Map<number, GrainState>, grain: number): GrainState {
  let state = grains.get(grain);
  if (state === undefined)
    grains.set(grain, (state = { place: undefined, cleared: 0, data: new Map(), lost: new Map() }));
  return state;
}

function note(grains: Map<number, GrainState>, record: JournalRecord, batchAt: number, options: ReplayOptions): void {
  if (record.type === 'data') {
    record.sums.forEach((_, i) => {
      const block = record.block + i;
      const state = stateOf(grains, Math.floor(block / BLOCKS));
      state.data.set(block % BLOCKS, batchAt + record.dataAt + i * BLOCK);
      state.lost.delete(block % BLOCKS);
    });
    for (const i of record.damaged) {
      const block = record.block + i;
      stateOf(grains, Math.floor(block / BLOCKS)).lost.set(block % BLOCKS, record.sums[i] as number);
    }
  } else if (record.type === 'map') {
    record.places.forEach((place, i) => {
      const state = stateOf(grains, record.grain + i);
      state.place = place;
      state.cleared = 0;
      state.data.clear();
      state.lost.clear();
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
    for (const each of [...state.data.keys()]) {
      if (((mask >> each) & 1) === 0) continue;
      state.data.delete(each);
      state.lost.delete(each);
    }
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
