// One client of the gateway and its own connection to libvirtd. What is nothing to the gateway goes through as it came.
import type { Duplex } from 'node:stream';
import { ServiceError, messageOf } from '../../../core/base/errors.ts';
import { LibvirtCode, LibvirtError, writeError } from '../rpc/errors.ts';
import { Framer, MessageStatus, MessageType, PROGRAM_REMOTE, VERSION, encodeFrame } from '../rpc/frame.ts';
import type { Frame } from '../rpc/frame.ts';
import { MAX_CALLS } from '../rpc/limits.ts';
import { EVENT, POOL_REFRESH, poolRefreshed } from '../rpc/procedures.ts';
import type { Pool } from '../rpc/types.ts';
import { XdrReader, XdrWriter } from '../rpc/xdr.ts';
import type { Link, Row } from './answers.ts';
import { STORAGE } from './face.ts';

/** Numbers of events that libvirtd does not give: it counts from 0. */
const OWN_CALLBACKS = 0x4000_0000;

/** libvirt's number for an error of ours. */
const NUMBERS: Readonly<Record<string, number>> = {
  'not-found': LibvirtCode.noVolume,
  exists: LibvirtCode.volumeExists,
  'in-use': LibvirtCode.operationInvalid,
  'bad-request': LibvirtCode.xml,
  'no-space': LibvirtCode.operationFailed,
};

type After = (reply: unknown) => unknown;

export interface ConnectionOptions {
  readonly client: Duplex;
  readonly libvirtd: Duplex;
  readonly rows: ReadonlyMap<number, Row>;
  readonly pool: Pool;
  /** Something has changed in the pool: all connections have to say so. */
  readonly onChanged: () => void;
}

