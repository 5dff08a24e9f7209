// Snapshots of volumes of one owner, at one instant: as long as nothing is written to any of them, each is told to keep what it
// is, here and at every replica that is in sync.
import { ServiceError } from '../base/errors.ts';
import type { RangeLock } from '../volume/range-locks.ts';
import { Operation } from './messages.ts';
import type { MirroredVolume } from './mirrored-volume.ts';
import { moved } from './term.ts';

export interface WantedPoint {
  readonly volume: MirroredVolume;
  /** Of the point: at most 64 characters, never used before. */
  readonly id: string;
}

/**
 * Resolves, in the order of `wanted`, with the nodes that do not have the point: they were not in sync, or have failed and are
 * left out. Rejects with a VolumeError or ServiceError; then any of them may have been taken anywhere. `created`: ms since 1970.
 */
export async function takePoints(wanted: readonly WantedPoint[], created: number): Promise<string[][]> {
  for (const { volume } of wanted) await volume.steward.serving();
  const held: RangeLock[] = [];
  try {
    const parts = wanted.map(({ volume, id }) => {
      const { term, writer, options } = volume.steward;
      const { points } = options;
      if (points === undefined) throw new ServiceError('bad-request', 'this volume cannot have snapshots');
      if (term === undefined || writer === undefined || term.isOver) throw moved('no node serves this volume');
      return { id, term, writer, points, size: volume.info.size };
    });
    // Whoever wants locks of several volumes takes them in this order (RangeLocks.serial). Shared: reads go on.
    for (const { term, size } of [...parts].sort((a, b) => a.term.locks.serial - b.term.locks.serial)) {
      held.push(await term.lock(0, size, false));
    }
    return await Promise.all(
      parts.map(({ id, writer, points }) =>
        writer.point(
          {
            operation: Operation.snapshot,
            fua: true,
            position: 0,
            length: 0,
            source: { volume: id, position: created },
          },
          () => points.make(id, created),
        ),
      ),
    );
  } finally {
    for (const each of held) each.release();
  }
}
