// The PDUs of the full feature phase besides commands and their data: NOP, text, task management, logout, and what we
// reject. None of them is frequent, so each builds its header as a small buffer.
import { LOGOUT_PATIENCE, MAX_LOGIN_TEXT, MAX_RECV_DATA_SEGMENT } from '../base/limits.ts';
import { load16, load32, store32 } from '../base/bytes-at.ts';
import { ProtocolError } from '../base/errors.ts';
import type { CommandPath } from './command-path.ts';
import type { Connection } from './connection.ts';
import { sendTargets } from './discovery.ts';
import { isKnownKey, negotiate } from './login/keys.ts';
import type { Session } from './session.ts';
import { SENSE, ScsiError } from '../scsi/sense.ts';
import { manageTasks } from './task-management.ts';
import { BHS_LENGTH, Opcode, RESERVED_TAG, RejectReason } from './wire/constants.ts';
import { encodeText, parseText } from './wire/text.ts';

const IMMEDIATE = 0x40;
const FINAL = 0x80;
const CONTINUES = 0x40;
const NOTHING = Buffer.alloc(0);
/** Target transfer tags of our own requests; told apart from R2Ts by the opcode of the answer. */
const PING_TAG = 0x504e_0001;
const TEXT_TAG = 0x5458_0001;
/** Reasons of a logout (RFC 7143 §11.14.1) and what we answer (§11.15.1). */
const Logout = { session: 0, connection: 1, recovery: 2 } as const;
const LogoutResponse = { closed: 0, cidNotFound: 1, recoveryNotSupported: 2 } as const;

export class OtherPdus {
  readonly #connection: Connection;
  readonly #session: Session;
  readonly #commands: CommandPath | undefined;
  /** Text request gathered over several PDUs, and the rest of a text response that needs several. */
  #textIn: Buffer = NOTHING;
  #textOut: Buffer = NOTHING;

  constructor(connection: Connection, session: Session, commands: CommandPath | undefined) {
    this.#connection = connection;
    this.#session = session;
    this.#commands = commands;
    if (commands !== undefined) {
      commands.deferred = (pdu, dataAt, dataLength) => {
        this.#handle(pdu, 0, dataAt, dataLength);
      };
      commands.reject = (bytes, at, reason) => {
        this.reject(bytes, at, reason);
      };
    }
  }

  /** Handles the PDU at `at`. Throws ProtocolError when the connection has to end. */
  pdu(bytes: Buffer, at: number, dataAt: number, dataLength: number): void {
    const immediate = ((bytes[at] as number) & IMMEDIATE) !== 0;
    const opcode = (bytes[at] as number) & 0x3f;
    if (
      !immediate &&
      opcode !== Opcode.snack &&
      opcode !== Opcode.dataOut &&
      !this.#takeNumber(bytes, at, dataAt, dataLength)
    ) {
      return;
    }
    this.#handle(bytes, at, dataAt, dataLength);
    this.#commands?.catchUp();
  }

