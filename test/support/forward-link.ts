// Two ends of a link between nodes in one process. It can be cut, and messages can be held up.
import type { ForwardHandler, ForwardLink, ForwardReply } from '../../core/scsi/forward/link.ts';

/** Whatever was under way when it was cut. */
export class LinkBroken extends Error {
  constructor() {
    super('the link is cut');
    this.name = 'LinkBroken';
  }
}

interface Waiting {
  readonly reject: (error: Error) => void;
}

export class LinkEnd implements ForwardLink {
  readonly node: string;
  up = true;
  /** The other end. */
  peer: LinkEnd | undefined;
  /** Messages of this end are kept back while it is set; release() lets them go. */
  held = false;
  /** Sees the type of every request of this end that arrives. */
  seen: (type: number) => void = () => undefined;
  readonly #handlers = new Map<number, ForwardHandler>();
  readonly #waiting = new Set<Waiting>();
  readonly #up: (() => void)[] = [];
  readonly #down: (() => void)[] = [];
  readonly #left: (() => void)[] = [];
  #queue: (() => void)[] = [];
  #incarnation = 0;

  constructor(node: string) {
    this.node = node;
  }

  request(type: number, header: Buffer, pieces: readonly Buffer[], patience: number): Promise<ForwardReply> {
    if (!this.up) return Promise.reject(new LinkBroken());
    const incarnation = this.#incarnation;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => {
          this.#waiting.delete(waiting);
          reject(new LinkBroken());
        },
        Math.min(patience, 2 ** 30),
      );
      timer.unref();
      const waiting: Waiting = {
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.#waiting.add(waiting);
      const data = Buffer.concat(pieces);
      this.#post(() => {
        this.seen(type);
        const handler = this.peer?.handler(type);
        if (handler === undefined) throw new Error(`nobody handles ${String(type)}`);
        (async () => handler(Buffer.from(header), data))().then(
          (answer) => {
            setImmediate(() => {
              if (incarnation !== this.#incarnation || !this.#waiting.delete(waiting)) return;
              clearTimeout(timer);
              resolve({ header: Buffer.from(answer.header), data: Buffer.concat(answer.pieces) });
            });
          },
          (error: unknown) => {
            if (this.#waiting.delete(waiting))
              waiting.reject(error instanceof Error ? error : new Error(String(error)));
          },
        );
      });
    });
  }

  handler(type: number): ForwardHandler | undefined {
    return this.#handlers.get(type);
  }

  #post(deliver: () => void): void {
    this.#queue.push(deliver);
    if (!this.held) this.#plan();
  }

  #plan(): void {
    setImmediate(() => {
      if (this.held) return;
      for (const each of this.#queue.splice(0)) each();
    });
  }

  /** What was held up arrives. */
  release(): void {
    this.held = false;
    this.#plan();
  }

  /** Messages that are held up. */
  get waiting(): number {
    return this.#queue.length;
  }

  handle(type: number, handler: ForwardHandler): void {
    this.#handlers.set(type, handler);
  }
  onUp(fn: () => void): void {
    this.#up.push(fn);
  }
  onDown(fn: () => void): void {
    this.#down.push(fn);
  }
  onLeft(fn: () => void): void {
    this.#left.push(fn);
  }

  /** Breaks this direction. `late`: what is under way still arrives, as if it had been in the network. */
  breakDown(late: boolean): void {
    if (!this.up) return;
    this.up = false;
    this.#incarnation++;
    if (!late) this.#queue = [];
    for (const each of this.#down) each();
    for (const each of this.#waiting) each.reject(new LinkBroken());
    this.#waiting.clear();
  }

  /** The peer can make no more requests. */
  leave(): void {
    for (const each of this.#left) each();
  }

  comeUp(): void {
    this.up = true;
    for (const each of this.#up) each();
  }
}

export interface LinkPair {
  /** At the first node, to the second; and the other way round. */
  readonly first: LinkEnd;
  readonly second: LinkEnd;
  /** Both directions break, and both nodes notice. */
  cut(): void;
  heal(): void;
}

export function linkPair(first: string, second: string): LinkPair {
  const a = new LinkEnd(second);
  const b = new LinkEnd(first);
  a.peer = b;
  b.peer = a;
  return {
    first: a,
    second: b,
    cut() {
      for (const end of [a, b]) end.breakDown(false);
      for (const end of [a, b]) end.leave();
    },
    heal() {
      for (const end of [a, b]) end.comeUp();
    },
  };
}
