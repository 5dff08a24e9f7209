// The disks of a pool besides the one that has its superblock and journal: further folders and devices with slabs. Each says
// in a header which pool it belongs to, so that a disk that is missing or another one in its place is noticed.
import { crc32c } from '../base/crc32c.ts';
import { ServiceError, messageOf } from '../base/errors.ts';
import type { DiskFile, World } from '../base/world.ts';
import { BLOCK } from '../volume/grain.ts';
import { VolumeError } from '../volume/volume.ts';
import { isDiskFull } from './disk-error.ts';
import { FORMAT_VERSION } from './format.ts';
import { DeviceFiles, FolderFiles } from './pool-files.ts';
import type { PoolFiles } from './pool-files.ts';
import type { Pool } from './pool.ts';
import type { MemberRecord, SlabRecord } from './pool-meta.ts';
import type { Slab } from './slabs.ts';
import { refuseSuperblock } from './superblocks.ts';

const MAGIC = 'GEMELMEMBER';
const CRC_AT = BLOCK - 4;

/** What a member says of itself. */
interface MemberHeader {
  readonly poolId: Buffer;
  readonly index: number;
}

function encodeHeader({ poolId, index }: MemberHeader): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  bytes.write(MAGIC, 'latin1');
  bytes.writeUInt32BE(FORMAT_VERSION, 12);
  poolId.copy(bytes, 16, 0, 16);
  bytes.writeUInt32BE(index, 32);
  bytes.writeUInt32BE(crc32c(bytes, 0, CRC_AT), CRC_AT);
  return bytes;
}

function decodeHeader(bytes: Buffer): MemberHeader | undefined {
  if (bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) return undefined;
  if (bytes.readUInt32BE(CRC_AT) !== crc32c(bytes, 0, CRC_AT)) return undefined;
  return { poolId: Buffer.from(bytes.subarray(16, 32)), index: bytes.readUInt32BE(32) };
}

async function readHeader(files: PoolFiles): Promise<MemberHeader | undefined> {
  const file = await files.header();
  try {
    const bytes = Buffer.alloc(BLOCK);
    if (file.size() >= BLOCK) await file.read(bytes, 0, BLOCK, 0);
    return decodeHeader(bytes);
  } finally {
    await file.close();
  }
}

async function writeHeader(files: PoolFiles, header: MemberHeader | undefined): Promise<void> {
  const file = await files.header(true);
  try {
    await file.write(header === undefined ? Buffer.alloc(BLOCK) : encodeHeader(header), 0, BLOCK, 0);
    await file.dataSync();
  } finally {
    await file.close();
  }
}

const filesOf = (world: World, { kind, path }: Pick<MemberRecord, 'kind' | 'path'>): PoolFiles =>
  kind === 'device' ? new DeviceFiles(world, path) : new FolderFiles(world, path);

/** Which member of which pool is there; undefined: none. Rejects with a ServiceError when nobody can look. */
export async function memberAt(
  world: World,
  place: Pick<MemberRecord, 'kind' | 'path'>,
): Promise<MemberHeader | undefined> {
  const files = filesOf(world, place);
  try {
    return await readHeader(files);
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'not-found') return undefined;
    throw error;
  } finally {
    await files.close();
  }
}

/** Is a member of some pool there? Rejects with a ServiceError when nobody can look. */
export async function isMember(world: World, place: Pick<MemberRecord, 'kind' | 'path'>): Promise<boolean> {
  return (await memberAt(world, place)) !== undefined;
}

/** Rejects with ServiceError exists where a member of a pool is. */
export async function refuseMember(files: PoolFiles): Promise<void> {
  const found = await readHeader(files).catch(() => undefined);
  if (found !== undefined) throw new ServiceError('exists', `${files.name} is a part of a pool already`);
}

