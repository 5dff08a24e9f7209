import type { Clock } from '../base/world.ts';
import type { Log } from '../base/log.ts';
import { STORAGE_TROUBLE_INTERVAL } from '../base/limits.ts';
import { VolumeError, VolumeFault } from '../volume/volume.ts';

const MESSAGES: Readonly<Record<VolumeFault, string | undefined>> = {
  'no-space': 'no space left for this disk: writes fail (07h/27h/07h) until space is freed on the storage',
  'read-error': 'reading failed: check the storage behind this disk',
  'write-error': 'writing failed: check the storage behind this disk',
  // The initiator is told; nothing is wrong with the storage.
  'read-only': undefined,
  'not-ready': undefined,
  moved: undefined,
};

/**
 * Tells the log when the storage behind a logical unit fails. An initiator repeats what failed, many times a second: each
 * kind of trouble is told once and then, with the number of commands it has hit meanwhile, at intervals.
 */
export class StorageTrouble {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #told = new Map<string, { at: number; since: number }>();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** A command failed with `error`. `command`: its name, when known. Anything but a VolumeError is a defect of ours. */
  report(error: unknown, command?: string): void {
    const fault = error instanceof VolumeError ? error.fault : 'defect';
    const message = fault === 'defect' ? 'command failed: this is a defect, report it' : MESSAGES[fault];
    if (message === undefined) return;
    const now = this.#clock.now();
    const told = this.#told.get(fault);
    if (told !== undefined && now - told.at < STORAGE_TROUBLE_INTERVAL) {
      told.since++;
      return;
    }
    this.#told.set(fault, { at: now, since: 0 });
    const fields = { command, error: textOf(error), more: told?.since };
    if (fault === VolumeFault.noSpace) this.#log.warn(fields, message);
    else this.#log.error(fields, message);
  }
}

/** With the cause, which names the number of the operating system. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}
