// Protocol Buffers, as much of the encoding as etcd's messages take (protobuf.dev/programming-guides/encoding): varints,
// length-delimited fields, and skipping of what is not known. No I/O.

/** Wire types. */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

/** Collects the fields of a message. What has its default value is left out, as proto3 does. */
export class MessageWriter {
  readonly #parts: Uint8Array[] = [];

  /** A non-negative integer; bigint for ids of 64 bits. */
  number(field: number, value: number | bigint): this {
    if (BigInt(value) === 0n) return this;
    this.#parts.push(varint((BigInt(field) << 3n) | BigInt(VARINT)), varint(BigInt(value)));
    return this;
  }

  flag(field: number, value: boolean): this {
    return this.number(field, value ? 1 : 0);
  }

  bytes(field: number, value: Uint8Array | string): this {
    const content = typeof value === 'string' ? Buffer.from(value) : value;
    return content.length === 0 ? this : this.#delimited(field, content);
  }

  /** An embedded message; it is there even when it is empty. */
  message(field: number, value: MessageWriter): this {
    return this.#delimited(field, value.finish());
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }

  #delimited(field: number, content: Uint8Array): this {
    this.#parts.push(varint((BigInt(field) << 3n) | BigInt(LENGTH)), varint(BigInt(content.length)), content);
    return this;
  }
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** The fields of a received message. Throws RangeError when the bytes are no message. */
export class MessageReader {
  readonly #varints = new Map<number, bigint>();
  readonly #delimited = new Map<number, Buffer[]>();

  constructor(bytes: Buffer) {
    let at = 0;
    const next = (): bigint => {
      let value = 0n;
      for (let shift = 0n; shift < 70n; shift += 7n) {
        const byte = bytes[at++];
        if (byte === undefined) break;
        value |= BigInt(byte & 0x7f) << shift;
        if (byte < 0x80) return BigInt.asUintN(64, value);
      }
      throw new RangeError('a varint that does not end');
    };
    const take = (length: number): Buffer => {
      if (length > bytes.length - at) throw new RangeError('a field that is longer than its message');
      at += length;
      return bytes.subarray(at - length, at);
    };
    while (at < bytes.length) {
      const tag = next();
      const field = Number(tag >> 3n);
      switch (Number(tag & 7n)) {
        case VARINT:
          this.#varints.set(field, next());
          break;
        case LENGTH: {
          const content = take(Number(next()));
          const before = this.#delimited.get(field);
          if (before === undefined) this.#delimited.set(field, [content]);
          else before.push(content);
          break;
        }
        case FIXED64:
          take(8);
          break;
        case FIXED32:
          take(4);
          break;
        default:
          throw new RangeError('a field of unknown wire type');
      }
    }
  }

  /** An unsigned id of 64 bits. */
  id(field: number): bigint {
    return this.#varints.get(field) ?? 0n;
  }

  /** Throws RangeError unless the value is a safe, non-negative integer. */
  number(field: number): number {
    const value = Number(BigInt.asIntN(64, this.id(field)));
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError('a number out of range');
    return value;
  }

  flag(field: number): boolean {
    return this.id(field) !== 0n;
  }

  bytes(field: number): Buffer {
    return this.#delimited.get(field)?.at(-1) ?? Buffer.alloc(0);
  }

  text(field: number): string {
    return this.bytes(field).toString();
  }

  texts(field: number): string[] {
    return (this.#delimited.get(field) ?? []).map((each) => each.toString());
  }

  message(field: number): MessageReader {
    return new MessageReader(this.bytes(field));
  }

  messages(field: number): MessageReader[] {
    return (this.#delimited.get(field) ?? []).map((each) => new MessageReader(each));
  }
}
