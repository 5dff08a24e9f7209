// Server-sent events (WHATWG HTML §9.2). All streams send the same bytes out of the ring of Live; a stream is its place in it.
// What the client does not take stays in the ring: a slow one costs no memory, and is ended when it has fallen out of it.
import type { Request, Response } from 'express';
import { z } from 'zod';
import { ServiceError } from '../base/errors.ts';
import { MAX_EVENT_STREAMS, STREAM_BATCH, STREAM_CHUNK, STREAM_HEARTBEAT, STREAM_PATIENCE } from '../base/limits.ts';
import type { Live, LiveListener } from '../control/live/live.ts';
import { STATS_INTERVALS, TOPICS, roleOf } from '../control/live/topics.ts';
import type { StatsInterval, Topic } from '../control/live/topics.ts';
import { mayAct } from '../control/callers.ts';
import type { Role } from '../control/records.ts';

export const STREAM_TYPE = 'text/event-stream';
/** Milliseconds after which a client that lost us should try again; each waits a little longer or shorter by itself. */
const RETRY = 2_000;

const list = z
  .string()
  .max(200)
  .transform((text) => text.split(','))
  .pipe(z.array(z.enum(TOPICS)).min(1).max(TOPICS.length));
export const StreamQuery = z.strictObject({
  topics: list
    .optional()
    .meta({ description: `joined by commas; those the caller may read when absent: ${TOPICS.join(', ')}` }),
  stats: z.coerce
    .number()
    .pipe(z.literal([...STATS_INTERVALS]))
    .optional()
    .meta({ description: `seconds between statistics: ${STATS_INTERVALS.join(', ')}; none when absent` }),
});

/** The topics somebody with this role is told of. Throws ServiceError forbidden when he asks for others. */
export function topicsFor(role: Role, wanted: readonly Topic[] | undefined): Topic[] {
  const mayRead = (topic: Topic): boolean => mayAct(role, roleOf(topic));
  const beyond = wanted?.find((topic) => !mayRead(topic));
  if (beyond === undefined) return (wanted ?? TOPICS).filter(mayRead);
  throw new ServiceError('forbidden', `events about ${beyond} need the role ${roleOf(beyond)}`);
}

/** What a stream is to tell. */
export interface StreamWish {
  readonly topics: readonly Topic[];
  /** Seconds between statistics; undefined: none. */
  readonly stats: StatsInterval | undefined;
}

/** The streams of the API. */
export class Streams {
  readonly #live: Live;
  readonly #heartbeat: number;
  readonly #ready = new Set<Stream>();
  #count = 0;
  #pumping = false;

  /** `heartbeat`: milliseconds; tests take less. */
  constructor(live: Live, heartbeat = STREAM_HEARTBEAT) {
    this.#live = live;
    this.#heartbeat = heartbeat;
  }

  /**
   * Answers with a stream of events until the client goes away, or `stillMay` says no. Throws ServiceError limit-reached, or
   * bad-request for a Last-Event-ID that cannot be one.
   */
  serve(request: Request, response: Response, { topics, stats }: StreamWish, stillMay: () => boolean): void {
    if (this.#count >= MAX_EVENT_STREAMS) {
      response.set('Retry-After', '5');
      throw new ServiceError('limit-reached', `${String(MAX_EVENT_STREAMS)} streams of events are open`);
    }
    const last = request.get('last-event-id');
    if (last !== undefined && !/^[\x20-\x7e]{0,64}$/.test(last)) {
      throw new ServiceError('bad-request', 'Last-Event-ID is not an id of an event');
    }
    // The end of the connection is the end of the stream; counting chunks would only cost memory.
    response.set({ 'Content-Type': STREAM_TYPE, Connection: 'close', 'X-Accel-Buffering': 'no' });
    response.removeHeader('Transfer-Encoding');
    response.status(200);
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    response.flushHeaders();
    response.socket?.setKeepAlive(true, STREAM_HEARTBEAT);
    const live = this.#live;
    const from = last === undefined || last === '' ? undefined : live.numberOf(last);
    const stream = new Stream(live, response, new Set(topics), from ?? live.ring.last, {
      ...{ stillMay, heartbeat: this.#heartbeat },
      wantsTurn: () => {
        this.#wake(stream);
      },
    });
    this.#count++;
    const unlisten = live.listen(stream, stats);
    stream.interval = stats;
    response.once('close', () => {
      stream.closed = true;
      this.#ready.delete(stream);
      this.#count--;
      unlisten();
    });
    response.on('error', () => undefined);
    const lost = last !== undefined && last !== '' && from === undefined;
    stream.greet(lost ? 'reset' : 'ready', RETRY);
    this.#wake(stream);
  }

  #wake(stream: Stream): void {
    if (stream.closed) return;
    this.#ready.add(stream);
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pump();
    });
  }

  /** A few streams at a time: hosts are served in between. */
  #pump(): void {
    let served = 0;
    for (const stream of this.#ready) {
      if (served++ >= STREAM_BATCH) break;
      if (!stream.send()) this.#ready.delete(stream);
    }
    this.#pumping = this.#ready.size > 0;
    if (!this.#pumping) return;
    setImmediate(() => {
      this.#pump();
    });
  }
}

