// A real daemon for tests: started through its launcher on free loopback ports with a temporary data folder, driven
// through the real command line client, and gone afterwards whatever happened.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { createProgram, runProgram } from '../../core/cli/program.ts';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { atExit, temporaryFolder } from './cleanup.ts';
import { freePorts } from './net.ts';
import { describeRun, killGroup, run, type RunOptions, type RunResult } from './process.ts';
import { projectFile, projectRoot } from './project.ts';

/** A disk as the ready line and `volume create --json` print it; list prints further fields. */
export interface Disk {
  name: string;
  iqn: string;
  lun: number;
  /** Bytes. */
  size: number;
  /** iscsi://HOST:PORT/IQN/LUN on the first portal. */
  url: string;
  /** The file that holds the data, in `volume list`. */
  path?: string | null;
  /** Bytes the data occupies, in `volume list`. */
  allocatedBytes?: number | null;
}

interface ReadyLine {
  ready: true;
  pid: number;
  api: string;
  token: string;
  portals: string[];
  disks: Disk[];
}

export interface ChapCredentials {
  user: string;
  secret: string;
  /** For mutual CHAP: what the target proves itself with. */
  mutualUser?: string;
  mutualSecret?: string;
}

export interface DaemonOptions {
  /** How many portals, each on its own port; 1 when absent. */
  portals?: number;
  /** Where its data is, not removed afterwards; a temporary folder when absent. */
  dataFolder?: string;
  /** More arguments for the launcher. */
  args?: readonly string[];
  /** The address it listens on; 127.0.0.1 when absent. */
  host?: string;
  /** Words before its command, such as `ip netns exec NAME`. */
  wrapper?: readonly string[];
  /** The checkout it runs from; this one when absent. */
  project?: string;
  /** Environment of the launcher, besides ours. */
  env?: Readonly<Record<string, string>>;
}

/** A first start makes a pool of this size: one for the whole file system would write a larger journal in every test. */
const SMALL_POOL = { GEMEL_POOL_SIZE: '2G' };

/** How long the launcher may take, in milliseconds: it may have to build first. */
const READY_TIMEOUT = 120_000;
/** How long a drain may take after SIGTERM, in milliseconds. */
const STOP_TIMEOUT = 30_000;

export class Daemon {
  readonly dataFolder: string;
  readonly portals: readonly string[];
  readonly #api: string;
  readonly #args: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  readonly #wrapper: readonly string[];
  /** The checkout the next start is from. */
  project: string;
  #child: ChildProcess | undefined;
  #ready: ReadyLine | undefined;
  #output = '';

  constructor(dataFolder: string, portals: readonly string[], api: string, options: DaemonOptions) {
    this.dataFolder = dataFolder;
    this.portals = portals;
    this.#api = api;
    this.#args = options.args ?? [];
    this.#env = options.env ?? {};
    this.#wrapper = options.wrapper ?? [];
    this.project = options.project ?? projectRoot;
  }

