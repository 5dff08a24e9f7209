// Points in time of a simulated copy: a map of blocks each, there as a whole or not at all, as the pool keeps them.
import { ServiceError } from '../../core/base/errors.ts';
import type { CopyPoints, PointDraft } from '../../core/mirror/points.ts';
import type { Volume } from '../../core/volume/volume.ts';
import { CopyVolume } from './copy-volume.ts';
import type { Blocks } from './copy-volume.ts';
import type { DiskQueue } from './disk.ts';

/** By id. On the platters: a crash does not touch what is there. */
export type Points = Map<string, Blocks>;

export class SimPoints implements CopyPoints {
  readonly #queue: DiskQueue;
  readonly #points: Points;
  readonly #blocks: Blocks;
  readonly #size: number;

  constructor(queue: DiskQueue, points: Points, blocks: Blocks, size: number) {
    this.#queue = queue;
    this.#points = points;
    this.#blocks = blocks;
    this.#size = size;
  }

  has(id: string): boolean {
    return this.#points.has(id);
  }

  make(id: string): Promise<void> {
    return this.#atOnce(() => this.#points.set(id, new Map(this.#blocks)));
  }

  rollback(id: string): Promise<void> {
    const point = this.#point(id);
    return this.#atOnce(() => {
      this.#blocks.clear();
      // Memory of its own: what has been placed before, and is lost now, was something else.
      for (const [number, held] of point) this.#blocks.set(number, Buffer.from(held));
    });
  }

  read<T>(id: string, work: (content: Volume) => Promise<T>): Promise<T> {
    return work(this.#volume(this.#point(id)));
  }

  draft(id: string, _size: number, near?: string): Promise<PointDraft> {
    const blocks: Blocks = new Map(near === undefined ? this.#blocks : this.#point(near));
    return Promise.resolve({
      content: this.#volume(blocks),
      keep: () => this.#atOnce(() => this.#points.set(id, blocks)),
      drop: () => Promise.resolve(),
    });
  }

  #volume(blocks: Blocks): Volume {
    return new CopyVolume(this.#queue, blocks, this.#size, false);
  }

  #point(id: string): Blocks {
    const point = this.#points.get(id);
    if (point === undefined) throw new ServiceError('not-found', `there is no point ${id}`);
    return point;
  }

  /** A crash leaves all of it or nothing. */
  #atOnce(change: () => unknown): Promise<void> {
    return this.#queue.operation(
      () => {
        this.#queue.mayFail();
        change();
      },
      () => {
        if (this.#queue.platters.chance.happens(0.5)) change();
      },
    );
  }
}