export class Connection implements Link {
  /** Resolves when both sides are closed. */
  readonly closed: Promise<void>;
  readonly #options: ConnectionOptions;
  /** Answers of libvirtd that are to be changed, by serial number of the call. */
  readonly #after = new Map<number, { readonly row: Row; readonly after: After }>();
  /** Calls that are being answered here. */
  #working = 0;
  /** Event ids by number of the callback. */
  readonly #callbacks = new Map<number, number>();
  #own = OWN_CALLBACKS;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { client, libvirtd } = options;
    this.#pump(client, libvirtd, (frame) => {
      this.#called(frame);
    });
    this.#pump(libvirtd, client, (frame) => {
      this.#answered(frame);
    });
    const gone = (stream: Duplex, other: Duplex): Promise<void> =>
      new Promise((resolve) => {
        stream.on('error', () => undefined);
        stream.once('close', () => {
          // What it has said last still has to arrive.
          other.end();
          setImmediate(() => other.destroy());
          resolve();
        });
      });
    this.closed = Promise.all([gone(client, libvirtd), gone(libvirtd, client)]).then(() => undefined);
  }

  /** A client that uses the pool sees what is new in it only when it is told (virt-manager looks at nothing else). */
  tell(): void {
    const { client, pool } = this.#options;
    for (const [callbackId, eventId] of this.#callbacks) {
      if (eventId !== POOL_REFRESH) continue;
      const xdr = new XdrWriter();
      poolRefreshed.write(xdr, { callbackId, pool });
      const head = { program: PROGRAM_REMOTE, version: VERSION, procedure: EVENT.poolRefresh };
      client.write(encodeFrame({ ...head, type: MessageType.event, serial: 0, status: MessageStatus.ok }, xdr.bytes));
    }
  }

  get wantsEvents(): boolean {
    return this.#callbacks.size > 0;
  }

  close(): void {
    this.#options.client.destroy();
    this.#options.libvirtd.destroy();
  }

  subscribe(callbackId: number, eventId: number): void {
    if (this.#callbacks.size >= MAX_CALLS) throw new ServiceError('limit-reached', 'too many callbacks');
    this.#callbacks.set(callbackId, eventId);
  }

  unsubscribe(callbackId: number): void {
    this.#callbacks.delete(callbackId);
  }

  ownCallback(): number {
    return this.#own++;
  }

  isOwnCallback(callbackId: number): boolean {
    return callbackId >= OWN_CALLBACKS;
  }

  changed(): void {
    this.#options.onChanged();
  }

  /** Messages of `from`; while `to` does not take any more, nothing more is read. */
  #pump(from: Duplex, to: Duplex, take: (frame: Frame) => void): void {
    const framer = new Framer();
    from.on('data', (bytes: Buffer) => {
      try {
        for (const frame of framer.push(bytes)) take(frame);
      } catch {
        // Not the protocol: neither side could make anything of what follows.
        this.close();
        return;
      }
      if (to.writableNeedDrain) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    });
  }

  #called(frame: Frame): void {
    if (frame.program === PROGRAM_REMOTE && frame.type === MessageType.callWithFds) {
      this.#refuse(
        frame,
        new LibvirtError(LibvirtCode.unsupported, STORAGE, 'file descriptors do not pass the gateway'),
      );
      return;
    }
    const row =
      frame.program === PROGRAM_REMOTE && frame.type === MessageType.call
        ? this.#options.rows.get(frame.procedure)
        : undefined;
    let args: unknown;
    if (row !== undefined) {
      try {
        args = row.procedure.args.read(new XdrReader(frame.body));
      } catch {
        // libvirtd says what is wrong with it.
      }
    }
    if (row === undefined || args === undefined) {
      this.#options.libvirtd.write(bytesOf(frame));
      return;
    }
    if (this.#working >= MAX_CALLS || this.#after.size >= MAX_CALLS) {
      this.#refuse(frame, new ServiceError('limit-reached', `${String(MAX_CALLS)} calls are under way`));
      return;
    }
    this.#working++;
    void this.#work(frame, row, args).finally(() => this.#working--);
  }

  /** Never rejects. */
  async #work(frame: Frame, row: Row, args: unknown): Promise<void> {
    try {
      const outcome = await row.handle(args, this);
      if (outcome !== undefined && 'answer' in outcome) {
        this.#answer(frame, row, outcome.answer);
        return;
      }
      const { forward, after } = outcome ?? {};
      if (after !== undefined) this.#after.set(frame.serial, { row, after });
      if (forward === undefined) {
        this.#options.libvirtd.write(bytesOf(frame));
        return;
      }
      const xdr = new XdrWriter();
      row.procedure.args.write(xdr, forward);
      this.#options.libvirtd.write(encodeFrame(frame, xdr.bytes));
    } catch (error) {
      this.#refuse(frame, error);
    }
  }

  #answered(frame: Frame): void {
    const isReply = frame.program === PROGRAM_REMOTE && frame.type === MessageType.reply;
    const waiting = isReply ? this.#after.get(frame.serial) : undefined;
    if (waiting === undefined) {
      this.#options.client.write(bytesOf(frame));
      return;
    }
    this.#after.delete(frame.serial);
    void this.#change(frame, waiting.row, waiting.after);
  }

  /** Never rejects: an answer that cannot be changed goes on as it is. */
  async #change(frame: Frame, row: Row, after: After): Promise<void> {
    let bytes = bytesOf(frame);
    if (frame.status === MessageStatus.ok) {
      try {
        const changed = await after(row.procedure.reply.read(new XdrReader(frame.body)));
        if (changed !== undefined) {
          const xdr = new XdrWriter();
          row.procedure.reply.write(xdr, changed);
          bytes = encodeFrame(frame, xdr.bytes);
        }
      } catch {
        // The storage does not answer: what libvirtd says is true all the same.
      }
    }
    this.#options.client.write(bytes);
  }

  #answer(frame: Frame, row: Row, answer: unknown): void {
    const xdr = new XdrWriter();
    row.procedure.reply.write(xdr, answer);
    const head = { ...frame, type: MessageType.reply, status: MessageStatus.ok };
    this.#options.client.write(encodeFrame(head, xdr.bytes));
  }

  #refuse(frame: Frame, error: unknown): void {
    const xdr = new XdrWriter();
    const known = error instanceof LibvirtError ? error.number : undefined;
    const number = known ?? (error instanceof ServiceError ? NUMBERS[error.code] : undefined) ?? LibvirtCode.internal;
    const domain = error instanceof LibvirtError ? error.domain : STORAGE;
    writeError(xdr, number, domain, messageOf(error).replace(/^libvirt: /, ''));
    const head = { ...frame, type: MessageType.reply, status: MessageStatus.error };
    this.#options.client.write(encodeFrame(head, xdr.bytes));
  }
}

/** The message as it was: its header holds everything that is not in its body. */
const bytesOf = (frame: Frame): Buffer => encodeFrame(frame, frame.body);
