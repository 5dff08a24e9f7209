// qemu-img as a child: looks at images, checks them, and copies between files and a LUN. It gets the CHAP secret through a
// file that has no name any more, never through its arguments or its environment, which other users can see.
import { spawn } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServiceError, messageOf } from '../base/errors.ts';
import { IMAGE_COROUTINES, IMAGE_LOOK_TIMEOUT, MAX_IMAGE_REPORT } from '../base/limits.ts';
import { checkExtent, refuse, shown } from './image-file.ts';
import type { ImageFile } from './image-file.ts';

export const EXPORT_FORMATS = ['raw', 'qcow2'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** A LUN and how to sign in for it. */
export interface IscsiLun {
  /** HOST:PORT */
  readonly portal: string;
  readonly iqn: string;
  readonly lun: number;
  readonly initiator: string;
  readonly user: string;
  readonly secret: string;
}

interface Options {
  readonly signal: AbortSignal;
  readonly secret?: string;
  /** Called with 0 to 100. */
  readonly onProgress?: (percent: number) => void;
  /** Milliseconds. */
  readonly timeout?: number;
}

interface Ended {
  /** -1 when a signal ended it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const HOW_TO_INSTALL = 'apt-get install qemu-utils qemu-block-extra';
/** Descriptor of the secret in the child. */
const SECRET_FD = 3;
const SECRET_ID = 'chap';
/** Exit status of `qemu-img check`: space is lost, but the data is whole. */
const LEAKS_ONLY = 3;

/** Throws ServiceError program-missing unless qemu-img is installed and can speak iSCSI. */
export async function requireQemuImg(signal: AbortSignal): Promise<void> {
  // Without a portal it stops before it connects anywhere; what it complains of tells whether it knows the driver.
  const { stderr } = await qemuImg(['info', '--image-opts', 'driver=iscsi'], { signal, timeout: IMAGE_LOOK_TIMEOUT });
  if (/unknown driver|module .*not found/i.test(stderr)) {
    throw new ServiceError('program-missing', `qemu-img has no iSCSI driver (${HOW_TO_INSTALL})`);
  }
}

/**
 * Bytes of the disk in this image. Refuses (ServiceError bad-request) what qemu-img cannot open, what is damaged or
 * encrypted, and what names other files unless that is allowed.
 */
export async function examineImage(image: ImageFile, signal: AbortSignal): Promise<number> {
  const source = sourceOf(image);
  const info = await qemuImg(['info', '--output=json', source], { signal, timeout: IMAGE_LOOK_TIMEOUT });
  if (/Failed to get .* lock/.test(info.stderr)) throw refuse(image.path, 'is in use by another program');
  if (info.status !== 0) throw refuse(image.path, `is not a whole ${image.format} image: ${complaint(info)}`);
  const found = JSON.parse(info.stdout) as Record<string, unknown>;
  const size = found['virtual-size'];
  if (found['format'] !== image.format || typeof size !== 'number' || !Number.isSafeInteger(size)) {
    throw refuse(image.path, `is no ${image.format} image`);
  }
  if (found['encrypted'] === true) throw refuse(image.path, 'is encrypted; decrypt it first');
  if (!image.allowBacking) checkReferences(image, found);
  if (image.format === 'raw') return size;
  // Opening reads the header only. What a cut off file lacks would read as zeros; the check compares the map with the end.
  const check = await qemuImg(['check', '-q', source], { signal });
  if (check.status !== 0 && check.status !== LEAKS_ONLY) {
    throw refuse(image.path, `is damaged or cut off: ${complaint(check)}`);
  }
  return size;
}

/** Copies an image to a LUN that reads as zeros everywhere. Rejects with ServiceError. */
export async function copyToLun(
  image: ImageFile,
  target: IscsiLun,
  signal: AbortSignal,
  onProgress: (percent: number) => void,
): Promise<void> {
  // --target-is-zero: zeros are not sent at all. -W: in whatever order the source delivers; a disk does not mind.
  const how = ['-n', '--target-is-zero', '-W', '-t', 'writeback', '--target-image-opts'];
  const options = `driver=raw,${lunOptions(target)
    .map(([name, value]) => `file.${name}=${value.replaceAll(',', ',,')}`)
    .join(',')}`;
  await convert([...how, sourceOf(image), options], target.secret, signal, onProgress);
}

/** Copies a LUN into a new image at `path` (absolute), a file that is there and empty. Rejects with ServiceError. */
export async function copyFromLun(
  source: IscsiLun,
  path: string,
  format: ExportFormat,
  signal: AbortSignal,
  onProgress: (percent: number) => void,
): Promise<void> {
  const lun = json({ driver: 'raw', file: Object.fromEntries(lunOptions(source)) });
  // Past the page cache: the copy the kernel makes, and the disk that stands still until it is told to begin, cost most of the time.
  const cache = isDirect(path) ? 'none' : 'writeback';
  await convert(['-t', cache, '-O', format, lun, path], source.secret, signal, onProgress);
}

async function convert(
  args: readonly string[],
  secret: string,
  signal: AbortSignal,
  onProgress: (percent: number) => void,
): Promise<void> {
  const all = ['convert', '-p', '-m', String(IMAGE_COROUTINES), ...args];
  const ended = await qemuImg(all, { signal, secret, onProgress });
  if (ended.status === 0) return;
  const what = complaint(ended);
  throw new ServiceError(/no space left/i.test(what) ? 'no-space' : 'io-error', `qemu-img failed: ${what}`);
}

/** Whether the file can be written, and read, past the page cache (O_DIRECT, open(2)). Not every file system and system can. */
function isDirect(path: string): boolean {
  const flag = (constants as { O_DIRECT?: number }).O_DIRECT;
  if (process.platform !== 'linux' || flag === undefined) return false;
  try {
    closeSync(openSync(path, constants.O_RDONLY | flag));
    return true;
  } catch {
    return false;
  }
}

/** As JSON, so that no part of a file name is taken for a protocol or an option. */
const json = (options: object): string => `json:${JSON.stringify(options)}`;

function sourceOf({ path, format, allowBacking }: ImageFile): string {
  // Whatever the file says by now: no backing file is opened.
  const backing = allowBacking || format === 'raw' || format === 'vhdx' ? {} : { backing: null };
  return json({ driver: format, 'read-only': true, ...backing, file: { driver: 'file', filename: path } });
}

function lunOptions({ portal, iqn, lun, initiator, user }: IscsiLun): [string, string][] {
  return [
    ['driver', 'iscsi'],
    ['transport', 'tcp'],
    ['portal', portal],
    ['target', iqn],
    ['lun', String(lun)],
    ['initiator-name', initiator],
    ['user', user],
    ['password-secret', SECRET_ID],
  ];
}

function checkReferences({ path }: ImageFile, info: Record<string, unknown>): void {
  const backing = info['backing-filename'] ?? info['full-backing-filename'];
  if (backing !== undefined) throw refuse(path, `needs a backing file ('${shown(text(backing))}')`, true);
  const specific = info['format-specific'] as { data?: Record<string, unknown> } | undefined;
  if (specific?.data?.['data-file'] !== undefined) throw refuse(path, 'has its data in another file', true);
  const extents = specific?.data?.['extents'];
  for (const { filename } of Array.isArray(extents) ? (extents as { filename?: unknown }[]) : []) {
    const name = text(filename);
    if (name === path) continue;
    const folder = path.slice(0, path.lastIndexOf('/') + 1);
    checkExtent(path, name.startsWith(folder) ? name.slice(folder.length) : name);
  }
}

/** What should be text in a report. */
const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** The last thing it said, which is the most specific one. */
function complaint({ status, stderr }: Ended): string {
  const lines = stderr
    .split('\n')
    .filter((line) => line.trim() !== '' && !/\d errors were found|Data may be/.test(line));
  const last = lines.at(-1)?.replace(/^qemu-img: /, '');
  return last === undefined ? `it ended with status ${String(status)}` : shown(last);
}

function qemuImg(args: readonly string[], options: Options): Promise<Ended> {
  const { signal, secret, onProgress, timeout } = options;
  if (signal.aborted) return Promise.reject(interrupted());
  const [command = '', ...rest] = args;
  const file = secret === undefined ? undefined : secretFile(secret);
  const object = file === undefined ? [] : ['--object', `secret,id=${SECRET_ID},file=${file.path}`];
  return new Promise<Ended>((resolve, reject) => {
    const child = spawn('qemu-img', [command, ...object, ...rest], {
      env: { ...childEnvironment(), LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe', file?.fd ?? 'ignore'],
    });
    let stdout = '';
    let stderr = '';
    let late = false;
    const stop = (): void => {
      child.kill('SIGKILL');
    };
    const stopLate = (): void => {
      late = true;
      stop();
    };
    const timer = timeout === undefined ? undefined : setTimeout(stopLate, timeout);
    signal.addEventListener('abort', stop, { once: true });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      if (onProgress === undefined) stdout = (stdout + text).slice(0, MAX_IMAGE_REPORT);
      else reportProgress(text, onProgress);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-MAX_IMAGE_REPORT)));
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    };
    child.once('error', (error: NodeJS.ErrnoException) => {
      end();
      const missing = error.code === 'ENOENT';
      const message = missing
        ? `qemu-img is not installed (${HOW_TO_INSTALL})`
        : `qemu-img cannot be started: ${messageOf(error)}`;
      reject(new ServiceError(missing ? 'program-missing' : 'internal', message, { cause: error }));
    });
    child.once('close', (status, killed) => {
      end();
      // Ctrl-C goes to the whole process group, so the child may be gone before we hear of it.
      if (signal.aborted || killed === 'SIGINT') reject(interrupted());
      else if (late) reject(new ServiceError('bad-request', `qemu-img ${command} took too long for this image`));
      else resolve({ status: status ?? -1, stdout, stderr });
    });
  }).finally(() => file?.close());
}

