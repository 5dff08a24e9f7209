// Two real daemons and a witness, each with its own etcd: a cluster is made, a mirrored volume is served by both nodes, its
// owner is killed, comes back, and everybody leaves again.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { fuzzCluster } from '../fuzz/cluster-requests.ts';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { killEtcd } from '../support/daemon-pair.ts';
import { startDaemon } from '../support/daemon.ts';
import type { Daemon, Disk } from '../support/daemon.ts';
import { basePorts } from '../support/etcd.ts';
import { needsAll } from '../support/needs.ts';
import { killGroup, run } from '../support/process.ts';
import { projectFile } from '../support/project.ts';
import { needsQemuTools } from '../support/qemu.ts';

interface View {
  cluster: string | null;
  takeover: string;
  nodes: { name: string; vote: string; answers: boolean }[];
}

const skip = needsAll(['etcd', 'etcd-server']) || needsQemuTools();
/** Milliseconds for anything that should happen within seconds, on a machine that is busy with something else. */
const PATIENCE = 60_000;

async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  for (const end = Date.now() + PATIENCE; ;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    assert.ok(Date.now() < end, `${what}: not within ${PATIENCE} ms`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Reads and writes through one portal; the patterns must be what they should be. */
async function io(daemon: Daemon, disk: Disk, ...commands: string[]): Promise<void> {
  const args = ['-f', 'raw', ...commands.flatMap((each) => ['-c', each]), daemon.url(disk)];
  const { code, stdout, stderr } = await run('qemu-io', args, { timeoutMs: PATIENCE });
  assert.equal(code, 0, stdout + stderr);
  assert.doesNotMatch(stdout + stderr, /verification failed|error|can't open/i);
}

describe('a cluster of two nodes and a witness', { skip }, () => {
  const witnessFolder = temporaryFolder('witness');
  const ends: (() => Promise<void> | void)[] = [];
  let [alpha, beta] = [] as unknown as [Daemon, Daemon];
  let ports: number[];
  let witness: ChildProcess | undefined;
  let disk: Disk;

  const view = async (daemon: Daemon): Promise<View> => (await daemon.gemelJson(['cluster', 'status'])) as View;
  const token = async (): Promise<string> => ((await alpha.gemelJson(['cluster', 'token'])) as { token: string }).token;
  const address = (i: number): string => `127.0.0.1:${ports[i] ?? 0}`;

  before(async () => {
    ports = (await basePorts(3)).map((port) => port);
    for (let i = 0; i < 2; i++) {
      const { daemon, end } = await startDaemon({ args: ['--no-demo'] });
      if (i === 0) alpha = daemon;
      else beta = daemon;
      const kill = (): void => {
        killEtcd(daemon.dataFolder);
      };
      const forget = atExit(kill);
      ends.push(async () => {
        kill();
        forget();
        await end();
      });
      await daemon.gemelJson(['pool', 'create', 'p1', '--size', '2G']);
    }
    const forget = atExit(() => {
      killEtcd(witnessFolder.path);
    });
    ends.push(() => {
      if (witness !== undefined) killGroup(witness, 'SIGKILL');
      killEtcd(witnessFolder.path);
      forget();
      witnessFolder.remove();
    });
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  test('a node begins it, and keeps the volumes it had', async () => {
    await alpha.createVolume('before', '64M');
    const begun = (await alpha.gemelJson(['cluster', 'init', '--address', address(0), '--name', 'alpha'], {
      timeoutMs: 2 * PATIENCE,
    })) as { token: string };
    assert.match(begun.token, /^gemel-join\./);
    const disk = await alpha.volume('before');
    await io(alpha, disk, 'write -P 1 0 64k', 'read -P 1 0 64k');
    const wrong = await beta.gemel(['cluster', 'join', '--token-of-cluster', '-', '--address', address(1)], {
      input: begun.token.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')).slice(0, -8),
    });
    assert.equal(wrong.code, 2, wrong.stderr);
    const taken = await beta.gemel(['cluster', 'join', '--token-of-cluster', '-', '--address', address(0)], {
      input: begun.token,
    });
    assert.equal(taken.code, 7, `before the token is used: ${taken.stderr}`);
    const args = ['cluster', 'join', '--token-of-cluster', '-', '--address', address(1), '--name', 'beta'];
    const options = { input: begun.token, timeoutMs: 2 * PATIENCE };
    const joined = (await beta.gemelJson(args, options)) as View;
    assert.deepEqual(
      joined.nodes.map(({ name, vote }) => [name, vote]),
      [
        ['alpha', 'voter'],
        ['beta', 'learner'],
      ],
      'the second node has no vote until there is a third',
    );
    assert.equal(joined.takeover, 'none');
    const twice = await beta.gemel(args, options);
    assert.equal(twice.code, 5, 'a node is in one cluster');
    assert.match(twice.stderr, /is in the cluster [0-9a-f]{8} already\. See gemel cluster status/);
    const again = await beta.gemel(['cluster', 'init', '--address', address(2)]);
    assert.match(again.stderr, /is in the cluster [0-9a-f]{8} already/);
  });

  test('a witness makes an automatic takeover possible', async () => {
    const args = ['witness', '--folder', witnessFolder.path, '--address', address(2), '--name', 'watch'];
    const child = spawn(process.execPath, [projectFile('bin', 'gemel.js'), ...args, '--token-of-cluster', '-'], {
      stdio: ['pipe', 'ignore', 'inherit'],
      detached: true,
    });
    witness = child;
    child.stdin.end(await token());
    const { nodes } = await until('three votes', async () => {
      const now = await view(beta);
      return now.takeover === 'automatic' && now.nodes.every(({ vote }) => vote === 'voter') ? now : undefined;
    });
    assert.deepEqual(
      nodes.map(({ name }) => name),
      ['alpha', 'beta', 'watch'],
    );
  });

  test('an API token made at one node is good at both, until it is revoked at either', async () => {
    const made = (await alpha.gemelJson(['token', 'create', 'backup', '--role', 'viewer'])) as { secret: string };
    const ask = (at: Daemon) => new ApiClient(at.ready.api, made.secret).call('GET', '/status');
    await ask(alpha);
    await until('beta knows it', async () => ask(beta).catch(() => undefined));
    await beta.gemelJson(['token', 'revoke', 'backup']);
    await until('alpha knows that', () =>
      ask(alpha).then(
        () => undefined,
        () => true as const,
      ),
    );
  });

  test('a volume made at one node is served by both', async () => {
    disk = await alpha.createVolume('shared', '128M');
    await until('both serve it', async () => {
      const found = (await beta.listVolumes()) as (Disk & { state: string })[];
      return found.some(({ name, state }) => name === 'shared' && state === 'online');
    });
    const there = await beta.volume('shared');
    assert.equal(there.iqn, disk.iqn, 'its identity is the same everywhere');
    await io(alpha, disk, 'write -P 2 0 1M', 'read -P 2 0 1M');
    await io(beta, disk, 'read -P 2 0 1M', 'write -P 3 1M 64k', 'read -P 3 1M 64k');
    await io(alpha, disk, 'read -P 3 1M 64k');
  });

  test('snapshots and clones of it are on both nodes, whichever is asked', async () => {
    const done = async (at: Daemon, ...args: string[]): Promise<void> => {
      const { code, stderr } = await at.gemel(args);
      assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
    };
    await until(
      'in step',
      async () =>
        /In step +2 of 2: /.test((await alpha.gemel(['replication', 'list'])).stdout) ||
        /In step +2 of 2: /.test((await alpha.gemel(['replication', 'show', 'shared'])).stdout),
    );
    await io(alpha, disk, 'write -P 7 64M 1M');
    await done(beta, 'snapshot', 'create', 'shared', 's1');
    await io(alpha, disk, 'write -P 8 64M 1M', 'write -P 8 100M 64k');
    await done(alpha, 'volume', 'clone', 'shared@s1', 'twin', '--map', 'loopback');
    const twin = await alpha.volume('twin');
    await until('beta serves it, too', async () =>
      ((await beta.listVolumes()) as (Disk & { state: string })[]).some(
        ({ name, state }) => name === 'twin' && state === 'online',
      ),
    );
    const shown = (await alpha.gemel(['replication', 'show', 'twin'])).stdout;
    assert.match(shown, /In step +2 of 2: /, 'nothing had to cross the link');
    for (const at of [alpha, beta]) await io(at, twin, 'read -P 7 64M 1M', 'read -P 0 100M 64k');
    await until('rolled back', async () => (await beta.gemel(['snapshot', 'rollback', 'shared@s1'])).code === 0);
    for (const at of [alpha, beta]) await io(at, disk, 'read -P 7 64M 1M', 'read -P 0 100M 64k', 'read -P 2 0 1M');
    await done(alpha, 'snapshot', 'delete', 'shared@s1');
    await done(beta, 'volume', 'delete', 'twin', '--force', '--purge');
  });

  test('it is handed over, whichever node is asked', async () => {
    const shown = async (at: Daemon): Promise<string> => (await at.gemel(['replication', 'show', 'shared'])).stdout;
    const handOver = async (at: Daemon, ...to: string[]): Promise<string> => {
      const { stdout, stderr } = await at.gemel(['volume', 'hand-over', 'shared', ...to]);
      return stdout + stderr;
    };
    await until('in step', async () => /In step +2 of 2: /.test(await shown(beta)));
    assert.match(await handOver(beta), /^shared is served by beta now; nobody served it for \d+ ms\n/);
    await until('alpha knows', async () => /Served by +beta /.test(await shown(alpha)));
    await io(alpha, disk, 'read -P 2 0 1M');
    const refused: [string[], number, RegExp][] = [
      [['volume', 'hand-over', 'shared', '--to', 'watch'], 5, /watch has no copy of 'shared'/],
      [['volume', 'hand-over', 'shared', '--to', 'gamma'], 4, /there is no node 'gamma'/],
      [['volume', 'hand-over', 'before', '--to', 'beta'], 4, /'before' is on one node only/],
      [['volume', 'promote', 'shared'], 5, /beta serves shared\. See/],
      [['volume', 'promote', 'shared', '--i-am-sure'], 5, /beta is not off: it answers/],
      [['cluster', 'leave'], 5, /alpha has copies of 2 volumes \(before, shared\)/],
    ];
    for (const [args, code, said] of refused) {
      const { stderr, code: status } = await alpha.gemel(args);
      assert.match(stderr, said);
      assert.equal(status, code, stderr);
    }
    const { size } = (await alpha.gemelJson(['volume', 'resize', 'shared', '--size', '136M'])) as { size: number };
    assert.equal(size, 136 << 20, 'grown by beta, which serves it');
    await io(alpha, disk, 'write -P 2 135M 64k');
    await io(beta, disk, 'read -P 2 135M 64k');
    await until('both say how large it is', async () => {
      const sizes = await Promise.all([alpha, beta].map(async (at) => (await at.volume('shared')).size));
      return sizes.every((each) => each === 136 << 20);
    });
    assert.match(await handOver(alpha, '--to', 'alpha'), /^shared is served by alpha now/);
    const compared = await alpha.gemel(['replication', 'verify', 'shared']);
    assert.match(compared.stdout, /^136 MiB of shared are the same on 2 nodes$/m, compared.stderr);
    const elsewhere = await beta.gemel(['replication', 'verify', 'shared']);
    assert.match(elsewhere.stderr, /alpha serves 'shared': have its copies compared there/);
    assert.equal(elsewhere.code, 5);
    const ram = await beta.gemel([
      'volume',
      'create',
      'one',
      '--size',
      '8M',
      '--durability',
      'mirrored-ram',
      '--replicas',
      '1',
    ]);
    assert.match(
      ram.stderr,
      /mirrored-ram acknowledges a write when it is in the memory of two nodes: it takes a cluster/,
    );
    await until('beta knows', async () => /Served by +alpha /.test(await shown(beta)));
    const { stdout } = await beta.gemel(['doctor']);
    assert.match(stdout, /ok +cluster +3 of 3 votes answer; when a node dies, another one takes over/);
    assert.match(stdout, /ok +replicas +1 of 1 mirrored disks are in step/);
  });

  test('a drill moves it there and back under a host, in good order and as if its owner had died', async () => {
    const commands = Array.from({ length: 60 }, (_, i) => ['-c', `write -P 8 ${i + 60}M 4k`, '-c', 'sleep 100']).flat();
    for (const hard of [false, true]) {
      let begun = (): void => undefined;
      const writing = new Promise<void>((resolve) => (begun = resolve));
      const host = run('qemu-io', ['-t', 'directsync', '-f', 'raw', ...commands, beta.url(disk)], {
        timeoutMs: 2 * PATIENCE,
        onStdout: begun,
      });
      await Promise.race([writing, host]);
      const args = ['replication', 'drill', 'shared', ...(hard ? ['--hard'] : [])];
      const { steps, paths } = (await alpha.gemelJson(args, { timeoutMs: PATIENCE })) as {
        steps: { pauseMs: number; longestCommandMs: number | null }[];
        paths: number;
      };
      assert.equal(paths, 1);
      assert.equal(steps.length, 2);
      for (const { pauseMs } of steps) assert.ok(pauseMs < 20_000, `${String(pauseMs)} ms`);
      if (hard) assert.ok((steps[0]?.pauseMs ?? 0) >= 2_000, 'nobody may take over from a dead node earlier');
      if (hard) assert.ok((steps[0]?.longestCommandMs ?? 0) >= 1_000, 'a host has waited for that');
      const { code, stdout, stderr } = await host;
      assert.equal(code, 0, stdout + stderr);
      assert.doesNotMatch(stdout + stderr, /error/i);
    }
    await io(alpha, disk, 'read -P 8 119M 4k', 'read -P 8 60M 4k', 'read -P 2 0 1M');
    const refused = await alpha.gemel(['replication', 'drill', 'before']);
    assert.match(refused.stderr, /'before' is on one node only/);
  });

  test('a node says whether it can be taken down, and is kept out of service', async () => {
    const safe = async (...args: string[]): Promise<string> => {
      const { stdout, stderr } = await beta.gemel(['cluster', 'safe-to-reboot', ...args]);
      return stdout + stderr;
    };
    assert.match(await safe(), /^yes: no host would lose a disk if beta went down now/);
    assert.match(await safe('alpha'), /^.*no: before has its only copy on alpha/);
    // One path only, to beta.
    const host = spawn('qemu-io', ['-f', 'raw', beta.url(disk)], { stdio: ['pipe', 'ignore', 'ignore'] });
    await until('it is named', async () =>
      / has a session to beta only, for shared: it would lose its disk/.test(await safe()),
    );
    const refused = await alpha.gemel(['cluster', 'maintenance', 'on', 'beta']);
    assert.match(refused.stderr, /has a session to beta only/);
    host.stdin.end();
    await until('it is gone', async () => /^yes/.test(await safe()));
    // Whoever follows the stream of either node is told.
    const following = new AbortController();
    const told: {
      topic?: string;
      id?: string;
      item?: { name?: string; maintenance?: boolean; owner?: string } | null;
    }[] = [];
    let begun = false;
    const stream = new ApiClient(alpha.ready.api, alpha.ready.token).stream(
      '/events/stream?topics=cluster,replication',
      (event, text) => {
        if (event === 'ready') begun = true;
        else told.push(JSON.parse(text) as (typeof told)[number]);
      },
      following.signal,
    );
    await until('the stream has begun', () => Promise.resolve(begun));
    await alpha.gemelJson(['volume', 'hand-over', 'shared', '--to', 'beta']);
    await until('the new owner is told', () =>
      Promise.resolve(told.some(({ topic, id }) => topic === 'replication' && id === 'shared')),
    );
    assert.match(
      (await alpha.gemel(['cluster', 'maintenance', 'on', 'beta'])).stdout,
      /^beta is in maintenance; handed over: shared/,
    );
    await until('maintenance is told', () =>
      Promise.resolve(told.some(({ item }) => item?.name === 'beta' && item.maintenance === true)),
    );
    following.abort();
    await stream;
    const back = await alpha.gemel(['volume', 'hand-over', 'shared', '--to', 'beta']);
    assert.match(back.stderr, /beta is in maintenance \(gemel cluster maintenance off\)/);
    assert.match((await beta.gemel(['cluster', 'status'])).stdout, /in maintenance/);
    assert.match((await beta.gemel(['cluster', 'maintenance', 'off'])).stdout, /^beta is in service again/);
  });

  test('both nodes say what each carries, and whether disks move by themselves', async () => {
    const balance = async (at: Daemon, ...state: string[]): Promise<string> =>
      (await at.gemel(['cluster', 'balance', ...state])).stdout;
    await alpha.gemelJson(['volume', 'hand-over', 'shared', '--to', 'alpha']);
    for (const at of [alpha, beta]) {
      // Served: "shared" by alpha.
      await until('the loads are known', async () => /alpha +1 +\d+\n(.*\n)*beta +0 +\d+\n/.test(await balance(at)));
    }
    assert.match(await balance(beta, 'on'), /Disks move by themselves when/);
    await until('alpha knows', async () => /Disks move by themselves when/.test(await balance(alpha)));
    assert.match(await balance(alpha, 'off'), /No disk moves by itself/);
  });

  test('requests nobody would send are answered, and both nodes serve on', async () => {
    const statuses = await fuzzCluster(alpha.ready, ['shared', 'beta', 'alpha']);
    for (const least of [200, 400, 404])
      assert.ok(statuses.has(least), `none with ${least}: ${[...statuses].join(' ')}`);
    for (const name of ['alpha', 'beta']) await alpha.gemel(['cluster', 'maintenance', 'off', name]);
    await alpha.gemelJson(['cluster', 'balance', 'off']);
    await until('in step', async () =>
      /In step +2 of 2: /.test((await alpha.gemel(['replication', 'show', 'shared'])).stdout),
    );
    for (const each of [alpha, beta]) await io(each, disk, 'read -P 2 0 1M');
  });

  test('another node changes who may see it', async () => {
    await beta.gemelJson(['map', 'shared', 'iqn.2026-01.x:host']);
    await until('the change is seen', async () => {
      const shown = (await alpha.gemelJson(['volume', 'show', 'shared'])) as { maps: { initiator: string }[] };
      return shown.maps.some(({ initiator }) => initiator === 'iqn.2026-01.x:host');
    });
  });

  test('when its owner is killed, with its etcd, the other node serves it with everything that was written', async () => {
    // Acknowledged from the memory of both, and flushed by nobody: a client that is still there does not flush, either.
    const fast = await alpha.createVolume('fast', '64M', ['--durability', 'mirrored-ram']);
    const client = spawn('qemu-io', ['-f', 'raw', alpha.url(fast)], { stdio: ['pipe', 'pipe', 'ignore'] });
    client.stdin.write('write -P 9 0 1M\n');
    await new Promise<void>((resolve) => {
      client.stdout.on('data', (text: Buffer) => {
        if (text.toString().includes('wrote 1048576')) resolve();
      });
    });
    await alpha.crash();
    client.kill('SIGKILL');
    killEtcd(alpha.dataFolder);
    await io(beta, fast, 'read -P 9 0 1M', 'write -P 10 1M 64k', 'flush', 'read -P 10 1M 64k');
    await io(beta, disk, 'read -P 2 0 1M', 'read -P 3 1M 64k', 'write -P 4 2M 64k', 'read -P 4 2M 64k');
    interface Taken {
      readonly missingOn: readonly string[];
    }
    const missing = async (at: Daemon): Promise<string> =>
      ((await at.gemelJson(['snapshot', 'list', 'shared'])) as Taken[]).map((each) => each.missingOn.join()).join();
    await beta.gemelJson(['snapshot', 'create', 'shared', 's2']);
    assert.equal(await missing(beta), 'alpha', 'the node that is away does not have it');
    await io(beta, disk, 'write -P 5 2M 64k');
    // It grows while a node is away, which brings its copy to the new size when it is back.
    await beta.gemelJson(['volume', 'resize', 'shared', '--size', '160M']);
    await io(beta, disk, 'write -P 6 159M 64k');
    await alpha.start();
    await io(alpha, disk, 'read -P 5 2M 64k', 'read -P 2 0 1M', 'read -P 6 159M 64k');
    await until('alpha has the snapshot', async () => (await missing(alpha)) === '');
    // What it got is what it was: a clone made of it there.
    await alpha.gemelJson(['volume', 'clone', 'shared@s2', 'late', '--map', 'loopback']);
    await io(alpha, await alpha.volume('late'), 'read -P 4 2M 64k', 'read -P 2 0 1M');
    assert.equal((await alpha.gemel(['volume', 'delete', 'late', '--force', '--purge'])).code, 0);
    assert.equal((await alpha.gemel(['snapshot', 'delete', 'shared@s2'])).code, 0);
    await io(alpha, fast, 'read -P 9 0 1M');
    await until(
      'fast is deleted',
      async () => (await beta.gemel(['volume', 'delete', 'fast', '--force', '--purge'])).code === 0,
    );
  });

  test('what is deleted at one node is gone at the other', async () => {
    await until(
      'deleted',
      async () => (await beta.gemel(['volume', 'delete', 'shared', '--force', '--purge'])).code === 0,
    );
    await until('gone', async () => (await alpha.listVolumes()).every(({ name }) => name !== 'shared'));
  });

  test('a volume of one copy gets a second one while it is used, and can have one again', async () => {
    const state = async (): Promise<string> =>
      (await beta.gemel(['volume', 'show', 'before'])).stdout.match(/^State +(.*)$/m)?.[1] ?? '';
    assert.equal(await state(), 'elsewhere: its data is on alpha');
    const before = await alpha.volume('before');
    const replicas = async (at: Daemon, ...args: string[]): Promise<string> => {
      const { stdout, stderr } = await at.gemel(['volume', 'replicas', 'before', ...args], { timeoutMs: PATIENCE });
      return stdout + stderr;
    };
    // A host that stays logged in and writes on: it sees a pause.
    const commands = Array.from({ length: 40 }, (_, i) => ['-c', `write -P 6 ${i}M 64k`, '-c', 'sleep 50']).flat();
    const host = run('qemu-io', ['-f', 'raw', ...commands, alpha.url(before)], { timeoutMs: 2 * PATIENCE });
    assert.match(await replicas(beta, '--add', 'watch'), /watch is a witness/);
    assert.match(await replicas(beta, '--remove', 'alpha'), /alpha has the only copy of 'before'/);
    assert.match(await replicas(beta, '--add', 'beta'), /^beta has a copy of before, in step/);
    const { code, stdout, stderr } = await host;
    assert.equal(code, 0, stdout + stderr);
    assert.doesNotMatch(stdout + stderr, /error/i);
    assert.match(await replicas(alpha, '--add', 'beta'), /beta has a copy of 'before' already/);
    assert.equal((await alpha.gemel(['volume', 'hand-over', 'before', '--to', 'beta'])).code, 0);
    await io(beta, before, 'read -P 6 39M 64k', 'write -P 1 0 64k');
    // It serves it: the other one does first.
    assert.match(await replicas(alpha, '--remove', 'beta'), /^beta has no copy of before any more/);
    await until('beta has no copy', async () => (await state()) === 'elsewhere: its data is on alpha');
    await io(alpha, before, 'read -P 1 0 64k', 'read -P 6 39M 64k', 'write -P 7 50M 64k');
    // It gets the snapshots there are, too.
    await alpha.gemelJson(['snapshot', 'create', 'before', 's1']);
    assert.match(await replicas(alpha, '--add', 'beta'), /^beta has a copy/);
    await until('beta has the snapshot', async () => {
      const all = (await alpha.gemelJson(['snapshot', 'list', 'before'])) as { missingOn?: string[] }[];
      return all.length === 1 && (all[0]?.missingOn ?? []).length === 0;
    });
    assert.equal((await alpha.gemel(['snapshot', 'delete', 'before@s1'])).code, 0);
  });

  test('all leave, and the last one has what it had before', async () => {
    const refused = await beta.gemel(['cluster', 'leave']);
    assert.match(refused.stderr, /beta has copies of one volume \(before\); with them: gemel cluster leave --move/);
    await until('the witness is removed', async () => (await alpha.gemel(['cluster', 'remove', 'watch'])).code === 0);
    // It says why, and does not try again and again.
    await until('the witness has ended', () => Promise.resolve(witness?.exitCode !== null));
    const left = await beta.gemel(['cluster', 'leave', '--move'], { timeoutMs: PATIENCE });
    assert.equal(left.code, 0, left.stderr);
    await until('beta is alone', async () => (await view(beta).catch(() => undefined))?.cluster === null);
    await until('alpha leaves', async () => (await alpha.gemel(['cluster', 'leave'])).code === 0);
    await until('alpha is alone', async () => (await view(alpha).catch(() => undefined))?.cluster === null);
    await io(alpha, await alpha.volume('before'), 'read -P 1 0 64k', 'read -P 7 50M 64k');
  });
});
