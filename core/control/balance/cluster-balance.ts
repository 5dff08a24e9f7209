// Ownership balanced over the nodes of a cluster: every node looks after what it serves itself, tells the others what it carries,
// and gives a volume away when the balancer says so. All of it is convenience: what is safe is the mirror's business.
import { ServiceError, messageOf } from '../../base/errors.ts';
import { BALANCE_BYTES, BALANCE_HELD, BALANCE_INTERVAL, BALANCE_STALE, BALANCE_TURN } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { Clock } from '../../base/world.ts';
import type { ClusterMember } from '../../cluster/member.ts';
import type { MirrorNode } from '../../mirror/mirror-node.ts';
import type { Catalog } from '../catalog.ts';
import type { Provisioner } from '../provision.ts';
import { isMirrored, preferredOf } from '../records.ts';
import type { VolumeRecord } from '../records.ts';
import { Rounds } from '../rounds.ts';
import type { Units } from '../units.ts';
import { Balancer, LoadMeter, ownerForNew } from './balancer.ts';
import type { Move, OwnedVolume } from './balancer.ts';

const SETTINGS = 'balance/settings';
const TURN = 'balance/turn';
const LOADS = 'balance/load/';

export interface ClusterBalanceOptions {
  readonly catalog: Catalog;
  readonly units: Units;
  readonly provisioner: Provisioner;
  readonly mirror: MirrorNode;
  readonly member: ClusterMember;
  readonly clock: Clock;
  readonly log: Log;
  /** Nothing is handed over to a node that is being maintained. */
  readonly isMaintained: (node: string) => boolean;
  /** Hands a volume over to a node, by its id. Rejects with a ServiceError. */
  readonly handOver: (volume: string, to: string) => Promise<number>;
}

export interface BalanceView {
  readonly enabled: boolean;
  /** Load: commands a second, or what weighs as much; undefined: not known now. */
  readonly nodes: readonly { readonly node: string; readonly load: number | undefined; readonly volumes: number }[];
  /** The latest move this node has made by itself. */
  readonly last: (Move & { readonly time: number }) | undefined;
}

/** What a node says of itself; `look` changes with every look. */
interface LoadReport {
  readonly load: number;
  readonly look: string;
}

export class ClusterBalance {
  readonly #options: ClusterBalanceOptions;
  readonly #rounds: Rounds;
  readonly #balancer = new Balancer();
  readonly #meter = new LoadMeter();
  /** By volume id: since when this node serves it, and since when each other node has had everything. */
  readonly #owned = new Map<string, { since: number; heirs: Map<string, number> }>();
  /** Of the other nodes, and when they said something new last. */
  readonly #reports = new Map<string, LoadReport & { readonly at: number }>();
  #turnSeen: { readonly revision: number; readonly at: number } | undefined;
  #looks = 0;
  /** Whether volumes move by themselves, and new ones alternate. */
  #enabled = true;
  #unwatch: (() => void) | undefined;
  #load = 0;
  #last: BalanceView['last'];

  constructor(options: ClusterBalanceOptions) {
    this.#options = options;
    this.#rounds = new Rounds(options.clock, BALANCE_INTERVAL, () => this.look());
  }

