// XDR (RFC 4506) as libvirt uses it: big-endian, everything padded to four bytes.
import { ProtocolError } from '../../../core/base/errors.ts';
import { MAX_LIST, MAX_STRING } from './limits.ts';

const FIRST_SIZE = 256;

/** Writes XDR. It grows; nothing is bounded here, because what is written is ours. */
export class XdrWriter {
  #bytes = Buffer.alloc(FIRST_SIZE);
  #length = 0;

  /** What has been written; valid until the next write. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  uint(value: number): this {
    const at = this.#room(4);
    this.#bytes.writeUInt32BE(value, at);
    return this;
  }

  int(value: number): this {
    const at = this.#room(4);
    this.#bytes.writeInt32BE(value, at);
    return this;
  }

  /** Unsigned hyper. `value`: an integer from 0. */
  hyper(value: number | bigint): this {
    const at = this.#room(8);
    this.#bytes.writeBigUInt64BE(BigInt(value), at);
    return this;
  }

  /** Fixed-length opaque data: no length before it. */
  fixed(data: Uint8Array): this {
    const padded = (data.length + 3) & ~3;
    const at = this.#room(padded);
    this.#bytes.set(data, at);
    this.#bytes.fill(0, at + data.length, at + padded);
    return this;
  }

  /** Variable-length opaque data. */
  opaque(data: Uint8Array): this {
    return this.uint(data.length).fixed(data);
  }

  string(text: string): this {
    return this.opaque(Buffer.from(text, 'utf8'));
  }

  /** Optional data (RFC 4506 §4.19). */
  optional<T>(value: T | undefined, write: (value: T) => void): this {
    this.uint(value === undefined ? 0 : 1);
    if (value !== undefined) write(value);
    return this;
  }

  array<T>(values: readonly T[], write: (value: T) => void): this {
    this.uint(values.length);
    for (const value of values) write(value);
    return this;
  }

  #room(size: number): number {
    const at = this.#length;
    if (at + size > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(2 * this.#bytes.length, at + size));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
    }
    this.#length = at + size;
    return at;
  }
}

/** Reads XDR. Everything throws ProtocolError where the bytes are not what they should be. */
export class XdrReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get rest(): number {
    return this.#bytes.length - this.#at;
  }

  uint(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  int(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  hyper(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8));
  }

  fixed(length: number): Buffer {
    const at = this.#take((length + 3) & ~3);
    return this.#bytes.subarray(at, at + length);
  }

  opaque(most = MAX_STRING): Buffer {
    const length = this.uint();
    if (length > most) throw new ProtocolError(`${String(length)} bytes where at most ${String(most)} may be`);
    return this.fixed(length);
  }

  string(most = MAX_STRING): string {
    return this.opaque(most).toString('utf8');
  }

  optional<T>(read: () => T): T | undefined {
    const there = this.uint();
    if (there > 1) throw new ProtocolError(`optional data that is neither there nor not: ${String(there)}`);
    return there === 0 ? undefined : read();
  }

  array<T>(read: () => T, most = MAX_LIST): T[] {
    const length = this.uint();
    // Every entry takes four bytes at least: a length that lies is found before anything is allocated for it.
    if (length > most || length > this.rest / 4) {
      throw new ProtocolError(`a list of ${String(length)} entries in ${String(this.rest)} bytes`);
    }
    return Array.from({ length }, read);
  }

  /** Throws unless everything has been read. */
  end(): void {
    if (this.rest !== 0) throw new ProtocolError(`${String(this.rest)} bytes too many`);
  }

  #take(size: number): number {
    const at = this.#at;
    if (this.rest < size) throw new ProtocolError(`the message ends ${String(size - this.rest)} bytes too early`);
    this.#at = at + size;
    return at;
  }
}