  #handle(bytes: Buffer, at: number, dataAt: number, dataLength: number): void {
    const opcode = (bytes[at] as number) & 0x3f;
    const data = bytes.subarray(dataAt, dataAt + dataLength);
    switch (opcode) {
      case Opcode.nopOut:
        this.#nopOut(bytes, at, data);
        break;
      case Opcode.textRequest:
        this.#text(bytes, at, data);
        break;
      case Opcode.taskManagementRequest:
        this.#taskManagement(bytes, at);
        break;
      case Opcode.logoutRequest:
        this.#logout(bytes, at);
        break;
      case Opcode.loginRequest:
        throw new ProtocolError('a login request after the login');
      default:
        // SNACK needs ErrorRecoveryLevel 1; commands and data have no place in a discovery session.
        this.reject(bytes, at, opcode === Opcode.snack ? RejectReason.snackReject : RejectReason.commandNotSupported);
    }
  }

  /** RFC 7143 §11.17: tells the initiator that we did not accept this PDU, with a copy of its header. */
  reject(bytes: Buffer, at: number, reason: number): void {
    this.#session.counters.rejects++;
    const header = Buffer.alloc(BHS_LENGTH);
    header[0] = Opcode.reject;
    header[1] = FINAL;
    header[2] = reason;
    store32(header, 16, RESERVED_TAG);
    this.#connection.answers.other(header, bytes.subarray(at, at + BHS_LENGTH), true);
  }

  /**
   * RFC 7143 §7.8: the PDU is rejected. A task whose Data-Out was damaged ends with CHECK CONDITION; any other damaged PDU
   * cannot be made good at ErrorRecoveryLevel 0, so the connection ends.
   */
  digestError(bytes: Buffer, at: number): void {
    this.reject(bytes, at, RejectReason.dataDigestError);
    const isDataOut = ((bytes[at] as number) & 0x3f) === Opcode.dataOut;
    const error = new ScsiError(SENSE.protocolServiceCrc);
    if (isDataOut && this.#commands?.failTransfer(load32(bytes, at + 16), error) === true) return;
    throw new ProtocolError('data digest error');
  }

  /** RFC 7143 §11.19: asks the initiator whether it still lives. */
  ping(): void {
    const header = Buffer.alloc(BHS_LENGTH);
    header[0] = Opcode.nopIn;
    header[1] = FINAL;
    store32(header, 16, RESERVED_TAG);
    store32(header, 20, PING_TAG);
    this.#connection.answers.other(header, NOTHING, false);
    this.#connection.planFlush();
  }

  /** RFC 7143 §11.9.1, event 1: asks the initiator to log out, within the time we are going to wait. */
  requestLogout(): void {
    const header = Buffer.alloc(BHS_LENGTH);
    header[0] = Opcode.asyncMessage;
    header[1] = FINAL;
    store32(header, 16, RESERVED_TAG);
    header[36] = 1;
    header.writeUInt16BE(Math.ceil(LOGOUT_PATIENCE / 1000), 42);
    this.#connection.answers.other(header, NOTHING, true);
    this.#connection.planFlush();
  }

  #takeNumber(bytes: Buffer, at: number, dataAt: number, dataLength: number): boolean {
    if (this.#commands !== undefined) return this.#commands.takeNumber(bytes, at, dataAt, dataLength);
    const cmdSN = load32(bytes, at + 24);
    if (cmdSN === this.#session.expCmdSN) this.#session.expCmdSN = (cmdSN + 1) >>> 0;
    return true;
  }

  /** RFC 7143 §11.18. */
  #nopOut(bytes: Buffer, at: number, data: Buffer): void {
    const itt = load32(bytes, at + 16);
    if (itt === RESERVED_TAG) {
      if (load32(bytes, at + 20) === PING_TAG) this.#connection.pingedAt = undefined;
      return;
    }
    const header = Buffer.alloc(BHS_LENGTH);
    header[0] = Opcode.nopIn;
    header[1] = FINAL;
    bytes.copy(header, 8, at + 8, at + 16);
    store32(header, 16, itt);
    store32(header, 20, RESERVED_TAG);
    const most = Math.min(this.#session.parameters.maxRecvInitiator, MAX_RECV_DATA_SEGMENT);
    this.#connection.answers.other(header, data.subarray(0, most), true);
  }

  /** RFC 7143 §11.10, §11.11. */
  #text(bytes: Buffer, at: number, data: Buffer): void {
    const flags = bytes[at + 1] as number;
    const ttt = load32(bytes, at + 20);
    if (ttt === RESERVED_TAG) {
      this.#textIn = NOTHING;
      this.#textOut = NOTHING;
    } else if (ttt !== TEXT_TAG) {
      this.reject(bytes, at, RejectReason.invalidPduField);
      return;
    } else if (this.#textOut.length > 0) {
      this.#sendText(bytes, at);
      return;
    }
    this.#textIn = Buffer.concat([this.#textIn, data]);
    if (this.#textIn.length > MAX_LOGIN_TEXT) throw new ProtocolError('a text request without end');
    if ((flags & CONTINUES) !== 0) {
      this.#textResponse(bytes, at, NOTHING, 0, TEXT_TAG);
      return;
    }
    const asked = parseText(this.#textIn);
    this.#textIn = NOTHING;
    this.#textOut = encodeText(this.#answerKeys(asked));
    this.#sendText(bytes, at);
  }

  /** One key that is not SendTargets. undefined: it only declares something. */
  #answerKey(key: string, value: string): string | undefined {
    const session = this.#session;
    if (key === 'InitiatorAlias') return undefined;
    // RFC 7143 §13: of the operational keys only this one may be used outside the login phase.
    if (key !== 'MaxRecvDataSegmentLength') return isKnownKey(key) ? 'Reject' : 'NotUnderstood';
    const outcome = negotiate(key, value, session.parameters, session.nexus === undefined);
    session.parameters = outcome.parameters;
    this.#connection.answers.parametersChanged(session);
    return outcome.answer;
  }

  #answerKeys(asked: ReadonlyMap<string, string>): [string, string][] {
    const { nexus, facts } = this.#session;
    const connection = this.#connection;
    const pairs: [string, string][] = [];
    for (const [key, value] of asked) {
      if (key !== 'SendTargets') {
        const answer = this.#answerKey(key, value);
        if (answer !== undefined) pairs.push([key, answer]);
        continue;
      }
      // RFC 7143 appendix C: All only in discovery sessions; an empty value means the target of this session.
      const name = value === 'All' ? undefined : value === '' ? facts.targetName : value.toLowerCase();
      if (nexus !== undefined && value === 'All') pairs.push([key, 'Reject']);
      else {
        const visitor = { initiator: { name: facts.initiatorName, isid: facts.isid }, local: connection.local };
        pairs.push(...sendTargets(connection.context, visitor, connection.socket.localAddress, name));
      }
    }
    return pairs;
  }

  /** Sends the next piece of a text response that may be longer than one PDU of the initiator. */
  #sendText(bytes: Buffer, at: number): void {
    const most = Math.min(this.#session.parameters.maxRecvInitiator, MAX_RECV_DATA_SEGMENT);
    const piece = this.#textOut.subarray(0, most);
    this.#textOut = this.#textOut.subarray(piece.length);
    // RFC 7143 §11.11.1: the last response carries F only when the request did.
    const final = ((bytes[at + 1] as number) & FINAL) !== 0;
    if (this.#textOut.length > 0) this.#textResponse(bytes, at, piece, CONTINUES, TEXT_TAG);
    else if (!final) this.#textResponse(bytes, at, piece, 0, TEXT_TAG);
    else this.#textResponse(bytes, at, piece, FINAL, RESERVED_TAG);
  }

  #textResponse(bytes: Buffer, at: number, data: Buffer, flags: number, ttt: number): void {
    const header = Buffer.alloc(BHS_LENGTH);
    header[0] = Opcode.textResponse;
    header[1] = flags;
    bytes.copy(header, 8, at + 8, at + 20);
    store32(header, 20, ttt);
    this.#connection.answers.other(header, data, true);
  }

  #taskManagement(bytes: Buffer, at: number): void {
    const path = this.#commands;
    if (path === undefined) {
      this.reject(bytes, at, RejectReason.commandNotSupported);
      return;
    }
    const request = Buffer.from(bytes.subarray(at, at + BHS_LENGTH));
    void manageTasks(path, request, 0).then((response) => {
      if (this.#connection.ended) return;
      const header = Buffer.alloc(BHS_LENGTH);
      header[0] = Opcode.taskManagementResponse;
      header[1] = FINAL;
      header[2] = response;
      request.copy(header, 16, 16, 20);
      this.#connection.answers.other(header, NOTHING, true);
      this.#connection.planFlush();
      path.afterTaskManagement(request);
    });
  }

  /** RFC 7143 §11.14, §11.15. */
  #logout(bytes: Buffer, at: number): void {
    const reason = (bytes[at + 1] as number) & 0x7f;
    if (reason > Logout.recovery) {
      this.reject(bytes, at, RejectReason.invalidPduField);
      return;
    }
    const response = this.#logoutResponse(reason, load16(bytes, at + 20));
    const aborting = response === LogoutResponse.closed ? this.#commands?.abort(() => true, false) : undefined;
    if (aborting?.confirmed === undefined) {
      this.#answerLogout(bytes, at, response);
      return;
    }
    // RFC 7143 §11.14: the tasks of the session are over when it is answered, those at another node as well.
    const request = Buffer.from(bytes.subarray(at, at + BHS_LENGTH));
    this.#connection.hold();
    void aborting.confirmed.then(() => {
      if (this.#connection.ended) return;
      this.#answerLogout(request, 0, response);
      this.#connection.release();
    });
  }

  #answerLogout(bytes: Buffer, at: number, response: number): void {
    const header = Buffer.alloc(BHS_LENGTH);
    header[0] = Opcode.logoutResponse;
    header[1] = FINAL;
    header[2] = response;
    bytes.copy(header, 16, at + 16, at + 20);
    // Time2Retain stays 0: nothing of a session outlives its connection at ErrorRecoveryLevel 0.
    header.writeUInt16BE(this.#session.parameters.defaultTime2Wait, 40);
    this.#connection.answers.other(header, NOTHING, true);
    if (response !== LogoutResponse.closed) return;
    this.#connection.log.debug({}, 'logout');
    this.#connection.end();
  }

  #logoutResponse(reason: number, cid: number): number {
    // Recovery of a connection needs ErrorRecoveryLevel 2.
    if (reason === Logout.recovery) return LogoutResponse.recoveryNotSupported;
    if (reason === Logout.connection && cid !== this.#session.facts.cid) return LogoutResponse.cidNotFound;
    return LogoutResponse.closed;
  }
}
