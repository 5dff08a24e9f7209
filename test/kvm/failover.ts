// A node of the storage is lost under a virtual machine of libvirt's, whose disk QEMU reaches by iSCSI at an address that keepalived
// moves (plugins/kvm/README.md): nothing fails, nothing is lost, and the longest pause is measured.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { attachDisk } from '../../plugins/kvm/ops/attach.ts';
import { readSettings } from '../../plugins/kvm/settings.ts';
import { KvmStorage } from '../../plugins/kvm/storage.ts';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { PatternConsole, buildPattern } from '../faults/guest-host.ts';
import { assertGuest } from '../guest/guest.ts';
import type { PreparedGuest } from '../guest/guest.ts';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { startFaultCluster, until } from '../support/fault-cluster.ts';
import type { FaultCluster } from '../support/fault-cluster.ts';
import { withLibvirtd } from '../support/libvirtd.ts';
import { killGroup } from '../support/process.ts';
import { projectFile } from '../support/project.ts';
import { linuxMachine } from './machine.ts';

const HOST = 'iqn.2026-11.example:kvm1';
const [THREADS, BLOCKS] = [4, 512];
/** What startFaultCluster calls its nodes. */
const NAMES = ['alpha', 'beta'];
/** Milliseconds in which whatever a failure does to the guest has begun. */
const SETTLED = 8_000;
/** Milliseconds for the whole guest. */
const PATIENCE = 600_000;

interface Node {
  /** Runs something on it; what that said. */
  readonly run: (...command: readonly string[]) => string;
  readonly end: () => void;
}

