// One daemon per data folder. Node has no file locks, so a lock file says who holds it; a holder that is gone leaves a
// stale file, which the next one may take over.
import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ServiceError, messageOf } from '../base/errors.ts';

/** A holder we cannot look at (another container or machine) is alive if it touched its lock this recently. */
const HEARTBEAT = 5_000;
const SILENT = 20_000;

interface Holder {
  readonly pid: number;
  /** Start of the process in clock ticks since boot: a later process with the same number has another one. */
  readonly started: string;
  /** Machine, boot and process-number space in which `pid` means something. */
  readonly where: string;
  readonly nonce: string;
}

export interface FolderLock {
  release(): void;
}

/** Takes the lock of `folder`. Throws ServiceError folder-in-use or folder-unusable. `nonce`: random text. */
export function lockFolder(folder: string, nonce: string): FolderLock {
  const path = join(folder, 'lock');
  const own: Holder = { pid: process.pid, started: startOf(process.pid) ?? '', where: here(), nonce };
  const text = `${JSON.stringify(own)}\n`;
  for (let attempt = 0; attempt < 5; attempt++) {
    if (create(path, text)) return hold(path, text);
    const found = read(path);
    if (found === undefined) continue;
    const holder = parse(found.text);
    if (holder !== undefined && isAlive(holder, found.age)) {
      throw new ServiceError(
        'folder-in-use',
        `${folder} is in use by the gemeld with process number ${String(holder.pid)}`,
      );
    }
    removeStale(path, found.text, nonce);
  }
  throw new ServiceError('folder-in-use', `${folder} is being taken by another gemeld at this moment`);
}

/** False when there is a lock file already. */
function create(path: string, text: string): boolean {
  let fd: number;
  // Written under another name first: a lock that is seen is complete.
  const draft = `${path}.${String(process.pid)}`;
  try {
    fd = openSync(draft, 'w', 0o600);
  } catch (error) {
    throw new ServiceError('folder-unusable', `the data folder is not writable: ${messageOf(error)}`, { cause: error });
  }
  try {
    writeSync(fd, text);
    fsyncSync(fd);
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw new ServiceError('folder-unusable', `the data folder is not writable: ${messageOf(error)}`, { cause: error });
  } finally {
    closeSync(fd);
    unlinkSync(draft);
  }
}

function hold(path: string, text: string): FolderLock {
  const timer = setInterval(() => {
    const now = new Date();
    try {
      utimesSync(path, now, now);
    } catch {
      // The folder is gone or read-only; whoever writes to it will say so.
    }
  }, HEARTBEAT);
  timer.unref();
  return {
    release: () => {
      clearInterval(timer);
      if (read(path)?.text === text) unlinkSync(path);
    },
  };
}

/** Moves the stale file away; puts it back when somebody else has replaced it in the meantime. */
function removeStale(path: string, stale: string, nonce: string): void {
  const aside = `${path}.${nonce}.stale`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  if (readFileSync(aside, 'utf8') !== stale) {
    try {
      linkSync(aside, path);
    } catch {
      // A third one holds it now; the one we displaced finds out when it releases.
    }
  }
  unlinkSync(aside);
}

function read(path: string): { text: string; age: number } | undefined {
  try {
    return { text: readFileSync(path, 'utf8'), age: Date.now() - statSync(path).mtimeMs };
  } catch {
    return undefined;
  }
}

function parse(text: string): Holder | undefined {
  try {
    const holder = JSON.parse(text) as Partial<Holder> | null;
    return typeof holder?.pid === 'number' && typeof holder.where === 'string' ? (holder as Holder) : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(holder: Holder, age: number): boolean {
  if (holder.where !== here()) return age < SILENT;
  const started = startOf(holder.pid);
  if (started !== undefined) return holder.started === '' || started === holder.started;
  if (process.platform === 'linux') return false;
  try {
    process.kill(holder.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Start time of a living process: field 22 of /proc/PID/stat, counted behind the name, which may contain anything. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has let go of everything; only its parent has not asked for its status yet.
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function here(): string {
  const facts = [hostname()];
  try {
    facts.push(readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(), readlinkSync('/proc/self/ns/pid'));
  } catch {
    // Not Linux: the name of the machine has to do.
  }
  return facts.join(' ');
}
