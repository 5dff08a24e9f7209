// Undoing what a test started, also when it fails, is interrupted, or the runner gives up on it.
import { mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

const pending = new Set<() => void>();

function runAll(): void {
  for (const undo of [...pending].reverse()) {
    pending.delete(undo);
    try {
      undo();
    } catch {
      // The rest has to be undone whatever happens here.
    }
  }
}

process.on('exit', runAll);
for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.on(signal, () => process.exit(status));
}

/**
 * Has `undo` called when the process ends, whichever way. It must be synchronous.
 * Returns a function that takes the request back.
 */
export function atExit(undo: () => void): () => void {
  pending.add(undo);
  return () => pending.delete(undo);
}

/** Where the system keeps files in memory. */
const MEMORY = '/dev/shm';
/** Bytes that have to be left there, and of memory, before a test puts its data there. */
const ROOM = 6 * 1024 ** 3;

/**
 * The same in memory, for tests that are not about the disk: nothing waits for it there. Where memory is short, or there is no such
 * place, it is an ordinary temporary folder.
 */
export function memoryFolder(purpose: string): { path: string; remove: () => void } {
  let room = 0;
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    room = Math.min(bavail * bsize, availableMemory());
  } catch {
    // There is none.
  }
  return temporaryFolder(purpose, room >= ROOM ? MEMORY : tmpdir());
}

/** Bytes the system can give without swapping. */
function availableMemory(): number {
  return Number(/^MemAvailable: +(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0) * 1024;
}

/** A new empty folder, in the system's temporary folder unless told otherwise, and the function that removes it. */
export function temporaryFolder(purpose: string, where = tmpdir()): { path: string; remove: () => void } {
  const path = mkdtempSync(join(where, `gemel-test-${purpose}-`));
  const remove = (): void => {
    rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  };
  const forget = atExit(remove);
  return {
    path,
    remove: () => {
      forget();
      remove();
    },
  };
}
