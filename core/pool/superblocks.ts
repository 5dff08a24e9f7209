// Reading and writing the two copies of the superblock.
import { ServiceError } from '../base/errors.ts';
import type { DiskFile } from '../base/world.ts';
import { BLOCK } from '../volume/grain.ts';
import { chooseSuperblock, encodeSuperblock } from './format.ts';
import type { Superblock } from './format.ts';
import type { PoolFiles } from './pool-files.ts';

/** What there is instead of a pool: nothing, or something that is none. */
const NO_POOL: ReadonlySet<string> = new Set(['not-found', 'io-error']);

/** Even serial numbers go to the first copy, odd ones to the second: the other one stays whole. */
export async function writeSuperblock(file: DiskFile, superblock: Superblock): Promise<void> {
  await file.write(encodeSuperblock(superblock), 0, BLOCK, (superblock.serial % 2) * BLOCK);
  await file.dataSync();
}

/** The copy that counts. Rejects with ServiceError when both are damaged, or of a newer format. */
export async function readSuperblock(file: DiskFile): Promise<Superblock> {
  const copies: Buffer[] = [];
  for (const position of [0, BLOCK]) {
    const bytes = Buffer.alloc(BLOCK);
    await file.read(bytes, 0, BLOCK, position).catch(() => undefined);
    copies.push(bytes);
  }
  return chooseSuperblock(copies);
}

/** Rejects with ServiceError exists where there is a superblock, also one of a newer format. */
export async function refuseSuperblock(file: DiskFile, name: string): Promise<void> {
  const found = await readSuperblock(file).catch((error: unknown) =>
    error instanceof ServiceError && error.code === 'newer-format' ? error : undefined,
  );
  if (found !== undefined) throw new ServiceError('exists', `${name} holds a pool already`);
}

/** Identity of the pool in this place, which is closed; undefined: there is none. Rejects with ServiceError, also newer-format. */
export async function poolIdAt(files: PoolFiles): Promise<Buffer | undefined> {
  try {
    const file = await files.superblock();
    try {
      return (await readSuperblock(file)).poolId;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof ServiceError && NO_POOL.has(error.code)) return undefined;
    throw error;
  } finally {
    await files.close();
  }
}
