// Requests to the API and the hosts that wait for the same event loop: while hosts are being served, requests and TLS handshakes
// begin only as fast as a small share of the event loop can take them. A person notices nothing; a script that asks again and again
// waits, and a crowd of them is sent away.
import type { RequestHandler } from 'express';
import { API_COST_MS, API_HANDSHAKE_MS, API_LOOP_SHARE, API_MAX_WAIT, COPY_YIELDS_TO } from '../base/limits.ts';
import { foreground } from '../base/pace.ts';
import type { Pace } from '../base/pace.ts';
import { Throttled } from '../control/login-throttle.ts';

/** Milliseconds something that comes at `now` has to wait, as long as `hosts` are served. */
export class Courtesy {
  readonly #hosts: Pace;
  /** Until when the share of the event loop that requests may have is used up. */
  #until = 0;

  constructor(hosts: Pace) {
    this.#hosts = hosts;
  }

  /** `cost`: milliseconds of the event loop. Undefined: API_MAX_WAIT would not be enough. */
  wait(now: number, cost = API_COST_MS): number | undefined {
    if (this.#hosts.lately(now) < COPY_YIELDS_TO) return 0;
    const begin = Math.max(this.#until, now);
    if (begin - now > API_MAX_WAIT) return undefined;
    this.#until = begin + cost / API_LOOP_SHARE;
    return begin - now;
  }
}

/** Of this process: what the API does waits for what its hosts do. */
const ours = new Courtesy(foreground);

/** Lets requests wait their turn. Refuses them with ServiceError throttled when there are too many. */
export function courtesy(turns = ours): RequestHandler {
  return (_request, _response, next) => {
    const wait = turns.wait(performance.now());
    if (wait === undefined)
      next(new Throttled('hosts are served, and many requests wait already', API_MAX_WAIT / 1000));
    else if (wait === 0) next();
    else setTimeout(next, wait);
  };
}

/** Calls `shake` when it is the turn of a TLS handshake, or `refuse` when there are too many. */
export function handshakeInTurn(shake: () => void, refuse: () => void, turns = ours): void {
  const wait = turns.wait(performance.now(), API_HANDSHAKE_MS);
  if (wait === undefined) refuse();
  else if (wait === 0) shake();
  else setTimeout(shake, wait);
}
