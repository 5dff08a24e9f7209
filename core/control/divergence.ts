// What copies had differently after somebody had to choose between them, or after all were down, and by what the choice was made:
// `divergence/<volume>/<epoch>` in the store.
import { messageOf } from '../base/errors.ts';
import { DIVERGENCE_WRITE, MAX_DIVERGENCE_RANGES, MAX_DIVERGENCE_REPORTS } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { Clock } from '../base/world.ts';
import type { Json } from '../cluster/config-store.ts';
import type { ClusterMember } from '../cluster/member.ts';
import type { ByteRange } from '../mirror/messages.ts';
import type { MirrorNode } from '../mirror/mirror-node.ts';
import type { Ownership } from '../mirror/ownership.ts';
import type { Catalog } from './catalog.ts';

/** What one copy had differently. It has been made the same as the one that counts. */
export interface Differing {
  /** Id of its node. */
  readonly node: string;
  /** Everything has been compared. */
  readonly complete: boolean;
  readonly bytes: number;
  /** First block and number of blocks, merged, the first MAX_DIVERGENCE_RANGES. */
  readonly ranges: readonly ByteRange[];
}

export interface DivergenceReport {
  readonly volume: string;
  readonly id: string;
  /** `promoted`: a person has made a copy the one that counts; `both-down`: no copy was served, and the last owner began anew. */
  readonly cause: 'promoted' | 'both-down';
  /** Milliseconds since 1970. */
  readonly time: number;
  /** Who promoted it; null: nobody had to choose. */
  readonly by: string | null;
  /** Id of the node whose copy counts, and the epoch it began. */
  readonly owner: string;
  readonly epoch: number;
  /** The record the choice was made by. Ids of nodes. */
  readonly before: {
    readonly epoch: number;
    readonly session: number;
    readonly owner: string;
    readonly inSync: readonly string[];
    readonly replicas: readonly string[];
  };
  /** Bytes of a block. */
  readonly blockSize: number;
  readonly copies: readonly Differing[];
}

export interface DivergenceOptions {
  readonly catalog: Catalog;
  readonly member: Pick<ClusterMember, 'self' | 'store'>;
  readonly mirror: Pick<MirrorNode, 'ownership' | 'onOwnership' | 'onDifference' | 'peers'>;
  readonly clock: Clock;
  readonly log: Log;
}

const PREFIX = 'divergence/';
const keyOf = ({ id, epoch }: Pick<DivergenceReport, 'id' | 'epoch'>): string => `${PREFIX}${id}/${String(epoch)}`;

export class Divergence {
  readonly #options: DivergenceOptions;
  readonly #known = new Map<string, DivergenceReport>();
  /** What the record said when this node came up, and nobody served: by volume. Undefined: somebody did, or does since. */
  readonly #foundAs = new Map<string, Ownership | undefined>();
  /** Keys of what is not in the store yet as it is known here. */
  readonly #dirty = new Set<string>();
  readonly #ends: (() => void)[] = [];
  /** End the waiting for a node that has owned a volume. */
  readonly #waits = new Set<() => void>();
  #writing = false;

  constructor(options: DivergenceOptions) {
    this.#options = options;
  }

