import type { ConfigStore } from '../cluster/config-store.ts';
import type { RandomSource } from '../base/world.ts';
import type { SavedReservations } from '../scsi/reservations/store.ts';
import type { CopyRoutePolicy } from '../volume/copy-route.ts';
import type { SavedSanitize } from '../scsi/sanitize-store.ts';
import type { AlertRuleRecord, AlertStateRecord, AlertTargetRecord } from './alerts/records.ts';
import { Collection, applyEdits } from './collection.ts';
import type { Edit } from './collection.ts';
import { ChangeFeed } from './change-feed.ts';
import type { CatalogChange } from './change-feed.ts';
import type { EventRecord } from './events.ts';
import type { JobRecord } from './jobs/job.ts';
import { GROUP_PREFIX, HOST_PREFIX } from './records.ts';
import type { KeptRequestRecord } from './kept-requests.ts';
import type {
  ApiAuthorityRecord,
  BackendRecord,
  DeletedVolume,
  HostGroupRecord,
  HostRecord,
  InitiatorRecord,
  NodeRecord,
  ObservationRecord,
  PolicyRecord,
  PoolRecord,
  PortalRecord,
  ScheduleRecord,
  SnapshotRecord,
  TargetRecord,
  TokenRecord,
  VolumeRecord,
} from './records.ts';
import { SecurityRecords } from './security-records.ts';

type AnyCollection = Pick<Collection<never>, 'prefix' | 'load' | 'follow'>;

/** Everything the daemon has to remember. Reads come from memory; a change is durable before it is seen. */
export class Catalog {
  readonly #stores: ReadonlySet<ConfigStore>;
  readonly volumes: Collection<VolumeRecord>;
  readonly pools: Collection<PoolRecord>;
  readonly portals: Collection<PortalRecord>;
  readonly policies: Collection<PolicyRecord>;
  readonly backends: Collection<BackendRecord>;
  /** By `VOLUME@SNAPSHOT`. */
  readonly snapshots: Collection<SnapshotRecord>;
  readonly targets: Collection<TargetRecord>;
  readonly initiators: Collection<InitiatorRecord>;
  readonly tokens: Collection<TokenRecord>;
  /** Tokens of this node alone: that of its data folder. */
  readonly nodeTokens: Collection<TokenRecord>;
  /** One record, `self`, once there was a cluster. */
  readonly apiAuthority: Collection<ApiAuthorityRecord>;
  /** Users, their sessions, and the audit log. */
  readonly security: SecurityRecords;
  /** By volume id. */
  readonly reservations: Collection<SavedReservations>;
  /** SANITIZE operations that have not succeeded, by volume id. */
  readonly sanitizing: Collection<SavedSanitize>;
  /** By number, in the order they happened (Events). */
  readonly events: Collection<EventRecord>;
  readonly jobs: Collection<JobRecord>;
  readonly hosts: Collection<HostRecord>;
  readonly hostGroups: Collection<HostGroupRecord>;
  readonly schedules: Collection<ScheduleRecord>;
  /** Deleted volumes whose data is kept, by id. */
  readonly deleted: Collection<DeletedVolume>;
  /** Requests with an idempotency key (KeptRequests), by a hash of it. */
  readonly requests: Collection<KeptRequestRecord>;
  readonly alertTargets: Collection<AlertTargetRecord>;
  /** By name of the rule. */
  readonly alertRules: Collection<AlertRuleRecord>;
  /** What was wrong and told when this was written, by rule and object. */
  readonly alertStates: Collection<AlertStateRecord>;
  readonly observations: Collection<ObservationRecord>;
  readonly #nodes: Collection<NodeRecord>;
  /** What all nodes of a cluster have in common, and what each has for itself. */
  readonly #shared: readonly AnyCollection[];
  readonly #own: readonly AnyCollection[];
  readonly #feed = new ChangeFeed();
  readonly #ofTarget: (target: string) => VolumeRecord[];
  readonly #ofPool: (pool: string) => VolumeRecord[];
  readonly #mappedTo: (who: string) => VolumeRecord[];
  readonly #ofVolume: (volume: string) => SnapshotRecord[];

