// One run: a cluster, hosts, faults, and in the end the questions. Everything follows from the seed.
import { Durability } from '../../core/volume/volume.ts';
import { newRecord, recordKey } from '../../core/mirror/config-record.ts';
import { BLOCK } from './copy-volume.ts';
import type { Flaw } from './flaws.ts';
import { History, Host, valueOf } from './host.ts';
import type { Habits } from './host.ts';
import { Keeper } from './keeper.ts';
import { violation } from './linearizable.ts';
import { Machine, VOLUME } from './machine.ts';
import type { Site } from './machine.ts';
import { unleash } from './nemesis.ts';
import type { Weather } from './nemesis.ts';
import { Network } from './net.ts';
import { Chance } from './random.ts';
import { CentralStore } from './store.ts';
import { VirtualTime } from './virtual-time.ts';

/** Bytes of a region, so that blocks can lie in one and in several. */
const REGION = 65_536;
/** Milliseconds within which everything has to be whole again once nothing is wrong any more. */
const RECOVERY = 240_000;

/** What hosts do. */
export interface Load {
  /** Blocks in regions of their own: few are fought over, of many each is seldom written again. */
  readonly apart: number;
  readonly hosts: readonly Habits[];
}

export interface Plan {
  readonly seed: number;
  /** Milliseconds in which things go wrong. */
  readonly duration: number;
  readonly nodes: 2 | 3;
  readonly flaw?: Flaw | undefined;
  /** What goes wrong, and what hosts do, instead of what the seed draws. */
  readonly weather?: Weather | undefined;
  readonly load?: Load | undefined;
  /** Snapshots are taken, and the volume is rolled back to them. */
  readonly snapshots?: boolean | undefined;
  readonly tell?: ((line: string) => void) | undefined;
}

export interface Result {
  /** What was wrong; undefined: nothing. */
  readonly wrong: string | undefined;
  readonly trace: string;
  readonly events: number;
  readonly operations: number;
  /** Snapshots that were taken, and times the volume was rolled back to one. */
  readonly snapshots: number;
  readonly virtual: number;
  /** Longest time, milliseconds, between two answers a host got. */
  readonly longestPause: number;
}

/** Errors nobody catches are defects of the mirror. */
async function watching<T>(work: () => Promise<T>, noticed: (error: unknown) => void): Promise<T> {
  process.on('unhandledRejection', noticed);
  process.on('uncaughtException', noticed);
  try {
    return await work();
  } finally {
    process.off('unhandledRejection', noticed);
    process.off('uncaughtException', noticed);
  }
}

