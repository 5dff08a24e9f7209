// Decides which volume a node should give to another one. Damped: one move at a time, only after the difference has lasted, and a
// volume that has moved stays for a while. Pure: what is known is passed in, and time with it.
import {
  BALANCE_LEAST,
  BALANCE_LOOKS,
  BALANCE_RATIO,
  BALANCE_REST,
  BALANCE_SETTLE,
  BALANCE_SMOOTH,
} from '../../base/limits.ts';

/** A volume this node serves. Times are milliseconds of one clock. */
export interface OwnedVolume {
  readonly name: string;
  /** Where it should be. */
  readonly preferred: string;
  /** It goes nowhere else for the sake of balance. */
  readonly pinned: boolean;
  /** Commands a second, or what weighs as much. */
  readonly load: number;
  /** Since when each other node has had everything of it; those that do not are absent. */
  readonly heirs: ReadonlyMap<string, number>;
  /** Since when this node has served it. */
  readonly since: number;
  /** A person has said that it should be here, until then. */
  readonly heldUntil: number;
}

export interface Situation {
  readonly now: number;
  readonly self: string;
  readonly volumes: readonly OwnedVolume[];
  /** What the other nodes carry, as far as is known. */
  readonly others: ReadonlyMap<string, number>;
}

export interface Move {
  readonly volume: string;
  readonly to: string;
  /** `home`: its node is back; `load`: this node carries much more than the other one, which is where it should be from now on. */
  readonly why: 'home' | 'load';
}

export class Balancer {
  /** Looks in a row in which this node carried too much. */
  #heavy = 0;

  /** Called once for each look. Undefined: everything stays. */
  decide(situation: Situation): Move | undefined {
    return this.#home(situation) ?? this.#lighter(situation);
  }

  /** The first volume whose node has had everything of it for long enough. */
  #home({ now, self, volumes }: Situation): Move | undefined {
    for (const { name, preferred, heirs, heldUntil } of volumes) {
      const since = heirs.get(preferred);
      if (preferred === self || since === undefined || now - since < BALANCE_SETTLE || now < heldUntil) continue;
      return { volume: name, to: preferred, why: 'home' };
    }
    return undefined;
  }

  #lighter({ now, volumes, others, self }: Situation): Move | undefined {
    const own = volumes.reduce((sum, { load }) => sum + load, 0);
    const [to, least] = [...others].sort(([, a], [, b]) => a - b)[0] ?? ['', Infinity];
    const excess = own - least;
    const isHeavy = excess > BALANCE_LEAST && own > least * BALANCE_RATIO;
    this.#heavy = isHeavy ? this.#heavy + 1 : 0;
    if (this.#heavy < BALANCE_LOOKS) return undefined;
    // What weighs more than the difference would only make the other one the heavy one.
    const candidates = volumes.filter(
      ({ load, pinned, preferred, heirs, since, heldUntil }) =>
        !pinned &&
        preferred === self &&
        heirs.has(to) &&
        now - since >= BALANCE_REST &&
        now >= heldUntil &&
        load > excess / 20 &&
        load < excess * 0.8,
    );
    const best = candidates.sort((a, b) => Math.abs(a.load - excess / 2) - Math.abs(b.load - excess / 2))[0];
    if (best === undefined) return undefined;
    this.#heavy = 0;
    return { volume: best.name, to, why: 'load' };
  }
}

/** Loads from counters that only grow: averages that follow slowly. */
export class LoadMeter {
  readonly #seen = new Map<string, { total: number; at: number; load: number }>();

  /** `total`: what `id` has carried since it was opened; `now`: milliseconds. Returns its load per second. */
  measure(id: string, total: number, now: number): number {
    const before = this.#seen.get(id);
    if (before === undefined || total < before.total || now <= before.at) {
      this.#seen.set(id, { total, at: now, load: before?.load ?? 0 });
      return before?.load ?? 0;
    }
    const latest = ((total - before.total) / (now - before.at)) * 1000;
    const load = before.load + (latest - before.load) * BALANCE_SMOOTH;
    this.#seen.set(id, { total, at: now, load });
    return load;
  }

  /** Forgets everything but these. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this.#seen.keys()) if (!ids.has(id)) this.#seen.delete(id);
  }
}

/**
 * The one of `nodes` that should serve a new volume: the one with the fewest volumes of its own, then with the least load, then the
 * first. `counts`: volumes by the node that should serve them.
 */
export function ownerForNew(
  nodes: readonly string[],
  counts: ReadonlyMap<string, number>,
  loads: ReadonlyMap<string, number>,
): string {
  const rank = (node: string): readonly [number, number] => [counts.get(node) ?? 0, loads.get(node) ?? 0];
  let best = nodes[0] ?? '';
  for (const node of nodes) {
    const [a, b] = [rank(node), rank(best)];
    if (a[0] < b[0] || (a[0] === b[0] && a[1] < b[1])) best = node;
  }
  return best;
}
