// What a stranger gets who starts the daemon on an empty folder: a pool and a thin disk in it, or one line that says why not.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { withDaemon, type Daemon } from '../support/daemon.ts';
import { freePorts } from '../support/net.ts';
import { describeRun, run, runOk } from '../support/process.ts';
import { projectFile } from '../support/project.ts';
import { needsQemuTools } from '../support/qemu.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

interface Shown {
  kind: string;
  pool: string | null;
  thin: boolean;
  naa: string;
}

const shown = async (daemon: Daemon, name: string): Promise<Shown> =>
  (await daemon.gemelJson(['volume', 'show', name])) as Shown;

/** Runs `npm start` on a folder where it cannot start; its exit status and what it said. */
async function failToStart(folder: string, args: readonly string[] = []): Promise<{ code: number; said: string }> {
  const [portal = 0, api = 0] = await freePorts(2);
  const addresses = ['--portal', `127.0.0.1:${String(portal)}`, '--api', `127.0.0.1:${String(api)}`];
  const all = [projectFile('scripts', 'start.mjs'), '--json', '--data', folder, ...addresses, ...args];
  const result = await run(process.execPath, all, { timeoutMs: 60_000 });
  assert.equal(result.timedOut, false, describeRun(result));
  return { code: result.code, said: result.stderr };
}

/** Runs `body` with a small file system; false: this user may not mount one. */
async function onFileSystem(options: string, body: (folder: string) => Promise<void>): Promise<boolean> {
  const folder = temporaryFolder('first');
  const umount = (): void => void spawnSync('umount', ['-l', folder.path]);
  const forget = atExit(umount);
  try {
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'gemel-test', folder.path]);
    if (mounted.status !== 0) return false;
    await body(folder.path);
    return true;
  } finally {
    umount();
    forget();
    folder.remove();
  }
}

describe('the first start', { concurrency: 1 }, () => {
  it('serves a thin disk out of a pool, and so does the second', { skip: needsQemuTools() }, async () => {
    await withDaemon({}, async (daemon) => {
      const [demo] = daemon.ready.disks;
      assert.ok(demo);
      assert.deepEqual(Object.keys(demo), ['name', 'iqn', 'lun', 'size', 'url'], 'the contract of the ready line');
      assert.deepEqual([demo.name, demo.size], ['demo', 10 * GIB]);
      const before = await shown(daemon, 'demo');
      assert.deepEqual([before.kind, before.pool, before.thin], ['pool', 'pool0', true]);
      assert.equal((await shown(daemon, (await daemon.createVolume('next', '1G')).name)).pool, 'pool0');
      assert.equal((await shown(daemon, (await daemon.createVolume('f', '8M', ['--file'])).name)).kind, 'file');
      await runOk('qemu-io', ['-f', 'raw', '-c', 'write -P 7 9G 1M', demo.url]);
      await daemon.crash();
      await daemon.start();
      assert.equal(daemon.ready.disks.length, 3);
      assert.equal((await shown(daemon, 'demo')).naa, before.naa);
      await runOk('qemu-io', ['-f', 'raw', '-c', 'read -P 7 9G 1M', demo.url]);
      // Room that nobody uses is not taken from the file system.
      const root = join(daemon.dataFolder, 'pools');
      const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.includes('slab-'));
      const taken = files.reduce((sum, name) => sum + statSync(join(root, name)).blocks * 512, 0);
      assert.ok(files.length > 0 && taken < 4 * MIB, `${String(taken)} bytes`);
      await daemon.gemelJson(['volume', 'delete', '--purge', 'demo']);
      await daemon.stop();
      await daemon.start();
      assert.equal(daemon.ready.disks.length, 2);
      await daemon.stop();
    });
  });

  it('makes neither with --no-demo', async () => {
    await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
      assert.deepEqual(daemon.ready.disks, []);
      assert.deepEqual(await daemon.gemelJson(['pool', 'list']), []);
      await daemon.stop();
    });
  });

  it('says in one line that a port is taken, an address not ours or a folder in use, and makes nothing', async () => {
    const folder = temporaryFolder('first');
    const other = createServer();
    try {
      await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
      const taken = `127.0.0.1:${String((other.address() as AddressInfo).port)}`;
      const data = join(folder.path, 'data');
      for (const [flag, address, said] of [
        ['--portal', taken, `portal ${taken} is in use by another program`],
        ['--api', taken, `api ${taken} is in use by another program`],
        ['--portal', '192.0.2.1:3260', 'portal 192.0.2.1:3260: this machine has no such address'],
      ] as const) {
        const start = await failToStart(data, [flag, address]);
        assert.equal(start.code, 7, start.said);
        assert.ok(start.said.startsWith(`gemeld: ${said}. `) && start.said.includes(flag), start.said);
        assert.match(start.said, /^[^\n]+\n$/, 'one line');
        assert.ok(!existsSync(join(data, 'pools')), 'something was made');
      }
      await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
        const second = await failToStart(daemon.dataFolder);
        assert.equal(second.code, 7, second.said);
        assert.match(second.said, /^gemeld: \S+ is in use by [^\n]*--data\.\n$/);
        await daemon.stop();
      });
    } finally {
      other.close();
      folder.remove();
    }
  });

  it('fits into a small file system, and says when one is too small or must not be written', async (context) => {
    const done = await onFileSystem('size=64m', async (root) => {
      await withDaemon({ dataFolder: join(root, 'data'), env: { GEMEL_POOL_SIZE: '' } }, async (daemon) => {
        const pool = (await daemon.gemelJson(['pool', 'show', 'pool0'])) as { facts: { capacityBytes: number } };
        const { capacityBytes } = pool.facts;
        assert.ok(capacityBytes >= 16 * MIB && capacityBytes < 48 * MIB, String(capacityBytes));
        assert.equal(daemon.ready.disks[0]?.size, 10 * GIB, 'larger than its file system, because it is thin');
        await daemon.stop();
      });
    });
    if (!done) {
      context.skip('needs root: a file system of its own');
      return;
    }
    await onFileSystem('size=24m', async (root) => {
      const { code, said } = await failToStart(join(root, 'data'));
      assert.equal(code, 6, said);
      assert.match(said, /^gemeld: the file system of \S+ has \S+ MiB left, .*--no-demo[^\n]*\. [^\n]+\n$/);
      assert.ok(!existsSync(join(root, 'data', 'pools')));
      await withDaemon({ dataFolder: join(root, 'data'), args: ['--no-demo'] }, (daemon) => daemon.stop());
    });
    await onFileSystem('size=64m,ro', async (root) => {
      const { code, said } = await failToStart(join(root, 'data'));
      assert.equal(code, 7, said);
      assert.match(said, /^gemeld: [^\n]*--data[^\n]*\n$/);
    });
  });
});
