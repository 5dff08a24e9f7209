// Snapshots of mirrored volumes, as a node of the cluster deals with them: who owns the volume takes them and rolls back,
// whichever node is asked; what a node has missed it gets from another one; what was left half done is taken back.
import { ERRORS, ServiceError, messageOf } from '../base/errors.ts';
import type { ErrorCode } from '../base/errors.ts';
import { CLUSTER_LOOK, POINT_ASKED, STALE_SNAPSHOT } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import type { Clock, Timer } from '../base/world.ts';
import type { ClusterMember } from '../cluster/member.ts';
import { PeerRefusal } from '../mirror/link/peer-link.ts';
import type { PeerLink } from '../mirror/link/peer-link.ts';
import { MirrorMessage } from '../mirror/messages.ts';
import type { MirrorNode } from '../mirror/mirror-node.ts';
import { fetchPoint } from '../mirror/points.ts';
import { takePoints } from '../mirror/snapshot.ts';
import type { VolumeBackend } from './backend.ts';
import type { Catalog } from './catalog.ts';
import type { SnapshotRecord, VolumeRecord } from './records.ts';
import type { Units } from './units.ts';
import { usersOf } from './uses.ts';

export interface MirrorSnapshotsOptions {
  readonly catalog: Catalog;
  readonly backend: VolumeBackend;
  readonly mirror: MirrorNode;
  readonly member: ClusterMember;
  readonly units: Units;
  readonly clock: Clock;
  readonly log: Log;
}

/** What one node asks another one. */
type Question =
  | {
      readonly what: 'take';
      readonly points: readonly { readonly volume: string; readonly id: string }[];
      readonly created: number;
    }
  | { readonly what: 'rollback'; readonly volume: string; readonly snapshot: string }
  | { readonly what: 'users'; readonly volume: string };

type Ready = SnapshotRecord & { readonly of: string };

const keyOf = ({ volume, name }: SnapshotRecord): string => `${volume}@${name}`;

export class MirrorSnapshots {
  readonly #options: MirrorSnapshotsOptions;
  /** Rolls a volume this node owns back. */
  rollbackHere: (volume: string, snapshot: string) => Promise<unknown> = () => Promise.resolve();
  /** Records that are neither ready nor gone, and since when this node has seen them so. */
  readonly #unfinished = new Map<string, { readonly revision: number; readonly since: number }>();
  /** Why a snapshot could not be had, as it was logged last. */
  readonly #told = new Map<string, string>();
  #looking: Promise<void> | undefined;
  #again = false;
  #timer: Timer | undefined;
  #stopped = false;
  #unwatch: (() => void) | undefined;

  constructor(options: MirrorSnapshotsOptions) {
    this.#options = options;
  }

  /** Id of this node. */
  get self(): string {
    return this.#options.member.self.id;
  }

  /** Names of the nodes that lack the snapshot. */
  missingOn({ lacking = [] }: SnapshotRecord): string[] {
    const nodes = this.#options.member.nodes();
    return lacking.map((node) => nodes.find(({ id }) => id === node)?.name ?? node);
  }

