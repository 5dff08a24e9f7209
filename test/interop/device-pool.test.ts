// A pool on real block devices, as far as loop devices are: served, written, killed, grown by another device and by a larger
// one, checked, and moved.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { withDaemon, type Daemon, type Disk } from '../support/daemon.ts';
import { needsAll } from '../support/needs.ts';
import { describeRun, runOk } from '../support/process.ts';
import { needsQemuTools } from '../support/qemu.ts';

const MIB = 1024 * 1024;

/** Loop devices need root and a kernel that offers them, which containers often do not. */
function noLoopDevices(): string | false {
  if (process.getuid?.() !== 0) return 'needs root: loop devices';
  const found = spawnSync('losetup', ['-f'], { encoding: 'utf8' });
  return found.status === 0 ? false : 'needs a kernel that offers /dev/loop-control to this machine';
}

const skip = needsQemuTools() || needsAll(['losetup', 'mount']) || noLoopDevices();

/** Runs `body` with loop devices on new files of `sizes` bytes. */
async function withLoops(
  sizes: readonly number[],
  body: (loops: { device: string; file: string }[]) => Promise<void>,
): Promise<void> {
  const folder = temporaryFolder('loops');
  const loops: { device: string; file: string }[] = [];
  const detach = (): void => {
    for (const { device } of loops.splice(0)) spawnSync('losetup', ['-d', device]);
  };
  const forget = atExit(detach);
  try {
    for (const [i, size] of sizes.entries()) {
      const file = join(folder.path, `backing${String(i)}`);
      writeFileSync(file, '');
      truncateSync(file, size);
      const device = (await runOk('losetup', ['-f', '--show', file])).stdout.trim();
      loops.push({ device, file });
    }
    await body([...loops]);
  } finally {
    detach();
    forget();
    folder.remove();
  }
}

async function qemuIo(disk: Disk, ...commands: string[]): Promise<void> {
  const args = ['-f', 'raw', '-t', 'none', ...commands.flatMap((command) => ['-c', command]), disk.url];
  const result = await runOk('qemu-io', args);
  assert.doesNotMatch(result.stdout, /verification failed|failed:/, describeRun(result));
}

interface Pool {
  facts: { capacityBytes: number } | null;
  parts: { index: number; path: string }[];
  problem: string | null;
}

const poolOf = async (daemon: Daemon): Promise<Pool> => (await daemon.gemelJson(['pool', 'show', 'tank'])) as Pool;
const capacity = async (daemon: Daemon): Promise<number> => (await poolOf(daemon)).facts?.capacityBytes ?? 0;

async function isSound(daemon: Daemon): Promise<void> {
  assert.deepEqual(((await daemon.gemelJson(['pool', 'check', 'tank'])) as { findings: string[] }).findings, []);
  await daemon.gemelJson(['pool', 'scrub', 'tank', '--rate', '10G', '--wait']);
}

describe('a pool on block devices', { skip, concurrency: 1 }, () => {
  it('serves, survives kill -9, grows in both ways and moves', async () => {
    await withLoops([64 * MIB, 48 * MIB], async ([one, two]) => {
      assert.ok(one && two);
      await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
        await daemon.gemelJson(['pool', 'create', 'tank', '--device', one.device]);
        const disk = await daemon.createVolume('disk', '1G');
        await qemuIo(disk, 'write -P 1 0 16M', 'write -P 2 512M 4k', 'write -P 3 1023M 512');
        await daemon.crash();
        await daemon.start();
        await qemuIo(disk, 'read -P 1 0 16M', 'read -P 2 512M 4k', 'read -P 3 1023M 512');
        await isSound(daemon);

        const before = await capacity(daemon);
        const nothing = await daemon.gemel(['pool', 'grow', 'tank']);
        assert.equal(nothing.code, 2, describeRun(nothing));
        truncateSync(one.file, 96 * MIB);
        await runOk('losetup', ['-c', one.device]);
        await daemon.gemelJson(['pool', 'grow', 'tank']);
        const larger = await capacity(daemon);
        assert.ok(larger >= before + 24 * MIB, `${String(before)} to ${String(larger)}`);
        await daemon.gemelJson(['pool', 'grow', 'tank', '--add-device', two.device]);
        assert.ok((await capacity(daemon)) >= larger + 40 * MIB);
        await qemuIo(disk, 'write -P 4 16M 16M', 'write -P 5 32M 16M', 'write -P 6 48M 16M', 'write -P 7 64M 16M');
        await daemon.crash();
        await daemon.start();
        await qemuIo(disk, 'read -P 1 0 16M', 'read -P 4 16M 16M', 'read -P 5 32M 16M', 'read -P 6 48M 16M');
        await qemuIo(disk, 'read -P 7 64M 16M');
        await isSound(daemon);

        const identity = ((await daemon.gemelJson(['volume', 'show', 'disk'])) as { naa: string }).naa;
        await daemon.gemelJson(['pool', 'export', 'tank']);
        assert.deepEqual(await daemon.listVolumes(), []);
        await withDaemon({ args: ['--no-demo'] }, async (other) => {
          await other.gemelJson(['pool', 'import', '--device', one.device, '--device', two.device]);
          const moved = (await other.gemelJson(['volume', 'show', 'disk'])) as Disk & { naa: string };
          assert.deepEqual([moved.naa, moved.iqn], [identity, disk.iqn]);
          await qemuIo(moved, 'read -P 1 0 16M', 'read -P 7 64M 16M', 'read -P 2 512M 4k');
          await isSound(other);
          // Without its second device it is refused, and says which one that is.
          await other.stop();
          spawnSync('losetup', ['-d', two.device]);
          await other.start();
          assert.match(
            (await poolOf(other)).problem ?? '',
            new RegExp(`part 1 of the pool, ${two.device}, is missing`),
          );
          await other.stop();
        });
      });
    });
  });
});
