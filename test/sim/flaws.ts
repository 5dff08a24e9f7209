// Guards of the protocol left out on purpose, each by a change of what the mirror is given, so that the product has no
// switch for them. planted.ts says which of them the simulator finds, and in what weather.
import type { Clock } from '../../core/base/world.ts';
import type { CommitResult, ConfigStore, Json } from '../../core/cluster/config-store.ts';
import { LEASE_GRACE } from '../../core/base/limits.ts';
import type { Leases } from '../../core/mirror/lease.ts';
import { LinkMessage } from '../../core/mirror/link/hello.ts';
import { Operation } from '../../core/mirror/messages.ts';
import type { MirroredVolume } from '../../core/mirror/mirrored-volume.ts';
import { takePoints } from '../../core/mirror/snapshot.ts';
import type { Boot } from './boot.ts';
import type { Platters } from './disk.ts';

export const Flaw = {
  /** The shrink of the in-sync set counts before the store has made it. */
  ackBeforeShrink: 'ack-before-shrink',
  /** A replica that is not in sync takes over. */
  nonMember: 'non-member',
  /** A restart forgets which regions were written to, and what others lack. */
  forgetRegions: 'forget-regions',
  /** A timed-out swap counts as one that was not made: the answer to it is "refused, nothing changed". */
  optimistic: 'optimistic',
  /** Leases are counted on a clock that somebody sets back. */
  wallClock: 'wall-clock',
  /** Some clocks run at a quarter of the rate of the others: a lease of theirs outlives the promise it stands on. */
  slowClock: 'slow-clock',
  /** Reads are answered without a look at the leases. */
  noLease: 'no-lease',
  /** Reads are answered from what is not everywhere yet. */
  dirtyRead: 'dirty-read',
  /** A snapshot is taken while the volume is being written to. */
  looseSnapshot: 'loose-snapshot',
  /** Blocks are copied while their source is being written to. */
  looseCopy: 'loose-copy',
  /** A restart does not wait for the promises of the life before. */
  noBootWait: 'no-boot-wait',
} as const;
export type Flaw = (typeof Flaw)[keyof typeof Flaw];

/** Milliseconds a clock is set back at a time. */
const STEP = 4000;

/** Milliseconds between a copy here and there. */
const LOOSE = 40;

/** Rate of a slow clock. */
const SLOW = 0.25;

export function flawedClock(flaw: Flaw | undefined, boot: Boot): Clock {
  const clock = boot.clock();
  if (flaw === Flaw.slowClock && boot.chance.happens(0.5)) return boot.clock(() => clock.now() * SLOW);
  if (flaw !== Flaw.wallClock) return clock;
  let behind = 0;
  const set = (): void => {
    behind += boot.chance.between(0, STEP);
    boot.later(boot.chance.between(1000, 8000), set);
  };
  boot.later(2000, set);
  return boot.clock(() => clock.now() - behind);
}

/** Whom a node that has just been started keeps off. */
export function flawedLeases(flaw: Flaw | undefined, leases: Leases, clock: Clock): void {
  if (flaw !== Flaw.noBootWait) return;
  // It knows what it has promised in this life, and of no other.
  const keptOff = new Map<string, number>();
  const serve = leases.serve.bind(leases);
  leases.serve = (link) => {
    serve(link);
    const { beacon } = link.handlers;
    const answer = beacon.get(LinkMessage.beacon);
    beacon.set(LinkMessage.beacon, (header, data) => {
      keptOff.set(link.node, clock.now() + LEASE_GRACE);
      return answer?.(header, data) ?? Promise.reject(new Error('nobody answers beacons'));
    });
  };
  const untilSilent = (node: string): number => Math.max(0, (keptOff.get(node) ?? 0) - clock.now());
  leases.untilSilent = untilSilent;
  leases.isSilent = (node) => untilSilent(node) === 0;
}

/** What a restart finds. */
export function flawedPlatters(flaw: Flaw | undefined, platters: Platters): void {
  if (flaw !== Flaw.forgetRegions) return;
  // The log is there and empty: only what the last whole state says is known.
  for (const path of platters.files.keys()) if (path.endsWith('.log')) platters.files.set(path, Buffer.alloc(0));
}

