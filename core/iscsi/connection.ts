// One TCP connection: bytes in, PDUs dispatched in place, answers collected and sent once per event.
// Nothing on the path of a plain READ or WRITE creates an object; everything else may.
import { MAX_AHS, MAX_RECV_DATA_SEGMENT, SEND_QUEUE_LOW } from '../base/limits.ts';
import { crc32c } from '../base/crc32c.ts';
import { ProtocolError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Socket, SocketSink } from '../base/world.ts';
import { Answers } from './answers.ts';
import { CommandPath } from './command-path.ts';
import type { IscsiContext } from './context.ts';
import { LoginPhase } from './login-phase.ts';
import { OtherPdus } from './other-pdus.ts';
import { ReceiveBuffer } from './receive.ts';
import { SendBuffer } from './send-buffer.ts';
import type { Session } from './session.ts';
import { BHS_LENGTH, Opcode } from './wire/constants.ts';

export class Connection implements SocketSink {
  readonly socket: Socket;
  readonly context: IscsiContext;
  /** The peer connects from this machine. */
  readonly local: boolean;
  /** Portal group tag and the address this connection came in by. */
  readonly portalGroup: number;
  readonly send: SendBuffer;
  readonly answers: Answers;
  log: Log;
  /** Set when the login is complete. */
  session: Session | undefined;
  /** Clock time at which the last bytes arrived, milliseconds. */
  heardAt: number;
  /** When our NOP-In was sent that is still unanswered. */
  pingedAt: number | undefined;
  readonly acceptedAt: number;
  readonly #receive: ReceiveBuffer;
  readonly #login: LoginPhase;
  #commands: CommandPath | undefined;
  #others: OtherPdus | undefined;
  /** Digests, in force from the full feature phase on (RFC 7143 §13.1). */
  #headerDigest = 0;
  #dataDigest = 0;
  /** An asynchronous login step runs: nothing is parsed until it is over. */
  #held = false;
  /** The peer does not take what we send: nothing is parsed until it does. */
  #blocked = false;
  #parsing = false;
  #flushPlanned = false;
  #ending = false;
  #gone = false;

  constructor(socket: Socket, context: IscsiContext, portalGroup: number, local: boolean) {
    this.socket = socket;
    this.context = context;
    this.portalGroup = portalGroup;
    this.local = local;
    this.acceptedAt = this.heardAt = context.world.clock.now();
    this.#receive = new ReceiveBuffer(context.receivePool);
    this.send = new SendBuffer(socket, context.slabs, context.answers);
    this.answers = new Answers(this.send);
    this.log = context.log.child({ peer: `${socket.remoteAddress}:${String(socket.remotePort)}` });
    this.#login = new LoginPhase(this);
  }

  /** Begins to read. */
  start(): void {
    this.socket.start(this);
  }

  /** The SCSI side of the session; undefined in discovery sessions and before login. */
  get commands(): CommandPath | undefined {
    return this.#commands;
  }

  /** True once the connection is closed or about to be; late answers are dropped. */
  get ended(): boolean {
    return this.#ending || this.#gone;
  }

  /** The login is complete: from the next PDU on the negotiated digests and the session apply. */
  enterFullFeature(session: Session, statSN: number): void {
    const parameters = session.parameters;
    this.session = session;
    this.#headerDigest = parameters.headerDigest ? 4 : 0;
    this.#dataDigest = parameters.dataDigest ? 4 : 0;
    this.answers.enterFullFeature(session, statSN);
    if (session.nexus !== undefined) this.#commands = new CommandPath(this, session, session.nexus);
    this.#others = new OtherPdus(this, session, this.#commands);
    this.log = this.log.child({ initiator: session.facts.initiatorName, tsih: session.facts.tsih });
  }

  // ---- SocketSink

  buffer(): Buffer {
    return this.#receive.room();
  }

