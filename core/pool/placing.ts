// What a checkpoint does first: everything the journal has goes to its place. A volume whose places cannot be written (the
// file system below is full) keeps what it has in the journal, where it is moved along, so that nobody else waits for it.
import { messageOf } from '../base/errors.ts';
import { KEPT_SHARE } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { Durability } from '../volume/volume.ts';
import type { Journal } from './journal.ts';
import type { PoolEntry } from './pool-entry.ts';
import type { PoolVolume } from './pool-volume.ts';

const EVERYTHING = Number.MAX_SAFE_INTEGER;

export class Placing {
  readonly #journal: Journal;
  readonly #limit: number;
  readonly #log: Log;
  /** Volumes whose data was moved along the last time. */
  readonly #kept = new Set<number>();

  constructor(journal: Journal, journalBytes: number, log: Log) {
    this.#journal = journal;
    this.#limit = journalBytes / KEPT_SHARE;
    this.#log = log;
  }

  /**
   * One volume after the other: the next append of the journal has to wait for the writes in front of it, and those of one
   * volume are enough to keep the disk busy. All are tried; what fails in one does not keep the others from their places.
   * When it resolves, everything the journal had before is in its place or in the journal anew.
   */
  async place(entries: readonly PoolEntry[], nameOf: (id: number) => string): Promise<void> {
    const failures: unknown[] = [];
    for (const entry of entries) {
      // One that was closed before its data was in its place goes on where it was.
      const open = entry.open ?? entry.unplaced;
      if (open === undefined) continue;
      try {
        await this.#placeAll(open);
        if (entry.unplaced === open) {
          entry.unplaced = undefined;
          open.upper?.release();
        }
        if (this.#kept.delete(open.id))
          this.#log.info({ volume: nameOf(open.id) }, 'what the journal kept is in its place');
      } catch (error) {
        const kept = await this.#keep(open).catch((why: unknown) => {
          failures.push(why);
          return true;
        });
        if (!kept) failures.push(error);
        else if (!this.#kept.has(open.id)) {
          this.#kept.add(open.id);
          const fields = { volume: nameOf(open.id), error: messageOf(error) };
          this.#log.error(fields, 'data cannot be written to its place; the journal keeps it, and it is tried again');
        }
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  async #placeAll(volume: PoolVolume): Promise<void> {
    // A volatile volume has nothing in the journal but what write() is about to place.
    if (volume.info.durability !== Durability.volatile) {
      await volume.upper?.settled(0, EVERYTHING, () => undefined);
    }
    await volume.placed();
    volume.tidy(true);
  }

  /** Logs again what could not be placed. False: it is too much, or the journal has no room. */
  async #keep(volume: PoolVolume): Promise<boolean> {
    const journal = this.#journal;
    const more = async (): Promise<boolean> => {
      // Of the ring: only the checkpoint that waits for this gives it room.
      while (!journal.ready && !journal.full) await journal.room();
      return !journal.full;
    };
    const done = await volume.upper?.logAgain(this.#limit, () => journal.ready, more);
    await journal.stable();
    return done === true;
  }
}
