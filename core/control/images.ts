// Volumes that are images of other engines: what the catalog says of the engines, and what is asked of whoever knows them.
import { ServiceError } from '../base/errors.ts';
import { MAX_BACKENDS } from '../base/limits.ts';
import { Turn } from '../base/turn.ts';
import type { Clock } from '../base/world.ts';
import type { SharedStorage } from '../mirror/shared.ts';
import type { Catalog } from './catalog.ts';
import { checkName } from './names.ts';
import type { BackendRecord, VolumeRecord } from './records.ts';
import { noBackend } from './volume-request.ts';

/** The engines as this node reaches them. All of it rejects with a ServiceError. */
export interface Images {
  /** Rejects unless the backend can be used from here. */
  check(backend: BackendRecord): Promise<void>;
  /** Makes the image of a volume, or takes the one its record names, which nobody may be using. Resolves with its size, bytes. */
  make(record: VolumeRecord): Promise<number>;
  /** The image, which has to be acquired before anything is done with it. */
  open(record: VolumeRecord): SharedStorage;
  /** Shuts everybody out and removes the image, if it is there and was made by make(). */
  destroy(record: VolumeRecord): Promise<void>;
}

export type BackendRequest = Omit<BackendRecord, 'created'>;

/** Names of Ceph pools and users; no separators of specifications. */
const CEPH_NAME = /^[\w][\w.-]{0,127}$/;

export class Backends {
  readonly #catalog: Catalog;
  readonly #images: Images;
  readonly #clock: Clock;
  readonly #turn = new Turn();

  constructor(catalog: Catalog, images: Images, clock: Clock) {
    this.#catalog = catalog;
    this.#images = images;
    this.#clock = clock;
  }

  list(): BackendRecord[] {
    return this.#catalog.backends.values();
  }

  /** Throws ServiceError not-found. */
  get(name: string): BackendRecord {
    const record = this.#catalog.backends.get(name);
    if (record === undefined) throw noBackend(name);
    return record;
  }

  volumesOf(name: string): VolumeRecord[] {
    return this.#catalog.volumes.values().filter(({ backend }) => backend === name);
  }

  /** Makes a backend known when it can be used from this node. Rejects with bad-request, exists, limit-reached or io-error. */
  add(request: BackendRequest): Promise<BackendRecord> {
    return this.#turn.run(async () => {
      const name = checkName(request.name, 'backend');
      const { backends } = this.#catalog;
      if (backends.get(name) !== undefined) {
        throw new ServiceError('exists', `there is a backend '${name}' already`);
      }
      if (backends.size >= MAX_BACKENDS) {
        throw new ServiceError('limit-reached', `there are ${String(MAX_BACKENDS)} backends already`);
      }
      const record = { ...checked(request), created: this.#clock.wall() };
      await this.#images.check(record);
      await this.#catalog.apply(backends.edit(name, record));
      return record;
    });
  }

  /** Forgets a backend. Rejects with not-found, or in-use while volumes are in it. */
  remove(name: string): Promise<void> {
    return this.#turn.run(async () => {
      this.get(name);
      const [volume] = this.volumesOf(name);
      if (volume !== undefined) throw new ServiceError('in-use', `volume '${volume.name}' is an image of it`);
      await this.#catalog.apply(this.#catalog.backends.edit(name, undefined));
    });
  }
}

/** Throws ServiceError bad-request. */
function checked(request: BackendRequest): BackendRequest {
  const { name, kind } = request;
  if (kind === 'folder') {
    return { name, kind, folder: absolute(request.folder, 'folder') };
  }
  const { pool = 'rbd', user = 'gemel', conf = '/etc/ceph/ceph.conf' } = request;
  const keyring = request.keyring ?? `/etc/ceph/ceph.client.${user}.keyring`;
  for (const [what, value] of [
    ['pool', pool],
    ['user', user],
  ] as const) {
    if (!CEPH_NAME.test(value)) throw new ServiceError('bad-request', `this is no name of a ${what} of Ceph`);
  }
  const paths = { conf: absolute(conf, 'configuration'), keyring: absolute(keyring, 'keyring') };
  return { name, kind, pool, user, ...paths };
}

function absolute(path: string | undefined, what: string): string {
  if (path === undefined || !/^\/[^\x00-\x1f\x7f]{1,4000}$/.test(path)) {
    throw new ServiceError('bad-request', `the ${what} is named by an absolute path, the same on all nodes`);
  }
  return path;
}
