// What fails in a round, and how it is put right.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { FaultCluster } from '../support/fault-cluster.ts';
import type { Need } from '../support/needs.ts';
import type { FaultHost } from './fault-host.ts';

export interface Round {
  readonly cluster: FaultCluster;
  readonly host: FaultHost;
  readonly owner: number;
  /** True in about half of the rounds. */
  readonly coin: boolean;
}

export interface Kind {
  readonly name: string;
  /** Milliseconds a host may wait by the goals of the project; absent: as long as a start takes. */
  readonly goal?: number;
  /** Does the harm; the function returned puts it right. */
  readonly harm: (round: Round) => Promise<() => Promise<void>>;
  /** A program or library it takes, and the Debian package that has it. */
  readonly needs?: Need;
}

const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const nameOf = (node: number): string => ['alpha', 'beta'][node] ?? '';

async function start(cluster: FaultCluster, node: number): Promise<void> {
  await cluster.nodes[node]?.start();
}

function signal(cluster: FaultCluster, node: number, name: NodeJS.Signals): void {
  const pid = cluster.nodes[node]?.ready.pid;
  assert.ok(pid);
  process.kill(pid, name);
}

/** Process ids of all members of etcd. */
const members = ({ folders }: FaultCluster): number[] =>
  folders.map((folder) => Number(readFileSync(join(folder, 'cluster', 'etcd.pid'), 'utf8')));

export const KINDS: readonly Kind[] = [
  {
    name: 'owner killed with its etcd',
    goal: 5_000,
    harm: async ({ cluster, owner }) => {
      await cluster.kill(owner);
      return () => start(cluster, owner);
    },
  },
  {
    name: 'owner stopped (SIGSTOP)',
    goal: 6_000,
    harm: ({ cluster, owner }) => {
      signal(cluster, owner, 'SIGSTOP');
      return Promise.resolve(() => {
        signal(cluster, owner, 'SIGCONT');
        return Promise.resolve();
      });
    },
  },
  {
    name: 'other node stopped (SIGSTOP)',
    goal: 6_000,
    harm: ({ cluster, owner }) => {
      signal(cluster, 1 - owner, 'SIGSTOP');
      return Promise.resolve(() => {
        signal(cluster, 1 - owner, 'SIGCONT');
        return Promise.resolve();
      });
    },
  },
  {
    name: 'link between the nodes pulled',
    goal: 6_000,
    harm: ({ cluster }) => {
      cluster.cables.separate(0, 1);
      return Promise.resolve(() => {
        cluster.cables.reunite(0, 1);
        return Promise.resolve();
      });
    },
  },
  {
    name: 'all links of the owner pulled',
    goal: 6_000,
    harm: ({ cluster, owner }) => {
      cluster.cables.cut(owner);
      return Promise.resolve(() => {
        cluster.cables.heal(owner);
        return Promise.resolve();
      });
    },
  },
  {
    name: 'both killed, one returns',
    harm: async ({ cluster, owner, coin }) => {
      const first = coin ? owner : 1 - owner;
      await Promise.all([cluster.kill(0), cluster.kill(1)]);
      await start(cluster, first);
      assert.equal(await cluster.owner(first), first);
      return () => start(cluster, 1 - first);
    },
  },
  {
    name: 'both killed one by one, the older returns first',
    harm: async ({ cluster, host, owner }) => {
      const last = 1 - owner;
      await cluster.kill(owner);
      await host.progress();
      await cluster.kill(last);
      // What had arrived here by then is taken note of.
      await wait(500);
      const before = host.counts.writes;
      await start(cluster, owner);
      await cluster.role(owner, 'waiting');
      assert.equal(host.counts.writes, before, 'nothing is acknowledged without what was acknowledged before');
      await start(cluster, last);
      return () => Promise.resolve();
    },
  },
  {
    name: 'planned hand-over',
    goal: 300,
    harm: async ({ cluster, owner }) => {
      await cluster.nodes[owner]?.gemelJson(['volume', 'hand-over', 'shared', '--to', nameOf(1 - owner)]);
      return () => Promise.resolve();
    },
  },
  {
    name: 'all of etcd lost for five seconds',
    goal: 1_000,
    harm: async ({ cluster, host }) => {
      const all = members(cluster);
      for (const pid of all) process.kill(pid, 'SIGSTOP');
      const { writes } = host.counts;
      await wait(5_000);
      assert.ok(host.counts.writes > writes, 'a volume in step is served without the configuration store');
      return () => {
        for (const pid of all) process.kill(pid, 'SIGCONT');
        return Promise.resolve();
      };
    },
  },
  {
    name: 'a node returns with a wrong clock',
    goal: 5_000,
    needs: [FAKETIME, 'faketime'],
    harm: async ({ cluster, owner, coin }) => {
      await cluster.kill(owner);
      // The monotonic clock, which everything else goes by, is left as it is.
      const env = { LD_PRELOAD: FAKETIME, FAKETIME: coin ? '+30d' : '-30d', FAKETIME_DONT_FAKE_MONOTONIC: '1' };
      return async () => {
        await cluster.nodes[owner]?.start(env);
      };
    },
  },
  {
    name: 'disk of one node full',
    goal: 6_000,
    harm: async ({ cluster, owner, coin }) => {
      const folder = cluster.folders[coin ? owner : 1 - owner] ?? '';
      const ballast = join(folder, 'ballast');
      fill(ballast);
      await wait(3_000);
      // What was given back meanwhile.
      fill(`${ballast}2`);
      return () => {
        for (const each of [ballast, `${ballast}2`]) rmSync(each, { force: true });
        return Promise.resolve();
      };
    },
  },
];

/** Takes all the room there is in the file system. */
function fill(path: string): void {
  const { bavail, bsize } = statfsSync(join(path, '..'));
  try {
    execFileSync('fallocate', ['-l', String(Math.max(bsize, bavail * bsize)), path], { stdio: 'ignore' });
    writeFileSync(`${path}.rest`, Buffer.alloc(1_048_576));
  } catch {
    // There is none left.
  }
  rmSync(`${path}.rest`, { force: true });
}