/** keepalived on a node, with the settings of manifests/linux. */
function withKeepalived(cluster: FaultCluster, number: number, folder: string): Node {
  const { wrapper = [], host = '' } = cluster.cables.places[number] ?? {};
  const [program = '', ...words] = wrapper;
  const run = (...command: readonly string[]): string =>
    execFileSync(program, [...words, ...command], { encoding: 'utf8' });
  const device = /^\d+: ([^@:\s]+)/.exec(run('ip', '-o', '-4', 'addr', 'show', 'to', host))?.[1] ?? '';
  const files = join(folder, String(number));
  mkdirSync(files);
  const { floating } = cluster;
  const settings = readFileSync(projectFile('manifests', 'linux', 'keepalived-gemel.conf'), 'utf8')
    .replace(/^#.*\n/gm, '')
    .replace('INTERFACE', device)
    .replace('FLOATING', `${floating.host}/24`)
    .replace('PORTAL', `${host}/${String(floating.port)}`)
    .replace('PRIORITY', String(100 - number));
  const conf = join(files, 'keepalived.conf');
  writeFileSync(conf, settings);
  const pids = ['--pid', join(files, 'pid'), '--vrrp_pid', join(files, 'vrrp.pid')];
  const child = spawn(program, [...words, 'keepalived', '-n', '-P', '-l', '-f', conf, ...pids], {
    stdio: ['ignore', 'ignore', 'ignore'],
    detached: true,
  });
  const forget = atExit(() => {
    killGroup(child, 'SIGKILL');
  });
  return {
    run,
    end: () => {
      killGroup(child, 'SIGKILL');
      forget();
    },
  };
}

interface Round {
  readonly name: string;
  /** Returns what puts it right again. */
  readonly harm: () => Promise<() => Promise<void>>;
}

/** Prints a line for each round. Rejects when the guest has seen an error, or a block that is not what was acknowledged. */
export async function failover(guest: PreparedGuest): Promise<void> {
  const folder = temporaryFolder('failover');
  const cluster = await startFaultCluster(HOST, [], true);
  const nodes: Node[] = [];
  try {
    const pattern = await buildPattern(folder.path);
    for (const i of [0, 1]) nodes.push(withKeepalived(cluster, i, folder.path));
    const { floating, disk } = cluster;
    const at = (): number => nodes.findIndex(({ run }) => run('ip', '-o', 'addr').includes(` ${floating.host}/`));
    await until('the address is on a node', () => Promise.resolve(at() >= 0));
    await withLibvirtd(async (libvirtd) => {
      // The node that is never lost before the others is asked; which it is does not matter.
      const { api, token } = cluster.nodes[1]?.ready ?? { api: '', token: '' };
      const client = new ApiClient(api, token);
      const settings = readSettings(undefined, {
        ...{ host: 'kvm1', initiator: HOST, libvirt: libvirtd.uri, state: join(folder.path, 'state') },
        portal: `${floating.host}:${String(floating.port)}`,
      });
      const context = {
        libvirt: libvirtd.libvirt,
        storage: new KvmStorage(client.call.bind(client), client.list.bind(client)),
        settings,
      };
      const rounds = roundsOf(cluster, at);
      const script = {
        script: 'kvm-stall.sh',
        files: { pattern },
        env: { ROUNDS: String(rounds.length), THREADS: String(THREADS), BLOCKS: String(BLOCKS) },
      };
      const machine = await linuxMachine(libvirtd, guest, script, { name: 'one' });
      const request = { domain: 'one', volume: disk.name, way: 'iscsi', form: 'disk', bus: 'scsi' } as const;
      await attachDisk(context, request, 'failover');
      const seen = new PatternConsole((line) => {
        console.log(line);
      });
      const play = async ({ name, harm }: Round): Promise<void> => {
        await seen.progress();
        seen.takePause();
        const heal = await harm();
        // What the console says late of the time before is no progress.
        for (const end = performance.now() + SETTLED; performance.now() < end;) await seen.progress();
        const pause = seen.takePause();
        await heal();
        await cluster.inSync();
        await seen.progress();
        const healing = seen.takePause();
        console.log(`${name}: longest pause ${String(pause)} ms; while it came back ${String(healing)} ms`);
      };
      const hooks = rounds.map((round, i) => [`round${String(i + 1)}`, () => play(round)] as const);
      const screen = await machine.start({
        on: { ...Object.fromEntries(hooks), verified: () => seen.verify() },
        onLine: (line) => {
          seen.line(line);
        },
      });
      assert.ok(await machine.ended(PATIENCE), screen.result.log.slice(-40).join('\n'));
      assertGuest(screen.result, ['every block as it was written', 'the kernel has seen no error']);
    });
  } finally {
    for (const each of nodes) each.end();
    await cluster.end();
    folder.remove();
  }
}

function roundsOf(cluster: FaultCluster, at: () => number): Round[] {
  const { nodes, cables } = cluster;
  /** kill -9 of a node's daemon and etcd; it comes back when all has been measured. */
  const lose = async (node: number): Promise<() => Promise<void>> => {
    await cluster.kill(node);
    return async () => {
      await nodes[node]?.start();
    };
  };
  /** The volume is served by this node. */
  const ownedBy = async (node: number): Promise<void> => {
    const owner = await cluster.owner();
    if (owner === node) return;
    await nodes[owner]?.gemelJson(['volume', 'hand-over', 'shared', '--to', NAMES[node] ?? '']);
    await cluster.role(node, 'owner');
  };
  return [
    {
      name: 'the owner dies, the path is the other node',
      harm: async () => {
        await ownedBy(1 - at());
        return lose(1 - at());
      },
    },
    {
      name: 'the node dies that is owner and has the address',
      harm: async () => {
        await ownedBy(at());
        return lose(at());
      },
    },
    {
      name: 'gemeld of the node that is owner and has the address is killed and started again',
      harm: async () => {
        const node = at();
        await ownedBy(node);
        await nodes[node]?.crash();
        await nodes[node]?.start();
        return () => Promise.resolve();
      },
    },
    {
      name: 'the node that is owner and has the address is cut off',
      harm: async () => {
        const node = at();
        await ownedBy(node);
        cables.cut(node);
        return () => {
          cables.heal(node);
          return Promise.resolve();
        };
      },
    },
  ];
}
