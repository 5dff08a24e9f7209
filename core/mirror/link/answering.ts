// The answering side of a connection from another node: requests go to their handlers in the order of the stream.
import { messageOf } from '../../base/errors.ts';
import { MAX_PEER_BYTES, MAX_PEER_REQUESTS, MAX_PEER_UNSENT } from '../../base/limits.ts';
import { FrameFlag } from '../wire/frame.ts';
import type { Frame } from '../wire/frame.ts';
import type { FrameConnection } from './connection.ts';
import { PeerRefusal } from './peer-link.ts';
import type { LateAnswer, PeerAnswer, PeerHandler } from './peer-link.ts';

const NOTHING: readonly Buffer[] = [];

/** Requests of one connection that are being answered. */
export class Answering {
  readonly #connection: FrameConnection;
  readonly #handlers: ReadonlyMap<number, PeerHandler>;
  #running = 0;
  #bytes = 0;

  constructor(connection: FrameConnection, handlers: ReadonlyMap<number, PeerHandler>) {
    this.#connection = connection;
    this.#handlers = handlers;
    connection.onDrained = () => {
      if (!this.#isFull) connection.resume();
    };
  }

  /** A request has come. False: enough for now. */
  take(frame: Frame): boolean {
    const { type, id, payload } = frame;
    const bytes = frame.header.length + payload.length;
    this.#running++;
    this.#bytes += bytes;
    let answer: Promise<PeerAnswer> | PeerAnswer | LateAnswer;
    try {
      answer = this.#ask(frame);
    } catch (error) {
      answer = Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
    if (typeof answer !== 'function' && !(answer instanceof Promise)) {
      this.#tell(type, id, answer);
      if (answer.isFree === true) this.#connection.giveBack(payload);
      this.#running--;
      this.#bytes -= bytes;
      return !this.#isFull;
    }
    const done = (told: PeerAnswer | Error): void => {
      if (told instanceof Error) this.#refuse(type, id, told);
      else {
        this.#tell(type, id, told);
        if (told.isFree === true) this.#connection.giveBack(payload);
      }
      this.#running--;
      this.#bytes -= bytes;
      if (!this.#isFull) this.#connection.resume();
    };
    if (typeof answer === 'function') answer(done);
    else {
      answer.then(done, (error: unknown) => {
        done(error instanceof Error ? error : new Error(messageOf(error)));
      });
    }
    return !this.#isFull;
  }

  #tell(type: number, id: number, { header, pieces }: PeerAnswer): void {
    try {
      this.#connection.send(type, FrameFlag.answer, id, header, pieces ?? NOTHING);
    } catch (error) {
      // More than a frame carries: nobody but who asked has to know.
      this.#refuse(type, id, error);
    }
  }

  #refuse(type: number, id: number, error: unknown): void {
    this.#connection.send(type, FrameFlag.answer | FrameFlag.refused, id, refusalHeader(error), NOTHING);
  }

  get #isFull(): boolean {
    // Who does not take its answers is not asked for more questions.
    const { unsent } = this.#connection;
    return this.#running >= MAX_PEER_REQUESTS || this.#bytes >= MAX_PEER_BYTES || unsent >= MAX_PEER_UNSENT;
  }

  /** Throws, or rejects with, what is told to who asked. */
  #ask(frame: Frame): Promise<PeerAnswer> | PeerAnswer | LateAnswer {
    const handler = this.#handlers.get(frame.type);
    if (handler === undefined)
      throw new PeerRefusal('unknown-type', `message type ${String(frame.type)} is not known here`);
    return handler(frame.header, frame.payload);
  }
}

/** Characters of an error that go over the wire. */
const MAX_TEXT = 1000;

/** A refusal as the header of an answer. */
export function refusalHeader(error: unknown): Buffer {
  const code = error instanceof PeerRefusal ? error.code : 'internal';
  return Buffer.from(JSON.stringify({ code, message: messageOf(error).slice(0, MAX_TEXT) }));
}
