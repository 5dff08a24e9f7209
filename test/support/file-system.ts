// A file system of our own, in memory, that a test may fill up.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import { atExit, temporaryFolder } from './cleanup.ts';

/** Runs `body` with a file system of `bytes`. False: this user may not mount one. */
export async function withFileSystem(bytes: number, body: (folder: string) => Promise<void>): Promise<boolean> {
  const folder = temporaryFolder('full');
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${String(bytes)}`, 'gemel-test', folder.path]);
  // Lazily: after a failure something may still be open.
  const umount = (): void => void spawnSync('umount', ['-l', folder.path]);
  const forget = atExit(umount);
  try {
    if (mounted.status !== 0) return false;
    await body(folder.path);
    return true;
  } finally {
    umount();
    forget();
    folder.remove();
  }
}

/** Writes until nothing fits any more. */
export function fill(path: string): void {
  const fd = openSync(path, 'w');
  const piece = Buffer.alloc(4096);
  try {
    for (;;) writeSync(fd, piece);
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  } finally {
    closeSync(fd);
  }
}
