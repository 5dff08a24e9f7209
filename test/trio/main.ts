// `npm run trio`: three data nodes and a witness, a volume with three copies, a host that writes and reads all the time, and its owner
// killed, twice in a row.
import process from 'node:process';
import { atExit } from '../support/cleanup.ts';
import { eventually, killEtcd, withDaemonPair } from '../support/daemon-pair.ts';
import { startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { basePorts } from '../support/etcd.ts';
import { withHost } from '../support/gateways.ts';
import { narrator } from '../support/narrator.ts';
import { needs } from '../support/needs.ts';

const missing = needs('etcd', 'etcd-server');
if (missing !== false) {
  console.error(missing);
  process.exit(2);
}
const say = narrator();

await withDaemonPair(async ({ alpha, beta }) => {
  const { daemon: gamma, end } = await startDaemon({ args: ['--no-demo'] });
  const forget = atExit(() => {
    killEtcd(gamma.dataFolder);
  });
  try {
    await gamma.gemelJson(['pool', 'create', 'p1', '--size', '1G']);
    const { token } = (await alpha.gemelJson(['cluster', 'token'])) as { token: string };
    const address = `127.0.0.1:${(await basePorts(1))[0] ?? 0}`;
    const join = ['cluster', 'join', '--token-of-cluster', '-', '--address', address, '--name', 'gamma'];
    await gamma.gemelJson(join, { timeoutMs: 120_000, input: token });
    await eventually('four votes', async () => {
      const { nodes } = (await alpha.gemelJson(['cluster', 'status'])) as { nodes: { vote: string }[] };
      return nodes.length === 4 && nodes.every(({ vote }) => vote === 'voter');
    });
    say('three data nodes and a witness are up');
    const names = new Map([
      [alpha, 'alpha'],
      [beta, 'beta'],
      [gamma, 'gamma'],
    ]);
    await withHost([alpha, beta, gamma], ['--replicas', '3'], async ({ round, owner, inSync, kill, writers }) => {
      await inSync();
      const step = async (what: string, fault: () => Promise<void>, heal: () => Promise<void>): Promise<void> => {
        const pause = await round(fault, heal);
        say(`${what}: longest pause ${String(pause)} ms, ${String(writers.writes)} writes so far, all there`);
      };
      const nameOf = (node: Daemon): string => names.get(node) ?? '';
      for (const time of ['first', 'second']) {
        const served = await owner();
        await step(
          `${nameOf(served)}, which serves it, is killed with its etcd (${time} time)`,
          () => kill(served),
          () => served.start(),
        );
      }
      const served = await owner();
      const others = [alpha, beta, gamma].filter((each) => each !== served);
      const [one, two] = others;
      if (one === undefined || two === undefined) throw new Error('there are no others');
      await step(
        `${nameOf(one)}, which does not, is killed, then ${nameOf(served)}, which serves it`,
        async () => {
          await one.crash();
          await writers.progress();
          await served.crash();
        },
        async () => {
          await one.start();
          await served.start();
        },
      );
    });
  } finally {
    killEtcd(gamma.dataFolder);
    forget();
    await end();
  }
});
process.exit(0);
