// Many writes, one fdatasync: while one runs, everybody who arrives waits for the next one together.
import { VolumeError, VolumeFault } from './volume.ts';
import type { StableWaiter } from './volume.ts';

export class GroupCommit {
  readonly #sync: () => Promise<void>;
  /** Two lists that take turns, so that waiting allocates nothing: who waits, and whom the running sync serves. */
  #waiting: (StableWaiter | undefined)[] = [];
  #served: (StableWaiter | undefined)[] = [];
  #count = 0;
  #running = false;
  #poison: VolumeError | undefined;

  /** `sync` makes everything written before its call stable. */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  /**
   * The error of a failed sync. From then on nothing is acknowledged any more: the kernel may have dropped the data and
   * report success next time, so a retry would turn a loss into a lie.
   */
  get poison(): VolumeError | undefined {
    return this.#poison;
  }

  /** Calls waiter.stable after a sync that begins after this call. */
  wait(waiter: StableWaiter): void {
    this.#waiting[this.#count++] = waiter;
    if (!this.#running) void this.#run();
  }

  /** The same as a promise. */
  stable(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.wait({
        stable: (error) => {
          if (error === undefined) resolve();
          else reject(error);
        },
      });
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    // The writes of this turn of the event loop all go with the first sync.
    await Promise.resolve();
    while (this.#count > 0) {
      const batch = this.#waiting;
      const count = this.#count;
      this.#waiting = this.#served;
      this.#served = batch;
      this.#count = 0;
      try {
        if (this.#poison === undefined) await this.#sync();
      } catch (error) {
        this.#poison = new VolumeError(
          VolumeFault.writeError,
          'the disk could not make data stable; the volume takes no more writes until it is opened again',
          undefined,
          { cause: error },
        );
      }
      for (let i = 0; i < count; i++) {
        const waiter = batch[i];
        batch[i] = undefined;
        waiter?.stable(this.#poison);
      }
    }
    this.#running = false;
  }
}
