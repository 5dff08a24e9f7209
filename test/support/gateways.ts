// Daemons that serve one volume, a mirrored one or an image of another engine, under a host that writes all the time.
import assert from 'node:assert/strict';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { eventually, killEtcd } from './daemon-pair.ts';
import type { DaemonPair } from './daemon-pair.ts';
import type { Daemon, Disk } from './daemon.ts';
import { WitnessedWriters } from './witnessed-writer.ts';

const HOST = 'iqn.2026-11.org.example:gateway-host';
const NAME = 'imaged';

interface Replication {
  readonly role: string;
  readonly inSync: readonly string[];
}

export interface HostOfNodes {
  readonly disk: Disk;
  readonly writers: WitnessedWriters;
  /** Who serves the volume; asks those given, or both. */
  readonly owner: (...asked: Daemon[]) => Promise<Daemon>;
  readonly other: (gateway: Daemon) => Daemon;
  /** Any of them could serve it: all have everything, or follow the record. */
  readonly inSync: () => Promise<void>;
  /** kill -9 of a daemon and its etcd. */
  readonly kill: (gateway: Daemon) => Promise<void>;
  /**
   * A fault under load: the host goes on, and nothing it was told is missing, before and after it is healed. Resolves with the
   * longest pause it saw from the fault on, milliseconds.
   */
  readonly round: (fault: () => Promise<void> | void, heal: () => Promise<void> | void) => Promise<number>;
}

/** `backend`: what follows `gemel backend add`; the first two words are its kind and name. */
export async function withGateways(
  pair: DaemonPair,
  backend: readonly string[],
  body: (gateways: HostOfNodes) => Promise<void>,
): Promise<void> {
  const { alpha } = pair;
  const [, name = ''] = backend;
  await alpha.gemelJson(['backend', 'add', ...backend]);
  await withHost([pair.alpha, pair.beta], ['--backend', name], body);
  const gone = await alpha.gemel(['volume', 'delete', NAME, '--purge', '--force'], { timeoutMs: 60_000 });
  assert.equal(gone.code, 0, gone.stderr);
  await alpha.gemelJson(['backend', 'remove', name]);
}

/** A volume all these daemons serve, made with these arguments at the first one, and a host that uses it. */
export async function withHost(
  nodes: readonly Daemon[],
  made: readonly string[],
  body: (gateways: HostOfNodes) => Promise<void>,
): Promise<void> {
  const [first] = nodes;
  assert.ok(first);
  const disk = await first.createVolume(NAME, '64M', [...made, '--map', HOST]);
  for (const each of nodes) {
    await eventually('all show it', async () =>
      ((await each.listVolumes()) as (Disk & { state: string })[]).some(
        ({ name, state }) => name === NAME && state === 'online',
      ),
    );
  }
  const paths = nodes.map((each) => {
    const [host = '', port = ''] = (each.portals[0] ?? '').split(':');
    return { host, port: Number(port) };
  });
  const target = { target: disk.iqn, lun: disk.lun, initiator: HOST };
  const writers = new WitnessedWriters({ paths, ...target, count: 4, blockLength: 512 });
  const ask = async ({ ready }: Daemon): Promise<Replication> =>
    (await new ApiClient(ready.api, ready.token).call('GET', `/volumes/${NAME}/replication`)) as Replication;
  const owner = (...asked: Daemon[]): Promise<Daemon> =>
    eventually('an owner', async () => {
      for (const each of asked.length === 0 ? nodes : asked) {
        const found = await ask(each).catch(() => undefined);
        if (found?.role === 'owner') return each;
      }
      return undefined;
    });
  const inSync = async (): Promise<void> => {
    await eventually('all have it in step', async () => {
      const found = await ask(await owner()).catch(() => undefined);
      return found?.role === 'owner' && found.inSync.length === nodes.length;
    });
  };
  try {
    await body({
      ...{ disk, writers, owner, inSync },
      other: (gateway) => nodes.find((each) => each !== gateway) ?? gateway,
      kill: async (gateway) => {
        await gateway.crash();
        killEtcd(gateway.dataFolder);
      },
      round: async (fault, heal) => {
        writers.start();
        await writers.progress();
        writers.takePause();
        await fault();
        await writers.progress();
        const longest = writers.takePause();
        await writers.stop();
        await writers.verify();
        writers.start();
        await heal();
        await inSync();
        await writers.progress();
        await writers.stop();
        for (const path of paths.keys()) await writers.verify(path);
        return longest;
      },
    });
  } finally {
    writers.close();
  }
}
