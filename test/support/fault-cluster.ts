// Two daemons and a witness, each with its own etcd in a network namespace of its own, and one mirrored volume.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { atExit, temporaryFolder } from './cleanup.ts';
import { Daemon } from './daemon.ts';
import type { Disk } from './daemon.ts';
import { killGroup } from './process.ts';
import { projectFile } from './project.ts';
import { openSwitch } from './switch.ts';
import type { Switch } from './switch.ts';

/** Namespaces have ports of their own. */
const [CLUSTER, PORTAL, API] = [21_000, 21_010, 21_020];
/** Milliseconds for what should happen within seconds, on a machine that is busy with something else. */
const PATIENCE = 90_000;
const NAMES = ['alpha', 'beta'] as const;

interface ClusterView {
  readonly node: string | null;
  readonly takeover: string;
  readonly nodes: readonly { readonly vote: string }[];
}
interface Replication {
  readonly owner: string | null;
  readonly role: string;
  readonly inSync: readonly string[];
  readonly replicas: readonly { readonly state: string; readonly inSync: boolean; readonly why: string }[];
}

export interface FaultCluster {
  readonly cables: Switch;
  readonly nodes: readonly Daemon[];
  /** Where the members of etcd have their data: those of the nodes, and of the witness. */
  readonly folders: readonly string[];
  readonly disk: Disk;
  readonly portals: readonly { readonly host: string; readonly port: number }[];
  /** Where nodes talk to each other; with the three ports above: etcd's two, and the one for nodes that want to join. */
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  /** A portal at an address that is on neither node until somebody gives it to one (`floating` of startFaultCluster). */
  readonly floating: { readonly host: string; readonly port: number };
  /** Number of the node that serves the volume; asks those named. */
  owner(...asked: number[]): Promise<number>;
  /** Resolves when a node has this role for the volume. */
  role(node: number, role: string): Promise<void>;
  /** Resolves when both nodes have the volume in step. */
  inSync(): Promise<void>;
  /** kill -9 of a daemon and its etcd, which would outlive it. */
  kill(node: number): Promise<void>;
  /** What the disks of nodes answer now, for failure messages. */
  describe(): Promise<string>;
  end(): Promise<void>;
}

