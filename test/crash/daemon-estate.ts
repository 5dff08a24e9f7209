// The disks, snapshots and clones of the daemon that is killed, and what an administrator does with them meanwhile. What was
// under way when it was killed is found out afterwards: it happened, or it did not.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServiceError } from '../../core/base/errors.ts';
import { ApiClient } from '../../plugins/sdk/client.ts';
import type { Daemon } from '../support/daemon.ts';
import { DiskModel } from './daemon-model.ts';
import type { Content } from './daemon-model.ts';
import { Host } from './daemon-load.ts';
import type { LoadFacts } from './daemon-load.ts';
import { SECTOR } from './record.ts';

export const POOL = 'tank';
const MIB = 1_048_576;
const MAPS = [{ initiator: 'loopback', access: 'read-write' }];
const MAX_SNAPSHOTS = 5;
const MAX_CLONES = 2;
const MAX_GROWN = 16 * MIB;
/** What the daemon says when something is in the way, and nothing is wrong. */
const REFUSED = ['in-use', 'exists', 'no-space', 'limit-reached'];
const UNREACHABLE = ['daemon-unreachable', 'untrusted-server'];

export interface VolumeView {
  readonly name: string;
  readonly iqn: string;
  readonly size: number;
  readonly state: string;
  readonly problem: string | null;
  readonly thin: boolean;
}

export interface SnapshotView {
  readonly volume: string;
  readonly name: string;
  readonly size: number;
  readonly state: string;
}

export interface Snapshot {
  readonly volume: string;
  readonly name: string;
  readonly sectors: number;
  content: Content;
  /** Snapshots of the same instant have the same number. */
  readonly group: number;
}

/** Something that was under way. `settle` is called after the next start with what there is. */
interface Pending {
  readonly what: string;
  readonly settle: (there: Listing) => void;
}

export interface Listing {
  readonly volumes: ReadonlyMap<string, VolumeView>;
  readonly snapshots: ReadonlyMap<string, SnapshotView>;
}

export class Estate {
  readonly daemon: Daemon;
  readonly hosts = new Map<string, Host>();
  readonly snapshots = new Map<string, Snapshot>();
  readonly facts: LoadFacts;
  readonly #pending = new Set<Pending>();
  #api: ApiClient | undefined;
  #numbers = 0;
  /** The operations with the times of Order when they began and were answered; Infinity: they were not, or refused. */
  readonly journal: { readonly what: string; readonly from: number; readonly to: number }[] = [];
  /** How often each operation was carried out. */
  readonly done = new Map<string, number>();

  constructor(daemon: Daemon, facts: Omit<LoadFacts, 'alive' | 'sources'>) {
    this.daemon = daemon;
    this.facts = { ...facts, alive: () => this.#alive, sources: () => this.#sources() };
  }

  /** The disks of the pool that are there for good. */
  #sources(): Host[] {
    return [...this.hosts.values()].filter(({ model, apart }) => model.name.startsWith('p') && !apart);
  }

  #client(): ApiClient {
    return (this.#api ??= new ApiClient(this.daemon.ready.api, this.daemon.ready.token));
  }

  call(method: string, path: string, body?: unknown): Promise<unknown> {
    return this.#client().call(method, path, body);
  }