  /** What the last start printed. */
  get ready(): ReadyLine {
    assert.ok(this.#ready, 'the daemon is not running');
    return this.#ready;
  }

  /** What the daemon has printed so far, for failure messages. */
  get output(): string {
    return this.#output;
  }

  /** Starts the daemon on its ports and data folder; resolves when it printed its ready line. `env`: for this time only. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    assert.equal(this.#child, undefined, 'already started');
    const portals = this.portals.flatMap((portal) => ['--portal', portal]);
    const options = ['--json', '--data', this.dataFolder, ...portals, '--api', this.#api, ...this.#args];
    const command = [...this.#wrapper, process.execPath, join(this.project, 'scripts', 'start.mjs'), ...options];
    const [program = process.execPath, ...args] = command;
    const child = spawn(program, args, {
      cwd: this.project,
      env: { ...process.env, ...SMALL_POOL, ...this.#env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true, // its own group: a kill must reach the daemon behind the launcher
    });
    this.#child = child;
    const forget = atExit(() => {
      killGroup(child, 'SIGKILL');
    });
    child.once('close', forget);
    this.#ready = await this.#waitReady(child);
  }

  #waitReady(child: ChildProcess): Promise<ReadyLine> {
    return new Promise((resolve, reject) => {
      let settled = false;
      const fail = (why: string): void => {
        if (settled) return;
        settled = true;
        clearTimeout(timer);
        killGroup(child, 'SIGKILL');
        this.#child = undefined;
        reject(new Error(`the daemon did not start: ${why}\n${this.#output.slice(-4000)}`));
      };
      const timer = setTimeout(() => {
        fail(`no ready line within ${READY_TIMEOUT / 1000} s`);
      }, READY_TIMEOUT);
      let rest = '';
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        const line = lines.find((candidate) => candidate.startsWith('{"ready":true'));
        if (line === undefined || settled) return;
        settled = true;
        clearTimeout(timer);
        resolve(JSON.parse(line) as ReadyLine);
      });
      child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
      child.once('error', (error) => {
        fail(error.message);
      });
      child.once('close', (code, signal) => {
        fail(`it ended with ${signal ?? `status ${code ?? -1}`}`);
      });
    });
  }

  /** Ends the daemon with `signal` and waits until it and its launcher are gone. Returns the launcher's exit status. */
  async #end(signal: NodeJS.Signals): Promise<number> {
    const child = this.#child;
    if (child === undefined) return 0;
    const gone = new Promise<number>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode ?? -1);
      else
        child.once('close', (code) => {
          resolve(code ?? -1);
        });
    });
    const ready = this.#ready;
    this.#ready = undefined;
    this.#child = undefined;
    // SIGTERM goes to the daemon itself, as a service manager would send it; a crash takes the launcher along.
    if (signal === 'SIGTERM' && ready !== undefined) process.kill(ready.pid, signal);
    else killGroup(child, signal);
    const timer = setTimeout(() => {
      this.#output += `\n(killed: still there ${STOP_TIMEOUT / 1000} s after ${signal})`;
      killGroup(child, 'SIGKILL');
    }, STOP_TIMEOUT);
    const status = await gone;
    clearTimeout(timer);
    return status;
  }

  /**
   * Drains and stops it. Fails when it does not end by itself with status 0. SIGINT goes to the whole group, as Ctrl-C in a
   * terminal does.
   */
  async stop(signal: 'SIGTERM' | 'SIGINT' = 'SIGTERM'): Promise<void> {
    const status = await this.#end(signal);
    assert.equal(status, 0, `exit status after ${signal}\n${this.#output.slice(-4000)}`);
  }

  /** Kills it at once (SIGKILL), as a crash would. */
  async crash(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Runs `gemel` with the API address and the token of this daemon. */
  gemel(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const { api, token } = this.ready;
    return run(process.execPath, [projectFile('bin', 'gemel.js'), '--api', api, '--token', token, ...args], {
      timeoutMs: 30_000,
      ...options,
    });
  }

  /**
   * `gemel … --json`, which has to succeed; returns what it printed. Run in this process, by the same code: to start one for each of
   * a thousand calls would take longer than what most tests are about. gemel() starts the real one.
   */
  async gemelJson(args: readonly string[], options: RunOptions = {}): Promise<unknown> {
    const { input, timeoutMs, ...more } = options;
    const result =
      Object.keys(more).length > 0 || args[0] === 'kvm'
        ? await this.gemel([...args, '--json'], options)
        : await this.#gemelHere([...args, '--json'], input ?? '', timeoutMs ?? 30_000);
    if (result.code !== 0) {
      throw new Error(
        `${describeRun(result)}\ndaemon: ${this.#output.slice(-2000)}`.replaceAll(this.ready.token, '***'),
      );
    }
    return result.stdout.trim() === '' ? undefined : JSON.parse(result.stdout);
  }

  async #gemelHere(args: readonly string[], input: string, timeoutMs: number): Promise<RunResult> {
    const { api, token } = this.ready;
    const printed: string[] = [];
    const context = {
      client: () => new ApiClient(api, token),
      env: {},
      print: (text: string) => {
        printed.push(text);
      },
      readStdin: () => input,
      width: undefined,
    };
    const started = Date.now();
    const over = new AbortController();
    const late = delay(timeoutMs, 'late' as const, { signal: over.signal, ref: false });
    const ended = await Promise.race([runProgram(createProgram(context, '0'), [...args]), late]);
    over.abort();
    late.catch(() => undefined);
    const { status, complaint = '' } =
      ended === 'late' ? { status: -1, complaint: `no end within ${String(timeoutMs)} ms` } : ended;
    const stdout = printed.map((text) => `${text}\n`).join('');
    const took = { timedOut: ended === 'late', ms: Date.now() - started };
    return { command: `gemel ${args.join(' ')}`, code: status, signal: null, stdout, stderr: complaint, ...took };
  }

  /** Creates a volume; `--map loopback` unless `args` names other initiators. */
  async createVolume(name: string, size: string, args: readonly string[] = []): Promise<Disk> {
    const map = args.includes('--map') ? [] : ['--map', 'loopback'];
    return (await this.gemelJson(['volume', 'create', name, '--size', size, ...map, ...args])) as Disk;
  }

  /** Makes an initiator known with CHAP credentials; the secrets travel in files, never in arguments. */
  async addInitiator(iqn: string, chap: ChapCredentials): Promise<void> {
    const folder = temporaryFolder('secrets');
    try {
      const secret = join(folder.path, 'secret');
      writeFileSync(secret, chap.secret, { mode: 0o600 });
      const args = ['initiator', 'add', iqn, '--chap-user', chap.user, '--chap-secret-file', secret];
      if (chap.mutualUser !== undefined) {
        const mutual = join(folder.path, 'mutual');
        writeFileSync(mutual, chap.mutualSecret ?? '', { mode: 0o600 });
        args.push('--mutual-user', chap.mutualUser, '--mutual-secret-file', mutual);
      }
      await this.gemelJson(args);
    } finally {
      folder.remove();
    }
  }

  /** The volumes, with what they occupy. */
  async listVolumes(): Promise<Disk[]> {
    const answer = (await this.gemelJson(['volume', 'list'])) as Disk[] | { volumes?: Disk[]; disks?: Disk[] };
    return Array.isArray(answer) ? answer : (answer.volumes ?? answer.disks ?? []);
  }

  /** The entry of `volume list` for `name`. */
  async volume(name: string): Promise<Disk> {
    const found = (await this.listVolumes()).find((disk) => disk.name === name);
    assert.ok(found, `volume ${name} is not listed`);
    return found;
  }

  /** Bytes the data of volume `name` occupies: of its file when it has one, else what the daemon says. */
  async occupiedBytes(name: string): Promise<number> {
    const { path, allocatedBytes } = await this.volume(name);
    if (typeof path === 'string') return statSync(resolve(this.dataFolder, path)).blocks * 512; // the unit of st_blocks
    assert.ok(typeof allocatedBytes === 'number', 'volume list tells neither path nor allocatedBytes');
    return allocatedBytes;
  }

  /** The iscsi:// address of `disk` on the portal number `portal`. */
  url(disk: Disk, portal = 0): string {
    return `iscsi://${this.portals[portal] ?? ''}/${disk.iqn}/${disk.lun}`;
  }
}

/** Starts a daemon the caller has to end with the returned function; prefer withDaemon. */
export async function startDaemon(options: DaemonOptions = {}): Promise<{ daemon: Daemon; end: () => Promise<void> }> {
  const folder = temporaryFolder('daemon');
  const ports = await freePorts((options.portals ?? 1) + 1);
  const [api, ...portals] = ports.map((port) => `${options.host ?? '127.0.0.1'}:${port}`);
  const daemon = new Daemon(options.dataFolder ?? folder.path, portals, api ?? '', options);
  const end = async (): Promise<void> => {
    try {
      await daemon.crash();
    } finally {
      folder.remove();
    }
  };
  try {
    await daemon.start();
  } catch (error) {
    await end();
    throw error;
  }
  return { daemon, end };
}

/** Runs `body` with a fresh daemon and removes daemon and data afterwards. */
export async function withDaemon<T>(options: DaemonOptions, body: (daemon: Daemon) => Promise<T>): Promise<T> {
  const { daemon, end } = await startDaemon(options);
  try {
    return await body(daemon);
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- daemon output ---\n${daemon.output.slice(-3000)}`;
    throw error;
  } finally {
    await end();
  }
}
