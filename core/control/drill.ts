// The failover drill: another node really serves a volume for a moment, in good order or as if its owner had died, and what hosts
// have seen of it is measured where their commands are counted.
import { ServiceError } from '../base/errors.ts';
import {
  DRILL_UNFIT,
  LEASE_GRACE,
  DRILL_LOOK,
  DRILL_PATIENCE,
  DRILL_SYNC_PATIENCE,
  MAX_DRILLS,
} from '../base/limits.ts';
import type { Clock } from '../base/world.ts';
import type { Json } from '../cluster/config-store.ts';
import type { ClusterMember } from '../cluster/member.ts';
import { readRecord } from '../mirror/config-record.ts';
import type { MirrorRecord } from '../mirror/config-record.ts';
import type { MirrorNode } from '../mirror/mirror-node.ts';
import type { PeerRequests } from './peer-requests.ts';
import type { VolumeRecord } from './records.ts';
import type { Units } from './units.ts';

/** One change of the owner. Milliseconds. */
export interface DrillStep {
  /** Ids of nodes. */
  readonly from: string;
  readonly to: string;
  /** In which nobody served it. */
  readonly pauseMs: number;
  /** The longest command any host has seen in the window (within 19 %); null: no command was under way. */
  readonly longestCommandMs: number | null;
}

export interface DrillReport {
  readonly volume: string;
  /** The owner played dead; else it handed over. */
  readonly hard: boolean;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly by: string;
  /** Nexuses (initiator port and target port) that saw the volume. */
  readonly paths: number;
  readonly steps: readonly DrillStep[];
}

export interface DrillOptions {
  readonly units: Units;
  readonly member: ClusterMember;
  readonly mirror: MirrorNode;
  readonly requests: PeerRequests;
  readonly clock: Clock;
}

const KEY = 'drills';
const WATCH = 'drill-watch';
const LONGEST = 'drill-longest';
const DEAD = 'drill-dead';
const SERVES = 'drill-serves';

export class Drill {
  readonly #options: DrillOptions;
  /** Counts when the window began, by volume. */
  readonly #before = new Map<string, { reads: number[]; writes: number[] }>();
  #running = false;