  #pick<T>(list: readonly T[]): T | undefined {
    return list[Math.floor(this.facts.random() * list.length)];
  }

  #add(view: VolumeView, isVolatile: boolean, content?: Content): Host {
    const number = ++this.#numbers;
    const model = new DiskModel(this.facts.writes, view.name, number, view.size / SECTOR, isVolatile, content);
    const host = new Host(model, view.iqn, view.thin, this.facts);
    this.hosts.set(view.name, host);
    return host;
  }

  async createDisk(name: string, size: number, options: object): Promise<void> {
    const view = (await this.call('POST', '/volumes', { name, size, maps: MAPS, ...options })) as VolumeView;
    const { durability } = options as { durability?: string };
    this.#add(view, durability === 'volatile');
  }

  async list(): Promise<Listing> {
    const volumes = (await this.#client().list('/volumes')) as VolumeView[];
    const snapshots = (await this.#client().list('/snapshots')) as SnapshotView[];
    return {
      volumes: new Map(volumes.map((each) => [each.name, each])),
      snapshots: new Map(snapshots.map((each) => [`${each.volume}@${each.name}`, each])),
    };
  }

  /** After a start: what was interrupted is there or not; whatever else there must be is there, and served. */
  async settle(what: string): Promise<void> {
    const there = await this.list();
    for (const { settle } of this.#pending) settle(there);
    this.#pending.clear();
    for (const [name, host] of this.hosts) {
      const view = there.volumes.get(name);
      assert.equal(view?.state, 'online', `${what}: volume ${name}: ${view?.problem ?? 'is gone'}`);
      assert.equal(view.size, host.model.sectors * SECTOR, `${what}: size of ${name}`);
    }
    for (const name of there.volumes.keys()) assert.ok(this.hosts.has(name), `${what}: a volume ${name} has appeared`);
    for (const key of this.snapshots.keys()) {
      assert.equal(there.snapshots.get(key)?.state, 'ready', `${what}: snapshot ${key}`);
    }
    for (const key of there.snapshots.keys()) assert.ok(this.snapshots.has(key), `${what}: a snapshot ${key} appeared`);
  }

  async connect(): Promise<void> {
    await Promise.all([...this.hosts.values()].map((host) => host.connect(this.daemon.portals[0] ?? '')));
  }

  // ---- what the administrator does

  /** Calls the API. When the daemon dies meanwhile, `settle` decides later. False: refused, which changes nothing, or it died. */
  async #attempt(what: string, call: () => Promise<unknown>, settle: Pending['settle']): Promise<boolean> {
    const pending = { what, settle };
    this.#pending.add(pending);
    const { order } = this.facts.writes;
    const entry = { what, from: order.next(), to: Infinity };
    this.journal.push(entry);
    try {
      await call();
      entry.to = order.next();
    } catch (error) {
      if (error instanceof ServiceError && UNREACHABLE.includes(error.code)) return false;
      // At an orderly stop the answer may be cut off; then it is as if it had died.
      if (!this.#alive) return false;
      this.#pending.delete(pending);
      if (error instanceof ServiceError && this.facts.mayBeFull) {
        // A deletion that begins is finished by a start that finds room.
        if (error.message.includes('the next start tries again')) return true;
        if (error.code === 'io-error' || error.code === 'audit-unwritable') return false;
      }
      if (error instanceof ServiceError && REFUSED.includes(error.code)) return false;
      throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
    this.#pending.delete(pending);
    this.done.set(what, (this.done.get(what) ?? 0) + 1);
    return true;
  }

  #alive = true;

  /** Nothing the daemon says from now on, or does not, is a surprise. */
  dying(): void {
    this.#alive = false;
  }

  born(): void {
    this.#alive = true;
    this.#api = undefined;
  }

  /** One operation, chosen by chance. */
  async operate(): Promise<void> {
    const kinds = ['snapshot', 'snapshot', 'drop', 'clone', 'delete', 'grow', 'rollback', 'check', 'scrub', 'space'];
    await this.operation(this.#pick([...kinds, 'room']) ?? 'snapshot');
  }

  async operation(kind: string): Promise<void> {
    if (kind === 'snapshot') await this.#snapshot();
    else if (kind === 'drop') await this.#dropSnapshot();
    else if (kind === 'clone') await this.#clone();
    else if (kind === 'delete') await this.#deleteClone();
    else if (kind === 'grow') await this.#grow();
    else if (kind === 'rollback') await this.#rollback();
    else if (kind === 'check') await this.#check();
    else if (kind === 'scrub')
      await this.#attempt(
        'scrub',
        () => this.startScrub(),
        () => undefined,
      );
    else if (kind === 'space')
      await this.#attempt(
        'space',
        () => this.call('GET', '/volumes/p0/space'),
        () => undefined,
      );
    else
      await this.#attempt(
        'room',
        () => this.call('PATCH', `/pools/${POOL}`, { growBytes: MIB }),
        () => undefined,
      );
  }

  /** One that a crash interrupted goes on by itself. */
  async startScrub(): Promise<void> {
    await this.call('POST', `/pools/${POOL}/scrub`, { rate: 1024 * MIB }).catch((error: unknown) => {
      if (!(error instanceof ServiceError) || error.code !== 'in-use') throw error;
    });
  }

  async #check(): Promise<void> {
    await this.#attempt(
      'check',
      () => this.check(),
      () => undefined,
    );
  }

  async check(): Promise<void> {
    const { findings } = (await this.call('POST', `/pools/${POOL}/check`)) as { findings: string[] };
    assert.deepEqual(findings, [], 'pool check');
  }

  #poolHosts(): Host[] {
    return [...this.hosts.values()].filter(({ model }) => !model.name.startsWith('f'));
  }

  async #snapshot(): Promise<void> {
    if (this.snapshots.size >= MAX_SNAPSHOTS) {
      await this.#dropSnapshot();
      return;
    }
    const all = this.#poolHosts();
    const hosts = this.facts.random() < 0.5 ? all.slice(0, 3) : [this.#pick(all)].filter((host) => host !== undefined);
    const group = ++this.#numbers;
    const name = `s${String(group)}`;
    const looks = hosts.map(({ model }) => ({ model, look: model.look() }));
    const capture = (): void => {
      for (const { model, look } of looks) {
        const content = model.capture(look.since);
        look.end();
        const snapshot = { volume: model.name, name, sectors: model.sectors, content, group };
        this.snapshots.set(`${model.name}@${name}`, snapshot);
      }
    };
    const made = await this.#attempt(
      'snapshot',
      () => this.call('POST', '/snapshots', { volumes: hosts.map(({ model }) => model.name), name }),
      (there) => {
        const found = looks.filter(({ model }) => there.snapshots.has(`${model.name}@${name}`)).length;
        assert.ok(
          found === 0 || found === looks.length,
          `${String(found)} of ${String(looks.length)} snapshots ${name}`,
        );
        if (found > 0) capture();
      },
    );
    if (made) capture();
    else if (this.#alive) for (const { look } of looks) look.end();
  }

  async #dropSnapshot(): Promise<void> {
    const [key, snapshot] = this.#pick([...this.snapshots]) ?? [];
    if (key === undefined || snapshot === undefined) return;
    const made = await this.#attempt(
      'drop',
      () => this.call('DELETE', `/volumes/${snapshot.volume}/snapshots/${snapshot.name}`),
      (there) => {
        if (!there.snapshots.has(key)) this.snapshots.delete(key);
      },
    );
    if (made) this.snapshots.delete(key);
  }

  /** A disk from a disk as it is now, or from a snapshot. */
  async #clone(): Promise<void> {
    const clones = [...this.hosts.keys()].filter((name) => name.startsWith('c'));
    if (clones.length >= MAX_CLONES) {
      await this.#deleteClone();
      return;
    }
    const snapshot = this.facts.random() < 0.5 ? this.#pick([...this.snapshots.values()]) : undefined;
    const source = snapshot === undefined ? this.#pick(this.#poolHosts()) : undefined;
    const from = snapshot?.volume ?? source?.model.name ?? '';
    const name = `c${String(++this.#numbers)}`;
    const look = source?.model.look();
    const content = (): Content => {
      const captured = snapshot?.content ?? source?.model.capture(look?.since ?? 0);
      look?.end();
      return captured ?? new Map();
    };
    const body = { name, maps: MAPS, snapshot: snapshot?.name, durability: 'durable' };
    let view: VolumeView | undefined;
    const made = await this.#attempt(
      'clone',
      async () => (view = (await this.call('POST', `/volumes/${from}/clone`, body)) as VolumeView),
      (there) => {
        const found = there.volumes.get(name);
        if (found !== undefined) this.#add(found, false, content());
      },
    );
    if (!made || view === undefined) {
      if (this.#alive) look?.end();
      return;
    }
    await this.#serve(this.#add(view, false, content()));
  }

  async #serve(host: Host): Promise<void> {
    try {
      await host.connect(this.daemon.portals[0] ?? '');
      host.start();
    } catch (error) {
      if (this.#alive) throw error;
    }
  }

  async #deleteClone(): Promise<void> {
    const host = this.#pick(this.#poolHosts().filter(({ model }) => model.name.startsWith('c')));
    if (host === undefined) return;
    const { name } = host.model;
    if ([...this.snapshots.values()].some(({ volume }) => volume === name)) return;
    await host.stop();
    const made = await this.#attempt(
      'delete',
      () => this.call('DELETE', `/volumes/${name}?force=true&purge=true`),
      (there) => {
        if (!there.volumes.has(name)) this.hosts.delete(name);
      },
    );
    if (made) this.hosts.delete(name);
    else if (this.#alive) await this.#serve(host);
  }

  async #grow(): Promise<void> {
    const host = this.#pick([...this.hosts.values()]);
    if (host === undefined || host.model.sectors * SECTOR > 96 * MIB) return;
    const { model } = host;
    const size = model.sectors * SECTOR + Math.min(MAX_GROWN, (1 + Math.floor(this.facts.random() * 40)) * 4096 * 9);
    const made = await this.#attempt(
      'grow',
      () => this.call('PATCH', `/volumes/${model.name}`, { size }),
      (there) => {
        const found = there.volumes.get(model.name)?.size ?? 0;
        if (found === size) model.sectors = size / SECTOR;
      },
    );
    if (made) model.sectors = size / SECTOR;
  }

  async #rollback(): Promise<void> {
    const same = [...this.snapshots.values()].filter(
      ({ volume, sectors }) => this.hosts.get(volume)?.model.sectors === sectors,
    );
    const snapshot = this.#pick(same);
    const host = snapshot === undefined ? undefined : this.hosts.get(snapshot.volume);
    if (snapshot === undefined || host === undefined) return;
    // Else nobody knows whether a copy saw it before or after.
    host.apart = true;
    await host.stop();
    while (host.model.isCopied && this.#alive) await sleep(2);
    const made = await this.#attempt(
      'rollback',
      () => this.call('POST', `/volumes/${snapshot.volume}/snapshots/${snapshot.name}/rollback`),
      () => {
        host.model.mayBe(snapshot.content);
      },
    );
    host.apart = false;
    if (made) host.model.is(snapshot.content);
    if (this.#alive) await this.#serve(host);
  }
}
