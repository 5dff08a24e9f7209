// Data-out of one task: immediate data, unsolicited Data-Out PDUs, and what we ask for by R2T (RFC 7143 §4.2.4.2, §11.7,
// §11.8). DataPDUInOrder and DataSequenceInOrder are always Yes, so within a sequence offsets only grow.
import { load32 } from '../base/bytes-at.ts';
import { ProtocolError } from '../base/errors.ts';
import type { CommandPath } from './command-path.ts';
import { RESERVED_TAG } from './wire/constants.ts';

/** Takes the data of a task as it arrives, in order, and goes on when all is there. */
export interface TransferSink {
  /** `length` bytes for `offset` of the data-out lie at `at`; they must be consumed before it returns. */
  deliver(offset: number, bytes: Buffer, at: number, length: number): void;
  /** All data asked for has been delivered. */
  complete(): void;
  /** The data did not come as it should: no more is delivered, the task ends with this error. */
  fail(error: Error): void;
}

/** One solicited sequence. */
interface Sequence {
  readonly ttt: number;
  readonly end: number;
  offset: number;
  dataSN: number;
}

export class Transfer {
  readonly #path: CommandPath;
  readonly #lun: Buffer;
  readonly #itt: number;
  /** Bytes the initiator may send in all, and bytes we want of them (never more). */
  readonly #expected: number;
  readonly #wanted: number;
  readonly #sink: TransferSink;
  /** Next byte the unsolicited sequence brings, and its DataSN. */
  #unsolicitedAt = 0;
  #unsolicitedSN = 0;
  #unsolicited = false;
  /** Bytes asked for or received so far; bytes received. */
  #asked = 0;
  #received = 0;
  #r2tSN = 0;
  readonly #open: Sequence[] = [];
  /** Clock time at which something of it arrived last, milliseconds. */
  heardAt: number;
  #done = false;

  constructor(path: CommandPath, lun: Buffer, itt: number, expected: number, wanted: number, sink: TransferSink) {
    this.#path = path;
    this.#lun = lun;
    this.#itt = itt;
    this.#expected = expected;
    this.#wanted = Math.min(wanted, expected);
    this.#sink = sink;
    this.heardAt = path.connection.heardAt;
  }

  /** The command PDU has been read; `final`: no unsolicited Data-Out follows it. Throws ProtocolError. */
  start(final: boolean, bytes: Buffer, dataAt: number, dataLength: number): void {
    const { immediateData, initialR2T, firstBurst } = this.#path.session.parameters;
    if (dataLength > 0) {
      if (!immediateData) throw new ProtocolError('immediate data although ImmediateData=No was negotiated');
      if (dataLength > Math.min(firstBurst, this.#expected))
        throw new ProtocolError('more immediate data than allowed');
      this.#unsolicitedAt = dataLength;
      this.#take(0, bytes, dataAt, dataLength);
    }
    if (!final) {
      if (initialR2T) throw new ProtocolError('unsolicited data although InitialR2T=Yes was negotiated');
      this.#unsolicited = this.#unsolicitedAt < Math.min(firstBurst, this.#expected);
    }
    this.#asked = this.#unsolicitedAt;
    this.#goOn();
  }

  /** No more data: the sink is told why. */
  fail(error: Error): void {
    this.#done = true;
    this.#sink.fail(error);
  }

  /** A Data-Out PDU of this task. Throws ProtocolError when it is not the one that has to come now. */
  dataOut(bytes: Buffer, at: number, dataAt: number, dataLength: number): void {
    this.heardAt = this.#path.connection.heardAt;
    const ttt = load32(bytes, at + 20);
    const dataSN = load32(bytes, at + 36);
    const offset = load32(bytes, at + 40);
    const final = ((bytes[at + 1] as number) & 0x80) !== 0;
    if (ttt === RESERVED_TAG) this.#unsolicitedData(bytes, dataAt, dataLength, dataSN, offset, final);
    else this.#solicitedData(bytes, dataAt, dataLength, ttt, dataSN, offset, final);
    this.#goOn();
  }

  #unsolicitedData(
    bytes: Buffer,
    dataAt: number,
    dataLength: number,
    dataSN: number,
    offset: number,
    final: boolean,
  ): void {
    const limit = Math.min(this.#path.session.parameters.firstBurst, this.#expected);
    if (!this.#unsolicited) throw new ProtocolError('unsolicited data after its end');
    if (dataSN !== this.#unsolicitedSN || offset !== this.#unsolicitedAt)
      throw new ProtocolError('Data-Out out of order');
    if (offset + dataLength > limit) throw new ProtocolError('more unsolicited data than FirstBurstLength');
    this.#unsolicitedSN++;
    this.#unsolicitedAt += dataLength;
    this.#asked = this.#unsolicitedAt;
    if (final) this.#unsolicited = false;
    else if (this.#unsolicitedAt === limit) throw new ProtocolError('the last unsolicited Data-Out has no F bit');
    this.#take(offset, bytes, dataAt, dataLength);
  }

  #solicitedData(
    bytes: Buffer,
    dataAt: number,
    dataLength: number,
    ttt: number,
    dataSN: number,
    offset: number,
    final: boolean,
  ): void {
    const sequence = this.#open[0];
    if (sequence?.ttt !== ttt) throw new ProtocolError('Data-Out for an R2T that is not the oldest open one');
    if (dataSN !== sequence.dataSN || offset !== sequence.offset) throw new ProtocolError('Data-Out out of order');
    const end = offset + dataLength;
    if (end > sequence.end || final !== (end === sequence.end)) {
      throw new ProtocolError('a data sequence does not match its R2T');
    }
    sequence.dataSN++;
    sequence.offset = end;
    if (final) this.#open.shift();
    this.#take(offset, bytes, dataAt, dataLength);
  }

  #take(offset: number, bytes: Buffer, dataAt: number, dataLength: number): void {
    this.#received += dataLength;
    const useful = Math.min(dataLength, this.#wanted - offset);
    if (useful > 0) this.#sink.deliver(offset, bytes, dataAt, useful);
  }

  /** Asks for what is missing, or hands over. */
  #goOn(): void {
    if (this.#done || this.#unsolicited) return;
    if (this.#received >= this.#wanted && this.#open.length === 0) {
      this.#done = true;
      this.#path.transfers.delete(this.#itt);
      this.#sink.complete();
      return;
    }
    const { maxBurst, maxOutstandingR2T } = this.#path.session.parameters;
    while (this.#asked < this.#wanted && this.#open.length < maxOutstandingR2T) {
      const length = Math.min(maxBurst, this.#wanted - this.#asked);
      const sn = this.#r2tSN++;
      // The tag only has to tell the open R2Ts of this task apart; it must not be the reserved value.
      const ttt = sn & 0x7fff_ffff;
      this.#open.push({ ttt, offset: this.#asked, end: this.#asked + length, dataSN: 0 });
      this.#path.connection.answers.r2t(this.#lun, this.#itt, ttt, sn, this.#asked, length);
      this.#asked += length;
    }
  }
}
