// The metadata store of a pool that is crashed: a transaction is there whole or not at all, like LMDB's.
import type { MetaChange, MetaContent, PoolMeta, PoolState, StoredVolume } from '../../core/pool/pool-meta.ts';
import type { SimDisk } from './sim-disk.ts';

export interface MetaStorage {
  state: PoolState | undefined;
  volumes: Map<number, StoredVolume>;
  leaves: Map<number, Buffer>;
}

export const emptyMeta = (): MetaStorage => ({ state: undefined, volumes: new Map(), leaves: new Map() });

/** What is in it is replaced, never changed. */
export const copyMeta = ({ state, volumes, leaves }: MetaStorage): MetaStorage => ({
  state,
  volumes: new Map(volumes),
  leaves: new Map(leaves),
});

export class SimMeta implements PoolMeta {
  readonly #storage: MetaStorage;
  readonly #disk: SimDisk;
  readonly #random: () => number;

  constructor(storage: MetaStorage, disk: SimDisk, random: () => number) {
    this.#storage = storage;
    this.#disk = disk;
    this.#random = random;
  }

  load(): MetaContent | undefined {
    const { state, volumes, leaves } = this.#storage;
    if (state === undefined) return undefined;
    return { state, volumes: [...volumes.values()], leaf: (id) => leaves.get(id) };
  }

  loaded(): Promise<void> {
    return Promise.resolve();
  }

  async commit(change: MetaChange): Promise<void> {
    await this.#disk.wait();
    const error = this.#disk.fault('commit', 'meta', 0);
    if (error !== undefined) throw error;
    const fails = this.#disk.power.tick();
    if (!fails || this.#random() < 0.5) this.#apply(change);
    await this.#disk.wait();
  }

  #apply(change: MetaChange): void {
    const storage = this.#storage;
    storage.state = structuredClone(change.state);
    for (const { id, record, leaves } of change.volumes) {
      const before = storage.volumes.get(id);
      if (record === undefined) storage.volumes.delete(id);
      else storage.volumes.set(id, { record, leaves: leaves === undefined ? (before?.leaves ?? []) : [...leaves] });
    }
    for (const [id, bytes] of change.leaves) {
      if (bytes === undefined) storage.leaves.delete(id);
      else storage.leaves.set(id, Buffer.from(bytes));
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
