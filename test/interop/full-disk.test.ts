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
        await daemon.gemelJson(['volume', 'delete', '--purge', 'thin']);
        await daemon.stop();
      });
    });
    if (!done) context.skip('needs root: a file system of its own');
  });

  it('under a pool refuses changes with a reason and loses nothing; with room and a restart all goes on', async (context) => {
    const done = await withFileSystem(112 << 20, async (root) => {
      const dataFolder = join(root, 'data');
      await withDaemon({ dataFolder, args: ['--pool-size', '1G'] }, async (daemon) => {
        const demo = daemon.ready.disks[0]?.url ?? '';
        const kept = await daemon.createVolume('kept', '64M');
        await runOk('qemu-io', qemuIo(demo, 'write -P 1 0 16M'));
        await runOk('qemu-io', qemuIo(kept.url, 'write -P 5 0 4M'));
        await daemon.gemelJson(['snapshot', 'create', 'kept', 'before']);
        await runOk('qemu-io', qemuIo(kept.url, 'write -P 6 0 1M'));
        const others: string[] = [];
        // What is given back meanwhile is taken, too.
        const fillUp = (): void => {
          const other = join(root, `other${String(others.length)}`);
          others.push(other);
          fill(other);
        };
        fillUp();
        const full = await run('qemu-io', qemuIo(demo, 'write -P 2 64M 32M'));
        assert.match(full.stdout + full.stderr, /DATA PROTECTION\(7\)[^\n]*0x2707/, describeRun(full));

        // Each change is made, or refused with a reason; status 10 would be a defect, -1 a command that hangs.
        const attempt = async (...args: string[]): Promise<string | undefined> => {
          fillUp();
          const change = await daemon.gemel(args);
          assert.ok([0, 6, 9].includes(change.code), describeRun(change));
          if (change.code !== 0)
            assert.match(change.stderr, /could not be \w+|audit log cannot be written/, describeRun(change));
          return change.code === 0 ? undefined : change.stderr;
        };
        // Every volume is a few pages of the metadata, which has some free ones.
        const made: string[] = [];
        let refused: string | undefined;
        while (refused === undefined && made.length < 64) {
          const name = `v${String(made.length)}`;
          refused = await attempt('volume', 'create', name, '--size', '64G');
          if (refused === undefined) made.push(name);
        }
        assert.match(refused ?? 'never refused', /could not be made/);
        await runOk('qemu-io', qemuIo(demo, 'read -P 1 0 16M'));
        await runOk('qemu-io', qemuIo(kept.url, 'read -P 6 0 1M', 'read -P 5 1M 3M'));
        const isSnapshot = (await attempt('snapshot', 'create', 'kept', 'after')) === undefined;
        const isClone = (await attempt('volume', 'clone', 'kept@before', 'copy')) === undefined;
        const isBack = (await attempt('snapshot', 'rollback', 'kept@before')) === undefined;
        const isLarger = (await attempt('volume', 'resize', 'kept', '--size', '128M')) === undefined;
        const isWider = (await attempt('pool', 'grow', 'pool0', '--by', '1G')) === undefined;
        const notDeleted = await attempt('volume', 'delete', 'demo', '--purge');
        const pool = (await daemon.gemelJson(['pool', 'show', 'pool0'])) as { state: string; problem: string | null };
        assert.equal(pool.state === 'failed', pool.problem !== null, 'a pool that takes no writes says why');
        assert.ok(!isWider, 'checksums of a larger pool need room');

        await daemon.crash();
        for (const other of others) rmSync(other);
        await daemon.start();
        const disks = new Map((await daemon.listVolumes()).map((disk) => [disk.name, disk]));
        const snapshots = (await daemon.gemelJson(['snapshot', 'list', 'kept'])) as { name: string }[];
        assert.deepEqual(
          snapshots.map(({ name }) => name).sort(),
          [...(isSnapshot ? ['after'] : []), 'before'],
          'what was refused is not there, what was made is',
        );
        const expected = [...made, 'kept', ...(isClone ? ['copy'] : [])].sort();
        assert.deepEqual([...disks.keys()].filter((name) => name !== 'demo').sort(), expected);
        assert.equal(disks.get('kept')?.size, (isLarger ? 128 : 64) << 20);
        await runOk('qemu-io', qemuIo(kept.url, `read -P ${isBack ? '5' : '6'} 0 1M`, 'read -P 5 1M 3M'));
        // A deletion that was refused is finished by the next start when it said so; else nothing has happened to the disk.
        const isGone = notDeleted === undefined || notDeleted.includes('the next start tries again');
        assert.equal(disks.has('demo'), !isGone, notDeleted);
        if (!isGone) await runOk('qemu-io', qemuIo(demo, 'read -P 1 0 16M'));

        const again = await daemon.createVolume('again', '1G');
        await runOk('qemu-io', qemuIo(again.url, 'write -P 3 0 1M', 'read -P 3 0 1M'));
        await daemon.gemelJson(['snapshot', 'create', 'again', 'first']);
        await runOk('qemu-io', qemuIo(again.url, 'write -P 4 0 1M'));
        await daemon.gemelJson(['snapshot', 'rollback', 'again@first']);
        await runOk('qemu-io', qemuIo(again.url, 'read -P 3 0 1M'));
        await daemon.gemelJson(['volume', 'delete', '--purge', 'again', '--with-snapshots']);
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
