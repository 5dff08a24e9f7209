// `gemel kvm agent`: keeps a host equal to the catalog as long as it runs. It is told by the daemon (event stream) and by libvirtd
// (events) when something has changed, so that it has nothing to do meanwhile.
import { messageOf } from '../../../core/base/errors.ts';
import type { ApiCall } from '../../sdk/typed-api.ts';
import { wantedPool } from '../ensure.ts';
import type { Caller } from '../libvirt.ts';
import { LibvirtSession } from '../rpc/session.ts';
import { Reports, leftFolder, leftIn } from '../reports.ts';
import { readSecret } from '../settings.ts';
import type { KvmSettings } from '../settings.ts';
import { portalOf } from '../storage.ts';
import type { KvmStorage, StoredDisk } from '../storage.ts';
import { SUSPENDED, wakeHalted } from './halted.ts';
import { Reconciler } from './reconciler.ts';
import type { Wanted } from './reconciler.ts';

/** Milliseconds: things that change together are looked at together; at least so often everything is looked at. */
const GATHER = 100;
const EVERYTHING = 300_000;
/** Until the daemon is asked again after it could not be: at first, and at most. */
const RETRY_FIRST = 1_000;
const RETRY_MAX = 30_000;
/** As long as an operation is under way on this host, or a machine stands still that may go on, it is looked so often. */
const LEFT_INTERVAL = 10_000;
const TOPICS = '/events/stream?topics=volumes,maps,hosts';

/** The daemon's events: resolves when the stream is over (ApiClient.stream). */
export type EventStream = (path: string, tell: (event: string) => void, signal: AbortSignal) => Promise<void>;

export interface AgentOptions {
  readonly settings: KvmSettings;
  readonly storage: KvmStorage;
  readonly stream: EventStream;
  /** For operations that were left in the middle. */
  readonly call: ApiCall;
  readonly log: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Runs until `signal` says that it is enough. Rejects when the settings cannot be right. */
export async function runAgent(options: AgentOptions): Promise<void> {
  // A file that is missing is said at once, not in the middle of the night.
  wantedSecret(options.settings);
  const agent = new Agent(options);
  agent.start();
  await new Promise<void>((resolve) => {
    options.signal.addEventListener('abort', () => {
      resolve();
    });
    if (options.signal.aborted) resolve();
  });
  agent.end();
}

class Agent {
  readonly #options: AgentOptions;
  readonly #session: LibvirtSession;
  readonly #reconciler: Reconciler;
  /** What the catalog wants; undefined: it could not be asked yet, so that nothing is taken away. */
  #wanted: Wanted | undefined;
  #stale = true;
  #timer: NodeJS.Timeout | undefined;
  #due = Infinity;
  #running = false;
  #retry = RETRY_FIRST;
  #told = '';
  #goingOn: Promise<void> | undefined;
  /** A machine may stand still because the storage was away. */
  #halted = true;
  readonly #woken = new Map<string, number[]>();

