// Messages of libvirt's RPC (src/rpc/virnetprotocol.x): a length that counts itself, a header of six words, a body.
import { ProtocolError } from '../../../core/base/errors.ts';
import { HEADER_BYTES, LENGTH_BYTES, MAX_MESSAGE } from './limits.ts';

/** Programs: what a libvirtd serves, QEMU's own part of it, and whether anybody is there. */
export const PROGRAM_REMOTE = 0x20008086;
export const PROGRAM_QEMU = 0x20008087;
export const PROGRAM_KEEPALIVE = 0x6b656570;
export const VERSION = 1;
export const KEEPALIVE_PING = 1;
export const KEEPALIVE_PONG = 2;

export const MessageType = { call: 0, reply: 1, event: 2, stream: 3, callWithFds: 4, replyWithFds: 5 } as const;
export const MessageStatus = { ok: 0, error: 1, continue: 2 } as const;

export interface Header {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  /** One of MessageType. */
  readonly type: number;
  readonly serial: number;
  /** One of MessageStatus. */
  readonly status: number;
}

export interface Frame extends Header {
  /** XDR. */
  readonly body: Buffer;
}

/** The bytes of a message. */
export function encodeFrame(header: Header, body: Uint8Array): Buffer {
  const length = LENGTH_BYTES + HEADER_BYTES + body.length;
  const bytes = Buffer.allocUnsafe(length);
  bytes.writeUInt32BE(length, 0);
  bytes.writeUInt32BE(header.program, 4);
  bytes.writeUInt32BE(header.version, 8);
  bytes.writeInt32BE(header.procedure, 12);
  bytes.writeInt32BE(header.type, 16);
  bytes.writeUInt32BE(header.serial, 20);
  bytes.writeInt32BE(header.status, 24);
  bytes.set(body, LENGTH_BYTES + HEADER_BYTES);
  return bytes;
}

/** Makes messages out of a stream of bytes, however it is cut. */
export class Framer {
  /** What has come of the message under way, as it came. */
  #parts: Buffer[] = [];
  #length = 0;
  /** Bytes of the message under way; undefined: its length has not come. */
  #wanted: number | undefined;

  /** The messages these bytes complete. Throws ProtocolError: the stream is of no use any more. */
  push(bytes: Buffer): Frame[] {
    const frames: Frame[] = [];
    this.#parts.push(bytes);
    this.#length += bytes.length;
    for (;;) {
      if (this.#wanted === undefined) {
        if (this.#length < LENGTH_BYTES) return frames;
        this.#wanted = lengthOf(this.#joined());
      }
      // A long message in many pieces is joined once, when it is complete.
      if (this.#length < this.#wanted) return frames;
      const all = this.#joined();
      frames.push(decode(all.subarray(0, this.#wanted)));
      const rest = all.subarray(this.#wanted);
      this.#parts = rest.length === 0 ? [] : [rest];
      this.#length = rest.length;
      this.#wanted = undefined;
    }
  }

  #joined(): Buffer {
    const [first] = this.#parts;
    if (this.#parts.length === 1 && first !== undefined) return first;
    const all = Buffer.concat(this.#parts, this.#length);
    this.#parts = [all];
    return all;
  }
}

function lengthOf(bytes: Buffer): number {
  const length = bytes.readUInt32BE(0);
  if (length < LENGTH_BYTES + HEADER_BYTES || length > LENGTH_BYTES + HEADER_BYTES + MAX_MESSAGE) {
    throw new ProtocolError(`a message of ${String(length)} bytes`);
  }
  return length;
}

function decode(bytes: Buffer): Frame {
  return {
    program: bytes.readUInt32BE(4),
    version: bytes.readUInt32BE(8),
    procedure: bytes.readInt32BE(12),
    type: bytes.readInt32BE(16),
    serial: bytes.readUInt32BE(20),
    status: bytes.readInt32BE(24),
    body: bytes.subarray(LENGTH_BYTES + HEADER_BYTES),
  };
}
