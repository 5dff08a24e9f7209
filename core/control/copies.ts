// How many copies a volume has, and on which nodes: new ones are made fresh and brought up to date, others are given up.
import { ServiceError } from '../base/errors.ts';
import { CATALOG_RETRIES, MAX_REPLICAS, OWNER_PATIENCE } from '../base/limits.ts';
import type { Clock } from '../base/world.ts';
import type { Json } from '../cluster/config-store.ts';
import type { ClusterMember, ClusterNode } from '../cluster/member.ts';
import { readRecord, recordKey } from '../mirror/config-record.ts';
import type { MirrorRecord } from '../mirror/config-record.ts';
import type { MirrorNode } from '../mirror/mirror-node.ts';
import type { VerifyOptions, VerifyReport } from '../mirror/verify.ts';
import { encodeUnitState } from '../scsi/forward/unit-state.ts';
import type { Catalog } from './catalog.ts';
import { isMirrored } from './records.ts';
import type { MirrorBackend } from './mirror-backend.ts';
import { printable } from './names.ts';
import type { PeerRequests } from './peer-requests.ts';
import type { Provisioner } from './provision.ts';
import { VolumeKind } from './records.ts';
import type { VolumeRecord } from './records.ts';
import { isElsewhere } from './volume-request.ts';

export interface CopiesOptions {
  readonly catalog: Catalog;
  readonly provisioner: Provisioner;
  readonly backend: MirrorBackend;
  readonly mirror: MirrorNode;
  readonly member: ClusterMember;
  readonly requests: PeerRequests;
  readonly clock: Clock;
}

/** How far a new copy is. */
export interface CopyProgress {
  readonly inSync: boolean;
  /** 0 to 1; undefined: nobody knows. */
  readonly share: number | undefined;
}

/** What a node is to do with the replicas of a volume it serves (`add`, `remove`) or has alone (`begin`). */
const ACTION = 'copies';
const PROGRESS = 'copy-progress';

export class Copies {
  readonly #options: CopiesOptions;

