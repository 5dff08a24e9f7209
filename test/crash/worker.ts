// A process with a real pool that is killed: `worker.js FOLDER SEED`. Several hosts write; every acknowledgement is a line of
// standard output: volume, first sector, sectors, version. What is sent is a line with a `>` before it.
import { writeSync } from 'node:fs';
import { silentLog } from '../../core/base/log.ts';
import { CachedVolume } from '../../core/cache/cached-volume.ts';
import { L1Cache } from '../../core/cache/l1-cache.ts';
import { openPool } from '../../core/pool/open.ts';
import { FolderFiles } from '../../core/pool/pool-files.ts';
import { LmdbMeta } from '../../core/pool/pool-meta.ts';
import { Durability } from '../../core/volume/volume.ts';
import { nodeWorld } from '../../core/world/node-world.ts';
import { GRAIN, SECTOR, seeded, stamp } from './record.ts';

const HOSTS = 4;
const [folder = '', seedText = '1'] = process.argv.slice(2);
const random = seeded(Number(seedText));
const pick = (limit: number): number => Math.floor(random() * limit);
const world = await nodeWorld();
const meta = (): LmdbMeta => new LmdbMeta(`${folder}/meta`);
const { pool } = await openPool({ world, files: new FolderFiles(world, folder), meta, log: silentLog });
const cache = new L1Cache(32 * GRAIN, 16 * GRAIN);
const volumes = [...pool.entries.values()]
  .filter(({ record }) => record.snapshotOf === undefined)
  .map(({ record: { id, size } }) => {
    const options = { blockSize: 512, durability: Durability.durable, readOnly: false };
    return { id, size, volume: new CachedVolume(pool.open(id, options), cache, world.clock) };
  });
/** The line is with the reader, or at least with the kernel, when it returns: a killed process says nothing more. */
const say = (text: string): void => {
  writeSync(1, `${text}\n`);
};
say('ready');
// Versions of another life are not used again.
let version = Number(seedText) * 1_000_000;

async function host(number: number): Promise<never> {
  for (;;) {
    const { id, size, volume } = volumes[pick(volumes.length)] as (typeof volumes)[0];
    const lot = size / HOSTS;
    const large = random() < 0.1;
    const first =
      (large ? number * lot + pick(lot / GRAIN - 2) * GRAIN : number * lot + pick(lot / SECTOR - 16) * SECTOR) / SECTOR;
    const count = large ? 256 : 1 + pick(15);
    const clear = random() < 0.1;
    const mine = clear ? 0 : version++;
    say(`> ${String(id)} ${String(first)} ${String(count)} ${String(mine)}`);
    if (clear) await volume.unmap(first * SECTOR, count * SECTOR);
    else await volume.write(first * SECTOR, stamp(mine, count), 0, count * SECTOR, false);
    say(`${String(id)} ${String(first)} ${String(count)} ${String(mine)}`);
  }
}

async function administrator(): Promise<never> {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 20 + pick(60)));
    if (random() < 0.3) await pool.checkpoint();
    const { id } = volumes[pick(volumes.length)] as (typeof volumes)[0];
    const [copy] = (await pool.copy([id], false, 0)) as [number];
    await pool.delete(copy);
  }
}

await Promise.all([administrator(), ...Array.from({ length: HOSTS }, (_, number) => host(number))]);