  /** Rejects like the store. */
  async start(): Promise<void> {
    const { store } = this.#options.member;
    const learn = (value: unknown): void => {
      this.#enabled = (value as { enabled?: boolean } | undefined)?.enabled !== false;
    };
    this.#unwatch = store.watch(SETTINGS, ({ value }) => {
      learn(value);
    });
    learn((await store.get(SETTINGS))?.value);
    this.#rounds.start();
  }
  stop(): Promise<void> {
    this.#unwatch?.();
    return this.#rounds.stop();
  }

  view(): BalanceView {
    const { member } = this.#options;
    const counts = this.#counts();
    const loads = this.#loads();
    loads.set(member.self.id, this.#load);
    const nodes = member
      .nodes()
      .filter(({ role }) => role === 'data')
      .map(({ id }) => ({ node: id, load: loads.get(id), volumes: counts.get(id) ?? 0 }));
    return { enabled: this.#enabled, nodes, last: this.#last };
  }

  /** Whether volumes move by themselves, in the whole cluster. Rejects like the store. */
  async enable(enabled: boolean): Promise<void> {
    await this.#options.member.store.commit([{ key: SETTINGS, value: { enabled } }]);
    this.#enabled = enabled;
  }

  /** Which of the nodes that keep a new volume should serve it. */
  ownerOfNew(nodes: readonly string[]): string {
    if (!this.#enabled) return nodes[0] ?? '';
    const loads = this.#loads();
    loads.set(this.#options.member.self.id, this.#load);
    return ownerForNew(nodes, this.#counts(), loads);
  }

  /**
   * A person has moved a volume, or says where it should be. `pinned`: there for good; else it may go elsewhere after a while.
   * `node`: id or name; undefined: where it is now is as good as anywhere. Rejects with a ServiceError.
   */
  prefer(volume: string, node: string | undefined, pinned: boolean): Promise<VolumeRecord> {
    const { provisioner, catalog, member, clock } = this.#options;
    return provisioner.turn.run(async () => {
      const { preferred: before, ...rest } = provisioner.volume(volume);
      const record: VolumeRecord = { ...rest, pinned: false, heldUntil: 0 };
      if (!isMirrored(record)) throw new ServiceError('bad-request', `volume '${volume}' is on one node`);
      const wanted = member.nodes().find(({ id, name }) => id === node || name === node)?.id;
      if (node !== undefined && (wanted === undefined || record.replicas?.includes(wanted) !== true)) {
        throw new ServiceError('bad-request', `${node} has no copy of '${volume}'`);
      }
      const heldUntil = clock.wall() + BALANCE_HELD;
      const kept = before === undefined ? {} : { preferred: before };
      const next: VolumeRecord = pinned
        ? { ...record, preferred: wanted ?? before ?? record.replicas?.[0] ?? '', pinned: true }
        : { ...record, ...kept, ...(node === undefined ? {} : { heldUntil }) };
      await catalog.apply(catalog.volumes.edit(volume, next));
      return next;
    });
  }

  /** One look. Never rejects. */
  async look(): Promise<void> {
    const { log, clock } = this.#options;
    try {
      const volumes = this.#observe(clock.now());
      this.#load = volumes.reduce((sum, { load }) => sum + load, 0);
      await this.#exchange();
      const { member } = this.#options;
      const situation = { now: clock.now(), self: member.self.id, volumes, others: this.#loads() };
      const move = this.#balancer.decide(situation);
      if (move === undefined || this.#rounds.stopped || !this.#enabled || !(await this.#takeTurn())) return;
      await this.#carryOut(move);
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'ownership is not balanced now');
    }
  }

  async #carryOut(move: Move): Promise<void> {
    const { handOver, catalog, provisioner, log, clock } = this.#options;
    const { volume, to, why } = move;
    const pauseMs = await handOver(volume, to);
    this.#last = { ...move, time: clock.wall() };
    log.info({ volume, to, why, pauseMs: Math.round(pauseMs) }, 'a volume was handed over for balance');
    if (why === 'home') return;
    await provisioner.turn.run(async () => {
      const record = provisioner.volume(volume);
      await catalog.apply(catalog.volumes.edit(volume, { ...record, preferred: to }));
    });
  }

  /** What this node serves now. */
  #observe(now: number): OwnedVolume[] {
    const { catalog, units, mirror, member, clock, isMaintained } = this.#options;
    const found: OwnedVolume[] = [];
    const ids = new Set<string>();
    for (const record of catalog.volumes.values()) {
      const { id, name, pinned = false, heldUntil = 0 } = record;
      if (record.state !== 'ready' || !isMirrored(record) || mirror.ownership(id)?.role !== 'owner') continue;
      ids.add(id);
      const owned = this.#owned.get(id) ?? { since: now, heirs: new Map<string, number>() };
      this.#owned.set(id, owned);
      const inSync = new Set(
        mirror.replicas(id).flatMap(({ node, inSync: has }) => (has && !isMaintained(node) ? [node] : [])),
      );
      for (const node of owned.heirs.keys()) if (!inSync.has(node)) owned.heirs.delete(node);
      for (const node of inSync) if (!owned.heirs.has(node)) owned.heirs.set(node, now);
      const counters = units.unit(name)?.counters;
      const { reads = 0, writes = 0, others = 0, readBytes = 0, writtenBytes = 0 } = counters ?? {};
      const load = this.#meter.measure(id, reads + writes + others + (readBytes + writtenBytes) / BALANCE_BYTES, now);
      found.push({
        ...{ name, preferred: preferredOf(record) ?? member.self.id, pinned, load },
        ...{ heirs: owned.heirs, since: owned.since, heldUntil: now + heldUntil - clock.wall() },
      });
    }
    for (const id of this.#owned.keys()) if (!ids.has(id)) this.#owned.delete(id);
    this.#meter.keep(ids);
    return found;
  }

  /** Tells the others what this node carries, and hears of them. */
  async #exchange(): Promise<void> {
    const { member, clock } = this.#options;
    const { store, self, bootId } = member;
    const value = { load: Math.round(this.#load), look: `${bootId}.${String(++this.#looks)}` };
    await store.commit([{ key: LOADS + self.id, value }]);
    const now = clock.now();
    const present = new Set<string>();
    for (const { key, value: said } of await store.list(LOADS)) {
      const node = key.slice(LOADS.length);
      const { load, look } = said as unknown as LoadReport;
      if (node === self.id || typeof load !== 'number') continue;
      present.add(node);
      if (this.#reports.get(node)?.look !== look) this.#reports.set(node, { load, look, at: now });
    }
    for (const node of this.#reports.keys()) if (!present.has(node)) this.#reports.delete(node);
  }

  /** Of the other nodes that have said something lately. */
  #loads(): Map<string, number> {
    const { clock, member } = this.#options;
    const known = new Set(member.nodes().map(({ id }) => id));
    const fresh = [...this.#reports].filter(([node, { at }]) => known.has(node) && clock.now() - at < BALANCE_STALE);
    return new Map(fresh.map(([node, { load }]) => [node, load]));
  }

  #counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const record of this.#options.catalog.volumes.values()) {
      const node = isMirrored(record) ? preferredOf(record) : undefined;
      if (node !== undefined) counts.set(node, (counts.get(node) ?? 0) + 1);
    }
    return counts;
  }

  /** One move at a time in the whole cluster. A turn nobody has renewed for a while, as this node saw it, is free. */
  async #takeTurn(): Promise<boolean> {
    const { member, clock } = this.#options;
    const found = await member.store.get(TURN);
    const revision = found?.revision ?? 0;
    if (found !== undefined && this.#turnSeen?.revision !== revision) {
      this.#turnSeen = { revision, at: clock.now() };
      return false;
    }
    if (this.#turnSeen !== undefined && found !== undefined && clock.now() - this.#turnSeen.at < BALANCE_TURN)
      return false;
    const value = { node: member.self.id, look: this.#looks };
    const { ok, revision: taken } = await member.store.commit([{ key: TURN, value }], [{ key: TURN, revision }]);
    if (ok) this.#turnSeen = { revision: taken, at: clock.now() };
    return ok;
  }
}
