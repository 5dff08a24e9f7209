// Points in time of the copy of a mirrored volume that this node keeps in a pool: snapshots of the pool, under ids all nodes of
// the cluster agree on.
import { Durability } from '../volume/volume.ts';
import type { Volume } from '../volume/volume.ts';
import type { CopyPoints, PointDraft } from '../mirror/points.ts';
import type { PoolManager } from './pools.ts';
import { DRAFT_TAG } from './records.ts';
import type { VolumeRecord } from './records.ts';

/** How volumes are opened that no initiator sees. */
const PLAIN = { blockSize: 512, durability: Durability.durable } as const;

export class PoolPoints implements CopyPoints {
  readonly #pools: PoolManager;
  readonly #pool: string;
  readonly #volume: string;
  readonly #label: string;

  constructor(pools: PoolManager, { pool = '', id, name }: VolumeRecord) {
    this.#pools = pools;
    this.#pool = pool;
    this.#volume = id;
    this.#label = `${name}@…`;
  }

  has(id: string): boolean {
    return this.#pools.has(this.#pool, id);
  }

  async make(id: string, created: number): Promise<void> {
    if (!this.has(id)) await this.#pools.copy(this.#pool, [this.#volume], [id], false, created);
  }

  rollback(id: string): Promise<void> {
    return this.#pools.rollback(this.#pool, this.#volume, id);
  }

  read<T>(id: string, work: (content: Volume) => Promise<T>): Promise<T> {
    return this.#pools.reads.run(async () => {
      const content = this.#open(id, true);
      try {
        return await work(content);
      } finally {
        await content.close();
      }
    });
  }

  #open(id: string, readOnly: boolean): Volume {
    const inside = this.#pools.entry(this.#pool, id).record.id;
    return this.#pools.pool(this.#pool).open(inside, { ...PLAIN, readOnly });
  }

  async draft(id: string, size: number, near = this.#volume): Promise<PointDraft> {
    const pools = this.#pools;
    const pool = this.#pool;
    const tag = DRAFT_TAG + id;
    const drop = async (): Promise<void> => {
      if (pools.has(pool, tag)) await pools.remove(pool, tag, this.#label);
    };
    await drop();
    await pools.copy(pool, [near], [tag], true, 0);
    const content = this.#open(tag, false);
    try {
      if (content.info.size !== size) await content.resize(size);
    } catch (error) {
      await content.close();
      await drop();
      throw error;
    }
    return {
      content,
      keep: async (created) => {
        await content.close();
        await pools.copy(pool, [tag], [id], false, created);
        await drop();
      },
      drop: async () => {
        await content.close();
        await drop();
      },
    };
  }
}
