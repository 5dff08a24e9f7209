// A small initiator for tests: it says exactly what it is told, so it can also say what no real one would.
import { createConnection } from 'node:net';
import type { Socket } from 'node:net';
import { crc32c } from '../../core/base/crc32c.ts';
import { chapResponse } from '../../core/iscsi/chap.ts';
import { Opcode, RESERVED_TAG } from '../../core/iscsi/wire/constants.ts';
import { encodeText, parseBinary, parseText } from '../../core/iscsi/wire/text.ts';

export interface Pdu {
  readonly opcode: number;
  readonly header: Buffer;
  readonly data: Buffer;
}

export interface LoginOptions {
  readonly initiator?: string;
  readonly target?: string;
  readonly discovery?: boolean;
  readonly isid?: string;
  /** TSIH of the session whose connection is to be reinstated, the CID to do it with, and the next CmdSN of it. */
  readonly tsih?: number;
  readonly cid?: number;
  readonly cmdSN?: number;
  readonly keys?: Readonly<Record<string, string>>;
  readonly chap?: { readonly user: string; readonly secret: string; readonly algorithms?: string };
  readonly mutual?: { readonly user: string; readonly secret: string };
}

export interface ScsiAnswer {
  readonly status: number;
  /** Data-In payloads, joined. */
  readonly data: Buffer;
  /** Sense bytes without their length field. */
  readonly sense: Buffer;
  /** Residual: negative underflow, positive overflow. */
  readonly residual: number;
  /** Sense as key/asc/ascq, `''` when there is none. */
  readonly senseCode: string;
}

/** Login failed with this status (class and detail). */
export class LoginFailed extends Error {
  readonly status: number;
  readonly keys: ReadonlyMap<string, string>;
  constructor(status: number, keys: ReadonlyMap<string, string>) {
    super(`login status ${status.toString(16).padStart(4, '0')}`);
    this.status = status;
    this.keys = keys;
  }
}

const pad = (length: number): number => (length + 3) & ~3;

