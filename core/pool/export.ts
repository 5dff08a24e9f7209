// A pool that is to move to another node takes its metadata with it: in place of the journal, which a pool that was closed
// in an orderly way does not need. The superblock says so; importing puts the metadata into a store again.
//
// Pieces of at most PIECE bytes, each on a block boundary: length, CRC32C, bytes. Together they are entries one behind the
// other: key (4 + 6 bytes), length, value. First comes what the owner of the pool wants to know again (JSON), then the state,
// the volumes with the leaves of their maps, the leaves.
import { crc32c } from '../base/crc32c.ts';
import { ServiceError } from '../base/errors.ts';
import type { DiskFile } from '../base/world.ts';
import { BLOCK } from '../volume/grain.ts';
import type { MetaChange, MetaContent, PoolMeta, PoolState, PoolVolumeRecord } from './pool-meta.ts';

const PIECE = 1_048_576;
const HEAD = 8;
const NOTE = 0;
const STATE = 1;
const VOLUME = 2;
const LEAVES = 3;
const LEAF = 4;
/** Leaves of maps in one commit of the store they are imported into. */
const LEAVES_AT_ONCE = 1024;

const padded = (bytes: number): number => Math.ceil(bytes / BLOCK) * BLOCK;

/** Collects entries into pieces and writes them one behind the other. */
class PieceWriter {
  readonly #file: DiskFile;
  readonly #room: number;
  #piece = Buffer.alloc(padded(HEAD + PIECE));
  #length = 0;
  #position = 0;

  constructor(file: DiskFile, room: number) {
    this.#file = file;
    this.#room = room;
  }

  async put(kind: number, id: number, value: Uint8Array): Promise<void> {
    const head = Buffer.alloc(14);
    head.writeUInt32BE(kind, 0);
    head.writeUIntBE(id, 4, 6);
    head.writeUInt32BE(value.length, 10);
    for (const part of [head, value]) {
      for (let done = 0; done < part.length;) {
        const count = Math.min(part.length - done, PIECE - this.#length);
        this.#piece.set(part.subarray(done, done + count), HEAD + this.#length);
        this.#length += count;
        done += count;
        if (this.#length === PIECE) await this.#write();
      }
    }
  }

  async #write(): Promise<void> {
    const bytes = padded(HEAD + this.#length);
    if (this.#position + bytes > this.#room) {
      throw new ServiceError(
        'no-space',
        'the metadata of the pool does not fit into its journal: delete some snapshots',
      );
    }
    this.#piece.fill(0, HEAD + this.#length, bytes);
    this.#piece.writeUInt32BE(this.#length, 0);
    this.#piece.writeUInt32BE(crc32c(this.#piece, HEAD, HEAD + this.#length), 4);
    await this.#file.write(this.#piece, 0, bytes, this.#position);
    this.#position += bytes;
    this.#length = 0;
  }

  /** Bytes written. */
  async end(): Promise<number> {
    if (this.#length > 0) await this.#write();
    await this.#file.dataSync();
    return this.#position;
  }
}

/** Writes the metadata, and a note of the owner, in place of the journal: bytes it takes there. Rejects with ServiceError. */
export async function writeExport(file: DiskFile, room: number, content: MetaContent, note: object): Promise<number> {
  const writer = new PieceWriter(file, room);
  const json = (value: object): Buffer => Buffer.from(JSON.stringify(value));
  await writer.put(NOTE, 0, json(note));
  await writer.put(STATE, 0, json(content.state));
  const leaves = new Set<number>();
  for (const { record, leaves: map, recordLost } of content.volumes) {
    if (recordLost === true) throw new ServiceError('io-error', `the record of volume ${String(record.id)} is damaged`);
    if (map === undefined) throw new ServiceError('io-error', `the map of volume ${String(record.id)} is damaged`);
    await writer.put(VOLUME, record.id, json(record));
    await writer.put(LEAVES, record.id, json(map));
    for (const id of map) if (id !== 0) leaves.add(id);
  }
  for (const id of leaves) {
    const leaf = content.leaf(id);
    if (leaf === undefined) throw new ServiceError('io-error', `leaf ${String(id)} of a map is missing`);
    await writer.put(LEAF, id, leaf);
  }
  return writer.end();
}

interface Entry {
  readonly kind: number;
  readonly id: number;
  readonly value: Buffer;
}

async function* pieces(file: DiskFile, bytes: number): AsyncGenerator<Buffer> {
  for (let position = 0; position < bytes;) {
    const piece = Buffer.alloc(Math.min(padded(HEAD + PIECE), bytes - position));
    await file.read(piece, 0, piece.length, position);
    const length = piece.readUInt32BE(0);
    const end = HEAD + length;
    if (end > piece.length || piece.readUInt32BE(4) !== crc32c(piece, HEAD, end)) {
      throw new ServiceError('io-error', `the exported metadata of the pool is damaged at byte ${String(position)}`);
    }
    yield piece.subarray(HEAD, end);
    position += padded(end);
  }
}

async function* entries(file: DiskFile, bytes: number): AsyncGenerator<Entry> {
  let rest = Buffer.alloc(0);
  for await (const piece of pieces(file, bytes)) {
    rest = Buffer.concat([rest, piece]);
    while (rest.length >= 14) {
      const length = rest.readUInt32BE(10);
      if (rest.length < 14 + length) break;
      const value = Buffer.from(rest.subarray(14, 14 + length));
      yield { kind: rest.readUInt32BE(0), id: rest.readUIntBE(4, 6), value };
      rest = rest.subarray(14 + length);
    }
  }
  if (rest.length > 0) throw new ServiceError('io-error', 'the exported metadata of the pool ends too early');
}

/** The note of the owner, and the state of the pool. Rejects with ServiceError io-error. */
export async function readNote(file: DiskFile, bytes: number): Promise<{ note: unknown; state: PoolState }> {
  let note: unknown;
  for await (const { kind, value } of entries(file, bytes)) {
    if (kind === NOTE) note = JSON.parse(value.toString());
    else if (kind === STATE) return { note, state: JSON.parse(value.toString()) as PoolState };
  }
  throw new ServiceError('io-error', 'the exported metadata of the pool says nothing of the pool');
}

/** Puts exported metadata into an empty store, with this state. Rejects with ServiceError io-error. */
export async function readExport(file: DiskFile, bytes: number, meta: PoolMeta, state: PoolState): Promise<void> {
  const records = new Map<number, PoolVolumeRecord>();
  let volumes: MetaChange['volumes'][number][] = [];
  let leaves: (readonly [number, Buffer])[] = [];
  const commit = async (): Promise<void> => {
    await meta.commit({ state, volumes, leaves });
    volumes = [];
    leaves = [];
  };
  for await (const { kind, id, value } of entries(file, bytes)) {
    if (kind === VOLUME) records.set(id, JSON.parse(value.toString()) as PoolVolumeRecord);
    else if (kind === LEAVES) {
      volumes.push({ id, record: records.get(id), leaves: JSON.parse(value.toString()) as number[] });
    } else if (kind === LEAF && leaves.push([id, value]) === LEAVES_AT_ONCE) await commit();
  }
  await commit();
}
