// The server's side of the negotiation: options in, answers out, until an export is open. Sans-I/O.
import { MAX_NBD_OPTIONS } from '../base/nbd-limits.ts';
import { blockSizesOf, flagsOf } from './export.ts';
import type { NbdExport, NbdExports } from './export.ts';
import {
  NbdProtocolError,
  decodeContextRequest,
  decodeInfoRequest,
  encodeBlockSizes,
  encodeContext,
  encodeExportInfo,
  encodeOldInfo,
  encodeOptionReply,
  encodeServer,
  encodeTextInfo,
} from './wire/options.ts';
import { BASE_ALLOCATION, HandshakeFlag, Info, Option, OptionReply } from './wire/protocol.ts';

/** The number by which the client knows the only metadata context we have. */
export const ALLOCATION_CONTEXT = 1;

/** What has been agreed when the transmission phase begins. */
export interface Agreed {
  readonly served: NbdExport;
  readonly structured: boolean;
  /** The client has asked for base:allocation of this export. */
  readonly allocation: boolean;
  /** The client knows the block sizes and has to keep to them. */
  readonly knowsSizes: boolean;
}

export interface Outcome {
  readonly answers: readonly Buffer[];
  readonly agreed?: Agreed;
  readonly close?: boolean;
  /** The client begins TLS behind the answer. */
  readonly startTls?: boolean;
}

export interface NegotiationOptions {
  readonly exports: NbdExports;
  /** `required`: nothing but STARTTLS is answered before TLS runs; `running`: it does; `none`: it is not offered. */
  readonly tls: 'none' | 'required' | 'running';
}

const SERVER_FLAGS = HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes;

export class Negotiation {
  static readonly flags = SERVER_FLAGS;
  readonly #exports: NbdExports;
  readonly #tls: NegotiationOptions['tls'];
  #noZeroes = false;
  #structured = false;
  /** The export SET_META_CONTEXT was about. */
  #contextOf: string | undefined;
  #options = 0;

  constructor({ exports, tls }: NegotiationOptions) {
    this.#exports = exports;
    this.#tls = tls;
  }

  /** Throws a NbdProtocolError for flags we do not know ("MUST close the TCP connection"). */
  clientFlags(flags: number): void {
    if ((flags & ~SERVER_FLAGS) !== 0)
      throw new NbdProtocolError('the client wants handshake flags we have not offered');
    this.#noZeroes = (flags & HandshakeFlag.noZeroes) !== 0;
  }

  option(option: number, data: Buffer): Outcome {
    if (++this.#options > MAX_NBD_OPTIONS) throw new NbdProtocolError('too many options without an end');
    const reply = (type: number, payload?: Buffer): Outcome => ({
      answers: [encodeOptionReply(option, type, payload)],
    });
    if (option === Option.abort) return { ...reply(OptionReply.ack), close: true };
    if (option === Option.startTls) return this.#startTls(data, reply);
    if (this.#tls === 'required') {
      // EXPORT_NAME has no way to refuse but the end of the connection.
      if (option === Option.exportName) return { answers: [], close: true };
      return reply(OptionReply.tlsRequired, text('TLS has to be started first'));
    }
    switch (option) {
      case Option.exportName:
        return this.#exportName(data);
      case Option.list:
        return data.length > 0 ? reply(OptionReply.invalid) : this.#list(option);
      case Option.structuredReply:
        if (data.length > 0) return reply(OptionReply.invalid);
        this.#structured = true;
        return reply(OptionReply.ack);
      case Option.info:
      case Option.go:
        return this.#info(option, data, reply);
      case Option.listMetaContext:
      case Option.setMetaContext:
        return this.#context(option, data, reply);
      default:
        return reply(OptionReply.unsupported);
    }
  }

  #startTls(data: Buffer, reply: (type: number, payload?: Buffer) => Outcome): Outcome {
    if (this.#tls === 'none') return reply(OptionReply.policy, text('TLS is not configured here'));
    if (this.#tls === 'running' || data.length > 0) return reply(OptionReply.invalid);
    return { ...reply(OptionReply.ack), startTls: true };
  }

  #exportName(data: Buffer): Outcome {
    const served = this.#exports.find(data.toString('utf8'));
    if (served === undefined || served.gone) return { answers: [], close: true };
    const answer = encodeOldInfo(served.volume.info.size, flagsOf(served), this.#noZeroes);
    return { answers: [answer], agreed: this.#agreed(served, false) };
  }

  #list(option: number): Outcome {
    const names = this.#exports
      .names()
      .map((name) => encodeOptionReply(option, OptionReply.server, encodeServer(name)));
    return { answers: [...names, encodeOptionReply(option, OptionReply.ack)] };
  }

  #info(option: number, data: Buffer, reply: (type: number, payload?: Buffer) => Outcome): Outcome {
    const request = decodeInfoRequest(data);
    if (request === undefined) return reply(OptionReply.invalid);
    const served = this.#exports.find(request.name);
    if (served === undefined || served.gone) return reply(OptionReply.unknown, text('there is no such export'));
    const infos = [encodeExportInfo(served.volume.info.size, flagsOf(served)), encodeBlockSizes(blockSizesOf(served))];
    if (request.wanted.includes(Info.name)) infos.push(encodeTextInfo(Info.name, served.name));
    if (request.wanted.includes(Info.description)) infos.push(encodeTextInfo(Info.description, served.description));
    const answers = infos.map((each) => encodeOptionReply(option, OptionReply.info, each));
    answers.push(encodeOptionReply(option, OptionReply.ack));
    if (option === Option.info) return { answers };
    return { answers, agreed: this.#agreed(served, request.wanted.includes(Info.blockSize)) };
  }

  #agreed(served: NbdExport, knowsSizes: boolean): Agreed {
    // Another export than the one the context was set for: the context does not count.
    const allocation =
      this.#structured && this.#contextOf !== undefined && this.#exports.find(this.#contextOf) === served;
    return { served, structured: this.#structured, allocation, knowsSizes };
  }

  #context(option: number, data: Buffer, reply: (type: number, payload?: Buffer) => Outcome): Outcome {
    const request = decodeContextRequest(data);
    if (request === undefined || !this.#structured) return reply(OptionReply.invalid);
    const setting = option === Option.setMetaContext;
    // Whatever was set before does not count any more.
    if (setting) this.#contextOf = undefined;
    if (this.#exports.find(request.name) === undefined) return reply(OptionReply.unknown);
    const { queries } = request;
    const listed = !setting && (queries.length === 0 || queries.includes('base:'));
    const answers: Buffer[] = [];
    if (listed || queries.includes(BASE_ALLOCATION)) {
      if (setting) this.#contextOf = request.name;
      const context = encodeContext(setting ? ALLOCATION_CONTEXT : 0, BASE_ALLOCATION);
      answers.push(encodeOptionReply(option, OptionReply.metaContext, context));
    }
    return { answers: [...answers, encodeOptionReply(option, OptionReply.ack)] };
  }
}

const text = (message: string): Buffer => Buffer.from(message, 'utf8');