/** What an interrupted command throws. */
export const interrupted = (): ServiceError => new ServiceError('interrupted', 'interrupted');

/** `(12.34/100%)`, each over the one before. */
function reportProgress(text: string, onProgress: (percent: number) => void): void {
  const percent = [...text.matchAll(/\((\d+(?:\.\d+)?)\/100%\)/g)].at(-1)?.[1];
  if (percent !== undefined) onProgress(Number(percent));
}

/** Ours, without the token and without credentials libiscsi would take instead of those we pass. */
function childEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(GEMEL_TOKEN|LIBISCSI_.*)$/.test(name));
  return Object.fromEntries(kept);
}

/** The secret in a file only the child can still open. */
function secretFile(secret: string): { fd: number; path: string; close: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'gemel-'));
  const remove = (): void => {
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const path = join(folder, 'secret');
    const fd = openSync(path, 'wx+', 0o600);
    writeSync(fd, secret);
    // Linux opens a file through the descriptor after its name is gone: then nothing is left even if we are killed.
    const nameless = process.platform === 'linux';
    if (nameless) remove();
    const close = (): void => {
      closeSync(fd);
      remove();
    };
    return { fd, path: nameless ? `/proc/self/fd/${String(SECRET_FD)}` : path, close };
  } catch (error) {
    remove();
    throw new ServiceError('internal', `no temporary file can be made: ${messageOf(error)}`, { cause: error });
  }
}