export async function simulate(plan: Plan): Promise<Result> {
  const chance = new Chance(plan.seed);
  const time = new VirtualTime();
  if (plan.tell !== undefined) time.tell = plan.tell;
  const network = new Network(time, chance);
  const store = new CentralStore(time, chance);
  const names = ['n1', 'n2', 'n3'].slice(0, plan.nodes);
  const durability = chance.happens(0.8) ? Durability.durable : Durability.mirroredRam;
  const site: Site = { time, chance, network, store, names, size: 64 * REGION, durability, flaw: plan.flaw };
  store.commit([{ key: recordKey(VOLUME), value: { ...newRecord(names) } }], []);
  const machines = names.map((name) => new Machine(name, site));
  const history = new History();
  const { apart, hosts: habits } = plan.load ?? drawLoad(chance);
  // Neighbours within a region, and some in regions of their own.
  const blocks = [0, 1, 2, ...Array.from({ length: apart }, (_, index) => ((3 + index) * REGION) / BLOCK)];
  const hostNames = habits.map((_, index) => `h${String(index + 1)}`);
  const field = { time, chance, network, machines, blocks };
  const hosts = habits.map((each, index) => new Host(hostNames[index] as string, field, each, history));
  const keeper = new Keeper(field, history, site.size, plan.flaw);
  const endsReading = chance.happens(0.5);
  let wrong = undefined as string | undefined;
  const noticed = (error: unknown): void => {
    wrong ??= `an error nobody handles: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  };
  await watching(async () => {
    for (const each of machines) each.start();
    await time.run(5000);
    for (const each of hosts) each.start();
    if (plan.snapshots === true) keeper.start();
    const end = time.now + plan.duration;
    const arena = { time, chance, network, store, machines, hosts: hostNames };
    const fragile = durability === Durability.mirroredRam;
    const stampOf = (name: string): string | undefined => recordIn(store).joined?.[name];
    const keptAll = (): boolean => machines.every((each) => each.lostSince !== (stampOf(each.name) ?? ''));
    const whole = (): boolean => isWhole(store, names.length) && keptAll();
    unleash({ ...arena, fragile, stampOf, isWhole: whole }, end, plan.weather);
    await time.run(end + 1, () => wrong !== undefined);
    for (const each of hosts) each.onlyReads = endsReading;
    keeper.stopping = true;
    wrong ??= await recover(site, machines, hosts);
    if (wrong === undefined) {
      await time.run(time.now + RECOVERY, () => keeper.isWhole);
      if (!keeper.isWhole) wrong = 'a node does not get the snapshots it has missed';
    }
    if (wrong === undefined) {
      const reader = hosts[0] as Host;
      let read = false as boolean;
      void reader.readAll().then(() => (read = true));
      await time.run(time.now + RECOVERY, () => read);
      if (!read) wrong = 'the blocks cannot be read';
    }
    wrong ??= history.torn ?? inspect(history) ?? compare(machines, blocks) ?? keeper.compare();
    for (const each of machines) each.crash();
  }, noticed);
  const longestPause = Math.max(...hosts.map((each) => each.longestPause));
  const { trace, events, now } = time;
  return { wrong, trace, events, operations: history.operations, snapshots: keeper.done, virtual: now, longestPause };
}

function drawLoad(chance: Chance): Load {
  const one = (): Habits => ({
    patience: chance.of([1500, 3000, 8000]),
    reads: chance.of([0.2, 0.5, 0.5, 0.95]),
    pace: chance.of([30, 30, 150]),
  });
  return { apart: chance.happens(0.5) ? 1 : 24, hosts: [one(), one(), one()] };
}

type Members = Iterable<{
  node: string;
  state: string;
  skipping: number;
  pending: { size: number };
  generation: number;
}>;
const why = (members: Members | undefined): string =>
  [...(members ?? [])]
    .map(
      (each) =>
        `${each.node} ${each.state} skipping ${String(each.skipping)} pending ${String(each.pending.size)} generation ${String(each.generation)}`,
    )
    .join(', ');

interface Seen {
  readonly inSync?: readonly string[];
  readonly joined?: Readonly<Record<string, string>>;
}
const recordIn = (store: CentralStore): Seen => (store.peek(recordKey(VOLUME)) ?? {}) as Seen;
const isWhole = (store: CentralStore, count: number): boolean => recordIn(store).inSync?.length === count;

/** Nothing is wrong any more: every host is answered, and every replica is in sync, in bounded time. */
async function recover(
  { time, store, names }: Site,
  machines: readonly Machine[],
  hosts: readonly Host[],
): Promise<string | undefined> {
  const before = hosts.map((each) => each.done);
  const served = (): boolean => hosts.every((each, index) => each.done > (before[index] as number) + 2);
  const since = time.now;
  await time.run(since + RECOVERY, () => served() && isWhole(store, names.length));
  const state = (): string =>
    machines
      .map(
        ({ name, node }) =>
          `${name}: ${JSON.stringify(node?.ownership(VOLUME))} ${JSON.stringify(node?.replicas(VOLUME))} ${why(node?.get(VOLUME)?.steward.term?.members.values())}`,
      )
      .join('\n  ');
  const record = JSON.stringify(store.peek(recordKey(VOLUME)));
  if (!served()) return `hosts are not answered after all is well: record ${record}\n  ${state()}`;
  if (!isWhole(store, names.length))
    return `replicas are not in sync after all is well: record ${record}\n  ${state()}`;
  for (const each of hosts) each.stopping = true;
  await time.run(time.now + RECOVERY, () => hosts.every((each) => !each.busy));
  // What was answered is everywhere; what is still on its way ends.
  await time.run(time.now + 2000);
  return undefined;
}

function inspect(history: History): string | undefined {
  for (const block of history.blocks) {
    const found = violation(history.of(block), 0);
    if (found !== undefined) return `block ${String(block)}: ${found}`;
  }
  return undefined;
}

/** Replicas in sync are the same. */
function compare(machines: readonly Machine[], blocks: readonly number[]): string | undefined {
  for (const block of blocks) {
    const values = machines.map((each) => {
      const held = each.blocks.get(block);
      return held === undefined ? 0 : valueOf(held, 0);
    });
    if (new Set(values).size > 1) return `block ${String(block)} differs: ${values.map(String).join(', ')}`;
  }
  return undefined;
}
