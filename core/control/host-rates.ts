// How fast each host reads and writes when it does: the other side of the question whether the storage should copy for it.
import { HOST_RATE_HALF_LIFE, HOST_RATE_INTERVAL, MIN_RATE_SAMPLE } from '../base/limits.ts';
import type { Clock, Timer } from '../base/world.ts';
import type { SessionView } from './sessions.ts';

interface HostRate {
  /** Best bytes a second, fading. */
  read: number;
  write: number;
}

interface Seen {
  readonly read: number;
  readonly written: number;
}

type Counted = Pick<SessionView, 'tsih' | 'initiator' | 'readBytes' | 'writtenBytes'>;

/** Looks at the counters of all sessions at intervals and keeps the best rates, which fade with HOST_RATE_HALF_LIFE. */
export class HostRates {
  readonly #clock: Clock;
  readonly #sessions: () => readonly Counted[];
  readonly #rates = new Map<string, HostRate>();
  #seen = new Map<number, Seen>();
  #at: number;
  #timer: Timer | undefined;

  constructor(clock: Clock, sessions: () => readonly Counted[]) {
    this.#clock = clock;
    this.#sessions = sessions;
    this.#at = clock.now();
  }

  start(): void {
    this.#timer = this.#clock.after(HOST_RATE_INTERVAL, () => {
      this.look();
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Bytes a second the host copies with by itself: it reads and writes at a time. Undefined: it has not done both yet. */
  rate(host: string): number | undefined {
    const known = this.#rates.get(host);
    if (known === undefined || known.read === 0 || known.write === 0) return undefined;
    return Math.min(known.read, known.write);
  }

  look(): void {
    const now = this.#clock.now();
    const seconds = (now - this.#at) / 1000;
    this.#at = now;
    if (seconds <= 0) return;
    const moved = new Map<string, HostRate>();
    const seen = new Map<number, Seen>();
    for (const { tsih, initiator, readBytes, writtenBytes } of this.#sessions()) {
      seen.set(tsih, { read: readBytes, written: writtenBytes });
      const before = this.#seen.get(tsih) ?? { read: 0, written: 0 };
      const sum = moved.get(initiator) ?? { read: 0, write: 0 };
      sum.read += Math.max(0, readBytes - before.read);
      sum.write += Math.max(0, writtenBytes - before.written);
      moved.set(initiator, sum);
    }
    this.#seen = seen;
    const fade = 0.5 ** (seconds / HOST_RATE_HALF_LIFE);
    for (const [host, rate] of this.#rates) {
      rate.read *= fade;
      rate.write *= fade;
      // A host that is gone and forgotten.
      if (!moved.has(host) && rate.read < 1 && rate.write < 1) this.#rates.delete(host);
    }
    for (const [host, { read, write }] of moved) this.#note(host, read, write, seconds);
  }

  #note(host: string, read: number, write: number, seconds: number): void {
    const rate = this.#rates.get(host) ?? { read: 0, write: 0 };
    // A host that does next to nothing shows nothing of what it can do.
    if (read >= MIN_RATE_SAMPLE) rate.read = Math.max(rate.read, read / seconds);
    if (write >= MIN_RATE_SAMPLE) rate.write = Math.max(rate.write, write / seconds);
    if (rate.read > 0 || rate.write > 0) this.#rates.set(host, rate);
  }
}