  /** What all nodes of a cluster see is in `shared`, what is this node's own in `store`. */
  private constructor(store: ConfigStore, shared: ConfigStore) {
    this.#stores = new Set([shared, store]);
    this.volumes = new Collection(shared, 'volumes/');
    this.pools = new Collection(store, 'pools/');
    this.portals = new Collection(store, 'portals/');
    this.policies = new Collection(shared, 'policies/');
    this.backends = new Collection(shared, 'backends/');
    this.snapshots = new Collection(shared, 'snapshots/');
    this.targets = new Collection(shared, 'targets/');
    this.initiators = new Collection(shared, 'initiators/');
    this.tokens = new Collection(shared, 'tokens/');
    this.nodeTokens = new Collection(store, 'node-tokens/');
    this.apiAuthority = new Collection(shared, 'api-authority/');
    this.security = new SecurityRecords(store, shared);
    this.reservations = new Collection(shared, 'reservations/');
    this.sanitizing = new Collection(shared, 'sanitizing/');
    this.events = new Collection(store, 'events/');
    this.hosts = new Collection(shared, 'hosts/');
    this.hostGroups = new Collection(shared, 'host-groups/');
    this.schedules = new Collection(shared, 'schedules/');
    this.deleted = new Collection(shared, 'deleted/');
    this.jobs = new Collection(store, 'jobs/');
    this.requests = new Collection(store, 'requests/');
    this.alertTargets = new Collection(shared, 'alert-targets/');
    this.alertRules = new Collection(shared, 'alert-rules/');
    this.alertStates = new Collection(store, 'alert-states/');
    this.observations = new Collection(store, 'observations/');
    this.#nodes = new Collection(store, 'node/');
    const { users, settings, sessions, anchor } = this.security;
    const disks = [
      this.volumes,
      this.policies,
      this.backends,
      this.snapshots,
      this.deleted,
      this.reservations,
      this.sanitizing,
    ];
    const whose = [this.targets, this.initiators, this.hosts, this.hostGroups, users, settings, sessions];
    const callers = [this.tokens, this.apiAuthority];
    this.#shared = [...disks, ...whose, ...callers, this.schedules, this.alertTargets, this.alertRules];
    const here = [this.pools, this.portals, this.events, this.jobs, this.requests, this.alertStates, this.observations];
    this.#own = [...here, this.nodeTokens, anchor, this.#nodes];
    this.#ofTarget = this.volumes.index(({ target }) => [target]);
    this.#ofPool = this.volumes.index(({ pool }) => (pool === undefined ? [] : [pool]));
    this.#mappedTo = this.volumes.index(({ maps }) => maps.map(({ who }) => who));
    this.#ofVolume = this.snapshots.index(({ volume }) => [volume]);
  }

