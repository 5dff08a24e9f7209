// The configuration store as the machines see it: linearizable, at times out of reach, and at times without an answer. A
// change whose answer is lost may have been made, may never be made, or may be made later, while its sender is long busy with
// something else.
import { OutcomeUnknownError } from '../../core/cluster/config-store.ts';
import type {
  Change,
  CommitResult,
  ConfigEvent,
  ConfigRecord,
  ConfigStore,
  Expectation,
  Json,
} from '../../core/cluster/config-store.ts';
import { ServiceError } from '../../core/base/errors.ts';
import type { Boot } from './boot.ts';
import type { Chance } from './random.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Milliseconds a client waits for an answer (the deadline of a call). */
const DEADLINE = 1500;

export interface StoreFaults {
  /** Milliseconds a call takes usually. */
  latency: number;
  /** Probability that the answer to a change is lost. */
  lost: number;
  /** Probability that a change without an answer is made much later than its sender stopped waiting. */
  late: number;
}

export class CentralStore {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly faults: StoreFaults = { latency: 3, lost: 0, late: 0 };
  /** No majority: nobody gets an answer. */
  out = false;
  readonly #cut = new Set<string>();
  readonly #records = new Map<string, ConfigRecord>();
  #revision = 0;
  readonly #watchers = new Set<{ prefix: string; tell: (event: ConfigEvent) => void }>();

  constructor(time: VirtualTime, chance: Chance) {
    this.time = time;
    this.chance = chance;
  }

  cut(node: string): void {
    this.#cut.add(node);
  }
  heal(node: string): void {
    this.#cut.delete(node);
  }
  reachable(node: string): boolean {
    return !this.out && !this.#cut.has(node);
  }

  /** As it is, for checks. */
  peek(key: string): Json | undefined {
    return this.#records.get(key)?.value;
  }

  get(key: string): ConfigRecord | undefined {
    return this.#records.get(key);
  }
  list(prefix: string): ConfigRecord[] {
    const found = [...this.#records.values()].filter(({ key }) => key.startsWith(prefix));
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  commit(changes: readonly Change[], expectations: readonly Expectation[]): CommitResult {
    const broken = expectations.some(({ key, revision }) => (this.#records.get(key)?.revision ?? 0) !== revision);
    if (broken) return { ok: false, revision: this.#revision };
    const revision = ++this.#revision;
    for (const { key, value } of changes) {
      if (value === undefined) this.#records.delete(key);
      else this.#records.set(key, { key, value: structuredClone<Json>(value), revision });
      this.time.note(`store ${key} ${describe(value)}`);
      for (const each of [...this.#watchers]) if (key.startsWith(each.prefix)) each.tell({ key, value, revision });
    }
    return { ok: true, revision };
  }

  watch(prefix: string, tell: (event: ConfigEvent) => void): () => void {
    const watcher = { prefix, tell };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** The store as one life of one machine sees it. */
  client(node: string, boot: Boot): ConfigStore {
    return new Client(this, node, boot);
  }
}

/** Without what differs between two runs of the same seed in one process. */
function describe(value: Json | undefined): string {
  if (typeof value !== 'object' || value === null) return String(value);
  return JSON.stringify(value, (name, each: unknown) => (name === 'writer' ? undefined : each));
}

class Client implements ConfigStore {
  readonly #central: CentralStore;
  readonly #node: string;
  readonly #boot: Boot;
  readonly #watches = new Set<() => void>();

  constructor(central: CentralStore, node: string, boot: Boot) {
    this.#central = central;
    this.#node = node;
    this.#boot = boot;
    boot.onEnd(() => {
      void this.close();
    });
  }

  get(key: string): Promise<ConfigRecord | undefined> {
    return this.#read(() => this.#central.get(key));
  }
  list(prefix: string): Promise<ConfigRecord[]> {
    return this.#read(() => this.#central.list(prefix));
  }

  commit(changes: readonly Change[], expectations: readonly Expectation[] = []): Promise<CommitResult> {
    const { chance, faults } = this.#central;
    const copy = structuredClone(changes) as Change[];
    return new Promise((resolve, reject) => {
      const unknown = (): void => {
        reject(new OutcomeUnknownError('no answer'));
      };
      if (!this.#central.reachable(this.#node)) {
        // It may have been sent before the way was cut, and be on its way through the store.
        if (chance.happens(faults.late)) this.#late(copy, expectations);
        this.#boot.later(DEADLINE, unknown);
        return;
      }
      if (chance.happens(faults.lost)) {
        const fate = chance.next();
        if (fate < 0.4) this.#central.time.after(this.#delay(), () => this.#central.commit(copy, expectations));
        else if (fate < 0.8) this.#late(copy, expectations);
        this.#boot.later(DEADLINE, unknown);
        return;
      }
      this.#central.time.after(this.#delay(), () => {
        if (this.#central.out) {
          this.#boot.later(DEADLINE, unknown);
          return;
        }
        const result = this.#central.commit(copy, expectations);
        this.#boot.later(this.#delay(), () => {
          if (this.#central.reachable(this.#node)) resolve(result);
          else this.#boot.later(DEADLINE, unknown);
        });
      });
    });
  }

  watch(prefix: string, listener: (event: ConfigEvent) => void): () => void {
    // A watch is a hint: what happens while the store is out of reach is not told.
    const end = this.#central.watch(prefix, (event) => {
      if (!this.#central.reachable(this.#node)) return;
      this.#boot.later(this.#delay(), () => {
        if (this.#watches.has(end)) listener(event);
      });
    });
    this.#watches.add(end);
    return () => {
      end();
      this.#watches.delete(end);
    };
  }

  close(): Promise<void> {
    for (const each of this.#watches) each();
    this.#watches.clear();
    return Promise.resolve();
  }

  #delay(): number {
    return this.#central.faults.latency * this.#central.chance.between(0.3, 2);
  }

  #late(changes: readonly Change[], expectations: readonly Expectation[]): void {
    const { time, chance } = this.#central;
    time.after(DEADLINE + chance.between(0, 6000), () => {
      if (!this.#central.out) this.#central.commit(changes, expectations);
    });
  }

  /** Never stale. */
  #read<T>(read: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (): void => {
        reject(new ServiceError('internal', 'the configuration store does not answer'));
      };
      if (!this.#central.reachable(this.#node)) {
        this.#boot.later(DEADLINE, fail);
        return;
      }
      this.#central.time.after(this.#delay(), () => {
        const value = structuredClone(read());
        this.#boot.later(this.#delay(), () => {
          if (this.#central.reachable(this.#node)) resolve(value);
          else fail();
        });
      });
    });
  }
}
