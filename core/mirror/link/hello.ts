// The first words on a connection: who asks, on behalf of which cluster, and which versions of the messages it knows.
import { ProtocolError } from '../../base/errors.ts';
import type { Frame } from '../wire/frame.ts';

/** Types of messages. Mirror: below 0x40; forwarding of commands: 0x40 to 0x4f. */
export const LinkMessage = { hello: 1, beacon: 2 } as const;

export type ChannelKind = 'data' | 'beacon';
const NAME = /^[\w.:-]{1,64}$/;
const MAX_VERSION = 0xffff;

export interface Hello {
  readonly cluster: string;
  readonly node: string;
  /** Chosen anew at every start of the node. */
  readonly boot: string;
  readonly kind: ChannelKind;
  readonly min: number;
  readonly max: number;
}

/** The answer: who it is, and the version both use from now on. */
export interface Welcome {
  readonly cluster: string;
  readonly node: string;
  readonly boot: string;
  readonly version: number;
}

export function helloHeader(message: Hello | Welcome): Buffer {
  return Buffer.from(JSON.stringify(message));
}

/** Throws a ProtocolError when the frame is no HELLO. */
export function parseHello(frame: Frame): Hello {
  if (frame.type !== LinkMessage.hello || frame.flags !== 0 || frame.payload.length > 0) {
    throw new ProtocolError('the first message is not HELLO');
  }
  const { cluster, node, boot, kind, min, max } = fields(frame.header);
  if (kind !== 'data' && kind !== 'beacon') throw new ProtocolError('HELLO without a kind of connection');
  return {
    ...{ cluster: name(cluster), node: name(node), boot: name(boot) },
    kind,
    min: version(min),
    max: version(max),
  };
}

/** Throws a ProtocolError. */
export function parseWelcome(header: Buffer): Welcome {
  const { cluster, node, boot, version: chosen } = fields(header);
  return { cluster: name(cluster), node: name(node), boot: name(boot), version: version(chosen) };
}

/** The object a header holds as JSON. Throws a ProtocolError. */
export function fields(header: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(header.toString());
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new ProtocolError('the header of a message is no object');
}

function name(value: unknown): string {
  if (typeof value !== 'string' || !NAME.test(value)) throw new ProtocolError('a name in HELLO is none');
  return value;
}

function version(value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > MAX_VERSION) {
    throw new ProtocolError('a version in HELLO is none');
  }
  return value;
}