  constructor(options: CopiesOptions) {
    this.#options = options;
    const { requests } = options;
    requests.handle(ACTION, async ({ volume, what, node }) => {
      await this.#act(String(volume), String(what), String(node));
      return undefined;
    });
    requests.handle(PROGRESS, ({ volume, node }) => Promise.resolve(this.#progressHere(String(volume), String(node))));
  }

  // ---- what is asked for

  /** The node that is to have another copy, by name or id. Rejects with a ServiceError that says why it cannot. */
  async checkAdd(volume: string, to: string): Promise<{ record: VolumeRecord; node: ClusterNode }> {
    const { provisioner, catalog, mirror, member } = this.#options;
    const record = provisioner.volume(volume);
    const node = this.node(to);
    const { replicas = [] } = record;
    if (replicas.includes(node.id)) throw new ServiceError('exists', `${node.name} has a copy of '${volume}' already`);
    if (isElsewhere(record.kind) || record.kind === VolumeKind.memory) {
      throw new ServiceError('bad-request', 'what lies outside of Gemel, or in memory, has no copies on other nodes');
    }
    if (replicas.length >= MAX_REPLICAS) {
      throw new ServiceError('bad-request', `a volume has ${String(MAX_REPLICAS)} copies at most`);
    }
    if (catalog.snapshotsOf(volume).some(({ of }) => of === undefined)) {
      throw new ServiceError('has-snapshots', `'${volume}' has snapshots of one node, which a new copy would not have`);
    }
    if (record.state !== 'ready' || record.resizing !== undefined) {
      throw new ServiceError('in-use', `'${volume}' is being made, resized or deleted`);
    }
    if (node.id !== member.self.id && mirror.peers.get(node.id)?.up !== true) {
      throw new ServiceError('peer-unreachable', `${node.name} does not answer`);
    }
    // Whoever serves it has to be there: it copies.
    await this.#serverOf(record);
    return { record, node };
  }

  /** The node that is to give its copy up. Rejects with a ServiceError when that would lose something. */
  async checkRemove(volume: string, from: string): Promise<{ record: VolumeRecord; node: ClusterNode }> {
    const { provisioner } = this.#options;
    const record = provisioner.volume(volume);
    const node = this.node(from);
    const { replicas = [] } = record;
    if (!replicas.includes(node.id)) {
      throw new ServiceError('replica-state', `${node.name} has no copy of '${volume}'`);
    }
    if (replicas.length < 2) {
      throw new ServiceError(
        'replica-state',
        `${node.name} has the only copy of '${volume}': delete the volume instead`,
      );
    }
    const known = await this.#record(record);
    if (known.inSync.every((each) => each === node.id)) {
      throw new ServiceError('replica-state', `only ${node.name} has everything of '${volume}'`);
    }
    return { record, node };
  }

  /** A data node of the cluster by name or id. Throws ServiceError not-found. */
  node(which: string): ClusterNode {
    const found = this.#options.member.nodes().find((each) => each.id === which || each.name === which);
    if (found === undefined) throw new ServiceError('not-found', `there is no node '${printable(which)}'`);
    if (found.role !== 'data') throw new ServiceError('bad-request', `${found.name} is a witness: it keeps no volumes`);
    return found;
  }

  /** Volumes that have a copy on the node. */
  on(node: string): VolumeRecord[] {
    return this.#options.catalog.volumes.values().filter(({ replicas }) => replicas?.includes(node) === true);
  }

  /** A data node that answers and has no copy of the volume yet: of several the one with the fewest. */
  placeFor({ replicas = [] }: VolumeRecord): ClusterNode | undefined {
    const { member, mirror } = this.#options;
    return member
      .nodes()
      .filter(({ id, role }) => role === 'data' && !replicas.includes(id))
      .filter(({ id }) => id === member.self.id || mirror.peers.get(id)?.up === true)
      .sort((a, b) => this.on(a.id).length - this.on(b.id).length)[0];
  }

  /** A volume whose copies are to be compared: by the node that serves it. Rejects with a ServiceError. */
  async checkVerify(volume: string): Promise<VolumeRecord> {
    const { provisioner, member } = this.#options;
    const record = provisioner.volume(volume);
    const { owner, replicas } = await this.#record(record);
    if (replicas.length < 2) throw new ServiceError('replica-state', `'${volume}' has one copy: nothing to compare`);
    if (owner === member.self.id) return record;
    const name = member.nodes().find(({ id }) => id === owner)?.name ?? 'no node';
    throw new ServiceError('replica-state', `${name} serves '${volume}': have its copies compared there`);
  }

  /** Compares all copies that are in step with the one here, while hosts go on. Rejects with a ServiceError or a VolumeError. */
  verify(id: string, options: VerifyOptions): Promise<VerifyReport> {
    return this.#options.mirror.verify(id, options);
  }

  // ---- the steps; each can be repeated

  /** The node makes a copy, which is empty. */
  async make(id: string, node: string): Promise<void> {
    const record = this.#byId(id);
    const { replicas = [] } = record;
    if (replicas.includes(node)) return;
    await this.#options.backend.makeCopy({ ...record, mirrored: true, replicas: [...replicas, node] }, node);
  }

  /** The copy belongs to the volume from now on, and is brought up to date. */
  async join(id: string, node: string): Promise<void> {
    const record = this.#byId(id);
    const [holder = ''] = record.replicas ?? [];
    if (!isMirrored(record)) await this.#ask(holder, id, 'begin', node);
    await this.#ask(await this.#serverOf(this.#byId(id)), id, 'add', node);
    await this.#edit(id, (now) => ({
      ...now,
      mirrored: true,
      replicas: [...(now.replicas ?? []).filter((each) => each !== node), node],
    }));
    // It gets the snapshots there are from another node.
    await this.#editLacking(id, (lacking) => [...lacking.filter((each) => each !== node), node]);
  }

  /** How far the copy of the node is. Rejects with a ServiceError while nobody can say. */
  async progress(id: string, node: string): Promise<CopyProgress> {
    const record = this.#byId(id);
    if ((await this.#record(record)).inSync.includes(node)) return { inSync: true, share: 1 };
    const server = await this.#serverOf(record);
    return (await this.#options.requests.ask(server, PROGRESS, { volume: id, node })) as unknown as CopyProgress;
  }

  /** The copy of the node does not count any more, and is removed there; `isGone`: that node does not come back. */
  async giveUp(id: string, node: string, isGone = false): Promise<void> {
    const { backend, member, catalog } = this.#options;
    const record = catalog.volumes.values().find((each) => each.id === id);
    if (record === undefined) return;
    const known = await readRecord(member.store, id);
    if (known?.record.replicas.includes(node) === true) {
      await this.#ask(await this.#serverOf(record), id, 'remove', node);
    }
    if (record.replicas?.includes(node) === true) {
      await this.#edit(id, (now) => ({
        ...now,
        mirrored: true,
        replicas: (now.replicas ?? []).filter((each) => each !== node),
      }));
    }
    await this.#editLacking(id, (lacking) => lacking.filter((each) => each !== node));
    const snapshots = catalog.snapshotsOf(record.name).filter(({ of }) => of === id);
    await backend.dropCopy(record, node, isGone, snapshots);
  }

  /**
   * Deleted volumes that are kept do not name the node any more. Rejects with has-volumes when it has the only complete copy of
   * one.
   */
  async forgetDeleted(node: string, isGone: boolean): Promise<void> {
    const { catalog, member, backend } = this.#options;
    for (const deleted of catalog.deleted.values()) {
      const { volume } = deleted;
      if (volume.replicas?.includes(node) !== true) continue;
      const known = await readRecord(member.store, volume.id);
      const others = volume.replicas.filter((each) => each !== node);
      const whole = known?.record.inSync.filter((each) => each !== node) ?? others;
      if (others.length === 0 || whole.length === 0) {
        const what = `the deleted volume '${volume.name}' is complete there only: restore or purge it first`;
        throw new ServiceError('has-volumes', `${what} (gemel volume deleted)`);
      }
      if (known !== undefined) {
        // Nobody serves it: its record changes by compare-and-swap like any other.
        const { ok } = await member.store.commit(
          [{ key: recordKey(volume.id), value: { ...without(known.record, node) } }],
          [{ key: recordKey(volume.id), revision: known.revision }],
        );
        if (!ok) throw new ServiceError('in-use', `'${volume.name}' was changed at the same time; repeat`);
      }
      await catalog.apply(
        catalog.deleted.edit(volume.id, { ...deleted, volume: { ...volume, mirrored: true, replicas: others } }),
      );
      await backend.dropCopy(volume, node, isGone);
    }
  }

  /**
   * Gives up every copy of a node that is gone for good. Rejects with a ServiceError, and gives nothing up, while the node
   * answers, or has the only complete copy of a volume.
   */
  async forget(node: string): Promise<void> {
    const { mirror, member } = this.#options;
    const name = member.nodes().find(({ id }) => id === node)?.name ?? node;
    if (mirror.peers.get(node)?.up === true) {
      throw new ServiceError('in-use', `${name} is not gone: it answers (there: gemel cluster leave --move)`);
    }
    const only: string[] = [];
    for (const record of this.on(node)) {
      const known = isMirrored(record) ? await this.#record(record) : undefined;
      if (known === undefined || known.owner === node || known.inSync.every((each) => each === node)) {
        only.push(record.name);
      }
    }
    if (only.length > 0) {
      const some = `${only.slice(0, 5).join(', ')}${only.length > 5 ? ', …' : ''}`;
      const how = 'bring it back, or make another copy count (gemel volume promote NAME), or delete them';
      throw new ServiceError('has-volumes', `nobody but ${name} serves, or has all of, ${some}: ${how}`);
    }
    for (const { id } of this.on(node)) await this.giveUp(id, node, true);
    await this.forgetDeleted(node, true);
  }

  // ---- at the node that is asked

  async #act(id: string, what: string, node: string): Promise<void> {
    const { mirror, member, requests } = this.#options;
    if (what === 'begin') {
      await this.#begin(id);
    } else if (what === 'add') {
      await mirror.changeReplicas(id, { what, node });
    } else if (what === 'remove' && node === member.self.id) {
      const heir = mirror.replicas(id).find(({ inSync }) => inSync)?.node;
      if (heir === undefined) throw new ServiceError('replica-state', 'no other node has everything');
      await requests.ask(member.self.id, 'give', { volume: id, to: heir });
      await this.#ask(heir, id, what, node);
    } else if (what === 'remove') {
      await mirror.changeReplicas(id, { what, node });
    } else throw new ServiceError('bad-request', 'copies are added or removed');
  }

  /** A volume this node has alone becomes one the mirror knows: it is closed for a moment, its sessions stay. */
  async #begin(id: string): Promise<void> {
    const { provisioner, backend, mirror, catalog, clock } = this.#options;
    const { name } = this.#byId(id);
    if (!isMirrored(this.#byId(id))) {
      await provisioner.reopen(name, true, async (record, before) => {
        const state = before === undefined ? undefined : encodeUnitState(before.reservations.state());
        await backend.beginMirror(record, state);
        const next: VolumeRecord = { ...record, mirrored: true };
        await catalog.apply(catalog.volumes.edit(name, next));
        return next;
      });
    }
    for (const end = clock.now() + 2 * OWNER_PATIENCE; mirror.ownership(id)?.role !== 'owner';) {
      if (clock.now() > end) throw new ServiceError('replica-state', `'${name}': ${mirror.ownership(id)?.why ?? ''}`);
      await this.#pause(25);
    }
  }

  #progressHere(id: string, node: string): Json {
    const found = this.#options.mirror.replicas(id).find((each) => each.node === node);
    const { resync } = found ?? {};
    const share = resync === undefined || resync.total === 0 ? null : 1 - resync.left / resync.total;
    return { inSync: found?.inSync === true, share };
  }

  // ---- the rest

  #ask(to: string, id: string, what: string, node: string): Promise<Json> {
    return this.#options.requests.ask(to, ACTION, { volume: id, what, node });
  }

  #byId(id: string): VolumeRecord {
    const found = this.#options.catalog.volumes.values().find((each) => each.id === id);
    if (found === undefined) throw new ServiceError('not-found', 'the volume was deleted meanwhile');
    return found;
  }

  async #record(record: VolumeRecord): Promise<MirrorRecord> {
    const known = await readRecord(this.#options.member.store, record.id);
    if (known === undefined) throw new ServiceError('replica-state', `the mirror does not know '${record.name}'`);
    return known.record;
  }

  /** Id of the node that serves it. Rejects with replica-state when that one does not answer. */
  async #serverOf(record: VolumeRecord): Promise<string> {
    const { mirror, member } = this.#options;
    const owner = isMirrored(record) ? (await this.#record(record)).owner : (record.replicas?.[0] ?? '');
    if (owner === member.self.id || mirror.peers.get(owner)?.up === true) return owner;
    const name = member.nodes().find(({ id }) => id === owner)?.name ?? 'nobody';
    throw new ServiceError('replica-state', `${name} serves '${record.name}', and does not answer`);
  }

  /** Changes the record of the volume in the catalog; another node may be faster, then again. */
  async #edit(id: string, change: (record: VolumeRecord) => VolumeRecord): Promise<void> {
    const { catalog } = this.#options;
    await this.#retried(async () => {
      const record = this.#byId(id);
      await catalog.apply(catalog.volumes.edit(record.name, change(record)));
    });
  }

  async #retried(attempt: () => Promise<void>): Promise<void> {
    for (let left = CATALOG_RETRIES; ; left--) {
      try {
        await attempt();
        return;
      } catch (error) {
        if (!(error instanceof ServiceError) || error.code !== 'in-use' || left === 0) throw error;
        await this.#pause(100);
      }
    }
  }

  /** Which nodes have still to get the snapshots of the volume. */
  async #editLacking(id: string, change: (nodes: readonly string[]) => string[]): Promise<void> {
    const { catalog } = this.#options;
    for (const { name, volume } of catalog.snapshotsOf(this.#byId(id).name).filter(({ of }) => of === id)) {
      await this.#retried(async () => {
        const now = catalog.snapshots.get(`${volume}@${name}`);
        if (now?.state !== 'ready') return;
        await catalog.apply(
          catalog.snapshots.edit(`${volume}@${name}`, { ...now, lacking: change(now.lacking ?? []) }),
        );
      });
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.after(ms, resolve));
  }
}

/** The record without a replica. */
const without = (record: MirrorRecord, node: string): MirrorRecord => ({
  ...record,
  inSync: record.inSync.filter((each) => each !== node),
  replicas: record.replicas.filter((each) => each !== node),
  joined: Object.fromEntries(Object.entries(record.joined).filter(([each]) => each !== node)),
});
