// What the flows of the plugins need of the storage.

/** A disk of ours, as a host will meet it. */
export interface StoredVolume {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** NAA identifier of VPD page 83h, hexadecimal, in lower case. */
  readonly naa: string;
  readonly iqn: string;
  readonly lun: number;
  /** HOST:PORT of the portals it is served at. */
  readonly portals: readonly string[];
  /** It can be read and written, in every replica. */
  readonly ready: boolean;
  /** Why it is not. */
  readonly problem: string | undefined;
  /** iSCSI names, in lower case, it is served to. */
  readonly initiators: readonly string[];
}

export interface NewStoredVolume {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly pool?: string | undefined;
}

/** The storage, over its API. Errors are ServiceErrors with the codes of the catalogue. */
export interface Storage {
  /** undefined: there is none of this name. */
  volume(name: string): Promise<StoredVolume | undefined>;
  /** `key`: the same key makes the same volume, once. */
  createVolume(wanted: NewStoredVolume, key: string): Promise<StoredVolume>;
  /**
   * No host sees it any more; what is in it is kept as long as the storage keeps deleted volumes. Resolves also when there is none.
   * Rejects where it is still needed (sessions, snapshots, schedules).
   */
  deleteVolume(name: string): Promise<void>;
  /** Serves the volume to the initiator; resolves also when it was served to it before. */
  map(name: string, initiator: string): Promise<void>;
  /** Resolves also when it was not mapped. */
  unmap(name: string, initiator: string): Promise<void>;
}
