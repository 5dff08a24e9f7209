// Points in time: what some ranges of a volume held at one instant. A token stands for one (SPC-4 calls it a representation
// of data, a ROD). Whoever keeps volumes that can share what they hold keeps these, too.
import type { Volume } from './volume.ts';

/** Bytes of the number of a ROD. */
export const ROD_ID = 16;

/** A range of a volume, bytes. */
export interface RodRange {
  readonly position: number;
  readonly length: number;
}

/** What a store remembers of a ROD besides its content; it means nothing to the store. */
export interface RodFacts {
  /** ROD_ID random bytes in hexadecimal digits: never used twice. */
  readonly id: string;
  /** Of the logical unit it was made from, bytes. */
  readonly blockSize: number;
  /** Who made it, and of what: identifiers of the layers above. */
  readonly initiator: string;
  readonly source: string;
  /** Milliseconds without use after which it is gone. */
  readonly timeout: number;
}

export interface NewRod extends RodFacts {
  /** Of the source, in the order in which they follow each other in the ROD. Not empty; none of them is. */
  readonly ranges: readonly RodRange[];
  /** Called when the content is certain: what is written from now on is not part of it. */
  readonly held: () => void;
}

export interface Rod extends RodFacts {
  /** Bytes. */
  readonly size: number;
  /** Where its content is, in order; the ranges of the source were as long. Read-only. */
  readonly volume: Volume;
  readonly segments: readonly RodRange[];
}

/** Why there is no such ROD any more. */
export type RodEnd = 'expired' | 'deleted' | 'revoked';

export interface RodStore {
  /** By which tokens name this store, also after a restart: hexadecimal digits. */
  readonly id: string;
  /** The ROD, or why it is gone; undefined: there was none, or not since the store was opened. */
  find(id: string): Rod | RodEnd | undefined;
  /** All that can be used. */
  rods(): Iterable<Rod>;
  /** It stays at least until the returned function has been called. */
  use(rod: Rod): () => void;
  /** Nobody can find it any more; what is being used stays until it is not. */
  delete(rod: Rod): void;
}

/** A volume of which a store can make points in time. */
export interface RodSource {
  readonly store: RodStore;
  /**
   * The ranges as they are when `held` is called, or the beginning of them when it cannot have all (`size` says so); everything
   * survives a crash when it resolves. Rejects with a RodLimit, or a VolumeError.
   */
  make(wanted: NewRod): Promise<Rod>;
}

/** The store cannot have another ROD now: there are too many, or there is no space for it. */
export class RodLimit extends Error {
  readonly of: 'number' | 'space';

  constructor(of: 'number' | 'space', message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RodLimit';
    this.of = of;
  }
}

/** The parts of the volume that hold bytes [from, from+length) of the ROD. */
export function* partsOf({ segments }: Pick<Rod, 'segments'>, from: number, length: number): Generator<RodRange> {
  let skip = from;
  let left = length;
  for (const segment of segments) {
    if (left === 0) return;
    if (skip >= segment.length) {
      skip -= segment.length;
      continue;
    }
    const size = Math.min(left, segment.length - skip);
    yield { position: segment.position + skip, length: size };
    skip = 0;
    left -= size;
  }
}
