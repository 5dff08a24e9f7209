// What somebody wants of a new pool, checked and completed.
import { realpath } from 'node:fs/promises';
import { normalize } from 'node:path';
import { ServiceError } from '../base/errors.ts';
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
import type { NewPool } from '../pool/open.ts';
import { BLOCK, GRAIN } from '../volume/grain.ts';

/** Grains of a slab are a multiple of this many bytes, see Slabs.add. */
export const SLAB_UNIT = 64 * GRAIN;

/** The path as it is to be remembered. Rejects with ServiceError bad-request. */
export async function devicePath(device: string): Promise<string> {
  const wanted = normalize(device);
  const found = await realpath(wanted).catch(() => undefined);
  if (found?.startsWith('/dev/') === true) return wanted;
  throw new ServiceError('bad-request', `${wanted} is not a block device`);
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