  constructor(options: DrillOptions) {
    this.#options = options;
    const { requests, mirror } = options;
    requests.handle(WATCH, ({ volume }) => Promise.resolve(this.#watch(String(volume))));
    requests.handle(LONGEST, ({ volume }) => Promise.resolve(this.#longest(String(volume))));
    requests.handle(SERVES, ({ volume }) => {
      const { term } = mirror.get(String(volume))?.steward ?? {};
      return Promise.resolve(term?.mayServe === true);
    });
    requests.handle(DEAD, ({ volume }) => {
      mirror.playDead(String(volume));
      return Promise.resolve(undefined);
    });
  }

  /** The latest ones, oldest first. Rejects like the store. */
  async history(): Promise<DrillReport[]> {
    const found = (await this.#options.member.store.get(KEY))?.value as unknown as DrillReport[] | undefined;
    return found ?? [];
  }

  /**
   * There and back. Rejects with ServiceError replica-state, and does nothing, while not every copy is in step. `by`: who wants
   * it.
   */
  async run({ name, id }: VolumeRecord, hard: boolean, by: string): Promise<DrillReport> {
    if (this.#running) throw new ServiceError('in-use', 'another drill is under way');
    this.#running = true;
    try {
      const { clock, requests } = this.#options;
      const first = await this.#ready(name, id);
      const { owner } = first;
      const heir = first.inSync.find((node) => node !== owner) ?? '';
      const steps: DrillStep[] = [];
      let paths = 0;
      const step = async (from: string, to: string, move: () => Promise<number>): Promise<void> => {
        paths = Math.max(paths, ...(await this.#everywhere(WATCH, id)));
        const pauseMs = await move();
        // Commands that waited are answered a moment after.
        await this.#pause(DRILL_LOOK * 50);
        const longest = Math.max(0, ...(await this.#everywhere(LONGEST, id)));
        steps.push({ from, to, pauseMs, longestCommandMs: longest === 0 ? null : longest });
      };
      const give = (from: string, to: string) => async (): Promise<number> => {
        const { pauseMs } = (await requests.ask(from, 'give', { volume: id, to })) as { pauseMs: number };
        return pauseMs;
      };
      await step(owner, heir, hard ? () => this.#takeover(id, owner, heir) : give(owner, heir));
      const dead = clock.now();
      await this.#inStep(name, id);
      // Who has played dead leaves it to others for a while.
      if (hard) await this.#pause(Math.max(0, dead + LEASE_GRACE + DRILL_UNFIT + DRILL_LOOK - clock.now()));
      await step(heir, owner, give(heir, owner));
      const report = { volume: name, hard, time: clock.wall(), by, paths, steps };
      await this.#keep(report);
      return report;
    } finally {
      this.#running = false;
    }
  }

  /** The record, when every copy is in step and every node there. */
  async #ready(name: string, id: string): Promise<MirrorRecord> {
    const { member, mirror } = this.#options;
    const known = (await readRecord(member.store, id))?.record;
    if (known === undefined || known.replicas.length < 2) {
      throw new ServiceError('replica-state', `'${name}' has one copy: nobody could take over`);
    }
    if (known.inSync.length < known.replicas.length) {
      throw new ServiceError('replica-state', `not every copy of '${name}' is in step: a drill would be an outage`);
    }
    for (const node of known.replicas) {
      if (node === member.self.id || mirror.peers.get(node)?.up === true) continue;
      throw new ServiceError('replica-state', `a node of '${name}' does not answer`);
    }
    if (known.owner === '') throw new ServiceError('replica-state', `nobody serves '${name}'`);
    return known;
  }

  async #takeover(id: string, owner: string, heir: string): Promise<number> {
    const { clock, requests } = this.#options;
    const start = clock.now();
    await requests.ask(owner, DEAD, { volume: id });
    while ((await requests.ask(heir, SERVES, { volume: id })) !== true) {
      if (clock.now() > start + DRILL_PATIENCE) {
        throw new ServiceError('replica-state', 'nobody took over: see gemel replication show');
      }
      await this.#pause(DRILL_LOOK);
    }
    return clock.now() - start;
  }

  async #inStep(name: string, id: string): Promise<void> {
    const { clock, member } = this.#options;
    for (const end = clock.now() + DRILL_SYNC_PATIENCE; ;) {
      const record = (await readRecord(member.store, id))?.record;
      if (record !== undefined && record.inSync.length === record.replicas.length) return;
      if (clock.now() > end)
        throw new ServiceError('replica-state', `'${name}' did not come in step again: it stays where it is`);
      await this.#pause(DRILL_LOOK * 10);
    }
  }

  /** What each data node answers that does. */
  async #everywhere(action: string, id: string): Promise<number[]> {
    const { member, requests } = this.#options;
    const nodes = member.nodes().filter(({ role }) => role === 'data');
    const asked = nodes.map(({ id: node }) => requests.ask(node, action, { volume: id }).catch(() => 0));
    return (await Promise.all(asked)) as number[];
  }

  /** The window begins. Returns how many nexuses see the volume here by ports of this node. */
  #watch(id: string): Json {
    const lu = this.#unit(id);
    if (lu === undefined) return 0;
    const { readLatency, writeLatency } = lu.counters;
    this.#before.set(id, { reads: readLatency.counts(), writes: writeLatency.counts() });
    return [...lu.nexuses].filter(({ owner }) => owner.forwardedBy === undefined).length;
  }

  /** The window is over. Milliseconds. */
  #longest(id: string): Json {
    const lu = this.#unit(id);
    const before = this.#before.get(id);
    this.#before.delete(id);
    if (lu === undefined || before === undefined) return 0;
    const { readLatency, writeLatency } = lu.counters;
    const longest = Math.max(readLatency.longestSince(before.reads), writeLatency.longestSince(before.writes));
    return Math.round(longest / 10) / 100;
  }

  #unit(id: string): ReturnType<Units['unit']> {
    return this.#options.units.all().find(({ record }) => record.id === id)?.lu;
  }

  async #keep(report: DrillReport): Promise<void> {
    const { store } = this.#options.member;
    const value = [...(await this.history()), report].slice(-MAX_DRILLS);
    await store.commit([{ key: KEY, value: value as unknown as Json }]);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.after(ms, resolve));
  }
}
