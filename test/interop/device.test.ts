// Disks on block devices: served and written through a loop device, and refused while the machine uses them otherwise.
import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, openSync, mkdirSync, readFileSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { withDaemon } from '../support/daemon.ts';
import { needsAll } from '../support/needs.ts';
import { run, runOk } from '../support/process.ts';
import { needsQemuTools } from '../support/qemu.ts';
import { spawnSync } from 'node:child_process';

const MIB = 1024 * 1024;

/** Loop devices need root and a kernel that offers them, which containers often do not. */
function noLoopDevices(): string | false {
  if (process.getuid?.() !== 0) return 'needs root: loop devices';
  const found = spawnSync('losetup', ['-f'], { encoding: 'utf8' });
  return found.status === 0 ? false : 'needs a kernel that offers /dev/loop-control to this machine';
}

const skip =
  needsQemuTools() ||
  needsAll(['losetup', 'mount'], ['mkfs.ext4', 'e2fsprogs'], ['mkswap', 'util-linux']) ||
  noLoopDevices();

interface Loop {
  readonly device: string;
  /** The file behind it. */
  readonly file: string;
  readonly folder: string;
}

async function withLoop(bytes: number, body: (loop: Loop) => Promise<void>): Promise<void> {
  const folder = temporaryFolder('loop');
  const file = join(folder.path, 'backing');
  const fd = openSync(file, 'w');
  ftruncateSync(fd, bytes);
  closeSync(fd);
  const device = (await runOk('losetup', ['-f', '--show', file])).stdout.trim();
  const detach = (): void => void spawnSync('losetup', ['-d', device]);
  const forget = atExit(detach);
  try {
    await body({ device, file, folder: folder.path });
  } finally {
    detach();
    forget();
    folder.remove();
  }
}

describe('a disk on a block device', { skip, concurrency: 1 }, () => {
  it('keeps the data on the device, under a name that outlives its number', async () => {
    await withLoop(64 * MIB, async ({ device, file }) => {
      const link = `/dev/gemel-test-${String(process.pid)}`;
      symlinkSync(device, link);
      const forget = atExit(() => {
        unlinkSync(link);
      });
      try {
        await withDaemon({}, async (daemon) => {
          const args = ['volume', 'create', 'dev', '--device', link, '--map', 'loopback'];
          const disk = (await daemon.gemelJson(args)) as { size: number; path: string; url: string };
          assert.deepEqual([disk.size, disk.path], [64 * MIB, link]);
          await runOk('qemu-io', ['-f', 'raw', '-c', 'write -P 0x5a 1M 4k', '-c', 'flush', disk.url]);
          const taken = await daemon.gemel(['volume', 'create', 'twice', '--device', device]);
          assert.equal(taken.code, 5);
          assert.match(taken.stderr, /is volume 'dev' already/);
          const mounted = await run('mount', ['-t', 'ext4', device, '/mnt']);
          assert.notEqual(mounted.code, 0, 'nobody can mount what is being served');
          await daemon.stop();
          await daemon.start();
          await runOk('qemu-io', ['-f', 'raw', '-c', 'read -P 0x5a 1M 4k', disk.url]);
          await daemon.gemelJson(['volume', 'delete', 'dev']);
        });
        assert.equal(readFileSync(file)[MIB], 0x5a, 'a deleted volume leaves the data on the device');
      } finally {
        unlinkSync(link);
        forget();
      }
    });
  });

  it('is refused while it is mounted or swap, and not served after it was mounted meanwhile', async () => {
    await withLoop(64 * MIB, async ({ device, folder }) => {
      const mountPoint = join(folder, 'mnt');
      mkdirSync(mountPoint);
      await runOk('mkfs.ext4', ['-q', device]);
      await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
        const create = ['volume', 'create', 'dev', '--device', device, '--map', 'loopback'];
        const umount = (): void => void spawnSync('umount', [mountPoint]);
        const forget = atExit(umount);
        await runOk('mount', [device, mountPoint]);
        try {
          const refused = await daemon.gemel(create);
          assert.equal(refused.code, 5);
          assert.match(refused.stderr, new RegExp(`${device} is in use: it is mounted on ${mountPoint}\\. .*umount`));
          assert.deepEqual(await daemon.listVolumes(), []);
          umount();
          await daemon.gemelJson(create);
          await daemon.stop();
          await runOk('mount', [device, mountPoint]);
          await daemon.start();
          const shown = (await daemon.gemelJson(['volume', 'show', 'dev'])) as { state: string; problem: string };
          assert.equal(shown.state, 'failed');
          assert.match(shown.problem, /mounted on/);
        } finally {
          umount();
          forget();
        }
        await daemon.gemelJson(['volume', 'delete', 'dev']);
        await runOk('mkswap', [device]);
        if ((await run('swapon', [device])).code !== 0) return; // Containers often may not.
        try {
          assert.match((await daemon.gemel(create)).stderr, /is in use: it is swap space/);
        } finally {
          await runOk('swapoff', [device]);
        }
      });
    });
  });
});
