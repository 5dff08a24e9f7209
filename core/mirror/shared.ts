// A volume whose data is in one place that several nodes reach: an image of another engine. There is nothing to copy, so the
// mirror only decides who serves it; whoever does has first made sure that nobody else can write to it.
import { messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ConfigStore } from '../cluster/config-store.ts';
import type { Volume } from '../volume/volume.ts';
import { readRecord } from './config-record.ts';
import type { MirrorRecord } from './config-record.ts';

/** The storage of such a volume, as one node sees it. Until it is acquired nothing can be read or written. */
export interface SharedStorage extends Volume {
  /**
   * Shuts everybody else out, then opens it: what another node had under way is in its place, or never will be, when this
   * resolves. `mine`: whether this node is the owner still, by the record; asked again before the others are shut out a second
   * time because the way to the storage was lost. Rejects with a ServiceError.
   */
  acquire(mine: () => Promise<boolean>): Promise<void>;
  /** Nothing of this node touches the storage any more when it resolves; what was under way fails. Never rejects. */
  release(): Promise<void>;
}

export function isShared(volume: Volume): volume is SharedStorage {
  return 'acquire' in volume && 'release' in volume;
}

interface Acquiring {
  readonly id: string;
  readonly backing: Volume;
  readonly store: ConfigStore;
  readonly log: Log;
}

/**
 * The node that owns a volume by `record` gets its storage for itself, if that is shared. `isMine`: it has not promised
 * anything else meanwhile. Resolves with why it has not got it; it is released again then.
 */
export async function acquireShared(
  { id, backing, store, log }: Acquiring,
  { owner, epoch }: MirrorRecord,
  isMine: () => boolean,
): Promise<string | undefined> {
  if (!isShared(backing)) return undefined;
  const mine = async (): Promise<boolean> => {
    const { record } = (await readRecord(store, id)) ?? {};
    return isMine() && record?.owner === owner && record.epoch === epoch;
  };
  let why = 'another node was faster';
  try {
    await backing.acquire(mine);
    if (isMine()) return undefined;
  } catch (error) {
    why = `its storage cannot be opened for this node alone: ${messageOf(error)}`;
    log.error({ volume: id, epoch, error: messageOf(error) }, 'the storage cannot be opened for this node alone');
  }
  await backing.release();
  return why;
}

export const releaseShared = (volume: Volume): Promise<void> =>
  isShared(volume) ? volume.release() : Promise.resolve();
