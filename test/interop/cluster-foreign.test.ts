// A cluster in an etcd that was there already: real members with settings of their own, in which others keep something, too.
import assert from 'node:assert/strict';
import { join as joinPath } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { silentLog } from '../../core/base/log.ts';
import {
  FOUNDING_RECORD,
  claim,
  erase,
  etcdEndpoints,
  externalClient,
} from '../../core/daemon/cluster/external-etcd.ts';
import { nodeWorld } from '../../core/world/node-world.ts';
import { eventually } from '../support/daemon-pair.ts';
import { startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { basePorts } from '../support/etcd.ts';
import { foreignEtcd } from '../support/foreign-etcd.ts';
import type { ForeignEtcd } from '../support/foreign-etcd.ts';
import { needsAll } from '../support/needs.ts';
import { run } from '../support/process.ts';
import { needsQemuTools } from '../support/qemu.ts';

const skip = needsAll(['etcd', 'etcd-server'], ['etcdctl', 'etcd-client']) || needsQemuTools();
const PATIENCE = 60_000;
const PREFIX = '/site-a/gemel/';

interface View {
  cluster: string | null;
  takeover: string;
  advice: string | null;
  nodes: { name: string; vote: string; answers: boolean }[];
  store: { answers: boolean; external: { prefix: string; members: { answers: boolean; version: string }[] } | null };
}

describe('a cluster in an etcd of somebody else', { skip }, () => {
  let etcd: ForeignEtcd;
  let [alpha, beta] = [] as unknown as [Daemon, Daemon];
  const ends: (() => Promise<void>)[] = [];
  let addresses: string[];

  const view = async (daemon: Daemon): Promise<View> => (await daemon.gemelJson(['cluster', 'status'])) as View;
  const keys = async (prefix: string): Promise<string[]> => {
    const { code, stdout, stderr } = await etcd.etcdctl('get', '--prefix', '--keys-only', prefix);
    assert.equal(code, 0, stderr);
    return stdout.split('\n').filter((line) => line !== '');
  };
  const init = (...args: string[]): string[] => ['cluster', 'init', '--address', addresses[0] ?? '', ...args];
  const io = async (daemon: Daemon, ...commands: string[]): Promise<void> => {
    const url = daemon.url(await daemon.volume('shared'));
    const args = ['-f', 'raw', ...commands.flatMap((each) => ['-c', each]), url];
    const { code, stdout, stderr } = await run('qemu-io', args, { timeoutMs: PATIENCE });
    assert.equal(code, 0, stdout + stderr);
    assert.doesNotMatch(stdout + stderr, /verification failed|error|can't open/i);
  };

  before(async () => {
    etcd = await foreignEtcd(await nodeWorld(), 3);
    ends.push(() => etcd.end());
    addresses = (await basePorts(2)).map((port) => `127.0.0.1:${String(port)}`);
    for (let i = 0; i < 2; i++) {
      const { daemon, end } = await startDaemon({ args: ['--no-demo'] });
      ends.push(end);
      if (i === 0) alpha = daemon;
      else beta = daemon;
      await daemon.gemelJson(['pool', 'create', 'p1', '--size', '2G']);
    }
    await alpha.createVolume('before', '64M');
    await eventually('etcd answers', async () => (await etcd.etcdctl('put', '/other/v1/app', 'theirs')).code === 0);
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  test('whoever begins later removes nothing of whoever is ready', async () => {
    const place = { endpoints: etcdEndpoints(etcd.urls), prefix: '/race/v1/' };
    const { clock } = await nodeWorld();
    const late = externalClient(clock, { ...place, tls: etcd.tls });
    try {
      // The late one has seen that nothing is there, and what it does about that takes long.
      const txn = late.txn.bind(late);
      late.txn = async (...args) => {
        late.txn = txn;
        const early = externalClient(clock, { ...place, tls: etcd.tls });
        const { store, revision } = await claim(early, place, 'a', clock, silentLog);
        const still = [{ key: FOUNDING_RECORD, revision }];
        await store.commit(
          [
            { key: 'cluster', value: { uuid: 'a' } },
            { key: FOUNDING_RECORD, value: undefined },
          ],
          still,
        );
        await store.close();
        return txn(...args);
      };
      await assert.rejects(
        claim(late, place, 'b', clock, silentLog),
        /there is something in this etcd below \/race\/v1\//,
      );
      const [found] = (await late.range({ key: '/race/v1/cluster' })).kvs;
      assert.ok(found);
      assert.equal(await erase(late, place.prefix, FOUNDING_RECORD, 1), false, 'it is not being begun any more');
      assert.deepEqual(await keys('/race/'), ['/race/v1/cluster', '/race/v1/~changed']);
      assert.equal(await erase(late, place.prefix, 'cluster', found.modRevision), true);
    } finally {
      late.close();
    }
  });

  test('what cannot be used is refused, and nothing has happened', async () => {
    const refused = async (args: string[], code: number, said: RegExp): Promise<void> => {
      const { code: status, stderr } = await alpha.gemel(args, { timeoutMs: PATIENCE });
      assert.match(stderr, said);
      assert.equal(status, code, stderr);
    };
    const [url = ''] = etcd.urls;
    const files = etcd.args.slice(2);
    await refused(init(...etcd.wrongArgs), 8, /does not accept our certificate/);
    await refused(init('--etcd', url), 2, /--etcd takes --etcd-ca, --etcd-cert and --etcd-key/);
    await refused(init('--etcd', url.replace('https', 'http'), ...files), 2, /has to be reached by https/);
    await refused(init('--etcd', 'https://127.0.0.1:1', ...files), 8, /etcd does not answer: 127\.0\.0\.1:1: nobody/);
    await refused(init(...etcd.args, '--etcd-prefix', '///'), 2, /is no beginning of keys/);
    await refused(
      init(...etcd.args, '--etcd-prefix', '/other'),
      5,
      /there is something in this etcd below \/other\/v1\//,
    );
    // A certificate for another name than the one it is asked by, and a CA that has not signed it.
    await refused(init('--etcd', url.replace('127.0.0.1', 'localhost'), ...files), 8, /certificate for other names/);
    const wrong = files.map((each) => (each.endsWith('/ca.pem') ? each.replace('ca.pem', 'stranger.pem') : each));
    await refused(init('--etcd', url, ...wrong), 8, /the given CA has not signed/);
    await etcd.kill(1);
    await etcd.kill(2);
    await refused(init(...etcd.args), 8, /no majority|a majority/);
    for (const member of [1, 2]) etcd.start(member);
    await eventually('etcd answers', async () => (await etcd.etcdctl('get', '/other/v1/app')).code === 0);
    assert.deepEqual(await keys('/'), ['/other/v1/app']);
    assert.equal((await view(alpha)).cluster, null);
  });

  test('two nodes and no etcd of their own; it is found wanting when it is', async () => {
    const args = init('--name', 'alpha', ...etcd.args, '--etcd-prefix', PREFIX);
    const { token } = (await alpha.gemelJson(args, { timeoutMs: 2 * PATIENCE })) as { token: string };
    const watch = [
      'witness',
      '--folder',
      joinPath(beta.dataFolder, 'watch'),
      '--address',
      addresses[1] ?? '',
      '--token-of-cluster',
      '-',
    ];
    assert.match((await beta.gemel(watch, { input: token })).stderr, /it needs no witness/);
    const join = ['cluster', 'join', '--token-of-cluster', '-', '--address', addresses[1] ?? '', '--name', 'beta'];
    await beta.gemelJson(join, { input: token, timeoutMs: 2 * PATIENCE });
    const found = await eventually('both answer', async () => {
      const now = await view(beta);
      return now.nodes.every(({ answers }) => answers) && now;
    });
    assert.deepEqual(
      found.nodes.map(({ name, vote }) => [name, vote]),
      [
        ['alpha', 'none'],
        ['beta', 'none'],
      ],
    );
    assert.equal(found.store.external?.prefix, `${PREFIX}v1/`);
    assert.equal(found.store.external.members.length, 3);
    // Its members run where the nodes do, which is said: all of them would be gone at once.
    assert.equal(found.takeover, 'none');
    assert.match(found.advice ?? '', /a majority of the members of etcd on machines that are no nodes/);
    for (const each of [alpha, beta]) {
      const { stdout } = await run('pgrep', ['-f', `data-dir ${each.dataFolder}`], { timeoutMs: PATIENCE });
      assert.equal(stdout, '', 'no etcd of its own');
    }
    assert.deepEqual(await keys('/'), [...(await keys(PREFIX)), '/other/v1/app'].sort());
    const again = await beta.gemel(['cluster', 'init', '--address', addresses[1] ?? '', ...etcd.args]);
    assert.match(again.stderr, /is in the cluster [0-9a-f]{8} already/);
    await etcd.kill(2);
    await eventually('it is told', async () => {
      const { stdout } = await alpha.gemel(['doctor']);
      return /error +cluster +etcd at 127\.0\.0\.1:\d+: nobody listens there/.test(stdout);
    });
    etcd.start(2);
    await eventually('all of etcd answers', async () =>
      (await view(alpha)).store.external?.members.every(({ answers }) => answers),
    );
  });

  test('a volume is mirrored, while others write to the same etcd and compact it', async () => {
    await alpha.createVolume('shared', '64M');
    await eventually('beta serves it', async () =>
      ((await beta.listVolumes()) as unknown as { name: string; state: string }[]).some(
        ({ name, state }) => name === 'shared' && state === 'online',
      ),
    );
    for (let i = 0; i < 20; i++) await etcd.etcdctl('put', '/other/v1/app', String(i));
    const { stdout } = await etcd.etcdctl('get', '/other/v1/app', '-w', 'json');
    const { header } = JSON.parse(stdout) as { header: { revision: number } };
    await etcd.etcdctl('compact', String(header.revision));
    await io(alpha, 'write -P 5 0 1M');
    await eventually('in step', async () =>
      /In step +2 of 2: /.test((await alpha.gemel(['replication', 'show', 'shared'])).stdout),
    );
    await alpha.gemelJson(['volume', 'hand-over', 'shared', '--to', 'beta']);
    await io(alpha, 'read -P 5 0 1M', 'write -P 6 1M 64k');
    // Beta is gone at once: alpha goes on from what is in etcd.
    await beta.crash();
    await eventually('alpha serves it', async () =>
      /Served by +alpha /.test((await alpha.gemel(['replication', 'show', 'shared'])).stdout),
    );
    await io(alpha, 'read -P 6 1M 64k', 'read -P 5 0 1M');
    await beta.start();
    await eventually('in step again', async () =>
      /In step +2 of 2: /.test((await alpha.gemel(['replication', 'show', 'shared'])).stdout),
    );
    // Other certificates, and fewer addresses, from now on.
    const [url = ''] = etcd.urls;
    const wrong = await alpha.gemel(['cluster', 'etcd', ...etcd.wrongArgs]);
    assert.match(wrong.stderr, /does not accept our certificate/);
    await alpha.gemelJson(['cluster', 'etcd', '--etcd', url, ...etcd.args.slice(2)]);
    assert.equal((await view(alpha)).store.external?.members.length, 1);
    await io(alpha, 'read -P 6 1M 64k');
  });

  test('both leave: the catalog goes home, and etcd has what it had before', async () => {
    assert.match((await beta.gemel(['cluster', 'leave'])).stderr, /beta has copies of one volume \(shared\)/);
    await beta.gemelJson(['cluster', 'leave', '--move'], { timeoutMs: 2 * PATIENCE });
    await eventually('beta is alone', async () => (await view(beta).catch(() => undefined))?.cluster === null);
    await eventually('alpha knows', async () => (await view(alpha)).nodes.length === 1);
    await alpha.gemelJson(['cluster', 'leave'], { timeoutMs: 2 * PATIENCE });
    await eventually('alpha is alone', async () => (await view(alpha).catch(() => undefined))?.cluster === null);
    await eventually('it serves again', async () =>
      ((await alpha.listVolumes()) as unknown as { name: string; state: string }[]).every(
        ({ state }) => state === 'online',
      ),
    );
    assert.deepEqual((await alpha.listVolumes()).map(({ name }) => name).sort(), ['before', 'shared']);
    await io(alpha, 'read -P 6 1M 64k', 'read -P 5 0 1M');
    assert.deepEqual(await keys('/'), ['/other/v1/app']);
  });

  test('a role for the keys below the prefix is enough', async () => {
    const ctl = async (...args: string[]): Promise<void> => {
      const { code, stderr } = await etcd.etcdctl(...args);
      assert.equal(code, 0, stderr);
    };
    await ctl('role', 'add', 'gemel');
    await ctl('role', 'grant-permission', 'gemel', '--prefix=true', 'readwrite', '/mine/');
    for (const user of ['root', 'client']) await ctl('user', 'add', '--no-password', user);
    await ctl('user', 'grant-role', 'client', 'gemel');
    await ctl('role', 'add', 'root');
    await ctl('user', 'grant-role', 'root', 'root');
    await ctl('auth', 'enable');
    const { clock } = await nodeWorld();
    const begin = async (prefix: string): Promise<void> => {
      const place = { endpoints: etcdEndpoints(etcd.urls), prefix };
      const client = externalClient(clock, { ...place, tls: etcd.tls });
      try {
        const { store, revision } = await claim(client, place, 'a', clock, silentLog);
        assert.equal(await erase(client, prefix, FOUNDING_RECORD, revision), true);
        await store.close();
      } finally {
        client.close();
      }
    };
    await begin('/mine/v1/');
    await assert.rejects(begin('/theirs/v1/'), /no right to read and write the keys from \/theirs\/v1\/ on/);
  });
});
