// QEMU boots from a disk over iscsi:// by itself: firmware, boot loader, kernel and initramfs all come out of our LUN.
// The system then makes a file system on the same disk, and its fstrim has to give the space back in our pool.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../support/cleanup.ts';
import { withDaemon } from '../support/daemon.ts';
import { needsAll } from '../support/needs.ts';
import { runOk } from '../support/process.ts';
import { buildBootDisk, DISK_BYTES, GRUB_FOLDER, PARTITION_AT } from './boot-disk.ts';
import { assertGuest, boot, prepareGuest } from './guest.ts';

const MIB = 1024 * 1024;
const FILE_MIB = 64;

const guest = await prepareGuest();
const skip =
  ('skip' in guest ? guest.skip : false) ||
  needsAll(
    [`${GRUB_FOLDER}/boot.img`, 'grub-pc-bin'],
    ['grub-mkimage', 'grub-common'],
    ['qemu-img', 'qemu-utils'],
    ['/usr/lib/x86_64-linux-gnu/qemu/block-iscsi.so', 'qemu-block-extra'],
  );

describe('QEMU with a disk over iscsi://', { skip }, () => {
  if ('skip' in guest) return;

  it('boots from it, and a discard in the guest frees space in the pool', async () => {
    const work = temporaryFolder('boot');
    try {
      const image = join(work.path, 'disk.raw');
      buildBootDisk(image, guest, { script: 'boot.sh', env: { FILE_MIB: String(FILE_MIB) } }, work.path);
      await withDaemon({}, async (daemon) => {
        const disk = await daemon.createVolume('boot', String(DISK_BYTES));
        await runOk('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', image, disk.url]);
        const seen: Record<string, number> = {};
        const measure = (name: string) => async (): Promise<void> => {
          const pool = (await daemon.gemelJson(['pool', 'show', 'pool0'])) as { facts: { usedBytes: number } };
          seen[name] = await daemon.occupiedBytes('boot');
          seen[`${name} in the pool`] = pool.facts.usedBytes;
        };
        const drive = `file=${disk.url},format=raw,if=virtio,discard=unmap,cache=none`;
        const result = await boot(['-drive', drive], {
          on: {
            empty: measure('empty'),
            // What the journal of the pool has counts once it is in its place, some seconds later.
            full: async () => {
              for (let tries = 0; tries < 40; tries++) {
                await measure('full')();
                if ((seen['full'] ?? 0) - (seen['empty'] ?? 0) >= 0.95 * FILE_MIB * MIB) break;
                await new Promise((resolve) => setTimeout(resolve, 500));
              }
            },
            trimmed: measure('trimmed'),
            erased: measure('erased'),
          },
        });
        assertGuest(result, ['booted from this disk', 'file written', 'fstrim', 'blkdiscard']);
        const { empty = 0, full = 0, trimmed = 0, erased = 0 } = seen;
        const told = `bytes: ${JSON.stringify(seen)}`;
        assert.ok(full - empty >= 0.95 * FILE_MIB * MIB, `the file arrived; ${told}`);
        assert.ok(full - trimmed >= 0.95 * FILE_MIB * MIB, `fstrim frees the file's space; ${told}`);
        const freed = (seen['full in the pool'] ?? 0) - (seen['trimmed in the pool'] ?? 0);
        assert.ok(freed >= 0.95 * FILE_MIB * MIB, `whole grains of the pool are free again; ${told}`);
        assert.ok(erased <= trimmed && erased < PARTITION_AT, `blkdiscard frees the partition; ${told}`);
      });
    } finally {
      work.remove();
    }
  });
});
