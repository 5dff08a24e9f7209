// What forwarding needs of the connection to another node. The peer link of the mirror is one; tests have their own.

/** A message or an answer: a short header, and data that travels behind it without being copied. */
export interface ForwardMessage {
  readonly header: Buffer;
  /** Must not change any more. */
  readonly pieces: readonly Buffer[];
}

/** An answer as it arrived. */
export interface ForwardReply {
  readonly header: Buffer;
  readonly data: Buffer;
}

/** Carries a request of the peer out, at once or later. Throws, or rejects with, ProtocolError when it makes no sense. */
export type ForwardHandler = (header: Buffer, data: Buffer) => Promise<ForwardMessage> | ForwardMessage;

export interface ForwardLink {
  /** Id of the node at the other end. */
  readonly node: string;
  readonly up: boolean;
  /**
   * Sends a request; all of them arrive in the order they were sent in, or the link goes down. Rejects when it does, or when no
   * answer has come within `patience` milliseconds: then nobody knows whether it was carried out.
   */
  request(type: number, header: Buffer, pieces: readonly Buffer[], patience: number): Promise<ForwardReply>;
  /** Requests of this type are called in their order, each up to its first await before the next. */
  handle(type: number, handler: ForwardHandler): void;
  /** Called whenever the link has come up; and gone down, before anybody learns that his request is rejected. */
  onUp(fn: () => void): void;
  onDown(fn: () => void): void;
  /** The peer can make no more requests the way it did: called before any that it makes anew is handled. */
  onLeft(fn: () => void): void;
}
