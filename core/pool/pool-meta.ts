// The metadata of a pool: what the maps of its volumes are, and up to where the journal is contained in them. Kept in a
// store that changes all of it at once or nothing; LMDB in the product.
import { crc32c } from '../base/crc32c.ts';
import { ServiceError } from '../base/errors.ts';
import { open } from 'lmdb';
import type { RootDatabase } from 'lmdb';
import type { JournalMark } from './journal.ts';

/** A disk of the pool besides the one with the superblock. */
export interface MemberRecord {
  /** From 1; never used twice in a pool. */
  readonly index: number;
  readonly kind: 'folder' | 'device';
  readonly path: string;
}

export interface SlabRecord {
  /** In its folder; on a device it says where it begins. */
  readonly name: string;
  readonly grains: number;
  /** Index of the member it is on; absent: beside the superblock. */
  readonly member?: number;
}

/** Facts about the pool as a whole. */
export interface PoolState {
  /** Generation of the journal that `mark` belongs to. */
  readonly generation: number;
  /** Batches before it are contained in the metadata and the slabs. */
  readonly mark: JournalMark;
  readonly nextLeaf: number;
  readonly nextVolume: number;
  /** In the order of their grains. */
  readonly slabs: readonly SlabRecord[];
  /** Since version 2: hexadecimal, as in the superblock. */
  readonly poolId?: string;
  /** Since version 2. */
  readonly members?: readonly MemberRecord[];
}

/** What is known of one volume of the pool besides its map. */
export interface PoolVolumeRecord {
  /** Never used twice in a pool. */
  readonly id: number;
  /** Bytes, a multiple of 4096. */
  readonly size: number;
  /** Space for all of it is set aside. */
  readonly thick: boolean;
  /** Nobody writes to it: a snapshot. */
  readonly snapshotOf: number | undefined;
  /** Batches of the journal before this number say nothing new about it. */
  readonly fence: number;
  /** Its map is being given back. */
  readonly deleting: boolean;
  /** By which its owner knows it; absent: it was made without one. */
  readonly tag?: string | undefined;
  /** Milliseconds since 1970. */
  readonly created: number;
}

export interface MetaChange {
  readonly state: PoolState;
  /** undefined: the volume is gone. */
  readonly volumes: readonly {
    readonly id: number;
    readonly record: PoolVolumeRecord | undefined;
    readonly leaves: readonly number[] | undefined;
  }[];
  readonly leaves: readonly (readonly [number, Buffer | undefined])[];
}

/** A volume as the store has it. */
export interface StoredVolume {
  readonly record: PoolVolumeRecord;
  /** undefined: the list is damaged. */
  readonly leaves: readonly number[] | undefined;
  /** The record is damaged: this one stands for it, and only its id is right. */
  readonly recordLost?: boolean;
}

export interface MetaContent {
  readonly state: PoolState;
  /** The state itself is damaged; this is the copy of it that every commit writes, too. */
  readonly stateIsCopy?: boolean;
  readonly volumes: readonly StoredVolume[];
  /** Content of a leaf, until the next call; undefined when it is missing. Throws ServiceError io-error when it is damaged. */
  leaf(id: number): Uint8Array | undefined;
}

export interface PoolMeta {
  /** undefined: nothing was ever committed. */
  load(): MetaContent | undefined;
  /** What load() gave is not used any more: the memory it took goes back. */
  loaded(): Promise<void>;
  /** Everything is on stable media when it resolves, or nothing has changed. */
  commit(change: MetaChange): Promise<void>;
  close(): Promise<void>;
}

const STATE = 0;
const VOLUME = 1;
const LEAVES = 2;
const LEAF = 3;
type Key = readonly [number, number];

/** As a number. LMDB says it also of a write that was cut short because the file system is full. */
const EIO = 5;

/** The metadata in LMDB. */
export class LmdbMeta implements PoolMeta {
  readonly #path: string;
  readonly #isFull: () => boolean;
  #db: RootDatabase<Buffer, [number, number]>;

  /** Opens or creates the store in folder `path`. `isFull`: the file system it is on has no room left. */
  constructor(path: string, isFull = (): boolean => false) {
    this.#path = path;
    this.#isFull = isFull;
    this.#db = openStore(path);
  }

