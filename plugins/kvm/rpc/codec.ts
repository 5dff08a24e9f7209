// What is written and what is read, said once: a codec is both. Structures of libvirt's protocol are put together out of these.
import { ProtocolError } from '../../../core/base/errors.ts';
import type { XdrReader, XdrWriter } from './xdr.ts';

export interface Codec<T> {
  // Methods, not properties: a codec of something is also one of `unknown`, for lists of all procedures.
  write(xdr: XdrWriter, value: T): void;
  /** Throws ProtocolError. */
  read(xdr: XdrReader): T;
}

export type ValueOf<C> = C extends Codec<infer T> ? T : never;

export const int: Codec<number> = { write: (xdr, value) => xdr.int(value), read: (xdr) => xdr.int() };
export const uint: Codec<number> = { write: (xdr, value) => xdr.uint(value), read: (xdr) => xdr.uint() };
export const string: Codec<string> = { write: (xdr, value) => xdr.string(value), read: (xdr) => xdr.string() };
export const opaque: Codec<Uint8Array> = { write: (xdr, value) => xdr.opaque(value), read: (xdr) => xdr.opaque() };

/** An unsigned hyper that counts bytes: libvirt says 2^64-1 where it does not know, which is Infinity here. */
export const bytes: Codec<number> = {
  write: (xdr, value) => xdr.hyper(value === Infinity ? 0xffff_ffff_ffff_ffffn : value),
  read: (xdr) => {
    const value = xdr.hyper();
    if (value === 0xffff_ffff_ffff_ffffn) return Infinity;
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw new ProtocolError(`${String(value)} is more than can be counted`);
    return Number(value);
  },
};

const UUID_BYTES = 16;

/** A UUID as `8-4-4-4-12` hexadecimal digits in lower case; on the wire sixteen bytes. */
export const uuid: Codec<string> = {
  write: (xdr, value) => {
    const raw = Buffer.from(value.replaceAll('-', ''), 'hex');
    if (raw.length !== UUID_BYTES) throw new ProtocolError(`'${value.slice(0, 50)}' is no UUID`);
    xdr.fixed(raw);
  },
  read: (xdr) => {
    const hex = xdr.fixed(UUID_BYTES).toString('hex');
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  },
};

/** Nothing at all: arguments or reply of a procedure that has none. */
export const nothing: Codec<object> = { write: () => undefined, read: () => ({}) };

export function optional<T>(of: Codec<T>): Codec<T | undefined> {
  return {
    write: (xdr, value) =>
      xdr.optional(value, (each) => {
        of.write(xdr, each);
      }),
    read: (xdr) => xdr.optional(() => of.read(xdr)),
  };
}

export function array<T>(of: Codec<T>): Codec<readonly T[]> {
  return {
    write: (xdr, values) =>
      xdr.array(values, (each) => {
        of.write(xdr, each);
      }),
    read: (xdr) => xdr.array(() => of.read(xdr)),
  };
}

/** The fields one after the other, in the order they are written down. */
export function struct<T extends object>(fields: { readonly [K in keyof T]: Codec<T[K]> }): Codec<{
  readonly [K in keyof T]: T[K];
}> {
  const entries = Object.entries(fields) as [keyof T, Codec<T[keyof T]>][];
  return {
    write: (xdr, value) => {
      for (const [name, codec] of entries) codec.write(xdr, value[name]);
    },
    read: (xdr) => Object.fromEntries(entries.map(([name, codec]) => [name, codec.read(xdr)])) as T,
  };
}