  received(bytes: number): boolean {
    if (this.#gone) return false;
    this.heardAt = this.context.world.clock.now();
    if (this.session !== undefined) this.session.counters.receivedBytes += bytes;
    this.#receive.filled(bytes);
    const before = this.session?.counters.commands ?? 0;
    this.#parse();
    if (this.session !== undefined) this.context.wakefulness.busy(this.session.counters.commands - before);
    this.#receive.settle();
    return this.#mayRead();
  }

  drained(): void {
    if (this.#gone) return;
    this.send.drained();
    this.#commands?.reads.advance();
    this.#unblock();
  }

  closed(reason: string): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#commands?.close();
    this.#receive.release();
    if (this.session !== undefined) this.session.counters.sentBytes = this.send.sent;
    this.send.release();
    this.context.forget(this, reason);
  }

  // ---- for the handlers

  /** Asks a silent initiator whether it lives. */
  ping(now: number): void {
    this.pingedAt = now;
    this.#others?.ping();
  }

  /** Asks the initiator to log out (shutdown). */
  requestLogout(): void {
    this.#others?.requestLogout();
  }

  /** Stops parsing until release(): the answer to the last PDU is still being worked out. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.#goOn();
  }

  /** Sends what asynchronous work has answered, once for all that finishes in this turn. */
  planFlush(): void {
    if (this.#flushPlanned || this.#parsing || this.#gone) return;
    this.#flushPlanned = true;
    this.context.world.clock.soon(() => {
      this.#flushPlanned = false;
      if (this.#gone) return;
      this.#flush();
      this.#unblock();
    });
  }

  /** Sends what is collected, then closes; nothing further is parsed. */
  end(): void {
    if (this.ended) return;
    this.#ending = true;
    // Inside an event its answers are sent first, see #parse.
    if (this.#parsing) return;
    this.#flush();
    this.socket.end();
  }

  /** Closes at once, and everything that depends on the connection is over when it returns. */
  terminate(reason: string): void {
    this.#ending = true;
    this.closed(reason);
    this.socket.destroy(reason);
  }

  /** Closes at once, and all its tasks are over; its session, which is returned, goes on without it. */
  surrender(reason: string): Session | undefined {
    const session = this.session;
    if (session !== undefined) this.log.info({ reason }, 'connection ended');
    this.session = undefined;
    this.terminate(reason);
    return session;
  }

  /** Closes at once. */
  destroy(reason: string): void {
    this.#ending = true;
    this.socket.destroy(reason);
  }

  // ---- parsing

  #goOn(): void {
    if (!this.#mayRead()) return;
    this.#parse();
    if (this.#mayRead()) this.socket.resume();
  }

  /** Parses on when the peer has taken enough of its answers. While some are queued, drained() is sure to come. */
  #unblock(): void {
    if (!this.#blocked || this.send.waiting > SEND_QUEUE_LOW) return;
    this.#blocked = false;
    this.#goOn();
  }

  #mayRead(): boolean {
    return !this.#held && !this.#blocked && !this.#gone;
  }

  #parse(): void {
    if (this.#parsing || this.#held || this.#blocked) return;
    this.#parsing = true;
    this.#commands?.beginBatch(this.heardAt);
    try {
      this.#parseAll();
    } catch (error) {
      this.#fail(error);
    }
    this.#parsing = false;
    if (this.#gone) return;
    this.#flush();
    this.#commands?.endBatch();
    if (this.#ending) this.socket.end();
  }

  #parseAll(): void {
    const receive = this.#receive;
    const bytes = receive.bytes;
    const sent = this.send.sent;
    // Where data has come, few small reads are beside it, and cost less when they are copied.
    this.send.beginBatch(receive.isHeaders(BHS_LENGTH + this.#headerDigest) ? receive.length : 0);
    let half = (receive.start + receive.end) / 2;
    while (receive.end - receive.start >= BHS_LENGTH && !this.#held && !this.#blocked && !this.ended) {
      const at = receive.start;
      const ahs = (bytes[at + 4] as number) * 4;
      const dataLength =
        ((bytes[at + 5] as number) << 16) | ((bytes[at + 6] as number) << 8) | (bytes[at + 7] as number);
      if (dataLength > MAX_RECV_DATA_SEGMENT || ahs > MAX_AHS) {
        throw new ProtocolError(`a data segment of ${String(dataLength)} bytes is more than was negotiated`);
      }
      const dataAt = at + BHS_LENGTH + ahs + this.#headerDigest;
      const padded = (dataLength + 3) & ~3;
      const next = dataAt + padded + (dataLength > 0 ? this.#dataDigest : 0);
      if (next > receive.end) {
        // A damaged length must not make us wait for data that never comes.
        if (this.#headerDigest !== 0 && dataAt <= receive.end) this.#checkHeader(bytes, at, ahs);
        break;
      }
      receive.start = next;
      if (this.#headerDigest !== 0 && !this.#checkHeader(bytes, at, ahs)) return;
      if (this.#dataDigest !== 0 && dataLength > 0 && !this.#checkData(bytes, at, dataAt, padded)) continue;
      this.#dispatch(bytes, at, dataAt, dataLength);
      this.send.flushIfFull();
      if (receive.start >= half) {
        half = Infinity;
        this.send.flushHalf(sent);
      }
      if (this.send.full) this.#blocked = true;
    }
  }

  #dispatch(bytes: Buffer, at: number, dataAt: number, dataLength: number): void {
    const opcode = (bytes[at] as number) & 0x3f;
    const commands = this.#commands;
    if (commands !== undefined) {
      if (opcode === Opcode.scsiCommand) {
        commands.command(bytes, at, dataAt, dataLength);
        return;
      }
      if (opcode === Opcode.dataOut) {
        commands.dataOut(bytes, at, dataAt, dataLength);
        return;
      }
    }
    if (this.#others === undefined) this.#login.pdu(bytes, at, dataAt, dataLength);
    else this.#others.pdu(bytes, at, dataAt, dataLength);
  }

  /** RFC 7143 §7.7: with ErrorRecoveryLevel 0 a header digest error ends the connection. */
  #checkHeader(bytes: Buffer, at: number, ahs: number): boolean {
    const end = at + BHS_LENGTH + ahs;
    if (crc32c(bytes, at, end) === bytes.readUInt32LE(end)) return true;
    if (this.session !== undefined) this.session.counters.digestErrors++;
    this.log.warn({}, 'header digest error: closing the connection; check the network between initiator and target');
    this.destroy('header digest error');
    return false;
  }

  /** RFC 7143 §7.8: a data digest error is answered with a Reject; the data is dropped before it reaches anything. */
  #checkData(bytes: Buffer, at: number, dataAt: number, padded: number): boolean {
    const end = dataAt + padded;
    if (crc32c(bytes, dataAt, end) === bytes.readUInt32LE(end)) return true;
    if (this.session !== undefined) this.session.counters.digestErrors++;
    this.log.warn({}, 'data digest error: check the network between initiator and target');
    this.#others?.digestError(bytes, at);
    return false;
  }

  #flush(): void {
    this.send.flush();
    if (this.send.full) this.#blocked = true;
    else this.#commands?.reads.advance();
  }

  /** The peer broke the protocol, or we have a defect: either way only this connection ends. */
  #fail(error: unknown): void {
    if (error instanceof ProtocolError) {
      this.log.warn(
        { reason: error.message },
        'protocol error: closing the connection; update or check this initiator',
      );
      if (this.session !== undefined) this.session.counters.rejects++;
    } else {
      const stack = error instanceof Error ? error.stack : undefined;
      this.log.error(
        { error: messageOf(error), stack },
        'defect while handling a PDU: closing the connection; please report',
      );
    }
    this.send.flush();
    this.destroy(messageOf(error));
  }
}
