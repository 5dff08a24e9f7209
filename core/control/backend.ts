import type { Volume } from '../volume/volume.ts';
import type { CopyPoints } from '../mirror/points.ts';
import type { PlannedVolume } from './volume-request.ts';
import type { SnapshotRecord, VolumeRecord } from './records.ts';

/** Where the data of volumes lives. The provisioner decides when; this decides how. */
export interface VolumeBackend {
  /** False: the data is on other nodes of the cluster only. */
  holds(record: VolumeRecord): boolean;
  /** Names of the nodes that have the data, for people; undefined when this one has it. */
  whereabouts(record: VolumeRecord): string | undefined;
  /** This node is the one that looks after the volume when nobody asks: it finishes what was interrupted, and what is due. */
  leads(record: VolumeRecord): boolean;
  /** What the record of this new volume says about where its data is. Throws ServiceError when it is impossible. */
  place(plan: PlannedVolume): Promise<string>;
  /** The absolute path of the data of a volume; undefined: it is in memory. */
  locate(record: VolumeRecord): string | undefined;
  /**
   * Makes the storage of a new volume and opens it: empty, or (in the same pool) as a copy of the volume or snapshot with
   * the id `source`. Rejects with a ServiceError; nothing is left behind then.
   */
  create(record: VolumeRecord, source?: string): Promise<Volume>;
  /** Opens the storage of an existing volume. Rejects with a ServiceError. */
  open(record: VolumeRecord): Promise<Volume>;
  /** The pool is on this node and, with `id`, has the volume or snapshot with this id. */
  keeps(pool: string, id?: string): boolean;
  /** Throws ServiceError when the storage cannot be reached now, so that nothing of it can be changed or removed. */
  check(record: VolumeRecord): void;
  /** Removes the storage, if it is ours and exists. A device keeps its data. The space of a pool comes back later. */
  remove(record: VolumeRecord): Promise<void>;
  /** Tokens of offloaded copies that stand for data of the volume now. */
  tokens(record: VolumeRecord): number;
  /** On all nodes that have it; those that do not answer do it when they are back. */
  removeSnapshot(snapshot: SnapshotRecord): Promise<void>;
  /** Where snapshots of this node's copy of a mirrored volume are kept; undefined: it cannot have any. */
  points(record: VolumeRecord): CopyPoints | undefined;
}
