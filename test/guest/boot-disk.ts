// Makes a disk image that firmware can boot: GRUB, kernel and initramfs at fixed places, and one empty partition.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { initramfsWith, KERNEL_ARGUMENTS, type GuestScript, type PreparedGuest } from './guest.ts';

const MIB = 1024 * 1024;
const SECTOR = 512;
/** Bytes. */
export const DISK_BYTES = 256 * MIB;
/** Where the parts of the system lie on the disk; GRUB reads them by block number, without a file system. */
const KERNEL_AT = MIB;
const INITRD_AT = 24 * MIB;
/** Bytes from the start of the disk; the partition goes to its end. */
export const PARTITION_AT = 96 * MIB;
export const GRUB_FOLDER = '/usr/lib/grub/i386-pc';

const sectors = (bytes: number): number => Math.ceil(bytes / SECTOR);

/** Writes a raw disk image that boots the guest with `script`. `work` is a folder for what lies on the way. */
export function buildBootDisk(file: string, guest: PreparedGuest, script: GuestScript, work: string): void {
  const kernel = readFileSync(guest.kernel);
  const initrd = initramfsWith(guest, script);
  assert.ok(
    KERNEL_AT + kernel.length <= INITRD_AT && INITRD_AT + initrd.length <= PARTITION_AT,
    'the disk is too small',
  );
  const list = (at: number, bytes: number): string => `(hd0)${at / SECTOR}+${sectors(bytes)}`;
  const commands = [
    `linux ${list(KERNEL_AT, kernel.length)} ${KERNEL_ARGUMENTS}`,
    `initrd ${list(INITRD_AT, initrd.length)}`,
    'boot',
  ];
  const config = join(work, 'grub.cfg');
  const core = join(work, 'core.img');
  writeFileSync(config, `${commands.join('\n')}\n`);
  execFileSync('grub-mkimage', ['-O', 'i386-pc', '-p', '/', '-c', config, '-o', core, 'biosdisk', 'linux']);

  const boot = Buffer.alloc(SECTOR);
  readFileSync(`${GRUB_FOLDER}/boot.img`).copy(boot);
  // The partition table of an MBR: entry 1 at byte 446, type 83h, first block and count; signature 55AAh at its end.
  boot.fill(0, 446, 510);
  boot.writeUInt8(0x83, 446 + 4);
  boot.writeUInt32LE(PARTITION_AT / SECTOR, 446 + 8);
  boot.writeUInt32LE((DISK_BYTES - PARTITION_AT) / SECTOR, 446 + 12);
  boot.writeUInt16LE(0xaa55, 510);

  const disk = openSync(file, 'w');
  try {
    ftruncateSync(disk, DISK_BYTES);
    writeSync(disk, boot, 0, SECTOR, 0);
    // The boot sector loads what follows it: grub-mkimage's first sector knows the length of the rest.
    const image = readFileSync(core);
    assert.ok(SECTOR + image.length <= KERNEL_AT);
    writeSync(disk, image, 0, image.length, SECTOR);
    writeSync(disk, kernel, 0, kernel.length, KERNEL_AT);
    writeSync(disk, initrd, 0, initrd.length, INITRD_AT);
  } finally {
    closeSync(disk);
  }
}
