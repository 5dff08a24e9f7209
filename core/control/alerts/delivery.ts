// One target: a bounded queue, one attempt at a time, longer and longer pauses, and an end of trying.
import { ALERT_ATTEMPTS, ALERT_BACKOFF, ALERT_QUEUE, MAX_ALERT_BACKOFF } from '../../base/limits.ts';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Clock, Timer } from '../../base/world.ts';
import { DeliveryError } from './notification.ts';
import type { Notification, Sender } from './notification.ts';

export interface DeliveryView {
  sent: number;
  /** Given up, or pushed out of a full queue. */
  lost: number;
  waiting: number;
  /** ISO 8601. */
  lastSent: string | null;
  lastError: string | null;
}

export class Delivery {
  readonly #name: string;
  readonly #send: Sender;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #queue: Notification[] = [];
  readonly #view: DeliveryView = { sent: 0, lost: 0, waiting: 0, lastSent: null, lastError: null };
  #attempts = 0;
  #busy = false;
  #timer: Timer | undefined;
  #closed = false;

  constructor(name: string, send: Sender, clock: Clock, log: Log) {
    this.#name = name;
    this.#send = send;
    this.#clock = clock;
    this.#log = log;
  }

  get view(): DeliveryView {
    return { ...this.#view, waiting: this.#queue.length };
  }

  /** Takes it and returns at once. When the queue is full, the oldest one that is not under way goes. */
  post(notification: Notification): void {
    if (this.#closed) return;
    if (this.#queue.length >= ALERT_QUEUE) {
      this.#queue.splice(this.#busy || this.#attempts > 0 ? 1 : 0, 1);
      this.#view.lost++;
    }
    this.#queue.push(notification);
    this.#next();
  }

  /** One attempt past the queue. Rejects with what went wrong. */
  async test(notification: Notification): Promise<void> {
    await this.#send(notification);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#queue.length = 0;
  }

  #next(): void {
    const first = this.#queue[0];
    if (this.#busy || this.#timer !== undefined || this.#closed || first === undefined) return;
    this.#busy = true;
    void this.#attempt(first);
  }

  async #attempt(notification: Notification): Promise<void> {
    this.#attempts++;
    try {
      await this.#send(notification);
      this.#view.sent++;
      this.#view.lastSent = new Date(this.#clock.wall()).toISOString();
      this.#view.lastError = null;
      this.#done();
    } catch (error) {
      this.#view.lastError = messageOf(error).slice(0, 300);
      const final = error instanceof DeliveryError && error.final;
      if (final || this.#attempts >= ALERT_ATTEMPTS) {
        this.#view.lost++;
        const fields = { target: this.#name, code: notification.code, error: this.#view.lastError };
        this.#log.error(fields, 'an alert could not be delivered');
        this.#done();
      } else {
        this.#busy = false;
        const pause = Math.min(ALERT_BACKOFF * 2 ** (this.#attempts - 1), MAX_ALERT_BACKOFF);
        this.#timer = this.#clock.after(pause, () => {
          this.#timer = undefined;
          this.#next();
        });
      }
    }
  }

  #done(): void {
    this.#queue.shift();
    this.#attempts = 0;
    this.#busy = false;
    this.#next();
  }
}
