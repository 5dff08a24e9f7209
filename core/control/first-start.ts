// The first start on an empty data folder: a pool in it, and a disk to try things with.
import { statfs } from 'node:fs/promises';
import { ServiceError } from '../base/errors.ts';
import {
  FIRST_POOL_SPARE,
  MAX_FIRST_POOL,
  MIN_JOURNAL,
  MIN_POOL,
  POOL_JOURNAL,
  POOL_JOURNAL_SHARE,
} from '../base/limits.ts';
import { formatSize } from '../base/sizes.ts';
import type { Catalog } from './catalog.ts';
import { SLAB_UNIT } from './pool-plan.ts';
import type { PoolManager } from './pools.ts';
import type { Provisioner } from './provision.ts';
import { LOOPBACK } from './records.ts';

/** Name of the pool that is made at the first start. */
export const FIRST_POOL = 'pool0';

export interface FirstStart {
  readonly catalog: Catalog;
  readonly pools: PoolManager;
  readonly provisioner: Provisioner;
  /** The data folder. */
  readonly folder: string;
  /** Bytes of the demo disk; undefined: neither a pool nor a disk is made. */
  readonly demoSize: number | undefined;
  /** Bytes of the pool; undefined: what the file system has. */
  readonly poolSize: number | undefined;
}

/** Makes pool and disk, once in the life of a data folder; one that a crash interrupted goes on. Rejects with ServiceError. */
export async function firstStart({ catalog, pools, provisioner, ...wanted }: FirstStart): Promise<void> {
  if (catalog.node.initialized) return;
  if (wanted.demoSize !== undefined && catalog.volumes.size === 0) {
    if (catalog.pools.size === 0) {
      const size = wanted.poolSize ?? sizeFor(await freeBytes(wanted.folder), wanted.folder);
      await pools.create({ name: FIRST_POOL, size, isDefault: true });
    }
    await provisioner.create({ name: 'demo', size: wanted.demoSize, maps: [{ who: LOOPBACK, readOnly: false }] });
  }
  await catalog.setInitialized();
}

/** Bytes this user can still write. */
async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/**
 * Bytes of a pool that leaves a tenth of `free` to others: it is to be full before its file system is, for initiators are
 * told of the one in time and of the other when it is too late. Throws ServiceError no-space.
 */
export function sizeFor(free: number, folder: string): number {
  const usable = free - Math.ceil(free / FIRST_POOL_SPARE);
  const journal = Math.max(MIN_JOURNAL, Math.min(POOL_JOURNAL, Math.floor(usable / POOL_JOURNAL_SHARE)));
  // A checksum of four bytes for each block of 4096 bytes.
  const room = Math.floor(((usable - journal) * 1024) / 1025);
  const size = Math.min(Math.floor(room / SLAB_UNIT) * SLAB_UNIT, MAX_FIRST_POOL);
  if (size >= MIN_POOL) return size;
  const what = `the file system of ${folder} has ${formatSize(free)} left, which is too little for a pool`;
  throw new ServiceError('no-space', `${what} (start with --no-demo to make none)`);
}
