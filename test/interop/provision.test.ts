// The provisioning flow of the plugins, against a real daemon: a stand-in console whose hosts are real initiators.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ServiceError } from '../../core/base/errors.ts';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { ApiStorage } from '../../plugins/sdk/api-storage.ts';
import type { ApiCall } from '../../plugins/sdk/typed-api.ts';
import { FileJournal } from '../../plugins/sdk/file-journal.ts';
import { FlowFailed } from '../../plugins/sdk/flow.ts';
import { provision, withdraw } from '../../plugins/sdk/provision.ts';
import type { ProvisionTools, Provisioning } from '../../plugins/sdk/provision.ts';
import { temporaryFolder } from '../support/cleanup.ts';
import { withDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { StandInAdapter } from '../support/stand-in-adapter.ts';

const HOSTS = new Map([
  ['esx1', 'iqn.1998-01.com.vmware:esx1'],
  ['esx2', 'iqn.1998-01.com.vmware:esx2'],
]);
const WANTED = { name: 'store1', size: 64 * 1_048_576, hosts: [...HOSTS.keys()] };

interface Bench {
  readonly tools: ProvisionTools;
  readonly adapter: StandInAdapter;
  readonly storage: ApiStorage;
  readonly daemon: Daemon;
  /** Called before each call of the API. */
  before: (method: string, path: string) => void;
  /** Called after it, before the caller has the answer. */
  after: (method: string, path: string) => void;
}

async function bench(body: (bench: Bench) => Promise<void>): Promise<void> {
  const folder = temporaryFolder('flows');
  await withDaemon({ portals: 2, args: ['--no-demo'] }, async (daemon) => {
    const client = new ApiClient(daemon.ready.api, daemon.ready.token);
    const nothing = (): void => undefined;
    const call: ApiCall = async (method, path, body, headers) => {
      mine.before(method, path);
      const answer = await client.call(method, path, body, headers);
      mine.after(method, path);
      return answer;
    };
    const adapter = new StandInAdapter(HOSTS);
    const storage = new ApiStorage(call);
    // Patience is a matter of counting here.
    let clock = 0;
    const tools: ProvisionTools = {
      storage,
      adapter,
      journal: new FileJournal<Provisioning>(folder.path),
      pause: (ms) => {
        clock += ms;
        return new Promise((resolve) => setImmediate(resolve));
      },
      now: () => clock,
    };
    const mine: Bench = { tools, adapter, storage, daemon, before: nothing, after: nothing };
    try {
      await body(mine);
    } finally {
      adapter.end();
    }
  }).finally(() => {
    folder.remove();
  });
}

/** Nothing is left: neither a volume nor a session. */
async function nothingLeft({ storage, adapter }: Bench): Promise<void> {
  assert.equal(await storage.volume(WANTED.name), undefined);
  assert.equal(adapter.sessions, 0);
}

class Died extends Error {}

describe('a disk for the hosts of a console', () => {
  test('is made, found by its NAA identifier, formatted once, reachable by every path, and taken away again', async () => {
    await bench(async (mine) => {
      const { tools, adapter, storage } = mine;
      const steps: string[] = [];
      const { volume, disks } = await provision(tools, WANTED, 'one', { progress: (step) => steps.push(step) });
      assert.equal(steps.at(-1), 'done');
      assert.equal(disks.length, 2);
      for (const disk of disks) {
        assert.equal(disk.naa, volume.naa);
        assert.equal(disk.content, 'store1');
        assert.equal(disk.size, WANTED.size);
      }
      assert.equal(adapter.formats, 1);
      assert.equal(adapter.sessions, 4, 'two hosts, two portals');
      const again = await provision(tools, WANTED, 'one');
      assert.equal(again.volume.naa, volume.naa);
      assert.equal(adapter.formats, 1);
      await assert.rejects(provision(tools, WANTED, 'two'), /look up the hosts: there is a volume store1 already/);
      assert.notEqual(await storage.volume('store1'), undefined, 'the refused request has not undone the other');
      await withdraw(tools, WANTED, 'away');
      await nothingLeft(mine);
    });
  });

  for (const [what, call, host, step] of [
    ['a host does not log in', 'connect', 'esx2', 'connect the hosts'],
    ['a rescan fails', 'rescan', 'esx2', 'find the disk'],
    ['formatting fails half way', 'format', 'esx1', 'format the disk'],
    ['the paths cannot be told', 'paths', 'esx1', 'verify every path'],
  ] as const) {
    test(`leaves nothing when ${what}`, async () => {
      await bench(async (mine) => {
        mine.adapter.before = (name, where) => {
          if (name === call && where === host) throw new Error('refused');
        };
        await assert.rejects(provision(mine.tools, WANTED, 'key'), (error: unknown) => {
          assert.ok(error instanceof FlowFailed);
          assert.equal(error.step, step);
          assert.deepEqual(error.notUndone, []);
          return true;
        });
        await nothingLeft(mine);
      });
    });
  }

  test('names what could not be undone', async () => {
    await bench(async ({ tools, adapter, storage }) => {
      adapter.before = (name) => {
        if (name === 'rescan' || name === 'disconnect') throw new Error('the console is away');
      };
      await assert.rejects(provision(tools, WANTED, 'key'), (error: unknown) => {
        assert.ok(error instanceof FlowFailed);
        assert.deepEqual(error.notUndone, [{ step: 'connect the hosts', reason: 'the console is away' }]);
        return true;
      });
      assert.equal(await storage.volume(WANTED.name), undefined);
    });
  });

  test('is not formatted when it is not empty, and stays away from volumes of others', async () => {
    await bench(async ({ tools, adapter, daemon, storage }) => {
      await daemon.createVolume('store1', '64M');
      await assert.rejects(provision(tools, WANTED, 'key'), /there is a volume store1 already/);
      assert.notEqual(await storage.volume('store1'), undefined);
      assert.equal(adapter.formats, 0);
    });
  });

  test('is there, once, or not at all, when the answer to its creation gets lost', async () => {
    for (const lost of ['before', 'after'] as const) {
      await bench(async (mine) => {
        let calls = 0;
        mine[lost] = (method) => {
          if (method === 'POST' && calls++ === 0) throw new ServiceError('daemon-unreachable', 'the line went dead');
        };
        await assert.rejects(provision(mine.tools, WANTED, 'key'), /create the volume: the line went dead$/);
        await nothingLeft(mine);
      });
    }
  });

  test('is finished after a crash of the plugin, wherever that was', async () => {
    await bench(async (mine) => {
      const { tools, adapter } = mine;
      const { journal } = tools;
      for (let dieAt = 1, round = 0; ; dieAt++, round++) {
        let saves = 0;
        const dying: ProvisionTools = {
          ...tools,
          journal: {
            load: (key) => journal.load(key),
            save: (key, record) => (++saves === dieAt ? Promise.reject(new Died()) : journal.save(key, record)),
          },
        };
        const key = `key ${String(round)}`;
        const formats = adapter.formats;
        const first = await provision(dying, WANTED, key).catch((error: unknown) => error);
        const { volume } = await provision(tools, WANTED, key);
        assert.equal(volume.name, 'store1');
        assert.equal(adapter.formats, formats + 1, `formatted once (died at ${String(dieAt)})`);
        await withdraw(tools, WANTED, `away ${String(round)}`);
        await nothingLeft(mine);
        if (!(first instanceof Died)) break;
      }
    });
  });
});