export class Initiator {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  isClosed = false;
  cmdSN = 1;
  expStatSN = 0;
  itt = 1;
  /** Keys the target answered or declared during login. */
  readonly answers = new Map<string, string>();
  headerDigest = false;
  dataDigest = false;
  maxRecvTarget = 8192;
  isid = '800000000001';
  tsih = 0;
  cid = 0;
  #rest: Buffer = Buffer.alloc(0);
  readonly #queue: Pdu[] = [];
  #wake: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.isClosed = true;
        this.#wake?.();
        resolve();
      });
    });
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.#received(chunk);
    });
  }

  static connect(host: string, port: number): Promise<Initiator> {
    return new Promise((resolve, reject) => {
      const socket = createConnection({ host, port, noDelay: true }, () => {
        socket.off('error', reject);
        resolve(new Initiator(socket));
      });
      socket.once('error', reject);
    });
  }

  /** Over a connection that the caller makes. */
  static over(socket: Socket): Promise<Initiator> {
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new Initiator(socket));
      });
    });
  }

  /** Connects and logs in. Rejects with LoginFailed. */
  static async login(host: string, port: number, options: LoginOptions): Promise<Initiator> {
    const initiator = await Initiator.connect(host, port);
    try {
      await initiator.login(options);
      return initiator;
    } catch (error) {
      initiator.destroy();
      throw error;
    }
  }

  destroy(): void {
    this.socket.destroy();
  }

  // ---- bytes

  /** Sends a PDU; digests are added when negotiated. `header` has 48 bytes, the data length is filled in. */
  send(header: Buffer, data: Buffer = Buffer.alloc(0)): void {
    this.socket.write(this.pdu(header, data));
  }

  /** The bytes of a PDU. */
  pdu(header: Buffer, data: Buffer = Buffer.alloc(0)): Buffer {
    const parts: Buffer[] = [Buffer.from(header)];
    (parts[0] as Buffer).writeUIntBE(data.length, 5, 3);
    if (this.headerDigest) parts.push(digestOf(parts[0] as Buffer));
    if (data.length > 0) {
      const padded = Buffer.alloc(pad(data.length));
      data.copy(padded);
      parts.push(padded);
      if (this.dataDigest) parts.push(digestOf(padded));
    }
    return Buffer.concat(parts);
  }

  raw(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  #received(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      if (this.#rest.length < 48) break;
      const length = this.#rest.readUIntBE(5, 3);
      const dataAt = 48 + (this.headerDigest ? 4 : 0);
      const end = dataAt + pad(length) + (length > 0 && this.dataDigest ? 4 : 0);
      if (this.#rest.length < end) break;
      const header = this.#rest.subarray(0, 48);
      const padded = this.#rest.subarray(dataAt, dataAt + pad(length));
      if (this.headerDigest && !digestOf(header).equals(this.#rest.subarray(48, 52)))
        throw new Error('bad header digest');
      if (this.dataDigest && length > 0 && !digestOf(padded).equals(this.#rest.subarray(end - 4, end))) {
        throw new Error('bad data digest');
      }
      this.#queue.push({
        opcode: (header[0] as number) & 0x3f,
        header: Buffer.from(header),
        data: Buffer.from(padded.subarray(0, length)),
      });
      this.#rest = this.#rest.subarray(end);
    }
    this.#wake?.();
  }

  /** The next PDU from the target. Rejects when the connection closes or nothing comes in time. */
  async receive(timeout = 10_000): Promise<Pdu> {
    const end = Date.now() + timeout;
    for (;;) {
      const pdu = this.#queue.shift();
      if (pdu !== undefined) return pdu;
      if (this.isClosed) throw new Error('connection closed');
      const left = end - Date.now();
      if (left <= 0) throw new Error('no PDU in time');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** PDUs until one of this opcode, which is returned; NOP-Ins on the way are dropped, other PDUs are errors. */
  async receiveKind(opcode: number, timeout = 10_000): Promise<Pdu> {
    for (;;) {
      const pdu = await this.receive(timeout);
      if (pdu.opcode === opcode) return pdu;
      if (pdu.opcode !== Opcode.nopIn) throw new Error(`unexpected PDU ${pdu.opcode.toString(16)}`);
    }
  }

  // ---- login

  loginHeader(flags: number, tsih = this.tsih): Buffer {
    const header = this.header(Opcode.loginRequest | 0x40, flags);
    header.write(this.isid, 8, 'hex');
    header.writeUInt16BE(tsih, 14);
    header.writeUInt32BE(this.itt, 16);
    header.writeUInt16BE(this.cid, 20);
    header.writeUInt32BE(this.cmdSN, 24);
    header.writeUInt32BE(this.expStatSN, 28);
    return header;
  }

  async loginStep(flags: number, keys: Readonly<Record<string, string>>): Promise<Pdu> {
    this.send(this.loginHeader(flags), encodeText(Object.entries(keys)));
    const response = await this.receive();
    if (response.opcode !== Opcode.loginResponse)
      throw new Error(`not a login response: ${response.opcode.toString(16)}`);
    const status = response.header.readUInt16BE(36);
    const answered = parseText(response.data);
    if (status !== 0) throw new LoginFailed(status, answered);
    this.expStatSN = (response.header.readUInt32BE(24) + 1) >>> 0;
    this.tsih = response.header.readUInt16BE(14);
    for (const [key, value] of answered) this.answers.set(key, value);
    return response;
  }

  async login(options: LoginOptions): Promise<void> {
    if (options.isid !== undefined) this.isid = options.isid;
    this.tsih = options.tsih ?? this.tsih;
    this.cid = options.cid ?? this.cid;
    this.cmdSN = options.cmdSN ?? this.cmdSN;
    const identity: Record<string, string> = {
      InitiatorName: options.initiator ?? 'iqn.2026-11.org.example:test',
      SessionType: options.discovery === true ? 'Discovery' : 'Normal',
    };
    if (options.target !== undefined) identity.TargetName = options.target;
    const operational = { MaxRecvDataSegmentLength: '262144', ...options.keys };
    if (options.chap === undefined) {
      await this.loginStep(0x87, { ...identity, ...operational });
    } else {
      await this.loginStep(0x00, { ...identity, AuthMethod: 'CHAP' });
      await this.loginStep(0x00, { CHAP_A: options.chap.algorithms ?? '5' });
      await this.loginStep(0x81, this.#chapAnswer(options.chap, options.mutual));
      this.#checkMutual(options.mutual);
      await this.loginStep(0x87, operational);
    }
    this.headerDigest = this.answers.get('HeaderDigest') === 'CRC32C';
    this.dataDigest = this.answers.get('DataDigest') === 'CRC32C';
    this.maxRecvTarget = Number(this.answers.get('MaxRecvDataSegmentLength') ?? 8192);
  }

  readonly #mutualChallenge = Buffer.from('0123456789abcdef0123456789abcdef');

  #chapAnswer(chap: { user: string; secret: string }, mutual: LoginOptions['mutual']): Record<string, string> {
    const algorithm = Number(this.answers.get('CHAP_A'));
    const challenge = parseBinary(this.answers.get('CHAP_C') ?? '') ?? Buffer.alloc(0);
    const response = chapResponse(algorithm, Number(this.answers.get('CHAP_I')), Buffer.from(chap.secret), challenge);
    const pairs = { CHAP_N: chap.user, CHAP_R: `0x${response.toString('hex')}` };
    if (mutual === undefined) return pairs;
    return { ...pairs, CHAP_I: '77', CHAP_C: `0x${this.#mutualChallenge.toString('hex')}` };
  }

  #checkMutual(mutual: LoginOptions['mutual']): void {
    if (mutual === undefined) return;
    const expected = chapResponse(
      Number(this.answers.get('CHAP_A')),
      77,
      Buffer.from(mutual.secret),
      this.#mutualChallenge,
    );
    const given = parseBinary(this.answers.get('CHAP_R') ?? '');
    if (this.answers.get('CHAP_N') !== mutual.user || given?.equals(expected) !== true) {
      throw new Error('the target did not prove itself');
    }
  }

  // ---- full feature phase

  header(opcode: number, flags: number): Buffer {
    const header = Buffer.alloc(48);
    header[0] = opcode;
    header[1] = flags;
    return header;
  }

  /** A SCSI Command PDU header; takes a CmdSN and a tag. */
  command(
    cdb: Buffer,
    options: { lun?: number; flags?: number; length?: number; immediate?: boolean; cmdSN?: number } = {},
  ): Buffer {
    const header = this.header(Opcode.scsiCommand | (options.immediate === true ? 0x40 : 0), options.flags ?? 0x80);
    header[9] = options.lun ?? 0;
    header.writeUInt32BE(this.itt, 16);
    this.itt = (this.itt + 1) >>> 0;
    header.writeUInt32BE(options.length ?? 0, 20);
    header.writeUInt32BE(options.cmdSN ?? this.cmdSN, 24);
    if (options.immediate !== true && options.cmdSN === undefined) this.cmdSN = (this.cmdSN + 1) >>> 0;
    header.writeUInt32BE(this.expStatSN, 28);
    cdb.copy(header, 32);
    return header;
  }

  /** Sends a command with its data (immediate as far as allowed, the rest by R2T) and waits for its answer. */
  async scsi(
    cdb: Buffer,
    options: { lun?: number; read?: number; write?: Buffer; attribute?: number; timeout?: number } = {},
  ): Promise<ScsiAnswer> {
    const write = options.write ?? Buffer.alloc(0);
    const firstBurst = Number(this.answers.get('FirstBurstLength') ?? 65_536);
    const most = Math.min(write.length, 8192, this.maxRecvTarget, firstBurst);
    const immediate = this.answers.get('ImmediateData') === 'No' ? 0 : most;
    let flags = 0x80 | (options.attribute ?? 1);
    if (options.read !== undefined) flags |= 0x40;
    if (options.write !== undefined) flags |= 0x20;
    const header = this.command(cdb, { lun: options.lun ?? 0, flags, length: options.read ?? write.length });
    this.send(header, write.subarray(0, immediate));
    return this.answer(header, write, options.timeout);
  }

  /** Collects the answer to a command, serving R2Ts from `write`. */
  async answer(header: Buffer, write: Buffer = Buffer.alloc(0), timeout = 10_000): Promise<ScsiAnswer> {
    const parts: Buffer[] = [];
    for (;;) {
      const pdu = await this.receive(timeout);
      if (pdu.opcode === Opcode.nopIn) continue;
      if (pdu.opcode === Opcode.reject) throw new Error(`rejected, reason ${String(pdu.header[2])}`);
      if (pdu.header.readUInt32BE(16) !== header.readUInt32BE(16)) throw new Error('an answer to another command');
      if (pdu.opcode === Opcode.r2t) this.#serve(header, pdu, write);
      else if (pdu.opcode === Opcode.dataIn) {
        parts.push(pdu.data);
        if (((pdu.header[1] as number) & 1) !== 0) return this.#result(pdu, parts, Buffer.alloc(0));
      } else if (pdu.opcode === Opcode.scsiResponse) {
        return this.#result(pdu, parts, pdu.data.subarray(2));
      } else throw new Error(`unexpected PDU ${pdu.opcode.toString(16)}`);
    }
  }

  #serve(command: Buffer, r2t: Pdu, write: Buffer): void {
    const offset = r2t.header.readUInt32BE(40);
    const end = offset + r2t.header.readUInt32BE(44);
    let sn = 0;
    for (let at = offset; at < end; sn++) {
      const size = Math.min(this.maxRecvTarget, end - at);
      const header = this.dataOut(command, r2t.header.readUInt32BE(20), sn, at, at + size === end);
      this.send(header, write.subarray(at, at + size));
      at += size;
    }
  }

  dataOut(command: Buffer, ttt: number, dataSN: number, offset: number, final: boolean): Buffer {
    const header = this.header(Opcode.dataOut, final ? 0x80 : 0);
    command.copy(header, 8, 8, 20);
    header.writeUInt32BE(ttt, 20);
    header.writeUInt32BE(this.expStatSN, 28);
    header.writeUInt32BE(dataSN, 36);
    header.writeUInt32BE(offset, 40);
    return header;
  }

  #result(pdu: Pdu, parts: Buffer[], sense: Buffer): ScsiAnswer {
    this.expStatSN = (pdu.header.readUInt32BE(24) + 1) >>> 0;
    const flags = pdu.header[1] as number;
    const residual = pdu.header.readUInt32BE(44);
    return {
      status: pdu.header[3] as number,
      data: Buffer.concat(parts),
      sense,
      residual: (flags & 4) !== 0 ? residual : (flags & 2) !== 0 ? -residual : 0,
      senseCode: codeOf(sense),
    };
  }

  /** A NOP-Out with `data`; resolves with the echoed data. */
  async nop(data: Buffer = Buffer.alloc(0)): Promise<Buffer> {
    const header = this.header(Opcode.nopOut | 0x40, 0x80);
    header.writeUInt32BE(this.itt++, 16);
    header.writeUInt32BE(RESERVED_TAG, 20);
    header.writeUInt32BE(this.cmdSN, 24);
    header.writeUInt32BE(this.expStatSN, 28);
    this.send(header, data);
    for (;;) {
      const pdu = await this.receiveKind(Opcode.nopIn);
      if (pdu.header.readUInt32BE(16) === RESERVED_TAG) continue;
      this.expStatSN = (pdu.header.readUInt32BE(24) + 1) >>> 0;
      return pdu.data;
    }
  }

  taskManagement(code: number, options: { lun?: number; tag?: number } = {}): Buffer {
    const header = this.header(Opcode.taskManagementRequest | 0x40, 0x80 | code);
    header[9] = options.lun ?? 0;
    header.writeUInt32BE(this.itt++, 16);
    header.writeUInt32BE(options.tag ?? RESERVED_TAG, 20);
    header.writeUInt32BE(this.cmdSN, 24);
    header.writeUInt32BE(this.expStatSN, 28);
    return header;
  }

  /** Text request; resolves with the complete answer text, following continuations. */
  async text(keys: Readonly<Record<string, string>>): Promise<Map<string, string>[]> {
    const header = this.header(Opcode.textRequest | 0x40, 0x80);
    header.writeUInt32BE(this.itt++, 16);
    header.writeUInt32BE(RESERVED_TAG, 20);
    header.writeUInt32BE(this.cmdSN, 24);
    this.send(header, encodeText(Object.entries(keys)));
    let text: Buffer = Buffer.alloc(0);
    for (;;) {
      const pdu = await this.receiveKind(Opcode.textResponse);
      text = Buffer.concat([text, pdu.data]);
      if (((pdu.header[1] as number) & 0x80) !== 0) break;
      header.writeUInt32BE(pdu.header.readUInt32BE(20), 20);
      this.send(header);
    }
    // A SendTargets answer repeats its keys: one map per pair.
    return text
      .toString()
      .split('\0')
      .filter((pair) => pair !== '')
      .map((pair) => new Map([[pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]]));
  }

  async logout(): Promise<number> {
    const header = this.header(Opcode.logoutRequest | 0x40, 0x80);
    header.writeUInt32BE(this.itt++, 16);
    header.writeUInt32BE(this.cmdSN, 24);
    header.writeUInt32BE(this.expStatSN, 28);
    this.send(header);
    const pdu = await this.receiveKind(Opcode.logoutResponse);
    return pdu.header[2] as number;
  }
}

function digestOf(bytes: Buffer): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(crc32c(bytes));
  return out;
}

/** key/asc/ascq of fixed or descriptor sense. */
export function codeOf(sense: Buffer): string {
  if (sense.length === 0) return '';
  const format = (sense[0] as number) & 0x7f;
  const [key, asc, ascq] =
    format >= 0x72 ? [sense[1], sense[2], sense[3]] : [(sense[2] as number) & 0xf, sense[12], sense[13]];
  return [key, asc, ascq].map((each) => (each as number).toString(16).padStart(2, '0')).join('/');
}
