// The images of this node: which engine knows one, and what it is called there.
import { join } from 'node:path';
import { ServiceError } from '../../base/errors.ts';
import { IMAGE_REMOVE } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { World } from '../../base/world.ts';
import type { Catalog } from '../../control/catalog.ts';
import type { Images } from '../../control/images.ts';
import type { BackendRecord, VolumeRecord } from '../../control/records.ts';
import { noBackend } from '../../control/volume-request.ts';
import type { SharedStorage } from '../../mirror/shared.ts';
import type { Volume } from '../../volume/volume.ts';
import { CephEngine } from './ceph-engine.ts';
import type { ImageEngine } from './engine.ts';
import { FolderEngine } from './folder-engine.ts';
import { ImageVolume } from './image-volume.ts';

export interface NodeImagesOptions {
  readonly world: World;
  readonly log: Log;
  readonly catalog: Catalog;
  /** For sockets and configurations. */
  readonly folder: string;
  /** Puts the cache before a volume, if there is one. */
  readonly cached: (volume: Volume) => Volume;
}

/** The name of an image of ours; one that was there before has its own. */
const imageOf = ({ path, id }: VolumeRecord): string => (path === '' ? `gemel-${id}` : path);

export class NodeImages implements Images {
  readonly #options: NodeImagesOptions;

  constructor(options: NodeImagesOptions) {
    this.#options = options;
  }

  check(backend: BackendRecord): Promise<void> {
    return this.#engine(backend).check();
  }

  async make(record: VolumeRecord): Promise<number> {
    const engine = this.#engineOf(record);
    const image = imageOf(record);
    if (record.path === '') await engine.create(image, record.size);
    await engine.take(image, record.id);
    return engine.size(image);
  }

  open(record: VolumeRecord): SharedStorage {
    const { world, log, folder, cached } = this.#options;
    const { id, size, readOnly, thin } = record;
    const blockSize = record.blockSize === 4096 ? 4096 : 512;
    return new ImageVolume({
      ...{ world, log, cached, engine: this.#engineOf(record), image: imageOf(record) },
      // Short: paths of sockets have 107 bytes at most.
      socket: join(folder, `${id.slice(0, 12)}.sock`),
      info: { size, readOnly, thin, blockSize },
    });
  }

  async destroy(record: VolumeRecord): Promise<void> {
    if (record.path !== '') return;
    const engine = this.#engineOf(record);
    const image = imageOf(record);
    const { clock } = this.#options.world;
    for (const end = clock.now() + IMAGE_REMOVE; ;) {
      try {
        await engine.remove(image);
        return;
      } catch (error) {
        if (!(error instanceof ServiceError) || error.code !== 'in-use' || clock.now() >= end) throw error;
      }
      // A node that is away, or slow, has it open still: what it wants of a deleted volume is of no interest.
      await engine.fence(image);
      await new Promise<void>((resolve) => clock.after(500, resolve));
    }
  }

  #engineOf({ backend = '' }: VolumeRecord): ImageEngine {
    const record = this.#options.catalog.backends.get(backend);
    if (record === undefined) throw noBackend(backend);
    return this.#engine(record);
  }

  #engine(backend: BackendRecord): ImageEngine {
    const { world, folder } = this.#options;
    return backend.kind === 'ceph' ? new CephEngine(backend, world.disk, folder) : new FolderEngine(backend);
  }
}
