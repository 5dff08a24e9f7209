// The storage behind a thin disk is full: the initiator is told so, the daemon stays, and everything goes on when there
// is space again. On a file system of our own in memory.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { EmbeddedStore } from '../../core/cluster/embedded-store.ts';
import { withDaemon } from '../support/daemon.ts';
import { fill, withFileSystem } from '../support/file-system.ts';
import { describeRun, run, runOk } from '../support/process.ts';
import { needsQemuTools } from '../support/qemu.ts';

const qemuIo = (url: string, ...commands: string[]): string[] => [
  ...['-f', 'raw', '-t', 'none', ...commands.flatMap((command) => ['-c', command])],
  url,
];

describe('a full disk', { skip: needsQemuTools(), concurrency: 1 }, () => {
  it('is SPACE ALLOCATION FAILED for the initiator, and passes', async (context) => {
    const done = await withFileSystem(48 << 20, async (root) => {
      const dataFolder = join(root, 'data');
      await withDaemon({ dataFolder, args: ['--no-demo'] }, async (daemon) => {
        const disk = await daemon.createVolume('thin', '1G');
        await runOk('qemu-io', qemuIo(disk.url, 'write -P 1 0 16M'));
        const other = join(root, 'other');
        fill(other);

        const full = await run('qemu-io', qemuIo(disk.url, 'write -P 2 64M 1M', 'write -P 3 128M 4k'));
        assert.equal(full.timedOut, false);
        assert.match(full.stdout + full.stderr, /DATA PROTECTION\(7\)[^\n]*0x2707/, describeRun(full));
        await runOk('qemu-io', qemuIo(disk.url, 'read -P 1 0 16M', 'write -P 4 0 4k', 'read -P 4 0 4k'));
        const told = daemon.output.split('\n').filter((line) => line.includes('no space left for this disk'));
        assert.equal(told.length, 1, 'the log says it once');

        // The control plane: what needs no space works, what does is refused.
        const thick = await daemon.gemel(['volume', 'create', 'thick', '--size', '32M', '--thick']);
        assert.equal(thick.code, 6, describeRun(thick));
        await daemon.gemelJson(['map', 'thin', 'all']);

        // It starts on the full disk, too: that is how space is freed.
        await daemon.crash();
        await daemon.start();
        assert.match(daemon.output, /the data folder is full/);
        rmSync(other);
        const commands = ['write -P 2 64M 1M', 'read -P 2 64M 1M', 'read -P 1 4k 16380k', 'read -P 4 0 4k'];
        await runOk('qemu-io', qemuIo(disk.url, ...commands));
        await daemon.gemelJson(['volume', 'delete', 'thin']);
        await daemon.stop();
      });
    });
    if (!done) context.skip('needs root: a file system of its own');
  });

  it('under a pool refuses changes with a reason, which pool show says too, until there is room', async (context) => {
    const done = await withFileSystem(112 << 20, async (root) => {
      const dataFolder = join(root, 'data');
      await withDaemon({ dataFolder, args: ['--pool-size', '1G'] }, async (daemon) => {
        const url = daemon.ready.disks[0]?.url ?? '';
        await runOk('qemu-io', qemuIo(url, 'write -P 1 0 16M'));
        const other = join(root, 'other');
        fill(other);
        const full = await run('qemu-io', qemuIo(url, 'write -P 2 64M 32M'));
        assert.match(full.stdout + full.stderr, /DATA PROTECTION\(7\)[^\n]*0x2707/, describeRun(full));

        // Every volume is a few pages of the metadata, which has some free ones.
        let refused = '';
        for (let i = 0; i < 64 && refused === ''; i++) {
          const made = await daemon.gemel(['volume', 'create', `v${String(i)}`, '--size', '64G']);
          if (made.code !== 0) refused = made.stderr;
          assert.ok([0, 6, 9].includes(made.code), describeRun(made));
        }
        assert.match(refused, /could not be made/);
        const pool = (await daemon.gemelJson(['pool', 'show', 'pool0'])) as { state: string; problem: string | null };
        assert.equal(pool.state, 'failed');
        assert.match(pool.problem ?? '', /takes no more writes until it is opened again/);
        for (const time of ['first', 'second']) {
          const gone = await daemon.gemel(['volume', 'delete', 'demo']);
          assert.equal(gone.code, 9, `${time}: ${describeRun(gone)}`);
          assert.match(gone.stderr, /'demo' could not be deleted \(the next start tries again\)/);
        }

        await daemon.crash();
        rmSync(other);
        await daemon.start();
        const disks = (await daemon.gemelJson(['volume', 'list'])) as { name: string }[];
        assert.ok(!disks.some((disk) => disk.name === 'demo'), 'the deletion was finished');
        const again = await daemon.createVolume('again', '1G');
        await runOk('qemu-io', qemuIo(again.url, 'write -P 3 0 1M', 'read -P 3 0 1M'));
        await daemon.stop();
      });
    });
    if (!done) context.skip('needs root: a file system of its own');
  });

  it('refuses changes of the catalog when its reserve is used up, keeps the rest and ends nothing', async (context) => {
    const done = await withFileSystem(8 << 20, async (root) => {
      const path = join(root, 'catalog');
      mkdirSync(path);
      const store = new EmbeddedStore(path);
      await store.reserve();
      const other = join(root, 'other');
      fill(other);
      const value = 'x'.repeat(3000);
      let made = 0;
      // A rejection that nobody handles fails this test, as it would end the daemon.
      const add = async (): Promise<string> => {
        await store.commit([{ key: `volumes/${String(made)}`, value }]);
        return ++made < 1000 ? add() : 'never full';
      };
      await assert.rejects(add(), { code: 'no-space', message: 'no space left for the catalog' });
      assert.ok(made > 20, `the reserve was good for ${String(made)} changes`);
      assert.equal((await store.list('volumes/')).length, made);
      rmSync(other);
      assert.ok((await store.commit([{ key: 'volumes/again', value }])).ok);
      await store.close();
    });
    if (!done) context.skip('needs root: a file system of its own');
  });
});
