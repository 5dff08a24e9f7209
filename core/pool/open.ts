// Making a pool in an empty folder, and opening one: superblock, metadata, maps, then what the journal knows better.
import { MIN_JOURNAL } from '../base/limits.ts';
import { ServiceError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { formatSize } from '../base/sizes.ts';
import type { DiskFile, World } from '../base/world.ts';
import { BLOCK, GRAIN, blockMask } from '../volume/grain.ts';
import { Allocator } from './allocator.ts';
import { isDiskFull } from './disk-error.ts';
import { FORMAT_VERSION, GRAINS_OF_SUMS, LEAF_GRAINS } from './format.ts';
import type { Superblock } from './format.ts';
import { Journal } from './journal.ts';
import { PoolDisks, refuseMember } from './members.ts';
import type { PoolFiles } from './pool-files.ts';
import type { MetaContent, PoolMeta, PoolState } from './pool-meta.ts';
import { Pool } from './pool.ts';
import type { PoolEntry } from './pool.ts';
import { readJournal } from './replay.ts';
import type { GrainState } from './replay.ts';
import { placeReplayed } from './replaying.ts';
import { refuseDamaged, tellCutOff } from './journal-damage.ts';
import { Slabs } from './slabs.ts';
import { readSuperblock, refuseSuperblock, writeSuperblock } from './superblocks.ts';
import { upgrade } from './upgrade.ts';
import { Leaf, Leaves, VolumeMap } from './volume-map.ts';

export interface PoolPlace {
  readonly world: World;
  /** Superblock, journal and slabs. */
  readonly files: PoolFiles;
  /** Opens the metadata store of the pool. */
  readonly meta: () => PoolMeta;
  readonly log: Log;
  /** What people call the volume that has this tag; absent: its number in the pool. */
  readonly nameOf?: (tag: string | undefined, volume: number) => string;
  /** Opens a pool whose journal is damaged as far as it is whole: what was acknowledged after that is lost. */
  readonly acceptLoss?: boolean;
}

export interface NewPool {
  /** Bytes for volumes; rounded up to whole slabs. A device is used as a whole. */
  readonly size: number;
  readonly journalBytes: number;
  /** Bytes of volume data in one slab. */
  readonly slabSize: number;
  /** 16 bytes; random when absent. */
  readonly poolId?: Buffer;
}

/** Makes a pool where there is none. Rejects with a ServiceError; what was made is left for the caller to remove. */
export async function createPool(place: PoolPlace, wanted: NewPool): Promise<void> {
  const { world, files } = place;
  const { journalBytes } = wanted;
  if (journalBytes < MIN_JOURNAL || journalBytes % BLOCK !== 0) {
    throw new ServiceError('bad-request', `the journal has at least ${String(MIN_JOURNAL)} bytes, in whole blocks`);
  }
  const slabGrains = Math.ceil(wanted.slabSize / GRAIN / GRAINS_OF_SUMS) * GRAINS_OF_SUMS;
  let superblockFile: DiskFile | undefined;
  try {
    await files.prepare();
    // Before anything is made there: what belongs to another pool stays as it is.
    await refuseMember(files);
    superblockFile = await files.superblock(true);
    await refuseSuperblock(superblockFile, files.name);
    const slabs: { name: string; grains: number }[] = [];
    const count = files.slabCount(wanted.size, slabGrains);
    for (let i = 0; i < count; i++) slabs.push(await files.makeSlab(i, slabGrains, journalBytes, slabs));
    await clearJournal(await files.journal(journalBytes), journalBytes);
    const poolId = wanted.poolId ?? world.random.bytes(16);
    const meta = place.meta();
    try {
      const start = { generation: 1, mark: { position: 0, seq: 1 }, nextLeaf: 1, nextVolume: 1 };
      const state: PoolState = { ...start, slabs, poolId: poolId.toString('hex'), members: [] };
      await meta.commit({ state, volumes: [], leaves: [] });
    } finally {
      await meta.close();
    }
    // Last: a pool without a superblock was never finished.
    const superblock = { poolId, version: FORMAT_VERSION, generation: 1, clean: true, journalBytes, slabGrains };
    await writeSuperblock(superblockFile, { ...superblock, serial: 1 });
    await writeSuperblock(superblockFile, { ...superblock, serial: 2 });
  } catch (error) {
    if (error instanceof ServiceError || !isDiskFull(error)) throw error;
    const wants = `${formatSize(journalBytes)} for its journal, and a thousandth of ${formatSize(wanted.size)} for checksums`;
    throw new ServiceError('no-space', `no room for a pool in ${files.name}: it takes ${wants}`, { cause: error });
  } finally {
    // Also of one that failed: what is removed then would go on taking room.
    await superblockFile?.close();
    await files.close();
  }
}

/** Adds room for at least `bytes` of volume data to an open pool, on the disks it has. Rejects with a ServiceError. */
export async function growPool(disks: PoolDisks, pool: Pool, bytes: number): Promise<void> {
  for (const end = pool.slabs.grains + bytes / GRAIN; pool.slabs.grains < end;) await disks.grow(pool);
}

/** Makes the place hold no pool any more; what is in it is lost. It must be closed. */
export async function erasePool({ files }: PoolPlace): Promise<void> {
  try {
    const file = await files.superblock();
    await file.write(Buffer.alloc(2 * BLOCK), 0, 2 * BLOCK, 0);
    await file.dataSync();
    await file.close();
  } finally {
    await files.close();
  }
}

/** The journal is written once, so that appending to it changes no metadata of a file system. */
async function clearJournal(file: DiskFile, bytes: number): Promise<void> {
  const zeros = Buffer.alloc(Math.min(bytes, 1_048_576));
  try {
    for (let done = 0; done < bytes; done += zeros.length) {
      await file.write(zeros, 0, Math.min(zeros.length, bytes - done), done);
    }
    await file.dataSync();
  } finally {
    await file.close();
  }
}

/** What was found when the pool was opened. */
export interface Recovery {
  /** The pool was not closed in an orderly way. */
  readonly unclean: boolean;
  /** Batches of the journal that were replayed, and bytes of data in them. */
  readonly batches: number;
  readonly dataBytes: number;
}

/** Opens the pool. Rejects with a ServiceError that says what is damaged. */
export async function openPool(place: PoolPlace): Promise<{ pool: Pool; disks: PoolDisks; recovery: Recovery }> {
  const { files, world } = place;
  const opened: { close(): Promise<void> }[] = [files];
  const keep = <T extends { close(): Promise<void> }>(made: T): T => {
    opened.unshift(made);
    return made;
  };
  try {
    const superblockFile = keep(await files.superblock());
    const present = await readSuperblock(superblockFile);
    if ((present.exported ?? 0) > 0) throw new ServiceError('io-error', 'the pool was exported: import it');
    const meta = keep(place.meta());
    const stored = meta.load();
    if (stored === undefined) throw new ServiceError('io-error', 'the metadata of the pool is missing');
    refuseOldCopy(stored, present, place.log);
    const write = (superblock: Superblock): Promise<void> => writeSuperblock(superblockFile, superblock);
    const { superblock, content } = await upgrade({ superblock: present, content: stored }, meta, write, place.log);
    const { poolId, members = [] } = content.state;
    if (poolId !== superblock.poolId.toString('hex')) {
      throw new ServiceError('io-error', `what is in ${files.name} is another pool`);
    }
    const disks = keep(new PoolDisks(world, files, superblock));
    await disks.open(members);
    const slabs = new Slabs();
    for (const record of content.state.slabs) {
      slabs.add({ file: keep(await disks.slab(record)), position: 0, grains: record.grains });
    }
    const journalFile = keep(await files.journal(superblock.journalBytes));
    const found = { superblockFile, superblock, meta, content, slabs, journalFile, disks };
    return { ...(await assemble(place, found)), disks };
  } catch (error) {
    for (const each of opened) await each.close().catch(() => undefined);
    if (error instanceof ServiceError) throw error;
    throw new ServiceError('io-error', `the pool in ${files.name} cannot be opened: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Every opening writes the generation into the metadata before the superblock: a copy of the state cannot be behind it. */
function refuseOldCopy({ state, stateIsCopy }: MetaContent, superblock: Superblock, log: Log): void {
  if (stateIsCopy !== true) return;
  const what = 'the metadata of the pool is damaged: the state does not match its checksum';
  if (state.generation < superblock.generation) throw new ServiceError('io-error', `${what}, and its copy is old`);
  log.error({}, `${what}; its copy is used`);
}

interface Found {
  readonly superblockFile: DiskFile;
  readonly superblock: Superblock;
  readonly meta: PoolMeta;
  readonly content: MetaContent;
  readonly slabs: Slabs;
  readonly journalFile: DiskFile;
  readonly disks: PoolDisks;
}

async function assemble(place: PoolPlace, found: Found): Promise<{ pool: Pool; recovery: Recovery }> {
  const { superblockFile, superblock, meta, content, slabs, journalFile, disks } = found;
  const allocator = new Allocator(slabs.grains);
  const leaves = new Leaves(allocator, content.state.nextLeaf);
  const entries = loadEntries(content, allocator, leaves);
  await meta.loaded();
  const replay = await readJournal(journalFile, {
    poolId: superblock.poolId,
    generation: content.state.generation,
    size: superblock.journalBytes,
    from: content.state.mark,
    fence: (volume) => {
      const entry = entries.get(volume);
      // Nobody will read what a volume that is being deleted, or cannot be used, should contain.
      return entry?.record.deleting === false && entry.damage === undefined ? entry.record.fence : undefined;
    },
    mapped: (volume, first, end) => entries.get(volume)?.map.mapped(first, end) ?? [],
  });
  const nameOf = (volume: number): string => place.nameOf?.(entries.get(volume)?.record.tag, volume) ?? String(volume);
  refuseDamaged(replay, nameOf, place);
  tellCutOff(replay, nameOf, place.log);
  for (const [volume, grains] of replay.volumes) remap(entries.get(volume) as PoolEntry, grains);
  for (const entry of entries.values()) cutOff(entry);
  // References are counted when the maps say what they say for good; nothing was given back until then.
  countReferences(entries, allocator);
  const damaged = [...entries.values()].filter(({ damage }) => damage !== undefined);
  // What their maps name is not known: it may be any grain that nobody else names.
  if (damaged.some(({ mapLost }) => mapLost === true)) allocator.suspend();
  for (const { record, damage, recordLost } of damaged) {
    const what = `the ${recordLost === true ? 'record' : 'map'} of a volume is damaged; it is not served`;
    place.log.error({ volume: record.id, tag: record.tag, damage }, what);
  }
  const generation = Math.max(superblock.generation, content.state.generation) + 1;
  // A fence may be ahead of what the journal kept: batches of this life must not look as if they were before it.
  const fences = [...entries.values()].map(({ record }) => record.fence);
  const start = { position: 0, seq: fences.reduce((most, fence) => Math.max(most, fence), replay.next.seq) };
  const running: { pool?: Pool } = {};
  const { clock } = place.world;
  const journal = new Journal(journalFile, {
    poolId: superblock.poolId,
    generation,
    size: superblock.journalBytes,
    start,
    clock,
    pressure: () => running.pool?.want(),
  });
  let serial = superblock.serial;
  const mark = (clean: boolean): Promise<void> =>
    writeSuperblock(superblockFile, { ...superblock, version: FORMAT_VERSION, generation, serial: ++serial, clean });
  const finish = async (): Promise<void> => {
    await mark(true);
  };
  const close = async (): Promise<void> => {
    await journal.close();
    await superblockFile.close();
    await journalFile.close();
    await disks.close();
  };
  const state = { ...content.state, generation, mark: start };
  const { journalBytes } = superblock;
  const pool = new Pool({
    journalBytes,
    slabs,
    allocator,
    journal,
    leaves,
    meta,
    entries,
    state,
    clock,
    log: place.log,
    nameOf,
    finish,
    close,
  });
  running.pool = pool;
  await placeReplayed(pool, replay, journalFile);
  if (!superblock.clean) dropEmpty(entries.values(), allocator);
  await pool.commitReplay();
  await mark(false);
  return {
    pool,
    recovery: { unclean: !superblock.clean, batches: replay.batches, dataBytes: replay.dataBytes },
  };
}

function loadEntries(content: MetaContent, allocator: Allocator, leaves: Leaves): Map<number, PoolEntry> {
  const known = new Map<number, Leaf>();
  const entries = new Map<number, PoolEntry>();
  for (const { record, leaves: ids, recordLost } of content.volumes) {
    let damage = ids === undefined ? 'all of it' : undefined;
    const list = (ids ?? []).map((id, index): Leaf | undefined => {
      if (id === 0) return undefined;
      let leaf = known.get(id);
      if (leaf !== undefined) leaf.refs++;
      else known.set(id, (leaf = leafOf(content, id)));
      if (leaf.lost) {
        const first = index * LEAF_GRAINS * GRAIN;
        damage ??= `bytes ${String(first)} to ${String(first + LEAF_GRAINS * GRAIN)}`;
      }
      return leaf;
    });
    const map = new VolumeMap(leaves, allocator, list);
    const mapLost = damage !== undefined;
    if (recordLost === true) damage = 'its record';
    entries.set(record.id, { record, map, changed: false, open: undefined, damage, mapLost, recordLost });
  }
  return entries;
}

/** One that is damaged or missing names nothing. */
function leafOf(content: MetaContent, id: number): Leaf {
  try {
    const bytes = content.leaf(id);
    if (bytes !== undefined) return Leaf.decode(id, bytes);
  } catch {
    // Told with the volumes that need it.
  }
  const leaf = new Leaf(id);
  leaf.lost = true;
  return leaf;
}

/** Brings the map to where the journal says the grains are, without the data that is still in the journal. */
function remap({ map }: PoolEntry, grains: ReadonlyMap<number, GrainState>): void {
  for (const [grain, state] of grains) {
    const place = state.place?.place ?? map.place(grain);
    const valid = (state.place?.valid ?? map.valid(grain)) & ~state.cleared;
    if (state.place === undefined && state.cleared === 0) continue;
    // A grain without blocks is kept for what the journal has of it: there may be no other.
    map.load(grain, valid === 0 && state.data.size === 0 ? 0 : place, valid);
  }
}

/** What lies behind the end of a volume goes: a crash came after its new size was committed and before its map was cut off. */
function cutOff({ record, map, damage }: PoolEntry): void {
  if (record.deleting || damage !== undefined) return;
  const whole = Math.floor(record.size / GRAIN);
  const inLast = blockMask(0, (record.size % GRAIN) / BLOCK);
  for (const grain of [...map.mapped(whole, Number.MAX_SAFE_INTEGER)]) {
    const stays = grain === whole ? inLast : 0;
    const valid = map.valid(grain) & stays;
    if (stays === 0 || valid !== map.valid(grain)) map.load(grain, valid === 0 ? 0 : map.place(grain), valid);
  }
}

function countReferences(entries: ReadonlyMap<number, PoolEntry>, allocator: Allocator): void {
  const seen = new Set<Leaf>();
  for (const { map } of entries.values()) {
    for (const leaf of map.leaves) {
      if (leaf === undefined || seen.has(leaf)) continue;
      seen.add(leaf);
      for (const place of leaf.places) if (place !== 0) allocator.load(place - 1);
    }
  }
  for (const { record, map, damage } of entries.values()) {
    if (record.thick && !record.deleting && damage === undefined)
      allocator.reserveAgain(Math.ceil(record.size / GRAIN) - map.grains());
  }
}

/** Gives back grains that were kept for data that has been cleared since. */
function dropEmpty(entries: Iterable<PoolEntry>, allocator: Allocator): void {
  const seen = new Set<Leaf>();
  for (const { record, map } of entries) {
    map.leaves.forEach((leaf, index) => {
      if (leaf === undefined || seen.has(leaf)) return;
      seen.add(leaf);
      for (let at = 0; at < LEAF_GRAINS; at++) {
        if (leaf.places[at] === 0 || leaf.valid[at] !== 0) continue;
        map.set(index * LEAF_GRAINS + at, 0, 0);
        if (record.thick && !record.deleting) allocator.reserveAgain(1);
      }
    });
  }
}
