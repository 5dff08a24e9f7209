// What somebody wants of a new pool, checked and completed.
import { statfsSync } from 'node:fs';
import { readdir, realpath, rm } from 'node:fs/promises';
import { isAbsolute, join, normalize } from 'node:path';
import { ServiceError, messageOf } from '../base/errors.ts';
import {
  MAX_FIRST_SLABS,
  MAX_POOL,
  MIN_JOURNAL,
  MIN_POOL,
  POOL_JOURNAL,
  POOL_JOURNAL_SHARE,
  POOL_SLAB,
} from '../base/limits.ts';
import { formatSize } from '../base/sizes.ts';
import type { World } from '../base/world.ts';
import type { NewPool } from '../pool/open.ts';
import { BLOCK, GRAIN } from '../volume/grain.ts';
import type { PoolRecord } from './records.ts';

/** Grains of a slab are a multiple of this many bytes, see Slabs.add. */
export const SLAB_UNIT = 64 * GRAIN;

export interface CreatePool {
  readonly name: string;
  /** Bytes for volumes; undefined only for a device, which is used as a whole. */
  readonly size?: number | undefined;
  /** Absolute; when absent, the pool is in the data folder. */
  readonly folder?: string | undefined;
  readonly device?: string | undefined;
  /** It takes the disks for which nobody names a pool; another one did so before. */
  readonly isDefault?: boolean | undefined;
}

export interface GrowPool {
  /** Of volume data, at least. */
  readonly bytes?: number | undefined;
  /** Another folder (absolute), with room for `bytes`. */
  readonly folder?: string | undefined;
  /** Another device, which is used as a whole. */
  readonly device?: string | undefined;
}

/** The disk a pool is to get. Rejects with ServiceError bad-request. */
export async function newMember(
  { name, kind }: PoolRecord,
  { bytes, folder, device }: GrowPool,
): Promise<{ kind: PoolRecord['kind']; path: string }> {
  if (device !== undefined) {
    if (folder !== undefined) throw new ServiceError('bad-request', 'add a folder or a device, not both');
    if (bytes !== undefined) throw new ServiceError('bad-request', 'a device is used as a whole; leave the size out');
    return { kind: 'device', path: await devicePath(device) };
  }
  if (folder === undefined || !isAbsolute(folder)) throw new ServiceError('bad-request', 'the folder is not absolute');
  if (kind === 'device')
    throw new ServiceError('bad-request', `pool '${name}' is on a device: add another device to it`);
  if (bytes === undefined) throw new ServiceError('bad-request', 'say how much of the folder the pool may use');
  return { kind: 'folder', path: normalize(folder) };
}

/** The path as it is to be remembered. Rejects with ServiceError bad-request. */
export async function devicePath(device: string): Promise<string> {
  const wanted = normalize(device);
  const found = await realpath(wanted).catch(() => undefined);
  if (found?.startsWith('/dev/') === true) return wanted;
  throw new ServiceError('bad-request', `${wanted} is not a block device`);
}

/** Bytes of a device; nobody names another size. Rejects with a ServiceError. */
export async function deviceSize(world: World, path: string, size: number | undefined): Promise<number> {
  if (size !== undefined) throw new ServiceError('bad-request', 'a device is used as a whole; leave the size out');
  // Looked at read-only first, so that nothing that is not a device is ever open for writing.
  const file = await world.disk.open(path, { readOnly: true });
  try {
    if (!file.isDevice) throw new ServiceError('bad-request', `${path} is not a block device`);
    return file.size();
  } finally {
    await file.close();
  }
}

/** Bytes. Throws ServiceError bad-request. */
export function poolSize(size: number | undefined): number {
  if (size === undefined) throw new ServiceError('bad-request', 'the size is missing');
  if (Number.isSafeInteger(size) && size >= MIN_POOL && size <= MAX_POOL) return size;
  throw new ServiceError('bad-request', `a pool has ${formatSize(MIN_POOL)} to ${formatSize(MAX_POOL)}`);
}

/** Journal and slabs of a pool with `size` bytes: as large as they may be, smaller where the pool is small. */
export function planOf(size: number): NewPool {
  const share = Math.floor(size / POOL_JOURNAL_SHARE / BLOCK) * BLOCK;
  const slabs = Math.min(Math.ceil(size / POOL_SLAB), MAX_FIRST_SLABS);
  return {
    size,
    journalBytes: Math.max(MIN_JOURNAL, Math.min(POOL_JOURNAL, share)),
    slabSize: Math.ceil(size / slabs / SLAB_UNIT) * SLAB_UNIT,
  };
}

/** The files of a pool, and nothing else of the folder. Rejects with ServiceError folder-unusable. */
export async function removeFiles(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && ['ENOENT', 'ENOTDIR'].includes(String(error.code)))
      return undefined;
    throw new ServiceError('folder-unusable', `${folder}: ${messageOf(error)}`, { cause: error });
  });
  if (names === undefined) return;
  for (const name of names.filter((each) => /^(journal|slab-\d{5,})$/.test(each))) await rm(join(folder, name));
  // Last: without it the rest is no pool.
  await rm(join(folder, 'superblock'), { force: true });
}

/** Bytes below which a file system counts as full: less than the store of the metadata writes at once. */
const FULL = 1_048_576;

/** True when the file system of the folder has no room left. */
export function isFull(folder: string): boolean {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize < FULL;
}