/** Makes the places members of the pool no more; what is in them is lost. Places that are not (any more) are left alone. */
export async function eraseMembers(
  world: World,
  poolId: Buffer,
  members: readonly MemberRecord[],
  slabs: readonly SlabRecord[],
): Promise<void> {
  for (const member of members) {
    const found = await memberAt(world, member);
    if (found?.poolId.equals(poolId) !== true || found.index !== member.index) continue;
    const files = filesOf(world, member);
    try {
      await files.removeSlabs(slabs.filter((slab) => slab.member === member.index));
      await writeHeader(files, undefined);
      await files.removeHeader();
    } finally {
      await files.close();
    }
  }
}

/** What keeps a pool from growing, as a ServiceError when it is the disk. */
function growError(error: unknown): unknown {
  const what = 'the pool could not be made larger';
  if (isDiskFull(error)) return new ServiceError('no-space', `${what}: its disk is full`, { cause: error });
  if (error instanceof ServiceError || error instanceof VolumeError) return error;
  return new ServiceError('io-error', `${what}: ${messageOf(error)}`, { cause: error });
}

/** All disks of an open pool. */
export class PoolDisks {
  readonly #world: World;
  readonly #main: PoolFiles;
  readonly poolId: Buffer;
  readonly #journalBytes: number;
  /** Grains of a slab in a folder. */
  readonly #slabGrains: number;
  readonly #members = new Map<number, PoolFiles>();

  constructor(
    world: World,
    main: PoolFiles,
    facts: { readonly poolId: Buffer; readonly journalBytes: number; readonly slabGrains: number },
  ) {
    this.#world = world;
    this.#main = main;
    this.poolId = facts.poolId;
    this.#journalBytes = facts.journalBytes;
    this.#slabGrains = facts.slabGrains;
  }

  /** Finds the members. Rejects with ServiceError io-error that names the one that is missing or is not what it should be. */
  async open(members: readonly MemberRecord[]): Promise<void> {
    for (const member of members) {
      const files = filesOf(this.#world, member);
      this.#members.set(member.index, files);
      const which = `part ${String(member.index)} of the pool, ${member.path},`;
      let found: MemberHeader | undefined;
      try {
        found = await readHeader(files);
      } catch (error) {
        throw new ServiceError('io-error', `${which} is missing: ${messageOf(error)}`, { cause: error });
      }
      if (found === undefined) throw new ServiceError('io-error', `${which} is missing: no part of a pool is there`);
      if (!found.poolId.equals(this.poolId)) {
        throw new ServiceError('io-error', `${which} is missing: what is there belongs to another pool`);
      }
      if (found.index === member.index) continue;
      throw new ServiceError('io-error', `${which} is missing: part ${String(found.index)} is there`);
    }
  }

  #files(member: number): PoolFiles {
    const files = member === 0 ? this.#main : this.#members.get(member);
    if (files === undefined) throw new ServiceError('io-error', `the pool has no part ${String(member)}`);
    return files;
  }

  slab({ name, grains, member = 0 }: SlabRecord): Promise<DiskFile> {
    return this.#files(member).slab(name, grains, member === 0 ? this.#journalBytes : 0);
  }

