// A pool in a folder of a real disk, and maps of any size in it: the grains and the maps are really there, the data of most
// of them was never written.
import { silentLog } from '../../core/base/log.ts';
import type { Log } from '../../core/base/log.ts';
import type { World } from '../../core/base/world.ts';
import { createPool, openPool } from '../../core/pool/open.ts';
import type { PoolPlace } from '../../core/pool/open.ts';
import { FolderFiles } from '../../core/pool/pool-files.ts';
import { LmdbMeta } from '../../core/pool/pool-meta.ts';
import { Places } from '../../core/pool/places.ts';
import type { Pool } from '../../core/pool/pool.ts';
import { ALL_BLOCKS, GRAIN } from '../../core/volume/grain.ts';
import { Durability } from '../../core/volume/volume.ts';

export const MIB = 1_048_576;
export const GIB = 1_073_741_824;
/** Grains that one record of the journal maps here. */
const STEP = 2048;

export function placeOf(world: World, folder: string, log: Log = silentLog): PoolPlace {
  return { world, log, files: new FolderFiles(world, folder), meta: () => new LmdbMeta(`${folder}/metadata`) };
}

/** A new pool with room for `size` bytes, open. */
export async function freshPool(world: World, folder: string, size: number, journalBytes: number): Promise<Pool> {
  await createPool(placeOf(world, folder), { size, journalBytes, slabSize: Math.min(size, 1024 * GIB) });
  return (await openPool(placeOf(world, folder))).pool;
}

/**
 * A thin volume of `bytes`, every grain of which is a grain of the pool that nobody else has. The first 16 MiB are written
 * with data; for the others only the journal and the map are. Everything is in the metadata when it resolves.
 */
export async function mappedVolume(pool: Pool, bytes: number): Promise<number> {
  const id = await pool.create({ size: bytes, thick: false, created: 0 });
  const volume = pool.open(id, { blockSize: 512, durability: Durability.durable, readOnly: false });
  const written = Math.min(bytes, 16 * MIB);
  const data = Buffer.alloc(MIB);
  for (let at = 0; at < written; at += MIB) {
    data.fill((at / MIB) % 255, 0, MIB);
    data.writeUInt32BE(1 + at / MIB, 0);
    await volume.write(at, data, 0, MIB);
  }
  const grains = bytes / GRAIN;
  for (let next = written / GRAIN; next < grains;) {
    const run = pool.allocator.allocateRun(Math.min(STEP, grains - next));
    const places = new Places(run.count);
    for (let i = 0; i < run.count; i++) places.put(i, run.first + i + 1, ALL_BLOCKS);
    while (!volume.setPlaces(next, places)) await volume.room();
    next += run.count;
  }
  await volume.stable();
  await volume.close();
  await pool.checkpoint();
  return id;
}