  /**
   * Loads everything; a new store gets a node record with `iqnPrefix`. In a cluster what all nodes have in common is in
   * `shared`, and what the others change there is followed from now on.
   */
  static async open(
    store: ConfigStore,
    random: RandomSource,
    iqnPrefix: string,
    now: number,
    shared = store,
  ): Promise<Catalog> {
    const catalog = new Catalog(store, shared);
    if (shared !== store) catalog.#follow(shared);
    for (const each of [...catalog.#shared, ...catalog.#own]) await each.load();
    if (catalog.#nodes.get('self') === undefined) {
      const id = random.bytes(4).toString('hex');
      await catalog.apply(catalog.#nodes.edit('self', { id, iqnPrefix, created: now, initialized: false }));
    }
    return catalog;
  }

  get node(): NodeRecord {
    const node = this.#nodes.get('self');
    if (node === undefined) throw new Error('the catalog has no node record');
    return node;
  }

  /**
   * Makes all edits or none; durable when resolved. In a cluster those of what is common happen first; a crash in between
   * leaves out this node's own part.
   */
  async apply(...edits: Edit[]): Promise<void> {
    for (const store of this.#stores) {
      const own = edits.filter((edit) => edit.store === store);
      if (own.length === 0) continue;
      const { news, revision } = await applyEdits(store, own);
      this.#feed.tell(news, revision);
    }
  }

  /** What the keys of the records begin with that all nodes of a cluster have in common. */
  get sharedPrefixes(): string[] {
    return this.#shared.map(({ prefix }) => prefix);
  }

  #follow(shared: ConfigStore): void {
    const byPrefix = new Map(this.#shared.map((collection) => [collection.prefix, collection]));
    shared.watch('', (event) => {
      const slash = event.key.indexOf('/') + 1;
      const prefix = event.key.slice(0, slash);
      if (byPrefix.get(prefix)?.follow(event) !== true) return;
      const { key, value, revision } = event;
      this.#feed.tell([{ prefix, id: key.slice(slash), change: { key, value } }], revision);
    });
  }

  /**
   * Calls `listener` for every later change of any record, in order, when it is durable and the collections show it. It must
   * not throw, and must not wait. Values are records as they are kept, with hashes and sealed secrets: never pass one on
   * without a view. Returns the function that ends it.
   */
  watch(listener: (change: CatalogChange) => void): () => void {
    return this.#feed.watch(listener);
  }

  /** The edit that changes what is given of the node's own record; none when that says the same already. */
  editNode(change: Partial<NodeRecord>): Edit[] {
    const changed = { ...this.node, ...change };
    return JSON.stringify(changed) === JSON.stringify(this.node) ? [] : [this.#nodes.edit('self', changed)];
  }

  /** The first start is complete. */
  async setInitialized(): Promise<void> {
    await this.apply(this.#nodes.edit('self', { ...this.node, initialized: true }));
  }

  /** How all volumes take copies that do not have a policy of their own. */
  async setCopyRoute(copyRoute: CopyRoutePolicy): Promise<void> {
    await this.apply(this.#nodes.edit('self', { ...this.node, copyRoute }));
  }

  /** How long deleted volumes with data are kept, milliseconds. */
  async setKeepDeleted(keepDeleted: number): Promise<void> {
    await this.apply(this.#nodes.edit('self', { ...this.node, keepDeleted }));
  }

  /** False: `who` of a map names a host or a group that is not there. */
  knowsSubject(who: string): boolean {
    if (who.startsWith(HOST_PREFIX)) return this.hosts.get(who.slice(HOST_PREFIX.length)) !== undefined;
    if (who.startsWith(GROUP_PREFIX)) return this.hostGroups.get(who.slice(GROUP_PREFIX.length)) !== undefined;
    return true;
  }

  /** The policy of the volume with this name. */
  copyRouteOf(volume: string): CopyRoutePolicy {
    const record = this.volumes.get(volume);
    const policy = this.policyOf(record);
    return record?.copyRoute ?? policy?.copyRoute ?? this.node.copyRoute ?? 'auto';
  }

  /** What a volume has in common with others; undefined: it has no policy. */
  policyOf(volume: Pick<VolumeRecord, 'policy'> | undefined): PolicyRecord | undefined {
    return volume?.policy === undefined ? undefined : this.policies.get(volume.policy);
  }

  /** The one of new volumes for which nobody names another. */
  get defaultPolicy(): PolicyRecord | undefined {
    return this.policies.values().find(({ isDefault }) => isDefault === true);
  }

  /** Name of the target for a new TargetRecord. */
  iqnOf(target: string): string {
    return `${this.node.iqnPrefix}:${this.node.id}:${target}`;
  }

  volumesOfTarget(target: string): VolumeRecord[] {
    return this.#ofTarget(target);
  }

  volumesOfPool(pool: string): VolumeRecord[] {
    return this.#ofPool(pool);
  }

  /** Mapped to exactly this: an initiator name, or `loopback` or `all`. */
  volumesMappedTo(who: string): VolumeRecord[] {
    return this.#mappedTo(who);
  }

  /** Everything whose data is kept: volumes and snapshots, also of deleted volumes. */
  stored(): (VolumeRecord | SnapshotRecord)[] {
    const kept = this.deleted.values().flatMap(({ volume, snapshots }) => [volume, ...snapshots]);
    return [...this.volumes.values(), ...this.snapshots.values(), ...kept];
  }

  /** Deleted volumes of the pool whose data is kept. */
  deletedOfPool(pool: string): VolumeRecord[] {
    return this.deleted.values().flatMap(({ volume }) => (volume.pool === pool ? [volume] : []));
  }

  /** The pool for disks for which nobody names one: the marked one, or the only one. */
  get defaultPool(): PoolRecord | undefined {
    const pools = this.pools.values();
    return pools.find((pool) => pool.isDefault === true) ?? (pools.length === 1 ? pools[0] : undefined);
  }

  /** Oldest first. */
  snapshotsOf(volume: string): SnapshotRecord[] {
    return this.#ofVolume(volume).sort((a, b) => a.created - b.created);
  }

  async close(): Promise<void> {
    for (const store of this.#stores) await store.close();
  }
}
