// kill -9 of a process that writes to a real pool in a folder, then a look at what it had acknowledged.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog } from '../../core/base/log.ts';
import { checkPool } from '../../core/pool/check.ts';
import { createPool, openPool } from '../../core/pool/open.ts';
import type { PoolPlace } from '../../core/pool/open.ts';
import { FolderFiles } from '../../core/pool/pool-files.ts';
import { LmdbMeta } from '../../core/pool/pool-meta.ts';
import { Durability } from '../../core/volume/volume.ts';
import { nodeWorld } from '../../core/world/node-world.ts';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { projectFile } from '../support/project.ts';
import { Record, seeded, versions } from './record.ts';

const MIB = 1_048_576;
const SIZE = 8 * MIB;
const START_LIMIT = 30_000;
/** Writes that are acknowledged before it is killed. */
const LEAST = 20;

/** Runs the process until it is killed, `patience` milliseconds after it began to write at the earliest; takes note of what it said. */
async function runAndKill(
  folder: string,
  seed: number,
  patience: number,
  records: Map<number, Record>,
): Promise<number> {
  const worker = projectFile('dist', 'test', 'crash', 'worker.js');
  const child = spawn(process.execPath, [worker, folder, String(seed)], { stdio: ['ignore', 'pipe', 'pipe'] });
  const forget = atExit(() => child.kill('SIGKILL'));
  let said = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const closed = once(child, 'close');
  for (let waited = 0; !said.startsWith('ready') && child.exitCode === null && waited < START_LIMIT; waited += 10)
    await sleep(10);
  await sleep(patience);
  // A slow machine gets the time it needs.
  const acknowledged = (): number => said.split('\n').filter((line) => /^\d/.test(line)).length;
  for (let waited = 0; acknowledged() < LEAST && child.exitCode === null && waited < START_LIMIT; waited += 10)
    await sleep(10);
  assert.equal(child.exitCode, null, `the process ended by itself: ${errors}`);
  child.kill('SIGKILL');
  await closed;
  forget();
  const lines = said.split('\n').slice(1, -1);
  assert.ok(said.startsWith('ready'), errors);
  for (const line of lines) {
    const sent = line.startsWith('> ');
    const [id = 0, first = 0, count = 0, version = 0] = line
      .slice(sent ? 2 : 0)
      .split(' ')
      .map(Number);
    const record = records.get(id);
    if (sent) record?.begin(first, count, version);
    else record?.end(first, count, version);
  }
  return lines.filter((line) => !line.startsWith('>')).length;
}

async function verify(place: PoolPlace, records: Map<number, Record>): Promise<void> {
  const { pool } = await openPool(place);
  assert.deepEqual(checkPool(pool).findings, []);
  const bytes = Buffer.alloc(SIZE);
  for (const [id, record] of records) {
    const volume = pool.open(id, { blockSize: 512, durability: Durability.durable, readOnly: true });
    await volume.read(0, SIZE, bytes, 0);
    versions(bytes, `volume ${String(id)}`).forEach((version, sector) => {
      const allowed = record.allowed(sector);
      assert.ok(
        allowed.has(version),
        `volume ${String(id)}, sector ${String(sector)}: ${String(version)}, allowed ${[...allowed].join(' ')}`,
      );
      if (version !== 0 || record.value(sector) !== 0) record.decided(sector, version);
    });
    record.underWay.clear();
    await volume.close();
  }
  await pool.close();
}

/** Kills `rounds` processes one after the other; returns how many writes were acknowledged. */
export async function killRounds(seed: number, rounds: number, progress?: (round: number) => void): Promise<number> {
  const { path, remove } = temporaryFolder('kill');
  try {
    const world = await nodeWorld();
    const folder = `${path}/pool`;
    const place: PoolPlace = {
      world,
      files: new FolderFiles(world, folder),
      meta: () => new LmdbMeta(`${folder}/meta`),
      log: silentLog,
    };
    await createPool(place, { size: 64 * MIB, journalBytes: 16 * MIB, slabSize: 32 * MIB });
    const { pool } = await openPool(place);
    const records = new Map<number, Record>();
    for (let i = 0; i < 3; i++)
      records.set(await pool.create({ size: SIZE, thick: i === 1, created: 0 }), new Record());
    await pool.close();
    const random = seeded(seed);
    let acknowledged = 0;
    for (let round = 1; round <= rounds; round++) {
      acknowledged += await runAndKill(folder, (seed % 1000) + round, 50 + Math.floor(random() * 500), records);
      await verify(place, records);
      progress?.(round);
    }
    return acknowledged;
  } finally {
    remove();
  }
}
