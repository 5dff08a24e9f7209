// Makes a pool stable: data and checksums first, then the metadata that names them.
import { Turn } from '../base/turn.ts';
import { GroupCommit } from '../volume/group-commit.ts';
import type { VolumeError } from '../volume/volume.ts';
import { diskError, isDiskFull, isNoSpace, unstable } from './disk-error.ts';
import type { JournalMark } from './journal.ts';
import { returnChanged, takeChanged } from './pool-entry.ts';
import type { PoolParts, PoolRoom } from './pool-parts.ts';

/** What is to be committed, and what has to be put back when that finds the disk below full. */
export interface Change<T> {
  readonly result: T;
  /** Numbers of leaves that nobody needs when it is committed. */
  readonly leaving?: readonly number[];
  readonly undo: () => void;
  readonly done?: () => void;
}

export class Commits {
  readonly #parts: PoolParts;
  readonly #syncs = new Turn();
  readonly #dataSyncs: GroupCommit;
  #gone: number[] = [];
  /** Slabs, and the disks they are on. */
  room: PoolRoom;
  nextVolume: number;
  /** Batches of the journal before it are contained in the metadata and the slabs. */
  trimmed: JournalMark;
  syncsBegun = 0;
  syncs = 0;
  #poison: VolumeError | undefined;

  constructor(parts: PoolParts) {
    const { slabs, members = [], mark, nextVolume } = parts.state;
    this.#parts = parts;
    this.#dataSyncs = new GroupCommit(() => parts.slabs.dataSync());
    this.room = { slabs, members };
    this.trimmed = mark;
    this.nextVolume = nextVolume;
  }

  /** Why nothing can be made stable until the pool is opened again; undefined: it can. */
  get poison(): VolumeError | undefined {
    return this.#poison;
  }

  /** Volumes are gone that the metadata on disk still has. */
  get behind(): boolean {
    return this.#gone.length > 0;
  }

  /** The next commit tells the metadata that the volume is gone. */
  volumeGone(id: number): void {
    this.#gone.push(id);
  }

  /**
   * Makes data, checksums and metadata stable as they are now; what the journal has from `mark` on is not in them. `leaving`:
   * numbers of leaves that nobody will need when it has worked. Rejects with VolumeError no-space when the disk is full: then
   * nothing has changed on it, and it can be tried again, also after putting back what was to be committed. Any other failure
   * ends all writing.
   */
  async commit(mark = this.trimmed, leaving: readonly number[] = []): Promise<void> {
    if (this.#poison !== undefined) throw this.#poison;
    const { leaves, state, entries, meta } = this.#parts;
    const volumes = takeChanged(entries.values());
    const gone = this.#gone.splice(0).map((id) => ({ id, record: undefined, leaves: undefined }));
    const before = leaves.changed;
    const changes = leaves.takeChanges();
    try {
      await this.sync();
      await meta.commit({
        state: { ...state, ...this.room, mark, nextLeaf: leaves.nextId, nextVolume: this.nextVolume },
        volumes: [...volumes, ...gone],
        leaves: [...changes, ...leaving.map((id): [number, undefined] => [id, undefined])],
      });
    } catch (error) {
      if (!isDiskFull(error)) this.fail(error);
      returnChanged(volumes, entries);
      for (const { id } of gone) this.#gone.push(id);
      leaves.returnChanges(changes, before);
      throw diskError(error);
    }
  }

  /** Commits a change that is made already. When it is refused everything is as it was, and everybody can go on. */
  async apply<T>({ result, leaving, undo, done }: Change<T>): Promise<T> {
    try {
      await this.commit(this.trimmed, leaving);
    } catch (error) {
      undo();
      throw error;
    }
    done?.();
    return result;
  }

  async dataStable(): Promise<void> {
    try {
      await this.#dataSyncs.stable();
    } catch (error) {
      this.fail(error);
    }
  }

  /** What was written to the slabs so far is stable when it resolves. A failure ends all writing. */
  sync(): Promise<void> {
    return this.#syncs.run(async () => {
      if (this.#poison !== undefined) throw this.#poison;
      this.syncsBegun++;
      try {
        await this.#parts.slabs.sync();
        this.syncs++;
      } catch (error) {
        this.syncsBegun--;
        if (isNoSpace(error)) throw error;
        this.fail(error);
      }
    });
  }

  /** Nobody knows what the disk has. */
  fail(error: unknown): never {
    this.#poison = unstable(error);
    throw this.#poison;
  }
}
