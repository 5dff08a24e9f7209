// Whether a node can be taken down without anybody noticing, and taking it out of service for a while.
import { ServiceError, messageOf } from '../base/errors.ts';
import type { Json } from '../cluster/config-store.ts';
import type { ClusterMember, ClusterNode } from '../cluster/member.ts';
import { readRecord } from '../mirror/config-record.ts';
import type { MirrorNode } from '../mirror/mirror-node.ts';
import type { Catalog } from './catalog.ts';
import { isMirrored } from './records.ts';
import type { PeerRequests } from './peer-requests.ts';
import type { SessionSource } from './sessions.ts';

/** What would be noticed if the node went down now. */
export interface RebootConcern {
  readonly kind: 'volume' | 'host' | 'node';
  readonly name: string;
  readonly text: string;
}

export interface RebootView {
  /** Id of the node. */
  readonly node: string;
  readonly safe: boolean;
  /** Volumes that go on elsewhere after a pause. */
  readonly moves: readonly string[];
  readonly concerns: readonly RebootConcern[];
}

export interface MaintenanceOptions {
  readonly catalog: Catalog;
  readonly member: ClusterMember;
  readonly mirror: MirrorNode;
  readonly requests: PeerRequests;
  readonly server: () => SessionSource | undefined;
}

const maintenanceKey = (node: string): string => `maintenance/${node}`;
const PREFIX = 'maintenance/';
const SESSIONS = 'sessions';

/** `INITIATOR TARGET`, each once. */
type Paths = ReadonlySet<string>;

export class Maintenance {
  readonly #options: MaintenanceOptions;
  readonly #nodes = new Set<string>();
  #unwatch: (() => void) | undefined;

  constructor(options: MaintenanceOptions) {
    this.#options = options;
    options.requests.handle(SESSIONS, () => {
      const sessions = options.server()?.sessions() ?? [];
      const paths = sessions.flatMap(({ initiator, target }) =>
        target === undefined ? [] : [`${initiator} ${target}`],
      );
      return Promise.resolve([...new Set(paths)]);
    });
  }

  /** Knows which nodes are out of service, now and from now on. Rejects like the store. */
  async start(): Promise<void> {
    const { store } = this.#options.member;
    const learn = (key: string, value: unknown): void => {
      const node = key.slice(PREFIX.length);
      if (value === undefined) this.#nodes.delete(node);
      else this.#nodes.add(node);
    };
    this.#unwatch = store.watch(PREFIX, ({ key, value }) => {
      learn(key, value);
    });
    for (const { key, value } of await store.list(PREFIX)) learn(key, value);
  }

  stop(): void {
    this.#unwatch?.();
  }

  /** The node is out of service: nothing is handed over to it. It still takes over what nobody else can serve. */
  has(node: string): boolean {
    return this.#nodes.has(node);
  }

  /** What hosts would notice if the node went down now, from the sessions and copies there are. Rejects like the store. */
  async look({ id, name }: ClusterNode): Promise<RebootView> {
    const { catalog, member } = this.#options;
    const concerns: RebootConcern[] = [];
    const moves: string[] = [];
    const others = member.nodes().filter((each) => each.role === 'data' && each.id !== id);
    const there = others.filter((each) => this.#answers(each.id));
    for (const record of catalog.volumes.values()) {
      if (record.replicas?.includes(id) !== true) continue;
      const volume = { kind: 'volume', name: record.name } as const;
      if (!isMirrored(record) || record.replicas.length === 1) {
        concerns.push({ ...volume, text: `${record.name} has its only copy on ${name}` });
        continue;
      }
      const known = (await readRecord(member.store, record.id))?.record;
      const heirs = there.filter((each) => known?.inSync.includes(each.id) === true);
      if (heirs.length === 0) {
        concerns.push({ ...volume, text: `nobody but ${name} has all of ${record.name} and answers` });
      } else if (known?.owner === id) moves.push(record.name);
    }
    for (const each of others) {
      if (!there.includes(each)) concerns.push({ kind: 'node', name: each.name, text: `${each.name} does not answer` });
    }
    const here = await this.#paths(id);
    const elsewhere = new Set<string>();
    for (const each of there) for (const path of await this.#paths(each.id)) elsewhere.add(path);
    for (const path of here) {
      const [initiator = '', target = ''] = path.split(' ');
      const volumes = catalog.volumes
        .values()
        .filter((each) => (catalog.targets.get(each.target)?.iqn ?? catalog.iqnOf(each.target)) === target)
        .filter((each) => isMirrored(each) && (each.replicas?.length ?? 0) > 1);
      if (elsewhere.has(path) || volumes.length === 0) continue;
      const names = volumes.map((each) => each.name).join(', ');
      const text = `${initiator} has a session to ${name} only, for ${names}: it would lose its disk`;
      concerns.push({ kind: 'host', name: initiator, text });
    }
    return { node: id, safe: concerns.length === 0, moves, concerns };
  }

  /**
   * Hands over every volume the node serves and keeps it out of service. Rejects with ServiceError replica-state, and changes
   * nothing, when it would be noticed (look), unless `force`. Returns the names of what was handed over.
   */
  async begin(node: ClusterNode, by: string, force: boolean): Promise<string[]> {
    const { member, catalog, requests } = this.#options;
    const view = await this.look(node);
    if (!view.safe && !force) {
      const [first] = view.concerns;
      const more = view.concerns.length > 1 ? ` (and ${String(view.concerns.length - 1)} more reasons)` : '';
      throw new ServiceError('replica-state', `${first?.text ?? ''}${more}`);
    }
    await member.store.commit([{ key: maintenanceKey(node.id), value: { by } }]);
    this.#nodes.add(node.id);
    const moved: string[] = [];
    const failed: string[] = [];
    for (const name of view.moves) {
      const record = catalog.volumes.get(name);
      const known = record === undefined ? undefined : (await readRecord(member.store, record.id))?.record;
      const to = known?.inSync.find((each) => each !== node.id && !this.has(each) && this.#answers(each));
      if (record === undefined || known?.owner !== node.id) continue;
      try {
        if (to === undefined) throw new ServiceError('replica-state', 'nobody else has everything');
        await requests.ask(node.id, 'give', { volume: record.id, to });
        moved.push(name);
      } catch (error) {
        failed.push(`${name}: ${messageOf(error)}`);
      }
    }
    if (failed.length > 0) {
      throw new ServiceError('replica-state', `${node.name} is in maintenance, but serves on ${failed.join('; ')}`);
    }
    return moved;
  }

  /** The node is in service again. What it is to serve is handed back to it. */
  async end(node: ClusterNode): Promise<void> {
    await this.#options.member.store.commit([{ key: maintenanceKey(node.id), value: undefined }]);
    this.#nodes.delete(node.id);
  }

  #answers(node: string): boolean {
    const { member, mirror } = this.#options;
    return node === member.self.id || mirror.peers.get(node)?.up === true;
  }

  async #paths(node: string): Promise<Paths> {
    const found = await this.#options.requests.ask(node, SESSIONS, {}).catch((): Json => []);
    return new Set(found as string[]);
  }
}
