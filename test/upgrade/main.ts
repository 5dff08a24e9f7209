// `npm run upgrade -- [COMMIT]`: a real cluster of an earlier commit is upgraded to this checkout, one node after the other, while a
// host writes and reads all the time. Builds the earlier commit in a temporary folder first; takes some minutes.
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { withDaemonPair } from '../support/daemon-pair.ts';
import type { Daemon } from '../support/daemon.ts';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { withHost } from '../support/gateways.ts';
import { narrator } from '../support/narrator.ts';
import { needsAll } from '../support/needs.ts';
import { runOk } from '../support/process.ts';
import { projectFile, projectRoot } from '../support/project.ts';

/** The last commit whose nodes speak version 1 of the messages only. */
const VERSION_1 = '3bbd944';
const SLOW = { timeoutMs: 600_000 };

const missing = needsAll(['git', 'git'], ['etcd', 'etcd-server']);
if (missing !== false) {
  console.error(missing);
  process.exit(2);
}
const [commit = VERSION_1] = process.argv.slice(2);
const say = narrator();
const folder = temporaryFolder('upgrade');
const forget = atExit(folder.remove);
const old = join(folder.path, 'old');
try {
  await runOk('git', ['clone', '--quiet', '--shared', '--no-checkout', projectRoot, old], SLOW);
  await runOk('git', ['-C', old, 'checkout', '--quiet', commit], SLOW);
  const [before, now] = await Promise.all(
    [old, projectRoot].map((at) => runOk('git', ['hash-object', join(at, 'package-lock.json')])),
  );
  // The same packages need not be fetched again.
  if (before?.stdout === now?.stdout) symlinkSync(projectFile('node_modules'), join(old, 'node_modules'));
  await runOk(process.execPath, [join(old, 'scripts', 'build.mjs')], SLOW);
  say(`${commit} is built`);
  await withDaemonPair(
    async (pair) => {
      const { alpha, beta } = pair;
      say('two nodes of it and a witness are up');
      await withHost([alpha, beta], ['--replicas', '2'], async ({ round, inSync, writers, owner }) => {
        await inSync();
        const upgrade = async (node: Daemon): Promise<void> => {
          await node.stop();
          node.project = projectRoot;
          await node.start();
        };
        const step = async (what: string, work: () => Promise<void>): Promise<void> => {
          const pause = await round(work, () => undefined);
          say(`${what}: longest pause ${String(pause)} ms, ${String(writers.writes)} writes so far, all there`);
        };
        const handOver = async (to: 'alpha' | 'beta'): Promise<void> => {
          await inSync();
          const from = await owner();
          if ((from === alpha) === (to === 'alpha')) return;
          await from.gemelJson(['volume', 'hand-over', 'imaged', '--to', to]);
        };
        await step('alpha serves it', () => handOver('alpha'));
        await step('beta is upgraded', () => upgrade(beta));
        await step('it is handed over to beta, which is newer', () => handOver('beta'));
        await step('alpha is upgraded', () => upgrade(alpha));
        await step('it is handed over to alpha', () => handOver('alpha'));
      });
    },
    { project: old },
  );
} finally {
  forget();
  folder.remove();
}
process.exit(0);
