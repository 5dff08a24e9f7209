// One daemon per data folder. The lock is the kernel's: it is taken or refused in one step, and it ends with the process
// that holds it, however that ends. Nothing is left behind that could be stale, or be deleted by a helpful hand.
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RUN_FILE } from '../base/data-folder.ts';
import { ServiceError, messageOf } from '../base/errors.ts';

export interface FolderLock {
  release(): void;
}

/**
 * Open flags that lock a file where Node can ask for it: O_EXLOCK | O_NONBLOCK of the BSDs, UV_FS_O_EXLOCK (a share mode
 * of 0) of libuv for Windows.
 */
const LOCKING_OPEN: Partial<Record<NodeJS.Platform, number>> = { darwin: 0x24, freebsd: 0x24, win32: 0x1000_0000 };
/** What flock(1) ends with when somebody else has the lock; every other failure is another one. */
const HELD = 1;

/** Takes the lock of `folder`, which must exist. Throws ServiceError folder-in-use or folder-unusable. */
export function lockFolder(folder: string): FolderLock {
  const flags = LOCKING_OPEN[process.platform];
  const fd = flags === undefined ? lockDirectory(folder) : openLocked(folder, flags);
  return {
    release: () => {
      closeSync(fd);
    },
  };
}

/**
 * Linux: flock(2) belongs to the open file, not to the process that asked for it. So the program of util-linux takes the
 * lock on our descriptor, ends, and we keep it. On the folder itself, because a lock file can be removed.
 */
function lockDirectory(folder: string): number {
  const fd = open(folder, 'r');
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
  const { status, error, stderr } = spawnSync('flock', ['-n', '3'], { stdio: ['ignore', 'ignore', 'pipe', fd], env });
  if (status === 0) return fd;
  closeSync(fd);
  if (status === HELD) throw inUse(folder);
  const why = error === undefined ? stderr.toString().trim() : `${error.message} (it is in the package util-linux)`;
  throw new ServiceError('folder-unusable', `${folder} cannot be locked: ${why}`, { cause: error });
}

function openLocked(folder: string, flags: number): number {
  const path = join(folder, 'lock');
  // The file has to be there: creating is not among the flags, whose numbers differ by platform.
  closeSync(open(path, 'a'));
  try {
    return openSync(path, flags);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EBUSY' || code === 'EAGAIN') throw inUse(folder, error);
    throw unusable(error);
  }
}

function open(path: string, flags: string): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    // On Windows the open of somebody who has locked the file refuses every other one.
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') throw inUse(path, error);
    throw unusable(error);
  }
}

function unusable(error: unknown): ServiceError {
  return new ServiceError('folder-unusable', `the data folder cannot be used: ${messageOf(error)}`, { cause: error });
}

/** Says who it is, when that is known already. */
function inUse(folder: string, cause?: unknown): ServiceError {
  let who = 'another gemeld';
  try {
    const { pid } = JSON.parse(readFileSync(join(folder, RUN_FILE), 'utf8')) as { pid?: unknown };
    if (typeof pid === 'number') who = `the gemeld with process number ${String(pid)}`;
  } catch {
    // It is just starting, or is not one that can be read about.
  }
  return new ServiceError('folder-in-use', `${folder} is in use by ${who}`, { cause });
}
