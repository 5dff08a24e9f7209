// Requests to the API and the hosts that wait for the same event loop: while hosts are being served, requests begin only as
// fast as a small share of the event loop can take them. A person notices nothing; a script that asks again and again waits.
import type { RequestHandler } from 'express';
import { API_COST_MS, API_LOOP_SHARE, API_MAX_WAIT, COPY_YIELDS_TO } from '../base/limits.ts';
import { foreground } from '../base/pace.ts';
import type { Pace } from '../base/pace.ts';

/** Milliseconds a request that comes at `now` has to wait, as long as `hosts` are served. */
export class Courtesy {
  readonly #hosts: Pace;
  /** Until when the share of the event loop that requests may have is used up. */
  #until = 0;

  constructor(hosts: Pace) {
    this.#hosts = hosts;
  }

  wait(now: number): number {
    if (this.#hosts.lately(now) < COPY_YIELDS_TO) return 0;
    const begin = Math.min(Math.max(this.#until, now), now + API_MAX_WAIT);
    this.#until = begin + API_COST_MS / API_LOOP_SHARE;
    return begin - now;
  }
}

/** Lets requests wait their turn. */
export function courtesy(hosts: Pace = foreground): RequestHandler {
  const turns = new Courtesy(hosts);
  return (_request, _response, next) => {
    const wait = turns.wait(performance.now());
    if (wait <= 0) next();
    else setTimeout(next, wait);
  };
}
