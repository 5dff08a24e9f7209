// `npm run ceph`: a real Ceph cluster, two gateways over one image of it, a host that writes and reads all the time, and faults.
// Takes some minutes, so it is no part of `npm test`, which does the same over files (test/interop/gateways.test.ts).
import process from 'node:process';
import { needsCeph, startCeph } from '../support/ceph.ts';
import { withDaemonPair } from '../support/daemon-pair.ts';
import { withGateways } from '../support/gateways.ts';
import { killExporters } from '../support/exporters.ts';
import { narrator } from '../support/narrator.ts';
import { needsAll } from '../support/needs.ts';

const missing = needsCeph() || needsAll(['etcd', 'etcd-server']);
if (missing !== false) {
  console.error(missing);
  process.exit(2);
}

const say = narrator();
const ceph = await startCeph();
say('Ceph is up: one monitor, three OSDs');
try {
  await withDaemonPair(async (pair) => {
    const { alpha } = pair;
    say('two gateways and a witness are up');
    const backend = ['ceph', 'ceph1', '--pool', ceph.pool, '--conf', ceph.conf, '--keyring', ceph.keyring];
    const nameOf = (each: unknown): string => (each === alpha ? 'alpha' : 'beta');
    await withGateways(pair, backend, async (gateways) => {
      const images = await ceph.run('rbd', 'ls', ceph.pool);
      say(`the volume is the image ${images.trim()}`);
      const round = async (what: string, fault: () => Promise<void> | void, heal: () => Promise<void> | void) => {
        const pause = await gateways.round(fault, heal);
        say(`${what}: longest pause ${String(pause)} ms, ${String(gateways.writers.writes)} writes so far, all there`);
      };
      await round(
        'nothing happens',
        () => undefined,
        () => undefined,
      );
      const down = 1;
      await round(
        'an OSD is killed',
        () => {
          ceph.killOsd(down);
        },
        () => {
          ceph.startOsd(down);
        },
      );
      let owner = await gateways.owner();
      await round(
        `${nameOf(owner)}, which serves it, is killed with its etcd`,
        () => gateways.kill(owner),
        () => owner.start(),
      );
      owner = await gateways.owner();
      const pids = { daemon: owner.ready.pid };
      await round(
        `${nameOf(owner)}, which serves it, stands still`,
        () => {
          process.kill(pids.daemon, 'SIGSTOP');
        },
        () => {
          process.kill(pids.daemon, 'SIGCONT');
        },
      );
      owner = await gateways.owner();
      const to = nameOf(gateways.other(owner));
      await round(
        `it is handed over to ${to}`,
        async () => {
          await alpha.gemelJson(['volume', 'hand-over', 'imaged', '--to', to]);
        },
        () => undefined,
      );
      owner = await gateways.owner();
      await round(
        'the exporter of its owner is killed',
        () => {
          killExporters(owner.dataFolder);
        },
        () => undefined,
      );
    });
    const left = (await ceph.run('rbd', 'ls', ceph.pool)).trim();
    if (left !== '') throw new Error(`images are left: ${left}`);
    say('deleted, and nothing is left in the pool');
  });
} finally {
  ceph.end();
}
process.exit(0);
