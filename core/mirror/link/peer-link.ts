// What one node can ask another one: requests in one ordered stream per direction, whatever they are about.
import type { PeerClock } from './channel.ts';

/** What a request was answered with. */
export interface PeerReply {
  readonly header: Buffer;
  readonly data: Buffer;
}

/** What a handler answers. The pieces must not change any more. */
export interface PeerAnswer {
  readonly header: Buffer;
  readonly pieces?: readonly Buffer[];
  /** Nobody uses the data of the request any more: its memory may be used again. */
  readonly isFree?: boolean;
}

/** An answer that comes later, and needs no promise: it is told once, to `tell`. */
export type LateAnswer = (tell: (answer: PeerAnswer | Error) => void) => void;

/**
 * Called in the order of the stream, one message per call. What happens before the first await happens before the next
 * message is looked at, and what is answered without one needs no promise. An error is told to who asked: as it is when it is a PeerRefusal.
 */
export type PeerHandler = (header: Buffer, data: Buffer) => Promise<PeerAnswer> | PeerAnswer | LateAnswer;

/** Who hears what became of a request: one of the two is called, once. */
export interface ReplyListener {
  /** In the turn in which the answer came. Header and data are lent for the call, as those of a request (PeerHandler). */
  answered(reply: PeerReply): void;
  /** With a PeerRefusal or a PeerSilence; also while the request is being made. */
  failed(error: Error): void;
}

/** The peer has understood the request and does not do it. */
export class PeerRefusal extends Error {
  /** For programs. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'PeerRefusal';
    this.code = code;
  }
}

/** No answer: the link is down, or went down, or patience is over. The peer may have done what was asked, or may still. */
export class PeerSilence extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'PeerSilence';
  }
}

export interface PeerLink {
  /** The other node. */
  readonly node: string;
  /** Requests can be made. */
  readonly up: boolean;
  /** Boot id of the other node on the connection that stands, or stood last; undefined: there was none. */
  readonly boot: string | undefined;
  /** Version of the messages both use. 0: the link was never up. */
  readonly version: number;
  /** What the clock of the peer said last; undefined: nothing yet. Its rate is close to that of ours, nothing else is. */
  readonly clock: PeerClock | undefined;
  /**
   * Sends a request behind all earlier ones. `patience`: milliseconds. Pieces of more than PEER_SMALL_PAYLOAD bytes together must
   * not change until it settles; smaller ones have been copied when this returns. Rejects with a PeerRefusal or a PeerSilence.
   */
  request(type: number, header: Buffer, pieces: readonly Buffer[], patience: number): Promise<PeerReply>;
  /** The same without a promise. */
  ask(type: number, header: Buffer, pieces: readonly Buffer[], patience: number, listener: ReplyListener): void;
  /** Who answers requests of this type that the peer makes; what the handler gets it may keep. */
  handle(type: number, handler: PeerHandler): void;
  /** The same for a handler that copies what it needs later than in the call: a header, and data of up to PEER_SMALL_PAYLOAD bytes. */
  handleLent(type: number, handler: PeerHandler): void;
  /** Returns the function that ends it. */
  onUp(listener: () => void): () => void;
  onDown(listener: () => void): void;
  /** The connection the peer made its requests on is gone, or replaced: told before a request of a new one is handled. */
  onLeft(listener: () => void): void;
  /** Breaks the connection: everything under way is rejected, and it is made anew. */
  reset(reason: string): void;
}