export async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  for (const end = Date.now() + PATIENCE; ;) {
    const found = await look().catch((error: unknown) => {
      if (Date.now() >= end) throw error;
      return undefined;
    });
    if (found !== undefined && found !== false) return found;
    assert.ok(Date.now() < end, `${what}: not within ${PATIENCE} ms`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Kills the etcd in a data folder, if there is one. */
function killEtcd(folder: string): void {
  try {
    process.kill(Number(readFileSync(join(folder, 'cluster', 'etcd.pid'), 'utf8')), 'SIGKILL');
  } catch {
    // There is none.
  }
}

/**
 * `host`: the name of the initiator that may use the volume. `folders`: where nodes keep their data, if not in a temporary folder.
 * `floating`: both nodes also listen at an address that may move between them.
 */
export async function startFaultCluster(
  host: string,
  folders: readonly string[] = [],
  floating = false,
): Promise<FaultCluster> {
  const cables = openSwitch(3);
  const undo: (() => Promise<void> | void)[] = [
    () => {
      cables.close();
    },
  ];
  const end = async (): Promise<void> => {
    for (const each of undo.reverse()) await each();
  };
  try {
    return await start(host, cables, { folders, floating }, undo, end);
  } catch (error) {
    await end();
    throw error;
  }
}

async function start(
  host: string,
  cables: Switch,
  { folders, floating }: { readonly folders: readonly string[]; readonly floating: boolean },
  undo: (() => Promise<void> | void)[],
  end: () => Promise<void>,
): Promise<FaultCluster> {
  const place = (i: number): { host: string; wrapper: readonly string[] } => {
    const found = cables.places[i];
    assert.ok(found);
    return found;
  };
  const killLater = (folder: string, more: () => Promise<void> | void): void => {
    const forget = atExit(() => {
      killEtcd(folder);
    });
    undo.push(async () => {
      await more();
      killEtcd(folder);
      forget();
    });
  };
  const shared = { host: place(0).host.replace(/\d+$/, '200'), port: PORTAL };
  const nodes: Daemon[] = [];
  for (const [i] of NAMES.entries()) {
    const at = place(i);
    const folder = temporaryFolder('fault');
    undo.push(folder.remove);
    const data = folders[i] ?? folder.path;
    mkdirSync(data, { recursive: true });
    const portals = [`${at.host}:${PORTAL}`];
    if (floating) {
      const [program = '', ...words] = at.wrapper;
      execFileSync(program, [...words, 'sysctl', '-qw', 'net.ipv4.ip_nonlocal_bind=1']);
      portals.push(`${shared.host}:${PORTAL}`);
    }
    const daemon = new Daemon(data, portals, `${at.host}:${API}`, {
      ...{ host: at.host, wrapper: at.wrapper, args: ['--no-demo'] },
    });
    killLater(data, () => daemon.crash());
    await daemon.start();
    await daemon.gemelJson(['pool', 'create', 'p1', '--size', '1G']);
    nodes.push(daemon);
  }
  const [alpha, beta] = nodes;
  assert.ok(alpha && beta);
  const address = (i: number): string => `${place(i).host}:${CLUSTER}`;
  const patient = { timeoutMs: 2 * PATIENCE };
  const begun = (await alpha.gemelJson(['cluster', 'init', '--address', address(0), '--name', NAMES[0]], patient)) as {
    token: string;
  };
  await beta.gemelJson(['cluster', 'join', '--token-of-cluster', '-', '--address', address(1), '--name', NAMES[1]], {
    ...patient,
    input: begun.token,
  });
  // Who serves what is for the test to say.
  await alpha.gemelJson(['cluster', 'balance', 'off'], patient);
  const { token } = (await alpha.gemelJson(['cluster', 'token'])) as { token: string };
  const folder = temporaryFolder('witness');
  undo.push(folder.remove);
  const words = [...place(2).wrapper, process.execPath, projectFile('bin', 'gemel.js'), 'witness'];
  const [program, ...args] = [...words, '--folder', folder.path, '--address', address(2), '--name', 'watch'];
  const witness = spawn(program, [...args, '--token-of-cluster', '-'], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  killLater(folder.path, () => {
    killGroup(witness, 'SIGKILL');
  });
  const forget = atExit(() => {
    killGroup(witness, 'SIGKILL');
  });
  undo.push(forget);
  witness.stdin.end(token);
  const view = async (daemon: Daemon): Promise<ClusterView> =>
    (await daemon.gemelJson(['cluster', 'status'])) as ClusterView;
  await until('three votes', async () => {
    const now = await view(beta);
    return now.takeover === 'automatic' && now.nodes.every(({ vote }) => vote === 'voter');
  });
  const ids = await Promise.all(nodes.map(async (each) => (await view(each)).node));
  const disk = await alpha.createVolume('shared', '64M', ['--map', host]);
  await until('both serve it', async () =>
    ((await beta.listVolumes()) as (Disk & { state: string })[]).some(({ state }) => state === 'online'),
  );
  const ask = async (node: number): Promise<Replication> => {
    const { api, token: key } = nodes[node]?.ready ?? { api: '', token: '' };
    return (await new ApiClient(api, key).call('GET', '/volumes/shared/replication')) as Replication;
  };
  const owner = (...asked: number[]): Promise<number> =>
    until('an owner', async () => {
      for (const each of asked.length === 0 ? [0, 1] : asked) {
        const { role } = await ask(each);
        if (role === 'owner') return each;
      }
      return undefined;
    });
  return {
    ...{ cables, nodes, disk, owner, end, floating: shared },
    folders: [...nodes.map(({ dataFolder }) => dataFolder), folder.path],
    portals: NAMES.map((_, i) => ({ host: place(i).host, port: PORTAL })),
    addresses: NAMES.map((_, i) => ({ host: place(i).host, port: CLUSTER })),
    role: async (node, role) => {
      await until(`node ${node} is ${role}`, async () => (await ask(node)).role === role);
    },
    inSync: async () => {
      await until('both copies in step', async () => {
        const now = await ask(await owner());
        return now.inSync.length === ids.length && now.replicas.every((each) => each.inSync);
      });
    },
    kill: async (node) => {
      await nodes[node]?.crash();
      killEtcd(nodes[node]?.dataFolder ?? '');
    },
    describe: async () =>
      JSON.stringify(await Promise.all([0, 1].map((each) => ask(each).catch((error: unknown) => String(error))))),
  };
}
