// What an engine can do for its images, and how its commands are run.
import { execFile } from 'node:child_process';
import { ServiceError } from '../../base/errors.ts';
import { ENGINE_OUTPUT, ENGINE_PATIENCE } from '../../base/limits.ts';
import { programPath } from '../cluster/etcd-process.ts';

/** All of it rejects with a ServiceError. Sizes are bytes. */
export interface ImageEngine {
  /** Rejects unless it can be used from this node. */
  check(): Promise<void>;
  create(image: string, size: number): Promise<void>;
  /** Makes an image that is there the one of this volume; in-use: somebody has it open, or it is another volume's. */
  take(image: string, volume: string): Promise<void>;
  size(image: string): Promise<number>;
  resize(image: string, size: number): Promise<void>;
  /** Removes the image; nothing if there is none. In-use: somebody has it open. */
  remove(image: string): Promise<void>;
  /** Whoever has the image open can write nothing any more when it resolves. */
  fence(image: string): Promise<void>;
  /** A file only one exporter of the image may have the lock of, where the engine does not shut others out. */
  lock(image: string): string | undefined;
  /** The image as a block device of QEMU (`--blockdev`). */
  blockdev(image: string): Promise<Readonly<Record<string, unknown>>>;
}

/** Throws ServiceError program-missing. */
export function requireProgram(program: string, packages: string): string {
  const path = programPath(program);
  if (path !== undefined) return path;
  const how = `apt-get install --no-install-recommends ${packages}`;
  throw new ServiceError('program-missing', `${program} is not installed (${how})`);
}

/** A command that ended with another status than 0. */
export class CommandError extends ServiceError {
  /** Undefined: it did not end in time, or by a signal. */
  readonly status: number | undefined;

  constructor(message: string, status: number | undefined, options?: ErrorOptions) {
    super('io-error', message, options);
    this.status = status;
  }
}

/** Standard output of a program. Rejects with a CommandError. */
export function runCommand(path: string, args: readonly string[]): Promise<string> {
  const env = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' };
  const options = { timeout: ENGINE_PATIENCE, killSignal: 'SIGKILL', maxBuffer: ENGINE_OUTPUT, env } as const;
  return new Promise((resolve, reject) => {
    execFile(path, args, options, (error, stdout, stderr) => {
      if (error === null) {
        resolve(stdout);
        return;
      }
      const name = path.split('/').at(-1) ?? path;
      const said = stderr.trim().split('\n').at(-1)?.slice(0, 300) ?? '';
      const isLate = error.killed === true;
      const why = isLate ? 'no answer in time' : said === '' ? error.message.slice(0, 300) : said;
      const status = typeof error.code === 'number' ? error.code : undefined;
      reject(new CommandError(`${name} ${args.find((each) => !each.startsWith('-')) ?? ''}: ${why}`, status));
    });
  });
}
