// The client's side of the negotiation: structured replies, base:allocation, then the export. Sans-I/O.
import {
  NbdProtocolError,
  decodeGreeting,
  decodeInfo,
  encodeContextRequest,
  encodeInfoRequest,
  encodeOption,
  optionName,
} from './wire/options.ts';
import type { BlockSizes, OptionReplyHeader } from './wire/options.ts';
import { BASE_ALLOCATION, HandshakeFlag, Info, Option, OptionReply } from './wire/protocol.ts';

/** An export as the server describes it. */
export interface Opened {
  /** Bytes. */
  readonly size: number;
  /** Transmission flags. */
  readonly flags: number;
  /** Undefined: the server did not say. */
  readonly sizes: BlockSizes | undefined;
  readonly structured: boolean;
  /** Number of base:allocation; undefined: the server does not have it. */
  readonly context: number | undefined;
}

const NOTHING = Buffer.alloc(0);
const IS_ERROR = 0x8000_0000;

export class ClientNegotiation {
  readonly #name: string;
  readonly #tls: boolean;
  #asked: number = Option.structuredReply;
  #structured = false;
  #context: number | undefined;
  #export: { size: number; flags: number } | undefined;
  #sizes: BlockSizes | undefined;

  /** `tls`: nothing is asked before TLS runs. */
  constructor(name: string, tls: boolean) {
    this.#name = name;
    this.#tls = tls;
  }

  /** What to send after the server's greeting. Throws a NbdProtocolError. */
  greeting(bytes: Buffer): Buffer {
    const flags = decodeGreeting(bytes);
    if ((flags & HandshakeFlag.fixedNewstyle) === 0) throw new NbdProtocolError('the server has no fixed newstyle');
    const own = Buffer.alloc(4);
    own.writeUInt32BE(HandshakeFlag.fixedNewstyle | (flags & HandshakeFlag.noZeroes), 0);
    return Buffer.concat([own, this.#tls ? this.#ask(Option.startTls, NOTHING) : this.afterTls()]);
  }

  /** The first option once TLS runs, or is not wanted. */
  afterTls(): Buffer {
    return this.#ask(Option.structuredReply, NOTHING);
  }

  /** What comes after an answer: the next option to send, TLS, the export, or (undefined) another answer. Throws. */
  reply({ option, type }: OptionReplyHeader, data: Buffer): Buffer | 'start-tls' | Opened | undefined {
    if (option !== this.#asked) throw new NbdProtocolError('an answer to an option that was not sent');
    const failed = type >= IS_ERROR;
    switch (option) {
      case Option.startTls:
        if (failed) throw new NbdProtocolError(`the server refuses TLS${said(data)}`);
        return 'start-tls';
      case Option.structuredReply:
        this.#structured = !failed;
        return failed
          ? this.#go()
          : this.#ask(Option.setMetaContext, encodeContextRequest(this.#name, [BASE_ALLOCATION]));
      case Option.setMetaContext:
        if (type === OptionReply.metaContext && data.length >= 4) {
          if (data.toString('utf8', 4) === BASE_ALLOCATION) this.#context = data.readUInt32BE(0);
          return undefined;
        }
        return this.#go();
      default:
        return this.#answer(type, data);
    }
  }

  #answer(type: number, data: Buffer): Opened | undefined {
    if (type >= IS_ERROR) {
      const what =
        type === OptionReply.unknown ? 'there is no such export' : `refused (${(type - IS_ERROR).toString()})`;
      throw new NbdProtocolError(`${optionName(this.#asked)} '${this.#name}': ${what}${said(data)}`);
    }
    if (type === OptionReply.info) {
      const info = decodeInfo(data);
      if (info.kind === 'export') this.#export = { size: info.size, flags: info.flags };
      else if (info.kind === 'block-size') this.#sizes = info;
      return undefined;
    }
    if (type !== OptionReply.ack || this.#export === undefined) throw new NbdProtocolError('no size of the export');
    return { ...this.#export, sizes: this.#sizes, structured: this.#structured, context: this.#context };
  }

  #go(): Buffer {
    return this.#ask(Option.go, encodeInfoRequest(this.#name, [Info.blockSize]));
  }

  #ask(option: number, data: Buffer): Buffer {
    this.#asked = option;
    return encodeOption(option, data);
  }
}

const said = (data: Buffer): string => (data.length === 0 ? '' : `: ${data.toString('utf8').slice(0, 200)}`);