/** Reads of a host that go another way than through the volume. Undefined: they go through it. */
export function flawedRead(
  flaw: Flaw | undefined,
  { steward, backing }: MirroredVolume,
): ((position: number, length: number, target: Buffer) => Promise<void>) | undefined {
  if (flaw !== Flaw.noLease && flaw !== Flaw.dirtyRead) return undefined;
  return (position, length, target) => {
    const { term } = steward;
    const serves = flaw === Flaw.noLease ? term?.isOver === false : term?.mayServe === true;
    if (!serves || term === undefined) return Promise.reject(new Error('not the owner'));
    const isBusy = flaw === Flaw.noLease && term.locks.blocks(position, length, false);
    return isBusy ? Promise.reject(new Error('busy')) : backing.read(position, length, target, 0);
  };
}

/** How a snapshot is taken. */
export async function flawedTake(flaw: Flaw | undefined, volume: MirroredVolume, id: string): Promise<void> {
  const { writer, options } = volume.steward;
  if (flaw !== Flaw.looseSnapshot || writer === undefined) {
    await takePoints([{ volume, id }], 0);
    return;
  }
  const order = {
    operation: Operation.snapshot,
    fua: true,
    position: 0,
    length: 0,
    source: { volume: id, position: 0 },
  };
  await writer.point(order, () => options.points?.make(id, 0) ?? Promise.resolve());
}

/** How blocks are copied, in bytes: as MirroredVolume.shareFrom. */
export async function flawedShare(
  flaw: Flaw | undefined,
  target: MirroredVolume,
  source: MirroredVolume,
  ...[from, to, length]: readonly [from: number, to: number, length: number]
): Promise<boolean> {
  const { writer, term } = target.steward;
  if (flaw !== Flaw.looseCopy || writer === undefined || term === undefined) {
    return target.shareFrom(source, from, to, length);
  }
  const order = {
    ...{ operation: Operation.share, fua: true, position: to, length },
    source: { volume: source.id, position: from },
  };
  await writer.operate(order, async () => {
    await target.backing.shareFrom?.(source.backing, from, to, length);
    // The source is written to before the replicas are told.
    await new Promise<void>((resolve) => term.options.clock.after(LOOSE, resolve));
  });
  return true;
}

export function flawedStore(flaw: Flaw | undefined, store: ConfigStore, node: string): ConfigStore {
  const through = {
    list: (prefix: string) => store.list(prefix),
    watch: store.watch.bind(store),
    close: () => store.close(),
  };
  if (flaw === Flaw.ackBeforeShrink) {
    const commit: ConfigStore['commit'] = (changes, expectations) => {
      const real = store.commit(changes, expectations);
      const [change] = changes;
      const isShrink = listOf(change?.value, 'inSync').length === 1 && listOf(change?.value, 'replicas').length > 1;
      const [expected] = expectations ?? [];
      if (!isShrink || expected === undefined || field(change?.value, 'owner') !== node) return real;
      real.catch(() => undefined);
      return Promise.resolve<CommitResult>({ ok: true, revision: expected.revision + 1 });
    };
    return { ...through, get: (key) => store.get(key), commit };
  }
  if (flaw === Flaw.optimistic) {
    const commit: ConfigStore['commit'] = (changes, expectations) =>
      store.commit(changes, expectations).catch((): CommitResult => ({ ok: false, revision: 0 }));
    return { ...through, get: (key) => store.get(key), commit };
  }
  if (flaw === Flaw.nonMember) {
    const get: ConfigStore['get'] = async (key) => {
      const found = await store.get(key);
      const replicas = listOf(found?.value, 'replicas');
      if (found === undefined || !replicas.includes(node)) return found;
      const inSync = [...new Set([...listOf(found.value, 'inSync'), node])];
      return { ...found, value: { ...(found.value as Record<string, Json>), inSync } };
    };
    return { ...through, get, commit: store.commit.bind(store) };
  }
  return store;
}

function field(value: Json | undefined, name: string): Json | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, Json>)[name] : undefined;
}

function listOf(value: Json | undefined, name: string): string[] {
  const found = field(value, name);
  return Array.isArray(found) ? found.filter((each): each is string => typeof each === 'string') : [];
}
