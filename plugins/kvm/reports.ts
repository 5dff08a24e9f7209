// Operations on this host, told to the daemon while they are done, so that they are among its jobs. What is under way has a file on the host,
// too: who comes after a process that died in the middle (the agent, the same key) knows from it what to go on with, or still to tell.
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { ServiceError, messageOf } from '../../core/base/errors.ts';
import type { FlowJournal, FlowRecord } from '../sdk/flow.ts';
import { TypedApi } from '../sdk/typed-api.ts';
import type { ApiCall } from '../sdk/typed-api.ts';
import { CANCELLED, reportOf } from './report.ts';
import type { KnownPart, Report } from './report.ts';

/**
 * Milliseconds between two reports of one operation at least, and before its first one (what takes no longer is told once, when it is over);
 * at most; and how long the last one may take.
 */
const TELL = 250;
const ALIVE = 30_000;
const LAST = 5_000;
/** What PUT /jobs/{id}/report takes of a title, and of the name of an object: machines may be called anything. */
const TITLE = 300;
const OBJECT = 223;
/** Refusals that do not go away. */
const FOR_GOOD: readonly string[] = ['bad-request', 'exists'];

/** What is asked for. `args`: JSON, what it takes to ask for it again. */
export interface Asked {
  readonly what: string;
  readonly args: object;
  readonly title: string;
  readonly object: Report['object'];
}

/** What is in the file of an operation that is under way. */
export interface Left extends Asked {
  readonly id: string;
  readonly key: string;
  /** It is over, but the daemon does not know yet. */
  readonly last?: Report;
}

export interface ReportsOptions {
  /** Where the files are. */
  readonly folder: string;
  readonly host: string;
  readonly call: ApiCall;
}

/** What is in the folder, and when its process was last known to be at it: milliseconds since 1970. */
export interface Found extends Left {
  readonly alive: number;
}

/** Files of operations under way on a host, and of those whose end is still to be told. */
export function leftIn(folder: string): readonly Found[] {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => name.endsWith('.json'));
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    try {
      const path = join(folder, name);
      return [{ ...(JSON.parse(readFileSync(path, 'utf8')) as Left), alive: statSync(path).mtimeMs }];
    } catch {
      // It has just gone.
      return [];
    }
  });
}

export const leftFolder = (state: string): string => join(state, 'under-way');

export class Reports {
  readonly #options: ReportsOptions;
  readonly #api: TypedApi;
  readonly #ends = new Set<Promise<void>>();

  constructor(options: ReportsOptions) {
    this.#options = options;
    this.#api = new TypedApi(options.call);
  }

  /** Resolves when the ends of all operations are told, or a file says of them that they are not. */
  async settled(): Promise<void> {
    while (this.#ends.size > 0) await Promise.all(this.#ends);
  }

  /**
   * Tells of an operation while `work` does it; its end is told behind that (settled). `parts`: flows it has; `cancellable`: it can be taken
   * back in the middle. Rejects as `work` does, and with in-use when somebody on this host is at it.
   */
  async follow<T>(
    asked: Asked,
    key: string,
    parts: number,
    cancellable: boolean,
    work: (told: Told) => Promise<T>,
  ): Promise<T> {
    const { host, folder } = this.#options;
    const id = createHash('sha256').update(`${host}\0${key}`).digest('hex').slice(0, 16);
    const held = await hold(id);
    const told = new Told({ left: { ...asked, id, key }, host, folder, parts, cancellable, api: this.#api });
    const end = (error?: unknown): void => {
      const ending = told
        .end(error)
        // A file that cannot be written: the one from the beginning is there, and has the agent look.
        .catch(() => undefined)
        .finally(() => {
          held.close();
          this.#ends.delete(ending);
        });
      this.#ends.add(ending);
    };
    try {
      const result = await work(told);
      end();
      return result;
    } catch (error) {
      end(error);
      throw error;
    }
  }

  /** Tells the end of an operation that its process could not tell. Rejects with ServiceError; when that is for good, it is told once. */
  async tellLast({ id, last }: Left): Promise<void> {
    const held = await hold(id);
    const forget = (): void => {
      rmSync(join(this.#options.folder, `${id}.json`), { force: true });
    };
    try {
      if (last !== undefined) await this.#api.ask('PUT /jobs/{id}/report', { params: { id }, body: last });
      forget();
    } catch (error) {
      if (error instanceof ServiceError && FOR_GOOD.includes(error.code)) forget();
      throw error;
    } finally {
      held.close();
    }
  }

  /** Tells of an operation that nobody goes on with, and why. Rejects like tellLast. */
  async giveUp(left: Left, why: string): Promise<void> {
    const steps = [{ name: 'go on with it', state: 'failed' as const, error: why }];
    const last = {
      ...headOf(left, this.#options.host, false),
      state: 'failed' as const,
      steps,
      error: { message: why },
    };
    await this.tellLast({ ...left, last });
  }
}

/** What it is, as it is told. */
const headOf = ({ what, title, object: { kind, name } }: Asked, host: string, cancellable: boolean) => ({
  ...{ kind: `kvm-${what}`, title: title.slice(0, TITLE), object: { kind, name: name.slice(0, OBJECT) } },
  ...{ host, cancellable },
});

/** One process is at an operation: it has this name among the sockets of the host, which goes with it however it ends. Rejects with in-use. */
function hold(id: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      reject(taken ? new ServiceError('in-use', `somebody on this host is at job ${id} already`) : error);
    });
    server.listen(`\0gemel-kvm-${id}`, () => {
      server.unref();
      resolve(server);
    });
  });
}

interface ToldOptions {
  readonly left: Left;
  readonly host: string;
  readonly folder: string;
  readonly parts: number;
  readonly cancellable: boolean;
  readonly api: TypedApi;
}

/** One operation, as it is told. */
export class Told {
  readonly #options: ToldOptions;
  readonly #parts: KnownPart[] = [];
  readonly #cancel = new AbortController();
  readonly #alive: NodeJS.Timeout;
  #begun = false;
  #over = false;
  #timer: NodeJS.Timeout | undefined;
  #sent = 0;
  #sending: Promise<boolean> | undefined;

  constructor(options: ToldOptions) {
    this.#options = options;
    this.#alive = setInterval(() => {
      this.#touch();
      this.#soon();
    }, ALIVE).unref();
  }

