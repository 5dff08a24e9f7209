// Keeps the pools and secrets of a host as the catalog says: what is missing is made, what is wrong made anew, what has ended
// started again, what is no longer wanted taken away. Only what is ours (identity.ts) is touched.
import { messageOf } from '../../../core/base/errors.ts';
import { ensurePool, ensureSecret, startPool, takeAway } from '../ensure.ts';
import { isOurPool } from '../identity.ts';
import type { Caller } from '../libvirt.ts';
import { parsePool, samePool } from '../model/pool.ts';
import type { PoolModel } from '../model/pool.ts';
import { listAllPools, poolActive, poolXml } from '../rpc/procedures.ts';
import type { Pool } from '../rpc/types.ts';

/** Milliseconds until a pool that would not start is tried again: at first, and at most. */
export const HEAL_FIRST = 1_000;
export const HEAL_MAX = 60_000;
const PREFIX = 'gemel-';

/** What the catalog wants of one target. */
export interface WantedTarget {
  readonly pool: PoolModel;
  /** LUNs and sizes as text: when it changes, the pool has to be looked up anew. */
  readonly content: string;
}

export interface Wanted {
  readonly targets: readonly WantedTarget[];
  readonly secret: { readonly initiator: string; readonly value: Uint8Array } | undefined;
}

export interface ReconcilerOptions {
  /** Milliseconds since whenever. */
  readonly now: () => number;
  readonly log: (text: string) => void;
}

interface Known {
  readonly pool: Pool;
  readonly model: PoolModel | undefined;
}

interface Healing {
  /** When it is tried again, and the pause after that. */
  readonly at: number;
  readonly pause: number;
}

export interface Round {
  /** Pools changed, and those that could not be. */
  readonly changed: number;
  readonly failed: number;
  /** Milliseconds after which it should be tried again; undefined: all is well. */
  readonly again: number | undefined;
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  /** By UUID; what libvirt said a pool is. */
  readonly #known = new Map<string, Known>();
  /** By UUID: what was in the pool when it was last looked up. */
  readonly #content = new Map<string, string>();
  readonly #healing = new Map<string, Healing>();
  #secretSet = '';

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** libvirtd is another one, or was away: nothing that was known of it holds. */
  forget(): void {
    this.#known.clear();
    this.#content.clear();
    this.#secretSet = '';
  }

  /** Something has happened to this pool. */
  forgetPool(uuid: string): void {
    this.#known.delete(uuid);
  }

  /** Brings the host in line. Rejects only when libvirtd cannot be reached. */
  async run(libvirt: Caller, wanted: Wanted): Promise<Round> {
    const { log, now } = this.#options;
    await this.#secret(libvirt, wanted);
    const there = await this.#look(libvirt);
    const uuids = new Set(wanted.targets.map(({ pool }) => pool.uuid));
    let changed = 0;
    let failed = 0;
    for (const { pool, model } of there.values()) {
      if (uuids.has(pool.uuid) || model === undefined || !isOurPool(pool, model.target)) continue;
      await takeAway(libvirt, pool);
      this.#drop(pool.uuid);
      log(`pool ${pool.name} is no longer wanted: taken away`);
      changed++;
    }
    for (const target of wanted.targets) {
      const { uuid, name } = target.pool;
      if (await this.#isRight(libvirt, there.get(uuid), target)) {
        this.#healing.delete(uuid);
        continue;
      }
      const healing = this.#healing.get(uuid);
      if (healing !== undefined && healing.at > now()) {
        failed++;
        continue;
      }
      try {
        const found = there.get(uuid);
        const isSame = found?.model !== undefined && samePool(found.model, target.pool);
        if (isSame) await startPool(libvirt, found.pool);
        else await ensurePool(libvirt, target.pool);
        this.#known.delete(uuid);
        this.#content.set(uuid, target.content);
        this.#healing.delete(uuid);
        log(`pool ${name} is ${found === undefined ? 'made' : 'as it should be again'}`);
        changed++;
      } catch (error) {
        const pause = Math.min(HEAL_MAX, healing?.pause ?? HEAL_FIRST);
        this.#healing.set(uuid, { at: now() + pause, pause: 2 * pause });
        this.#known.delete(uuid);
        this.#content.delete(uuid);
        log(`pool ${name}: ${messageOf(error)}; tried again in ${String(pause / 1000)} s`);
        failed++;
      }
    }
    for (const uuid of this.#healing.keys()) if (!uuids.has(uuid)) this.#healing.delete(uuid);
    const next = Math.min(...[...this.#healing.values()].map(({ at }) => at));
    return { changed, failed, again: next === Infinity ? undefined : Math.max(0, next - now()) };
  }

  async #secret(libvirt: Caller, { secret }: Wanted): Promise<void> {
    if (secret === undefined) return;
    const mark = `${secret.initiator} ${Buffer.from(secret.value).toString('base64')}`;
    if (mark === this.#secretSet) return;
    await ensureSecret(libvirt, secret.initiator, secret.value);
    this.#secretSet = mark;
  }

  /** Pools that may be ours, by UUID. The definition of each is asked for once. */
  async #look(libvirt: Caller): Promise<ReadonlyMap<string, Known>> {
    const { pools } = await libvirt.call(listAllPools, { needed: 1, flags: 0 });
    const present = new Set(pools.map(({ uuid }) => uuid));
    for (const uuid of [...this.#known.keys()]) if (!present.has(uuid)) this.#drop(uuid);
    for (const pool of pools) {
      if (!pool.name.startsWith(PREFIX) || this.#known.has(pool.uuid)) continue;
      const { xml } = await libvirt.call(poolXml, { pool, flags: 0 });
      this.#known.set(pool.uuid, { pool, model: parsePool(xml) });
    }
    return this.#known;
  }

  async #isRight(libvirt: Caller, found: Known | undefined, target: WantedTarget): Promise<boolean> {
    if (found?.model === undefined || !samePool(found.model, target.pool)) return false;
    if (this.#content.get(target.pool.uuid) !== target.content) return false;
    return (await libvirt.call(poolActive, { pool: found.pool })).active !== 0;
  }

  #drop(uuid: string): void {
    this.#known.delete(uuid);
    this.#content.delete(uuid);
  }
}