  /** Before volumes are opened. */
  prepare(): void {
    const { mirror } = this.#options;
    mirror.onDifference = (id, node, range) => {
      this.#differs(id, node, range);
    };
    this.#ends.push(
      mirror.onOwnership((ownership) => {
        this.#changed(ownership);
      }),
    );
  }

  /** Knows what was found earlier, and what other nodes find. Rejects like the store. */
  async start(): Promise<void> {
    const { store } = this.#options.member;
    const learn = (key: string, value: unknown): void => {
      if (this.#dirty.has(key)) return;
      if (value === undefined) this.#known.delete(key);
      else this.#known.set(key, value as DivergenceReport);
    };
    this.#ends.push(
      store.watch(PREFIX, ({ key, value }) => {
        learn(key, value);
      }),
    );
    for (const { key, value } of await store.list(PREFIX)) learn(key, value);
  }

  stop(): void {
    for (const end of [...this.#ends.splice(0), ...this.#waits]) end();
    this.#waits.clear();
  }

  /** The latest first. */
  list(): DivergenceReport[] {
    return [...this.#known.values()].sort((a, b) => b.time - a.time || b.epoch - a.epoch);
  }

  /** A person has made the copy of this node the one that counts, by this record. */
  promoted(before: Ownership, by: string): void {
    const now = this.#options.mirror.ownership(before.volume);
    if (now?.role === 'owner') this.#begin(before, now.epoch, 'promoted', by);
  }

  #changed(ownership: Ownership): void {
    const { self } = this.#options.member;
    const { volume, role, inSync, epoch } = ownership;
    if (!this.#foundAs.has(volume) && epoch > 0) this.#find(ownership);
    if (role !== 'owner') return;
    for (const [key, report] of this.#known) {
      if (report.id !== volume || report.owner !== self.id) continue;
      const done = report.copies.filter(({ node, complete }) => !complete && inSync.includes(node));
      for (const { node } of done) this.#set(key, node, (copy) => ({ ...copy, complete: true }));
    }
  }

  #find(ownership: Ownership): void {
    const { member, mirror } = this.#options;
    const { volume, owner, role } = ownership;
    const link = owner === member.self.id ? undefined : mirror.peers.get(owner);
    this.#foundAs.set(volume, role === 'owner' || owner === '' || link?.up === true ? undefined : ownership);
    if (link === undefined) return;
    // Whoever owned it has not been down, or was back before this node served it.
    // The first time counts: this node has served it by then, or does not need to know.
    const end = link.onUp(() => {
      end();
      this.#waits.delete(end);
      if (mirror.ownership(volume)?.role !== 'owner') this.#foundAs.set(volume, undefined);
    });
    this.#waits.add(end);
  }

  #differs(id: string, node: string, range: ByteRange): void {
    const isOpen = ({ copies }: DivergenceReport): boolean =>
      copies.some((copy) => copy.node === node && !copy.complete);
    const found = this.list().find((each) => each.id === id && isOpen(each)) ?? this.#afterBlackout(id);
    if (found === undefined) return;
    const blocks: ByteRange = [range[0] / found.blockSize, Math.ceil(range[1] / found.blockSize)];
    this.#set(keyOf(found), node, (copy) => ({
      ...copy,
      bytes: copy.bytes + range[1],
      ranges: merged(copy.ranges, blocks).slice(0, MAX_DIVERGENCE_RANGES),
    }));
  }

  /** Nobody served it when this node came up, and then this one did: what was under way before may be in one copy only. */
  #afterBlackout(id: string): DivergenceReport | undefined {
    const before = this.#foundAs.get(id);
    const now = this.#options.mirror.ownership(id);
    if (before === undefined || now?.epoch !== before.epoch + 1) return undefined;
    return this.#known.get(keyOf({ id, epoch: now.epoch })) ?? this.#begin(before, now.epoch, 'both-down', null);
  }

  #begin(before: Ownership, epoch: number, cause: DivergenceReport['cause'], by: string | null): DivergenceReport {
    const { catalog, member, clock } = this.#options;
    const { volume: id, session, owner, inSync, replicas } = before;
    const record = catalog.volumes.values().find((each) => each.id === id);
    const others = replicas.filter((node) => node !== member.self.id);
    const report: DivergenceReport = {
      ...{ volume: record?.name ?? id, id, cause, time: clock.wall(), by, owner: member.self.id, epoch },
      before: { epoch: before.epoch, session, owner, inSync: [...inSync], replicas: [...replicas] },
      blockSize: record?.blockSize ?? 512,
      copies: others.map((node) => ({ node, complete: false, bytes: 0, ranges: [] })),
    };
    this.#note(keyOf(report), report);
    return report;
  }

  #set(key: string, node: string, change: (copy: Differing) => Differing): void {
    const report = this.#known.get(key);
    if (report === undefined) return;
    this.#note(key, { ...report, copies: report.copies.map((copy) => (copy.node === node ? change(copy) : copy)) });
  }

  #note(key: string, report: DivergenceReport): void {
    this.#known.set(key, report);
    this.#dirty.add(key);
    this.#writeLater();
  }

  #writeLater(): void {
    if (this.#writing || this.#ends.length === 0) return;
    this.#writing = true;
    this.#options.clock.after(DIVERGENCE_WRITE, () => void this.#write());
  }

  async #write(): Promise<void> {
    const { member, log } = this.#options;
    const old = this.list().slice(MAX_DIVERGENCE_REPORTS).map(keyOf);
    for (const key of old) {
      this.#known.delete(key);
      this.#dirty.delete(key);
    }
    const written = new Map([...this.#dirty].map((key) => [key, this.#known.get(key)]));
    try {
      await member.store.commit([
        ...[...written].map(([key, value]) => ({ key, value: value as unknown as Json })),
        ...old.map((key) => ({ key, value: undefined })),
      ]);
      for (const [key, value] of written) if (this.#known.get(key) === value) this.#dirty.delete(key);
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'what copies had differently could not be kept yet');
    }
    this.#writing = false;
    if (this.#dirty.size > 0) this.#writeLater();
  }
}

/** The ranges with one more, in order, neighbours together. */
function merged(ranges: readonly ByteRange[], more: ByteRange): ByteRange[] {
  const found: [number, number][] = [];
  for (const [first, count] of [...ranges, more].sort((a, b) => a[0] - b[0])) {
    const last = found.at(-1);
    if (last !== undefined && first <= last[0] + last[1]) last[1] = Math.max(last[1], first + count - last[0]);
    else found.push([first, count]);
  }
  return found;
}
