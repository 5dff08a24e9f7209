// Points in time that tokens stand for, of a mirrored volume: they are made of the copy of its owner, and only of what every
// replica has. Another node that becomes owner later does not have them: it says that they are revoked.
import type { NewRod, RodSource } from '../volume/rod.ts';
import type { MirroredVolume } from './mirrored-volume.ts';

/** `local`: makes points in time of this node's copy. What it makes is what the volume was. */
export function rodsOf(volume: MirroredVolume, local: RodSource): RodSource {
  return {
    store: local.store,
    make: (wanted: NewRod) => {
      const position = Math.min(...wanted.ranges.map((each) => each.position));
      const end = Math.max(...wanted.ranges.map((each) => each.position + each.length));
      return volume.atRest(position, end - position, (release) =>
        local.make({
          ...wanted,
          held: () => {
            release();
            wanted.held();
          },
        }),
      );
    },
  };
}
