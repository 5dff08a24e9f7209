// What goes wrong. Each seed draws which faults it has and how often: a run with few kinds of them finds what a run with all
// of them never gets to.
import { calm } from './disk.ts';
import type { Machine } from './machine.ts';
import { VOLUME } from './machine.ts';
import type { Network } from './net.ts';
import type { Chance } from './random.ts';
import type { CentralStore } from './store.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface Arena {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly network: Network;
  readonly store: CentralStore;
  readonly machines: readonly Machine[];
  readonly hosts: readonly string[];
  /** What was acknowledged may be in memory only: more than one machine at a time must not lose it. */
  readonly fragile: boolean;
  /** Every replica is in sync, and whichever lost its memory has been admitted again since. */
  readonly isWhole: () => boolean;
  /** The marks of the last admissions of a node, by volume. */
  readonly stampsOf: (name: string) => readonly string[];
  readonly volumes: readonly string[];
}

/** Begins, and returns what ends it. */
type Fault = (arena: Arena) => () => void;

const nothing = (): void => undefined;
const alive = ({ machines }: Arena): Machine[] => machines.filter(({ isUp }) => isUp);

/** A way between two machines of the cluster, in one direction or both. */
function cutWay(arena: Arena): () => void {
  const { chance, network, machines, time } = arena;
  const one = chance.of(machines).name;
  const other = chance.of(machines.filter(({ name }) => name !== one)).name;
  const ways = chance.happens(0.5)
    ? [[one, other]]
    : [
        [one, other],
        [other, one],
      ];
  time.note(`cut ${ways.map((way) => way.join('>')).join(' ')}`);
  for (const [from, to] of ways) network.cut(from as string, to as string);
  return () => {
    for (const [from, to] of ways) network.heal(from as string, to as string);
  };
}

/** Between `name` and the store, and each of `all` but itself, nothing gets through, in either direction. */
function cutOff({ network, store }: Arena, name: string, all: readonly string[]): () => void {
  const others = all.filter((each) => each !== name);
  store.cut(name);
  for (const each of others) {
    network.cut(name, each);
    network.cut(each, name);
  }
  return () => {
    store.heal(name);
    for (const each of others) {
      network.heal(name, each);
      network.heal(each, name);
    }
  };
}

/** Everything of one machine: the other nodes, the hosts, the store. */
function isolate(arena: Arena): () => void {
  const { chance, machines, hosts, time } = arena;
  const { name } = chance.of(machines);
  time.note(`isolate ${name}`);
  return cutOff(arena, name, [...machines.map((each) => each.name), ...hosts]);
}

function reset(arena: Arena): () => void {
  const [one, other] = [arena.chance.of(arena.machines), arena.chance.of(arena.machines)];
  arena.time.note(`connections ${one.name} ${other.name} break`);
  arena.network.breakAll(one.name, other.name);
  return nothing;
}

function crash(arena: Arena): () => void {
  if (arena.fragile) {
    if (!arena.isWhole() || alive(arena).length < arena.machines.length) return nothing;
    const victim = arena.chance.of(arena.machines);
    victim.lostSince = arena.stampsOf(victim.name);
    victim.crash();
    return () => {
      victim.start();
    };
  }
  const victims = arena.chance.happens(0.25) ? alive(arena) : alive(arena).filter(() => arena.chance.happens(0.5));
  for (const each of victims) each.crash();
  return () => {
    for (const each of victims) {
      if (!each.isUp) each.start();
    }
  };
}

function pause(arena: Arena): () => void {
  const boot = arena.chance.of(arena.machines).boot;
  if (boot === undefined) return nothing;
  arena.time.note('pause');
  boot.pause();
  return () => {
    boot.resume();
  };
}

function storeOut(arena: Arena): () => void {
  const { store, chance, machines, time } = arena;
  if (chance.happens(0.4)) {
    time.note('store out');
    store.out = true;
    return () => (store.out = false);
  }
  const { name } = chance.of(machines);
  time.note(`store cut from ${name}`);
  store.cut(name);
  return () => {
    store.heal(name);
  };
}

function storeForgets({ store, chance }: Arena): () => void {
  Object.assign(store.faults, { lost: chance.between(0.1, 0.6), late: chance.next(), latency: chance.between(1, 200) });
  return () => Object.assign(store.faults, { lost: 0, late: 0, latency: 3 });
}

function slowNet({ network, chance }: Arena): () => void {
  network.latency = {
    usual: chance.between(0.2, 5),
    tail: chance.between(0, 0.1),
    tailLength: chance.between(10, 900),
  };
  return () => (network.latency = { usual: 0.3, tail: 0, tailLength: 0 });
}

