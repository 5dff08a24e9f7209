// What the nodes of a cluster tell each other about themselves: where they serve. `node/<id>/facts` in the store.
import { messageOf } from '../base/errors.ts';
import { CLUSTER_LOOK } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { Turn } from '../base/turn.ts';
import type { Clock, Timer } from '../base/world.ts';
import type { ClusterMember } from '../cluster/member.ts';
import type { RemotePortal } from './forwarding.ts';

export interface Facts {
  /** Portal groups it has, listening or not. */
  readonly groups: number;
  readonly portals: readonly RemotePortal[];
}

const factsKey = (node: string): string => `node/${node}/facts`;

export class NodeFacts {
  readonly #member: ClusterMember;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #known = new Map<string, Facts>();
  readonly #turn = new Turn();
  /** What the others are to know of this node. */
  #own: Facts | undefined;
  #retry: Timer | undefined;
  #unwatch: (() => void) | undefined;

  constructor(member: ClusterMember, clock: Clock, log: Log) {
    this.#member = member;
    this.#clock = clock;
    this.#log = log;
  }

  /** Reads what the others say, and calls `changed` whenever they say something else. Rejects like the store. */
  async start(changed: () => void): Promise<void> {
    const learn = (key: string, value: unknown): void => {
      const node = /^node\/([\da-f]{8})\/facts$/.exec(key)?.[1];
      if (node === undefined) return;
      if (value === undefined) this.#known.delete(node);
      else this.#known.set(node, value as Facts);
    };
    this.#unwatch = this.#member.store.watch('node/', ({ key, value }) => {
      learn(key, value);
      changed();
    });
    for (const { key, value } of await this.#member.store.list('node/')) learn(key, value);
  }

  stop(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#retry?.cancel();
  }

  /** Portal groups of a node. */
  groups(node: string): number {
    return this.#known.get(node)?.groups ?? 1;
  }

  /** Portals of the other nodes. */
  portals(): RemotePortal[] {
    const others = this.#member.nodes().filter(({ id }) => id !== this.#member.self.id);
    return others.flatMap(({ id }) => this.#known.get(id)?.portals ?? []);
  }

  /** Tells the others, now or as soon as the store answers. */
  publish(facts: Facts): Promise<void> {
    this.#own = facts;
    return this.#turn.run(() => this.#tell());
  }

  /** What is true by now, also when it is another try. */
  async #tell(): Promise<void> {
    const { self, store } = this.#member;
    const facts = this.#own;
    if (facts === undefined) return;
    this.#retry?.cancel();
    try {
      const value = { groups: facts.groups, portals: facts.portals.map(({ address, group }) => ({ address, group })) };
      const before = await store.get(factsKey(self.id));
      if (JSON.stringify(before?.value) !== JSON.stringify(value)) {
        await store.commit([{ key: factsKey(self.id), value }]);
      }
    } catch (error) {
      this.#log.warn({ error: messageOf(error) }, 'the other nodes were not told of the portals here');
      this.#retry = this.#clock.after(CLUSTER_LOOK, () => {
        if (this.#unwatch !== undefined) void this.#turn.run(() => this.#tell());
      });
    }
  }
}