interface StreamCare {
  /** Whether who asked for it may still have it. */
  readonly stillMay: () => boolean;
  readonly wantsTurn: () => void;
  /** Milliseconds between signs of life, and between two questions for `stillMay`. */
  readonly heartbeat: number;
}

class Stream implements LiveListener {
  readonly #live: Live;
  readonly #response: Response;
  readonly #topics: ReadonlySet<string>;
  readonly #care: StreamCare;
  #at: number;
  /** Since when the client has not taken what it was given; undefined: it takes everything. */
  #blockedSince: number | undefined;
  #quietSince = performance.now();
  #askedAt = performance.now();
  interval: StatsInterval | undefined;
  closed = false;

  constructor(live: Live, response: Response, topics: ReadonlySet<string>, from: number, care: StreamCare) {
    this.#live = live;
    this.#response = response;
    this.#topics = topics;
    this.#at = from;
    this.#care = care;
  }

  /** The first event says where the stream begins, and (`reset`) that what was before is lost: read everything again. */
  greet(event: 'ready' | 'reset', retry: number): void {
    const position = this.#live.position;
    this.#write(`retry: ${String(retry)}\nid: ${position}\nevent: ${event}\ndata: {"position":"${position}"}\n\n`);
  }

  wake(): void {
    if (this.#blockedSince === undefined) this.#care.wantsTurn();
  }

  /** Sends the next piece; false: there is nothing more to send now. */
  send(): boolean {
    if (this.#blockedSince !== undefined || this.closed) return false;
    const { ring } = this.#live;
    if (this.#at === ring.last) return false;
    if (!ring.reaches(this.#at)) {
      this.#response.destroy();
      return false;
    }
    const { parts, upTo } = ring.after(this.#at, this.#topics, STREAM_CHUNK);
    this.#at = upTo;
    const [only] = parts;
    if (only !== undefined) this.#write(parts.length === 1 ? only : Buffer.concat(parts));
    return !this.#isBlocked() && this.#at !== ring.last;
  }

  #isBlocked(): boolean {
    return this.#blockedSince !== undefined;
  }

  stats(interval: StatsInterval, bytes: Buffer): void {
    // Who is slow goes without: the next ones say the same and more.
    if (interval === this.interval && this.#blockedSince === undefined) this.#write(bytes);
  }

  tick(): void {
    const now = performance.now();
    const { heartbeat, stillMay } = this.#care;
    // Also where there is always something to tell.
    if (now - this.#askedAt > heartbeat) {
      this.#askedAt = now;
      if (!stillMay()) {
        this.end();
        return;
      }
    }
    if (this.#blockedSince !== undefined) {
      const late = now - this.#blockedSince > STREAM_PATIENCE || !this.#live.ring.reaches(this.#at);
      if (late) this.#response.destroy();
    } else if (now - this.#quietSince > heartbeat) this.#write(': still here\n\n');
  }

  end(): void {
    this.#response.end();
  }

  #write(bytes: Buffer | string): void {
    this.#quietSince = performance.now();
    if (this.#response.write(bytes)) return;
    this.#blockedSince = performance.now();
    this.#response.once('drain', () => {
      this.#blockedSince = undefined;
      this.#care.wantsTurn();
    });
  }
}
