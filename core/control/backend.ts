import type { Volume } from '../volume/volume.ts';
import type { PlannedVolume } from './volume-request.ts';
import type { VolumeRecord } from './records.ts';

/** Where the data of volumes lives. The provisioner decides when; this decides how. */
export interface VolumeBackend {
  /** What the record of this new volume says about where its data is. Throws ServiceError when it is impossible. */
  place(plan: PlannedVolume): Promise<string>;
  /** The absolute path of the data of a volume; undefined: it is in memory. */
  locate(record: VolumeRecord): string | undefined;
  /** Makes the storage of a new volume and opens it. Rejects with a ServiceError; nothing is left behind then. */
  create(record: VolumeRecord): Promise<Volume>;
  /** Opens the storage of an existing volume. Rejects with a ServiceError. */
  open(record: VolumeRecord): Promise<Volume>;
  /** Removes the storage, if it is ours and exists. A device keeps its data. */
  remove(record: VolumeRecord): Promise<void>;
}