  /** The other node may ask. */
  serve(link: PeerLink): void {
    link.handle(MirrorMessage.pointAsk, async (header) => {
      try {
        const question = JSON.parse(header.toString()) as Question;
        return { header: Buffer.from(JSON.stringify(await this.#answer(question))) };
      } catch (error) {
        throw new PeerRefusal(error instanceof ServiceError ? error.code : 'not-done', messageOf(error));
      }
    });
    link.onUp(() => {
      this.look();
    });
  }

  async #answer(question: Question): Promise<unknown> {
    if (question.what === 'take') return { lacking: await this.#takeHere(question.points, question.created) };
    if (question.what === 'users') return { users: usersOf(this.#options.units, question.volume) };
    await this.rollbackHere(question.volume, question.snapshot);
    return {};
  }

  /**
   * Takes the snapshots, which the catalog names as being created, of volumes that one node owns. Resolves with the ids of the
   * nodes that lack each. Rejects with a ServiceError, or as takePoints does.
   */
  async take(records: readonly SnapshotRecord[], created: number): Promise<readonly (readonly string[])[]> {
    const { member } = this.#options;
    const owners = new Set(records.map(({ of = '' }) => this.owner(of)));
    const [owner = ''] = owners;
    if (owners.size > 1) {
      const what = 'different nodes serve these volumes, so that no instant is the same for all';
      throw new ServiceError('replica-state', `${what}: hand them over to one node first`);
    }
    const points = records.map(({ of = '', id }) => ({ volume: of, id }));
    if (owner === member.self.id) return this.#takeHere(points, created);
    const answer = (await this.#ask(owner, { what: 'take', points, created })) as { lacking: string[][] };
    return answer.lacking;
  }

  #takeHere(points: readonly { volume: string; id: string }[], created: number): Promise<string[][]> {
    const wanted = points.map(({ volume: id, id: point }) => {
      const volume = this.#options.mirror.get(id);
      if (volume === undefined) throw new ServiceError('replica-state', 'this node does not serve the volume');
      return { volume, id: point };
    });
    return takePoints(wanted, created);
  }

  /** Id of the node that serves the volume with this id. Throws ServiceError replica-state. */
  owner(id: string): string {
    const { mirror, member } = this.#options;
    const known = mirror.ownership(id);
    const isHere = known?.owner === member.self.id;
    if (known === undefined || known.owner === '' || (isHere && known.role !== 'owner')) {
      throw new ServiceError('replica-state', 'no node is known to serve the volume now');
    }
    return known.owner;
  }

  /** True when this node serves the volume; else its owner was asked, and has rolled it back. */
  async isHere(record: VolumeRecord, snapshot: string): Promise<boolean> {
    const owner = this.owner(record.id);
    if (owner === this.#options.member.self.id) return true;
    await this.#ask(owner, { what: 'rollback', volume: record.name, snapshot });
    return false;
  }

  /** At the owner. The volume is again what it was. Throws ServiceError in-use while an initiator sees it at another node. */
  async rollback(record: VolumeRecord, snapshot: SnapshotRecord): Promise<void> {
    const { mirror } = this.#options;
    const volume = mirror.get(record.id);
    if (volume === undefined) throw new ServiceError('replica-state', 'this node does not serve the volume');
    if (!this.has(record.id, snapshot.id)) throw this.#lacks(snapshot);
    for (const link of mirror.peers.all()) {
      if (!link.up) continue;
      const { users } = (await this.#ask(link.node, { what: 'users', volume: record.name })) as { users: string[] };
      if (users.length > 0) {
        throw new ServiceError('in-use', `volume '${record.name}' is in use by ${users.slice(0, 3).join(', ')}`);
      }
    }
    await volume.rollback(snapshot.id);
  }

  /** This node has the snapshot of its copy of the volume. Ids. */
  has(volume: string, id: string): boolean {
    return this.#options.mirror.get(volume)?.steward.options.points?.has(id) === true;
  }

  /** Throws ServiceError replica-state unless this node has the snapshot. */
  need(snapshot: SnapshotRecord): void {
    if (!this.has(snapshot.of ?? '', snapshot.id)) throw this.#lacks(snapshot);
  }

  #lacks({ name }: SnapshotRecord): ServiceError {
    const what = `this node does not have snapshot '${name}' yet: it was away, and gets it from another one`;
    return new ServiceError('replica-state', what);
  }

  async #ask(node: string, question: Question): Promise<unknown> {
    const { mirror, member } = this.#options;
    const link = mirror.peers.get(node);
    const name = member.nodes().find(({ id }) => id === node)?.name ?? node;
    if (link?.up !== true) throw new ServiceError('peer-unreachable', `${name} does not answer`);
    try {
      const { header } = await link.request(
        MirrorMessage.pointAsk,
        Buffer.from(JSON.stringify(question)),
        [],
        POINT_ASKED,
      );
      return JSON.parse(header.toString()) as unknown;
    } catch (error) {
      const code = error instanceof PeerRefusal ? (error.code in ERRORS ? error.code : 'replica-state') : undefined;
      throw new ServiceError((code as ErrorCode | undefined) ?? 'peer-unreachable', `${name}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  // ---- in the background

  start(): void {
    this.#unwatch = this.#options.catalog.watch(({ kind }) => {
      if (kind === 'snapshots') this.look();
    });
    this.#tick();
  }

  #tick(): void {
    if (this.#stopped) return;
    this.look();
    this.#timer = this.#options.clock.after(CLUSTER_LOOK, () => {
      this.#tick();
    });
  }

  /** When the links are closed, so that nothing is waited for. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#unwatch?.();
    await this.#looking;
  }

  /** Looks, soon, what this node lacks. */
  look(): void {
    this.#again = true;
    this.#looking ??= this.#lookAll().finally(() => {
      this.#looking = undefined;
    });
  }

  #isOver(): boolean {
    return this.#stopped;
  }

  async #lookAll(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      // The newest first: those before it are likely to be close to it.
      const all = this.#options.catalog.snapshots.values().sort((a, b) => b.created - a.created);
      for (const record of all) {
        if (this.#isOver()) return;
        if (record.of === undefined) await this.#adopt(record);
        else await this.#lookAt({ ...record, of: record.of });
      }
    }
  }

  /** It was taken before its volume had several copies: the other nodes get it from now on, too. */
  async #adopt(record: SnapshotRecord): Promise<void> {
    const { catalog, mirror } = this.#options;
    const volume = catalog.volumes.get(record.volume);
    if (volume === undefined || record.state !== 'ready' || mirror.ownership(volume.id)?.role !== 'owner') return;
    if (!this.has(volume.id, record.id)) return;
    const edit = catalog.snapshots.edit(keyOf(record), { ...record, of: volume.id });
    await catalog.apply(edit).catch(() => (this.#again = true));
  }

  async #lookAt(record: Ready): Promise<void> {
    const { catalog, mirror, member } = this.#options;
    const ownership = mirror.ownership(record.of);
    if (ownership === undefined || catalog.volumes.get(record.volume)?.id !== record.of) return;
    if (record.state !== 'ready') {
      if (ownership.role === 'owner') await this.#takeBack(record);
      return;
    }
    this.#unfinished.delete(keyOf(record));
    const self = member.self.id;
    const isNamed = record.lacking?.includes(self) === true;
    if (this.has(record.of, record.id)) {
      if (isNamed) await this.#name(record, false);
      return;
    }
    // Before it has all of the volume, snapshots can wait.
    if (ownership.role !== 'owner' && ownership.role !== 'replica') return;
    if (!isNamed) await this.#name(record, true);
    await this.#fetch(record);
  }

  /** Says in the catalog whether this node lacks the snapshot. */
  async #name(record: Ready, lacks: boolean): Promise<void> {
    const { catalog, member } = this.#options;
    const others = (record.lacking ?? []).filter((each) => each !== member.self.id);
    const lacking = lacks ? [...others, member.self.id] : others;
    // Another node does the same for itself: who comes second looks again.
    const edit = catalog.snapshots.edit(keyOf(record), { ...record, lacking });
    await catalog.apply(edit).catch(() => (this.#again = true));
  }

  async #fetch(record: Ready): Promise<void> {
    const { catalog, mirror, clock, log } = this.#options;
    const points = mirror.get(record.of)?.steward.options.points;
    if (points === undefined) return;
    const { of: volume, id, size, created } = record;
    const near = catalog
      .snapshotsOf(record.volume)
      .find((each) => each.state === 'ready' && each.created > created && points.has(each.id));
    for (const link of mirror.peers.all()) {
      if (!link.up || record.lacking?.includes(link.node) === true) continue;
      try {
        const bytes = await fetchPoint(link, points, { volume, id, size, created, near: near?.id }, clock);
        log.info(
          { volume: record.volume, snapshot: record.name, from: link.node, bytes },
          'a snapshot was made up for',
        );
        this.#told.delete(id);
        const now = catalog.snapshots.get(keyOf(record));
        if (now?.id === id) await this.#name({ ...now, of: record.of }, false);
        // It was deleted meanwhile.
        else await this.#options.backend.removeSnapshot(record);
        return;
      } catch (error) {
        if (this.#told.get(id) !== messageOf(error) && !this.#stopped) {
          log.warn(
            { volume: record.volume, snapshot: record.name, error: messageOf(error) },
            'a snapshot is missing here',
          );
        }
        this.#told.set(id, messageOf(error));
      }
    }
  }

  /** Whoever was making or deleting it has not come to an end for a long time: it is taken back. */
  async #takeBack(record: Ready): Promise<void> {
    const { catalog, backend, clock, log } = this.#options;
    const key = keyOf(record);
    const revision = catalog.snapshots.revision(key) ?? 0;
    const seen = this.#unfinished.get(key);
    if (seen?.revision !== revision) {
      this.#unfinished.set(key, { revision, since: clock.now() });
      return;
    }
    if (clock.now() - seen.since < STALE_SNAPSHOT) return;
    try {
      await backend.removeSnapshot(record);
      await catalog.apply(catalog.snapshots.edit(key, undefined));
      this.#unfinished.delete(key);
      log.warn({ volume: record.volume, snapshot: record.name }, 'a snapshot nobody went on with was taken back');
    } catch (error) {
      log.warn({ snapshot: record.name, error: messageOf(error) }, 'a snapshot could not be taken back');
    }
  }
}