  load(): MetaContent | undefined {
    const stored = this.#db.get([STATE, 0]);
    if (stored === undefined) return undefined;
    const volumes: StoredVolume[] = [];
    for (const { key, value } of this.#db.getRange({ start: [VOLUME, 0], end: [LEAVES, 0] })) {
      volumes.push({ ...recordOf(key[1], value), leaves: this.#leavesOf(key[1]) });
    }
    return { ...this.#state(stored), volumes, leaf: (id) => this.#leaf(id) };
  }

  /** Throws ServiceError io-error when the copy is damaged as well, or missing. */
  #state(stored: Buffer): Pick<MetaContent, 'state' | 'stateIsCopy'> {
    const parse = (copy: number, bytes: Buffer): PoolState =>
      JSON.parse(unseal([STATE, copy], bytes, 'the state').toString()) as PoolState;
    try {
      return { state: parse(0, stored) };
    } catch (error) {
      const copy = this.#db.get([STATE, 1]);
      if (copy === undefined) throw error;
      return { state: parse(1, copy), stateIsCopy: true };
    }
  }

  /** In memory that the store uses again: to allocate each of very many leaves twice leaves holes behind. */
  #leaf(id: number): Uint8Array | undefined {
    const bytes = this.#db.getBinaryFast([LEAF, id]);
    return bytes === undefined
      ? undefined
      : unseal([LEAF, id], bytes.subarray(0, bytes.length), `leaf ${String(id)} of a map`);
  }

  /** The store is a mapped file: what was read of it stays in memory until it is closed. */
  async loaded(): Promise<void> {
    await this.#db.close();
    this.#db = openStore(this.#path);
  }

  async commit(change: MetaChange): Promise<void> {
    try {
      await this.#db.transaction(() => {
        this.#apply(change);
      });
    } catch (error) {
      // Why a commit failed is in a promise beside the error; it must not be left unhandled.
      const isOutside = error instanceof Error && 'commitError' in error;
      const why = isOutside ? await Promise.resolve(error.commitError).catch((each: unknown) => each) : error;
      if ((why as { code?: unknown }).code !== EIO || !this.#isFull()) throw why;
      throw Object.assign(new Error('no space left for the metadata', { cause: why }), { code: 'ENOSPC' });
    }
  }

  #apply(change: MetaChange): void {
    this.#put([STATE, 0], change.state);
    this.#put([STATE, 1], change.state);
    for (const { id, record, leaves } of change.volumes) {
      if (record === undefined) {
        this.#db.removeSync([VOLUME, id]);
        this.#db.removeSync([LEAVES, id]);
        continue;
      }
      this.#put([VOLUME, id], record);
      if (leaves !== undefined) this.#db.putSync([LEAVES, id], seal([LEAVES, id], encodeNumbers(leaves)));
    }
    for (const [id, bytes] of change.leaves) {
      if (bytes === undefined) this.#db.removeSync([LEAF, id]);
      else this.#db.putSync([LEAF, id], seal([LEAF, id], bytes));
    }
  }

  async close(): Promise<void> {
    await this.#db.close();
  }

  /** undefined: they are damaged. */
  #leavesOf(id: number): number[] | undefined {
    const bytes = this.#db.get([LEAVES, id]);
    if (bytes === undefined) return [];
    try {
      return decodeNumbers(unseal([LEAVES, id], bytes, `the map of volume ${String(id)}`));
    } catch {
      return undefined;
    }
  }

  #put(key: Key, value: object): void {
    this.#db.putSync([key[0], key[1]], seal(key, Buffer.from(JSON.stringify(value))));
  }
}

/** A damaged one is replaced by one of which only the id is right. */
function recordOf(id: number, value: Buffer): Pick<StoredVolume, 'record' | 'recordLost'> {
  try {
    const text = unseal([VOLUME, id], value, `volume ${String(id)}`).toString();
    const record = JSON.parse(text) as PoolVolumeRecord;
    return { record: { ...record, snapshotOf: record.snapshotOf } };
  } catch {
    return { record: unknownRecord(id), recordLost: true };
  }
}

/** What stands for the record of a volume that is damaged. */
export function unknownRecord(id: number): PoolVolumeRecord {
  return { id, size: 0, thick: false, snapshotOf: undefined, fence: 0, deleting: false, created: 0 };
}

function openStore(path: string): RootDatabase<Buffer, [number, number]> {
  // overlappingSync would let a transaction be seen before it is on stable media. eventTurnBatching makes promises of its
  // own that nobody can wait for: a full disk would be an unhandled rejection, which ends the process.
  const options = { overlappingSync: false, eventTurnBatching: false };
  return open<Buffer, [number, number]>({ path, encoding: 'binary', maxReaders: 16, ...options });
}

/** LMDB does not sum what it keeps, and a wrong place in a map would read as somebody else's data. */
function sumOf(key: Key, bytes: Uint8Array): number {
  const named = Buffer.alloc(12 + bytes.length);
  named.writeUInt32BE(key[0], 0);
  named.writeUIntBE(key[1], 4, 6);
  named.set(bytes, 12);
  return crc32c(named, 0, named.length);
}

/** The value with its CRC32C, which covers the key too, behind it. */
function seal(key: Key, bytes: Uint8Array): Buffer {
  const sealed = Buffer.alloc(bytes.length + 4);
  sealed.set(bytes);
  sealed.writeUInt32BE(sumOf(key, bytes), bytes.length);
  return sealed;
}

/** Throws ServiceError io-error. */
function unseal(key: Key, sealed: Buffer, what: string): Buffer {
  const bytes = sealed.subarray(0, Math.max(0, sealed.length - 4));
  if (sealed.length < 4 || sealed.readUInt32BE(bytes.length) !== sumOf(key, bytes)) {
    throw new ServiceError('io-error', `the metadata of the pool is damaged: ${what} does not match its checksum`);
  }
  return bytes;
}

function encodeNumbers(numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(numbers.length * 6);
  numbers.forEach((number, i) => bytes.writeUIntBE(number, i * 6, 6));
  return bytes;
}

function decodeNumbers(bytes: Buffer): number[] {
  return Array.from({ length: bytes.length / 6 }, (_, i) => bytes.readUIntBE(i * 6, 6));
}