  async #makeSlab(slabs: readonly SlabRecord[], member: number): Promise<{ slab: Slab; record: SlabRecord }> {
    const files = this.#files(member);
    const journalBytes = member === 0 ? this.#journalBytes : 0;
    const present = slabs.filter((slab) => (slab.member ?? 0) === member);
    const made = await files.makeSlab(slabs.length, this.#slabGrains, journalBytes, present).catch((error: unknown) => {
      throw growError(error);
    });
    const file = await files.slab(made.name, made.grains, journalBytes);
    const record = member === 0 ? made : { ...made, member };
    return { slab: { file, position: 0, grains: made.grains }, record };
  }

  /**
   * Adds a slab where it is needed most: to the folder that has the fewest of them, or to a device that has grown. Rejects
   * with a ServiceError when there is no folder and no device has grown.
   */
  async grow(pool: Pool): Promise<void> {
    const load = new Map<number, number>([0, ...this.#members.keys()].map((index) => [index, 0]));
    for (const { grains, member = 0 } of pool.slabRecords) load.set(member, (load.get(member) ?? 0) + grains);
    const folders = [...load].filter(([index]) => !this.#files(index).isDevice).sort((a, b) => a[1] - b[1]);
    const [emptiest] = folders;
    if (emptiest !== undefined) {
      await this.#give(pool, emptiest[0], await this.#makeSlab(pool.slabRecords, emptiest[0]));
      return;
    }
    if (await this.useGrown(pool)) return;
    throw new ServiceError(
      'bad-request',
      'the pool has all of its devices already: add another one, or make one larger',
    );
  }

  /** The pool has the slab when it resolves. When the disk is too full to note that, the slab goes again. */
  async #give(pool: Pool, member: number, made: { readonly slab: Slab; readonly record: SlabRecord }): Promise<void> {
    try {
      await pool.grow([made]);
    } catch (error) {
      await made.slab.file.close().catch(() => undefined);
      // Else nobody knows whether the pool has it.
      if (pool.trouble === undefined)
        await this.#files(member)
          .removeSlabs([made.record])
          .catch(() => undefined);
      throw growError(error);
    }
  }

  /** Takes what devices have become larger by. False: none has. */
  async useGrown(pool: Pool): Promise<boolean> {
    let any = false;
    for (const index of [0, ...this.#members.keys()]) {
      if (!this.#files(index).isDevice) continue;
      const made = await this.#makeSlab(pool.slabRecords, index).catch((error: unknown) => {
        if (error instanceof ServiceError && error.code === 'bad-request') return undefined;
        throw error;
      });
      if (made === undefined) continue;
      await this.#give(pool, index, made);
      any = true;
    }
    return any;
  }

  /** Adds a folder with room for `bytes` of volume data, or a whole device. Rejects with a ServiceError. */
  async add(pool: Pool, kind: MemberRecord['kind'], path: string, bytes: number): Promise<void> {
    const index = Math.max(0, ...this.#members.keys()) + 1;
    const files = filesOf(this.#world, { kind, path });
    const made: { slab: Slab; record: SlabRecord }[] = [];
    try {
      await files.prepare();
      await this.#refuseTaken(files);
      this.#members.set(index, files);
      const count = kind === 'device' ? 1 : files.slabCount(bytes, this.#slabGrains);
      for (let i = 0; i < count; i++) {
        made.push(await this.#makeSlab([...pool.slabRecords, ...made.map(({ record }) => record)], index));
      }
      await writeHeader(files, { poolId: this.poolId, index });
      // The pool has the part when this is committed. A crash before leaves a header that the pool does not know.
      await pool.grow(made, { index, kind, path });
    } catch (error) {
      this.#members.delete(index);
      for (const { slab } of made) await slab.file.close().catch(() => undefined);
      await files.close().catch(() => undefined);
      // Else nobody knows whether the pool has it.
      if (pool.trouble === undefined) await this.#undo({ index, kind, path }, made);
      throw growError(error);
    }
  }

  /** Removes what was made of a member that is none; what cannot be removed is in nobody's way. */
  async #undo(member: MemberRecord, made: readonly { readonly record: SlabRecord }[]): Promise<void> {
    const files = filesOf(this.#world, member);
    await files.removeSlabs(made.map(({ record }) => record)).catch(() => undefined);
    const slabs: SlabRecord[] = [];
    await eraseMembers(this.#world, this.poolId, [member], slabs).catch(() => undefined);
  }

  /** A part that was prepared for this pool and never became one, because of a crash, is nobody's. */
  async #refuseTaken(files: PoolFiles): Promise<void> {
    if (files.isDevice) {
      const superblock = await files.superblock();
      await refuseSuperblock(superblock, files.name);
    }
    const found = await readHeader(files).catch(() => undefined);
    if (found === undefined) return;
    const own = found.poolId.equals(this.poolId);
    if (own && !this.#members.has(found.index)) return;
    const whose = own ? 'this pool already' : 'another pool';
    throw new ServiceError('exists', `${files.name} is part ${String(found.index)} of ${whose}`);
  }

  async close(): Promise<void> {
    for (const files of [this.#main, ...this.#members.values()]) await files.close();
  }
}
