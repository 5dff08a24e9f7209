// qemu-storage-daemon with one image, on a unix socket of ours. It runs under a switch: a shell that kills it as soon as this
// process ends, or does not say for EXPORT_SWITCH that it should go on. A node that stands still loses its volumes to another
// one; what it has sent to its exporter must not land long after that.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { EXPORT_CONNECTIONS, EXPORT_STOP, EXPORT_SWITCH, EXPORT_TOLD } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { Clock, Timer } from '../../base/world.ts';
import { requireProgram } from './engine.ts';

/**
 * $1: seconds; $2: a file to be locked as long as the program lives, or nothing; the rest: the program, which inherits the lock. A
 * line "end" asks for an orderly end, any other says that it should go on.
 */
const SWITCH = `
limit=$1
if [ -n "$2" ]; then
  exec 9<> "$2" || exit 1
  flock -n 9 || { echo "another node has the image open: $2 is locked" >&2; exit 1; }
fi
shift 2
"$@" < /dev/null &
child=$!
trap 'kill -KILL "$child" 2> /dev/null' EXIT
while IFS= read -r -t "$limit" line; do
  [ "$line" = end ] && kill -TERM "$child" && wait "$child" && exit 0
  kill -0 "$child" 2> /dev/null || exit 1
done
exit 1
`;
/** Characters of what it says that are remembered. */
const TAIL = 2_000;

export interface ExporterOptions {
  readonly socket: string;
  /** Name of the export. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  /** It has ended, and nobody here wanted that. */
  readonly onEnded: () => void;
}

export class Exporter {
  readonly #options: ExporterOptions;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;
  #said = '';

  constructor(options: ExporterOptions) {
    this.#options = options;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** What it has said last. */
  get said(): string {
    return this.#said.trim().split('\n').at(-1) ?? '';
  }

  /**
   * Starts it; it listens soon, or ends. The one before has to be over. `lock`: a file it has the lock of as long as it runs.
   * Throws ServiceError program-missing.
   */
  start(blockdev: Readonly<Record<string, unknown>>, lock = ''): void {
    const { socket, name } = this.#options;
    const program = requireProgram('qemu-storage-daemon', 'qemu-utils qemu-block-extra qemu-system-common');
    const shell = requireProgram('bash', 'bash');
    rmSync(socket, { force: true });
    const server = { 'addr.type': 'unix', 'addr.path': socket, 'max-connections': String(EXPORT_CONNECTIONS) };
    const args = [
      ...['--blockdev', JSON.stringify({ ...blockdev, 'node-name': 'image' })],
      ...['--nbd-server', keyed(server)],
      ...['--export', keyed({ type: 'nbd', id: 'image', 'node-name': 'image', name, writable: 'on' })],
    ];
    const command = ['--norc', '-c', SWITCH, 'gemel-export', String(EXPORT_SWITCH / 1000), lock, program, ...args];
    // A group of its own, to be killed as one.
    const child = spawn(shell, command, {
      stdio: ['pipe', 'ignore', 'pipe'],
      detached: true,
      env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' },
    });
    this.#child = child;
    this.#said = '';
    child.stdin.on('error', () => undefined);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-TAIL);
    });
    this.#ended = new Promise((resolve) => {
      const over = (): void => {
        resolve();
        if (this.#child !== child) return;
        this.#child = undefined;
        this.#timer?.cancel();
        this.#options.onEnded();
      };
      child.once('error', over);
      child.once('close', over);
    });
    this.#tell(child);
  }

  /** Ends it, in order if that is quick, so that the engine lets go of its lock at once. Resolves when it is gone. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    this.#timer?.cancel();
    if (child !== undefined) {
      child.stdin?.write('end\n');
      const timer = this.#options.clock.after(EXPORT_STOP, () => {
        killGroup(child);
      });
      await this.#ended;
      timer.cancel();
    }
    rmSync(this.#options.socket, { force: true });
  }

  /** Ends it at once; onEnded is told when it is gone. */
  kill(): void {
    if (this.#child !== undefined) killGroup(this.#child);
  }

  #tell(child: ChildProcess): void {
    if (this.#child !== child) return;
    child.stdin?.write('\n');
    this.#timer = this.#options.clock.after(EXPORT_TOLD, () => {
      this.#tell(child);
    });
  }
}

/** Options of QEMU as `key=value`; a comma in a value is doubled. */
const keyed = (options: Readonly<Record<string, string>>): string =>
  Object.entries(options)
    .map(([key, value]) => `${key}=${value.replaceAll(',', ',,')}`)
    .join(',');

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It is gone.
  }
}
