// What depends on the size of the maps alone: clones of small and large volumes, and opening a pool with very many mapped
// grains. Started by pool.ts as a process of its own: `pool-maps.js clone FOLDER REPS`, `make FOLDER
// BYTES` or `open FOLDER`.
import { readFileSync } from 'node:fs';
import { openPool } from '../../core/pool/open.ts';
import { LmdbMeta } from '../../core/pool/pool-meta.ts';
import type { PoolState } from '../../core/pool/pool-meta.ts';
import { LEAF_GRAINS } from '../../core/pool/format.ts';
import { Leaf } from '../../core/pool/volume-map.ts';
import { ALL_BLOCKS, GRAIN } from '../../core/volume/grain.ts';
import { nodeWorld } from '../../core/world/node-world.ts';
import { GIB, MIB, freshPool, mappedVolume, placeOf } from './pool-fixture.ts';

export interface CloneTimes {
  /** Milliseconds. */
  readonly small: readonly number[];
  readonly large: readonly number[];
}

export interface OpenCost {
  /** Milliseconds. */
  readonly took: number;
  /** MiB of anonymous memory, and of mapped files, more than before opening; and grains that are in use. */
  readonly anonymous: number;
  readonly mapped: number;
  readonly grains: number;
}

const JOURNAL = 64 * MIB;

/** Clones of 1 GiB and of 100 GiB in turn, in one pool. */
async function clones(folder: string, reps: number): Promise<CloneTimes> {
  const world = await nodeWorld();
  const pool = await freshPool(world, folder, 128 * GIB, JOURNAL);
  const small = await mappedVolume(pool, GIB);
  const large = await mappedVolume(pool, 100 * GIB);
  const time = async (id: number): Promise<number> => {
    const begun = performance.now();
    const [clone] = await pool.copy([id], true, 0);
    const took = performance.now() - begun;
    if (clone === undefined || pool.entry(clone).map.blocks !== pool.entry(id).map.blocks) {
      throw new Error('the clone is not like its source');
    }
    return took;
  };
  const times = { small: [] as number[], large: [] as number[] };
  for (let i = 0; i < reps; i++) {
    times.small.push(await time(small));
    times.large.push(await time(large));
  }
  await pool.close();
  return times;
}

/** Makes a pool with `bytes` mapped, by writing its metadata as a commit would. */
async function makeMapped(folder: string, bytes: number): Promise<void> {
  const world = await nodeWorld();
  const pool = await freshPool(world, folder, bytes + GIB, JOURNAL);
  const id = await pool.create({ size: bytes, thick: false, created: 0 });
  await pool.close();
  const meta = new LmdbMeta(`${folder}/metadata`);
  const content = meta.load();
  const record = content?.volumes[0]?.record;
  if (content === undefined || record === undefined) throw new Error('the volume is not in the metadata');
  const count = Math.ceil(bytes / GRAIN / LEAF_GRAINS);
  let state: PoolState = content.state;
  for (let next = 0; next < count;) {
    const leaves: [number, Buffer][] = [];
    for (; leaves.length < 1024 && next < count; next++) {
      const leaf = new Leaf(next + 1);
      for (let i = 0; i < LEAF_GRAINS; i++) leaf.places[i] = next * LEAF_GRAINS + i + 1;
      leaf.valid.fill(ALL_BLOCKS);
      leaves.push([leaf.id, leaf.encode()]);
    }
    state = { ...state, nextLeaf: next + 1 };
    const ids = next < count ? undefined : Array.from({ length: count }, (_, i) => i + 1);
    await meta.commit({ state, volumes: [{ id, record, leaves: ids }], leaves });
  }
  await meta.close();
}

function memory(): { anonymous: number; mapped: number } {
  globalThis.gc?.();
  const status = readFileSync('/proc/self/status', 'latin1');
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) / 1024;
  return { anonymous: of('RssAnon'), mapped: of('RssFile') };
}

async function opening(folder: string): Promise<OpenCost> {
  const world = await nodeWorld();
  const before = memory();
  const begun = performance.now();
  const { pool } = await openPool(placeOf(world, folder));
  const took = performance.now() - begun;
  const after = memory();
  const grains = pool.allocator.used;
  await pool.close();
  return {
    took,
    anonymous: after.anonymous - before.anonymous,
    mapped: after.mapped - before.mapped,
    grains,
  };
}

const [what, folder = '', number = '0'] = process.argv.slice(2);
// Imported for its types alone it does nothing.
if (process.argv[1]?.endsWith('pool-maps.js') === true) {
  let result: object = {};
  if (what === 'clone') result = await clones(folder, Number(number));
  else if (what === 'make') await makeMapped(folder, Number(number));
  else result = await opening(folder);
  console.log(JSON.stringify(result));
}