  constructor(options: AgentOptions) {
    this.#options = options;
    const { settings, log } = options;
    this.#reconciler = new Reconciler({ now: () => performance.now(), log });
    this.#session = new LibvirtSession({
      address: settings.libvirt,
      onConnected: () => {
        log('connected to libvirtd');
        this.#reconciler.forget();
        this.#halted = true;
        this.#stale = true;
        this.#soon(0);
      },
      onLost: (why, next) => {
        log(`libvirtd: ${why}; tried again in ${String(next)} ms`);
      },
      onEvent: (event) => {
        if (event.kind === 'domain-lifecycle' && event.event === SUSPENDED.event && event.detail === SUSPENDED.detail) {
          // Whether the storage is there is asked before anything goes on.
          this.#halted = true;
          this.#stale = true;
          this.#soon(RETRY_FIRST);
        }
        if (event.kind !== 'pool-lifecycle') return;
        this.#reconciler.forgetPool(event.pool.uuid);
        this.#soon(GATHER);
      },
    });
  }

  start(): void {
    this.#session.start();
    void this.#follow();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#session.end();
  }

  /** The catalog's changes, as long as it runs. */
  async #follow(): Promise<void> {
    const { stream, signal, log } = this.#options;
    const isOver = (): boolean => signal.aborted;
    for (let pause = RETRY_FIRST; !isOver();) {
      try {
        await stream(
          TOPICS,
          () => {
            pause = RETRY_FIRST;
            this.#stale = true;
            this.#soon(GATHER);
          },
          signal,
        );
      } catch (error) {
        if (!isOver()) log(`events: ${messageOf(error)}`);
      }
      await sleep(pause, signal);
      pause = Math.min(RETRY_MAX, 2 * pause);
    }
  }

  /** A round in so many milliseconds, unless one comes earlier. */
  #soon(ms: number): void {
    const due = performance.now() + ms;
    if (due >= this.#due || this.#options.signal.aborted) return;
    this.#due = due;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#round(), ms);
  }

  async #round(): Promise<void> {
    this.#due = Infinity;
    const libvirt = this.#session.client;
    if (this.#running || libvirt === undefined) return;
    this.#running = true;
    const { log } = this.#options;
    let next = EVERYTHING;
    try {
      if (this.#stale || this.#halted) {
        this.#stale = false;
        const { wanted, volumes } = await this.#ask();
        this.#wanted = wanted;
        this.#retry = RETRY_FIRST;
        await this.#wake(libvirt, volumes);
      }
      if (this.#wanted !== undefined) {
        const { changed, failed, again } = await this.#reconciler.run(libvirt, this.#wanted);
        const state = `${String(this.#wanted.targets.length)} pools, ${String(failed)} of them not in order`;
        if (changed > 0 || state !== this.#told) log(state);
        this.#told = state;
        next = again ?? EVERYTHING;
        // Now that libvirtd and the daemon are there: without them it could neither be finished nor taken back.
        if (this.#goOn()) next = Math.min(next, LEFT_INTERVAL);
        if (this.#halted) next = Math.min(next, LEFT_INTERVAL);
      }
    } catch (error) {
      this.#stale = true;
      log(messageOf(error));
      next = this.#retry;
      this.#retry = this.#halted ? RETRY_FIRST : Math.min(RETRY_MAX, 2 * this.#retry);
    } finally {
      this.#running = false;
      if (this.#due < Infinity) {
        // Asked for meanwhile.
        const ms = Math.max(0, this.#due - performance.now());
        this.#due = Infinity;
        this.#soon(ms);
      } else this.#soon(this.#stale ? Math.min(next, GATHER + this.#retry) : next);
      if (next === EVERYTHING) this.#stale = true;
    }
  }

  /** Has machines go on that stand still because the storage was away. */
  async #wake(libvirt: Caller, volumes: readonly StoredDisk[]): Promise<void> {
    const { settings, log } = this.#options;
    const { nbdSocket: socket, host } = settings;
    if (!this.#halted) return;
    // Forgotten before it is looked: one that goes on may halt again at once, which is told anew.
    this.#halted = false;
    if (socket === undefined) return;
    try {
      const times = { woken: this.#woken, now: performance.now() };
      if ((await wakeHalted(libvirt, { socket, host, volumes, log, ...times })) > 0) this.#halted = true;
    } catch (error) {
      this.#halted = true;
      throw error;
    }
  }

  /** Goes on with what others have left in the middle. False: nothing is under way. */
  #goOn(): boolean {
    const { settings, storage, call, log } = this.#options;
    if (leftIn(leftFolder(settings.state)).length === 0) return false;
    this.#goingOn ??= (async () => {
      // Nothing of it is in memory before it is needed.
      const { goOnWithLeft } = await import('../ops/go-on.ts');
      const { Libvirt } = await import('../libvirt.ts');
      const libvirt = new Libvirt(settings.libvirt);
      const reports = new Reports({ folder: leftFolder(settings.state), host: settings.host, call });
      await goOnWithLeft({ libvirt, storage, settings, reports }, call, log).finally(() => {
        libvirt.close();
        this.#goingOn = undefined;
      });
    })();
    return true;
  }

  async #ask(): Promise<{ wanted: Wanted; volumes: readonly StoredDisk[] }> {
    const { storage, settings } = this.#options;
    const [names, volumes] = [new Set(await storage.visibleTo(settings.host)), await storage.volumes()];
    const mine = volumes.filter(
      (disk) => names.has(disk.name) || disk.maps.some((map) => map.initiator === settings.initiator),
    );
    return { wanted: { targets: targetsOf(mine, settings), secret: wantedSecret(settings) }, volumes };
  }
}

function wantedSecret({ initiator, chap }: KvmSettings): Wanted['secret'] {
  return chap === undefined ? undefined : { initiator, value: readSecret(chap.secretFile) };
}

/** A pool for each target. Volumes that are not served now are not there for libvirt: one bad LUN ends a pool (see README). */
export function targetsOf(volumes: readonly StoredDisk[], settings: KvmSettings): Wanted['targets'] {
  const byTarget = new Map<string, StoredDisk[]>();
  for (const disk of volumes) {
    if (disk.state === 'online') byTarget.set(disk.iqn, [...(byTarget.get(disk.iqn) ?? []), disk]);
  }
  return [...byTarget].map(([iqn, disks]) => {
    const [first] = disks as [StoredDisk];
    const content = disks.map(({ lun, size }) => `${String(lun)}:${String(size)}`).sort();
    const pool = wantedPool(iqn, settings.portal ?? portalOf(first), settings.initiator, settings.chap?.user);
    return { pool, content: content.join(' ') };
  });
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const over = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    signal.addEventListener('abort', over);
  });
}