  /** Aborts when somebody cancels the job. */
  get signal(): AbortSignal {
    return this.#cancel.signal;
  }

  /** The journal of part number `part`, which is listened to. */
  journal<S>(of: FlowJournal<S>, part: number): FlowJournal<S> {
    const seen = (record: FlowRecord<S>): void => {
      this.#parts[part] = { steps: this.#parts[part]?.steps ?? [], record };
      // Whoever was only looking has done nothing.
      const looked = record.failure?.step === this.#parts[part].steps[0]?.name || record.step < 1;
      if (part > 0 || !looked) this.#begin();
      if (this.#begun) this.#soon();
    };
    return {
      begins: (steps) => {
        this.#parts[part] = { steps, record: undefined };
      },
      load: async (key) => {
        const record = await of.load(key);
        // Of one that is over, and was told to be, nothing is to be told: it is only asked for again.
        if (record !== undefined && (!record.done || existsSync(this.#file))) seen(record);
        return record;
      },
      save: async (key, record) => {
        await of.save(key, record);
        seen(record);
      },
    };
  }

  /** `error`: what it ended with. Resolves when the daemon knows, or a file says that it does not. */
  async end(error?: unknown): Promise<void> {
    clearInterval(this.#alive);
    clearTimeout(this.#timer);
    this.#over = true;
    if (!this.#begun) return;
    const last = this.#report(error);
    // A journal that could not be written: whoever comes next goes on.
    const open = last.state === 'running' || last.state === 'undoing';
    let late: NodeJS.Timeout | undefined;
    const patience = new Promise<boolean>((resolve) => (late = setTimeout(resolve, LAST, false)));
    const known = (async () => {
      await this.#sending;
      return this.#send(last);
    })();
    const isKnown = await Promise.race([known, patience]);
    clearTimeout(late);
    if (open) return;
    if (isKnown) rmSync(this.#file, { force: true });
    else this.#keep({ ...this.#options.left, last });
  }

  get #file(): string {
    return join(this.#options.folder, `${this.#options.left.id}.json`);
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#sent = performance.now();
    this.#keep(this.#options.left);
  }

  /** How long ago its process has ended is known by the file. */
  #touch(): void {
    if (!this.#begun || this.#over) return;
    try {
      utimesSync(this.#file, new Date(), new Date());
    } catch {
      // Somebody has removed it: it is written again at the end, if it has to be.
    }
  }

  #keep(left: Left): void {
    const { folder } = this.#options;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(`${this.#file}.new`, JSON.stringify(left), { mode: 0o600, flush: true });
    renameSync(`${this.#file}.new`, this.#file);
  }

  #report(error?: unknown): Report {
    const { left, host, cancellable, parts } = this.#options;
    const head = headOf(left, host, cancellable);
    const ended = this.#over ? { error: error === undefined ? undefined : messageOf(error) } : undefined;
    return { ...head, ...reportOf(this.#parts, parts, ended) };
  }

  /** Tells how far it is, but not all the time. */
  #soon(): void {
    if (!this.#begun || this.#over || this.#timer !== undefined || this.#sending !== undefined) return;
    const due = Math.max(0, this.#sent + TELL - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#sending = this.#send(this.#report()).finally(() => (this.#sending = undefined));
    }, due).unref();
  }

  /** False: the daemon does not know. That is no reason not to go on. */
  async #send(body: Report): Promise<boolean> {
    this.#sent = performance.now();
    try {
      const params = { id: this.#options.left.id };
      const { cancelling } = await this.#options.api.ask('PUT /jobs/{id}/report', { params, body });
      if (cancelling && !this.#over) this.#cancel.abort(new Error(CANCELLED));
      return true;
    } catch {
      return false;
    }
  }
}
