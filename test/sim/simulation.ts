// One run: a cluster, hosts, faults, and in the end the questions. Everything follows from the seed.
import { Durability } from '../../core/volume/volume.ts';
import { newRecord, recordKey } from '../../core/mirror/config-record.ts';
import { Copier } from './copier.ts';
import { BLOCK } from './copy-volume.ts';
import type { Flaw } from './flaws.ts';
import { History, Host, valueOf } from './host.ts';
import type { Habits } from './host.ts';
import { Keeper } from './keeper.ts';
import { violation } from './linearizable.ts';
import { Machine, OTHER, VOLUME } from './machine.ts';
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
  /** There is a second volume, with hosts of its own, and blocks are copied within and between both. */
  readonly copies?: boolean | undefined;
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
  readonly clones: number;
  readonly copies: number;
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
  const volumes = plan.copies === true ? [VOLUME, OTHER] : [VOLUME];
  const site: Site = { time, chance, network, store, names, size: 64 * REGION, volumes, durability, flaw: plan.flaw };
  for (const id of volumes) store.commit([{ key: recordKey(id), value: { ...newRecord(names) } }], []);
  const machines = names.map((name) => new Machine(name, site));
  const history = new History();
  const { apart, hosts: drawn } = plan.load ?? drawLoad(chance);
  // The second volume has as many hosts, of the same kinds.
  const habits = volumes.flatMap(() => drawn);
  // Neighbours within a region, and some in regions of their own.
  const blocks = [0, 1, 2, ...Array.from({ length: apart }, (_, index) => ((3 + index) * REGION) / BLOCK)];
  const hostNames = habits.map((_, index) => `h${String(index + 1)}`);
  const field = { time, chance, network, machines, store, blocks };
  const volumeOf = (index: number): string => volumes[Math.floor(index / drawn.length)] ?? VOLUME;
  const hosts = habits.map(
    (each, index) => new Host(hostNames[index] as string, field, each, history, volumeOf(index)),
  );
  const keeper = new Keeper(field, history, site.size, plan.flaw);
  const copier = new Copier(field, history, plan.flaw);
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
    if (plan.copies === true) copier.start();
    const end = time.now + plan.duration;
    const arena = { time, chance, network, store, machines, hosts: hostNames, volumes };
    const fragile = durability === Durability.mirroredRam;
    const stampsOf = (name: string): string[] => volumes.map((id) => recordOf(store, id).joined?.[name] ?? '');
    const keptAll = (): boolean =>
      machines.every(({ name, lostSince }) => stampsOf(name).every((stamp, index) => lostSince?.[index] !== stamp));
    const whole = (): boolean => isWhole(store, volumes, names.length) && keptAll();
    unleash({ ...arena, fragile, stampsOf, isWhole: whole }, end, plan.weather);
    await time.run(end + 1, () => wrong !== undefined);
    for (const each of hosts) each.onlyReads = endsReading;
    keeper.stopping = true;
    copier.stopping = true;
    wrong ??= await recover(site, machines, hosts);
    if (wrong === undefined) {
      await time.run(time.now + RECOVERY, () => keeper.isWhole);
      if (!keeper.isWhole) wrong = 'a node does not get the snapshots it has missed';
      else if (!copier.isIdle) wrong = 'a copy does not end';
    }
    if (wrong === undefined) {
      const readers = hosts.filter((_, index) => index % drawn.length === 0);
      let read = 0;
      for (const each of readers) void each.readAll().then(() => read++);
      await time.run(time.now + RECOVERY, () => read === readers.length);
      if (read < readers.length) wrong = 'the blocks cannot be read';
    }
    wrong ??= history.torn ?? inspect(history) ?? compare(machines, volumes, blocks) ?? keeper.compare();
    for (const each of machines) each.crash();
  }, noticed);
  const longestPause = Math.max(...hosts.map((each) => each.longestPause));
  const { trace, events, now } = time;
  const done = {
    operations: history.operations,
    snapshots: keeper.done,
    clones: keeper.clones.size,
    copies: copier.done,
  };
  return { wrong, trace, events, ...done, virtual: now, longestPause };
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
const recordOf = (store: CentralStore, id: string): Seen => (store.peek(recordKey(id)) ?? {}) as Seen;
const isWhole = (store: CentralStore, volumes: Iterable<string>, count: number): boolean =>
  [...volumes].every((id) => recordOf(store, id).inSync?.length === count);

/** Nothing is wrong any more: every host is answered, and every replica is in sync, in bounded time. */
async function recover(
  { time, store, names }: Site,
  machines: readonly Machine[],
  hosts: readonly Host[],
): Promise<string | undefined> {
  const before = hosts.map((each) => each.done);
  const served = (): boolean => hosts.every((each, index) => each.done > (before[index] as number) + 2);
  const since = time.now;
  // Clones, too.
  const ids = (): Iterable<string> => machines[0]?.kept.keys() ?? [];
  await time.run(since + RECOVERY, () => served() && isWhole(store, ids(), names.length));
  const state = (): string =>
    [...ids()]
      .flatMap((id) => [
        `record of ${id} ${JSON.stringify(store.peek(recordKey(id)))}`,
        ...machines.map(
          ({ name, node }) =>
            `${name}: ${JSON.stringify(node?.ownership(id))} ${JSON.stringify(node?.replicas(id))} ${why(node?.get(id)?.steward.term?.members.values())}`,
        ),
      ])
      .join('\n  ');
  if (!served()) return `hosts are not answered after all is well:\n  ${state()}`;
  if (!isWhole(store, ids(), names.length)) return `replicas are not in sync after all is well:\n  ${state()}`;
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
function compare(
  machines: readonly Machine[],
  volumes: readonly string[],
  blocks: readonly number[],
): string | undefined {
  for (const id of volumes) {
    for (const block of blocks) {
      const values = machines.map((each) => {
        const held = each.on(id).blocks.get(block);
        return held === undefined ? 0 : valueOf(held, 0);
      });
      if (new Set(values).size > 1) return `block ${String(block)} of ${id} differs: ${values.map(String).join(', ')}`;
    }
  }
  return undefined;
}
