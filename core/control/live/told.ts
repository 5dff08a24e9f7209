// As what a change of the catalog is told: topic and name for the outside, which has other words than the catalog here and there.
import type { Catalog } from '../catalog.ts';
import type { CatalogChange } from '../change-feed.ts';
import type { Topic } from './topics.ts';

/** What is told: by its name only, as what it looks like is asked for when it has come to rest. */
export interface Changed {
  readonly topic: Topic;
  /** Of the record; like the topic in most cases. */
  readonly kind: string;
  readonly id: string;
  readonly gone: boolean;
  /** Null: no record has changed. */
  readonly revision: number | null;
}

/**
 * Topics of the collections of the catalog. What is neither here nor below is nobody's business: reservations, keys, requests
 * that are kept.
 */
const TOPIC_OF: Readonly<Record<string, Topic>> = {
  volumes: 'volumes',
  snapshots: 'snapshots',
  pools: 'pools',
  targets: 'targets',
  initiators: 'initiators',
  hosts: 'hosts',
  'host-groups': 'hosts',
  jobs: 'jobs',
  schedules: 'schedules',
  portals: 'portals',
  policies: 'policies',
  backends: 'backends',
  deleted: 'deleted-volumes',
  'alert-states': 'alerts',
  'alert-rules': 'alerts',
  'alert-targets': 'alert-targets',
  users: 'users',
  tokens: 'tokens',
  'node-tokens': 'tokens',
  events: 'events',
};

type Of<K extends CatalogChange['kind']> = Extract<CatalogChange, { kind: K }>;

export class Told {
  readonly #catalog: Catalog;
  /** What volumes looked like, to tell a change of their maps. */
  readonly #maps = new Map<string, string>();
  /** Users of the sessions in the console, by id: the users are told as changed, the ids to nobody. */
  readonly #sessions = new Map<string, string>();
  #retention: string;
  #copyRoute: string;

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
    for (const { name, maps } of catalog.volumes.values()) this.#maps.set(name, JSON.stringify(maps));
    for (const [id, { user }] of catalog.security.sessions.entries()) this.#sessions.set(id, user);
    const { keepDeleted, copyRoute } = catalog.node;
    this.#retention = String(keepDeleted);
    this.#copyRoute = String(copyRoute);
  }

  /** What is told of a change; nothing of what is nobody's business. */
  of(change: CatalogChange): Changed[] {
    if (change.kind === 'node') return this.#ofNode(change);
    if (change.kind === 'web-sessions') return this.#ofSession(change);
    const { kind, id, value, revision } = change;
    if (kind === 'security-settings') return [setting('security', revision)];
    const topic = TOPIC_OF[kind];
    if (topic === undefined) return [];
    const told = { topic, kind, id, gone: value === undefined, revision };
    return change.kind === 'volumes' && this.#mapsChanged(change) ? [told, { ...told, topic: 'maps' }] : [told];
  }

  #mapsChanged({ id, value }: Of<'volumes'>): boolean {
    const maps = value === undefined ? undefined : JSON.stringify(value.maps);
    const before = this.#maps.get(id) ?? '[]';
    if (maps === undefined) this.#maps.delete(id);
    else this.#maps.set(id, maps);
    return (maps ?? '[]') !== before;
  }

  /** The settings that are kept in the record of the node. */
  #ofNode({ value, revision }: Of<'node'>): Changed[] {
    const [retention, copyRoute] = [String(value?.keepDeleted), String(value?.copyRoute)];
    const changed = [
      ...(retention === this.#retention ? [] : [setting('retention', revision)]),
      ...(copyRoute === this.#copyRoute ? [] : [setting('copy-route', revision)]),
    ];
    this.#retention = retention;
    this.#copyRoute = copyRoute;
    return changed;
  }

  /** One that begins or ends; that one goes on is no news. */
  #ofSession({ id, value, revision }: Of<'web-sessions'>): Changed[] {
    const before = this.#sessions.get(id);
    if (value === undefined) this.#sessions.delete(id);
    else this.#sessions.set(id, value.user);
    const user = value?.user ?? before;
    if (user === undefined || (value !== undefined && before !== undefined)) return [];
    const gone = this.#catalog.security.users.get(user) === undefined;
    return [{ topic: 'users', kind: 'users', id: user, gone, revision }];
  }
}

/** `name`: what its path ends in. Whoever may read it does so there. */
const setting = (name: string, revision: number): Changed => ({
  ...{ topic: 'settings', kind: 'settings', id: name, gone: false },
  revision,
});