function slowDisk(arena: Arena): () => void {
  const { chance, machines, time } = arena;
  const machine = chance.of(machines);
  const mood = machine.platters.mood;
  const kind = chance.below(3);
  time.note(`disk of ${machine.name}: ${['slow', 'hung', 'failing'][kind] ?? ''}`);
  if (kind === 0) Object.assign(mood, { tail: chance.between(0.01, 0.3), tailLength: chance.between(50, 3000) });
  else if (kind === 1) mood.hung = true;
  else mood.failing = chance.between(0.01, 0.5);
  return () => {
    Object.assign(mood, calm());
    machine.queue?.recover();
  };
}

function handOver(arena: Arena): () => void {
  const [from, to] = [arena.chance.of(arena.machines), arena.chance.of(arena.machines)];
  const { boot, node } = from;
  const volume = arena.volumes.length > 1 ? arena.chance.of(arena.volumes) : VOLUME;
  boot?.arrive(() => {
    arena.time.note(`hand-over ${from.name} to ${to.name}`);
    node?.handOver(volume, to.name).catch(() => undefined);
  });
  return nothing;
}

/** The other nodes and the store are out of reach; hosts are not, and are answered as long as somebody dares to. */
function exile(arena: Arena): () => void {
  const { chance, machines, time } = arena;
  const { name } = chance.of(machines);
  time.note(`exile ${name}`);
  const nodes = machines.map((each) => each.name);
  return cutOff(arena, name, nodes);
}

/** As exile, of the owner; the others restart at once: who owns the volume may still be answering hosts. */
function eclipse(arena: Arena): () => void {
  const { chance, machines, time, fragile } = arena;
  const owner = machines.find(({ node }) => node?.ownership(VOLUME)?.role === 'owner');
  if (owner === undefined || fragile) return nothing;
  time.note(`eclipse of ${owner.name}`);
  const nodes = machines.map((each) => each.name);
  const heal = cutOff(arena, owner.name, nodes);
  for (const each of machines) {
    if (each === owner || !each.isUp) continue;
    each.crash();
    time.after(chance.between(50, 400), () => {
      if (!each.isUp) each.start();
    });
  }
  return heal;
}

/** Milliseconds an ambushed owner stands still: long enough for an attempt to take over, too short for a second one. */
const AMBUSH = [2800, 3600] as const;

/**
 * The owner stands still, and does not reach the store for longer; who tries to take over meanwhile gets no answer, and when the owner
 * is back that attempt may be on its way still.
 */
function ambush(arena: Arena): () => void {
  const { chance, machines, store, time } = arena;
  const owner = machines.find(({ node }) => node?.ownership(VOLUME)?.role === 'owner');
  const boot = owner?.boot;
  if (owner === undefined || boot === undefined) return nothing;
  time.note(`ambush of ${owner.name}`);
  store.cut(owner.name);
  Object.assign(store.faults, { lost: 1, late: 1 });
  boot.pause();
  let isOver = false;
  const resume = (): void => {
    if (isOver) return;
    isOver = true;
    Object.assign(store.faults, { lost: 0, late: 0 });
    boot.resume();
  };
  time.after(chance.between(...AMBUSH), resume);
  return () => {
    resume();
    store.heal(owner.name);
  };
}

/** What a seed draws from. */
const DRAWN = {
  ...{ cutWay, isolate, exile, reset, crash, pause, storeOut, storeForgets, slowNet, slowDisk, handOver },
} as const satisfies Record<string, Fault>;
const FAULTS = { ...DRAWN, eclipse, ambush } as const satisfies Record<string, Fault>;
export type FaultName = keyof typeof FAULTS;

/** What goes wrong, instead of what the seed draws. */
export interface Weather {
  readonly faults: readonly FaultName[];
  /** Milliseconds a fault lasts at least, and at most. */
  readonly lasts: readonly [least: number, most: number];
  /** Milliseconds from one fault to the next. */
  readonly apart: readonly [least: number, most: number];
}

function draw(chance: Chance): Weather {
  const names = (Object.keys(DRAWN) as FaultName[]).filter(() => chance.happens(0.5));
  const apart = chance.of([
    [100, 1500],
    [300, 4000],
    [2000, 9000],
  ] as const);
  return { faults: names.length === 0 ? ['crash'] : names, lasts: [50, chance.of([800, 3000, 9000, 20_000])], apart };
}

/** Lets things go wrong until `end`; then everything is well again. */
export function unleash(arena: Arena, end: number, weather = draw(arena.chance)): void {
  const { chance, time } = arena;
  const { faults, lasts, apart } = weather;
  const active = new Set<() => void>();
  const strike = (): void => {
    if (time.now >= end) return;
    const stop = FAULTS[chance.of(faults)](arena);
    active.add(stop);
    time.after(chance.between(...lasts), () => {
      if (active.delete(stop)) stop();
    });
    time.after(chance.between(...apart), strike);
  };
  time.after(chance.between(500, 3000), strike);
  time.after(end - time.now, () => {
    for (const stop of active) stop();
    active.clear();
    for (const each of arena.machines) {
      if (!each.isUp) each.start();
    }
    time.note('all is well');
  });
}
