// `npm run balance`: two disks that one node of a real cluster serves, under load; after the time a disk stays where it is, one of them is
// moved to the idle node, by the load alone. Takes a quarter of an hour, nearly all of which is that time.
import assert from 'node:assert/strict';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { BALANCE_INTERVAL, BALANCE_LOOKS, BALANCE_REST } from '../../core/base/limits.ts';
import { eventually, withDaemonPair } from '../support/daemon-pair.ts';
import type { Disk } from '../support/daemon.ts';
import { narrator } from '../support/narrator.ts';
import { needs } from '../support/needs.ts';
import { WitnessedWriters } from '../support/witnessed-writer.ts';

const HOST = 'iqn.2026-11.org.example:host';
const NAMES = ['one', 'two'];
/** Milliseconds of load, and of a break after it: there is other work to do on the machine. */
const BURST = 100;
const BREAK = 60;

const missing = needs('etcd', 'etcd-server');
if (missing !== false) {
  console.error(missing);
  process.exit(2);
}
const say = narrator();

interface Balance {
  readonly nodes: readonly { readonly node: string; readonly load: number | null; readonly volumes: number }[];
  readonly last: { readonly volume: string; readonly why: string } | null;
}

await withDaemonPair(async ({ alpha, beta }) => {
  const paths = [alpha, beta].map((each) => {
    const [host = '', port = ''] = (each.portals[0] ?? '').split(':');
    return { host, port: Number(port) };
  });
  const disks: Disk[] = [];
  for (const name of NAMES) disks.push(await alpha.createVolume(name, '64M', ['--replicas', '2', '--map', HOST]));
  const ownerOf = async (name: string): Promise<string> =>
    /Served by +(\w+)/.exec((await alpha.gemel(['replication', 'show', name])).stdout)?.[1] ?? '';
  for (const name of NAMES) {
    await eventually(`alpha serves ${name}, and both have it in step`, async () => {
      const { stdout } = await alpha.gemel(['replication', 'show', name]);
      return /Served by +alpha /.test(stdout) && /In step +2 of 2: /.test(stdout);
    });
  }
  await alpha.gemelJson(['cluster', 'balance', 'on']);
  say('alpha serves both disks, and nothing may move for ten minutes');
  const writers = disks.map(
    ({ iqn, lun }) => new WitnessedWriters({ paths, target: iqn, lun, initiator: HOST, count: 1, blockLength: 512 }),
  );
  try {
    await sleep(BALANCE_REST - BALANCE_INTERVAL);
    for (const name of NAMES) assert.equal(await ownerOf(name), 'alpha', 'it has stayed where it was');
    say('both are written to');
    for (const each of writers) each.takePause();
    let pause = 0;
    const end = Date.now() + BALANCE_INTERVAL * (BALANCE_LOOKS + 6);
    for (let moved = ''; moved === '';) {
      assert.ok(
        Date.now() < end,
        `nothing has moved: ${JSON.stringify(await alpha.gemelJson(['cluster', 'balance']))}`,
      );
      for (let i = 0; i < 50; i++) {
        for (const each of writers) each.start();
        await sleep(BURST);
        for (const each of writers) await each.stop();
        // Breaks of ours are none of the disk's.
        for (const each of writers) pause = Math.max(pause, each.takePause());
        await sleep(BREAK);
        for (const each of writers) each.takePause();
      }
      for (const name of NAMES) if ((await ownerOf(name)) === 'beta') moved = name;
      if (moved === '') continue;
      const { last, nodes } = (await alpha.gemelJson(['cluster', 'balance'])) as Balance;
      assert.equal(last?.volume, moved);
      assert.equal(last.why, 'load');
      const loads = nodes.map(({ load }) => Math.round(load ?? 0)).join(' and ');
      say(
        `${moved} was moved to beta; the nodes carry ${loads}; the longest pause of a host was ${String(Math.round(pause))} ms`,
      );
    }
    for (const each of writers) for (const path of paths.keys()) await each.verify(path);
    say(`${String(writers.reduce((sum, { writes }) => sum + writes, 0))} writes, all there`);
  } finally {
    for (const each of writers) each.close();
  }
});
