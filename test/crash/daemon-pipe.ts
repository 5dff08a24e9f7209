// An iSCSI session with many commands under way at once.
import { Opcode } from '../../core/iscsi/wire/constants.ts';
import { codeOf, Initiator } from '../support/initiator.ts';
import type { LoginOptions, Pdu } from '../support/initiator.ts';

/** Milliseconds without any PDU, while answers are missing, after which a session is taken for hung. */
const PATIENCE = 60_000;

export interface Answer {
  readonly status: number;
  readonly data: Buffer;
  /** key/asc/ascq; '' when there is none. */
  readonly senseCode: string;
}

interface Running {
  readonly header: Buffer;
  readonly write: Buffer;
  readonly parts: Buffer[];
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** Message of Gone when the target has closed the connection. */
export const CLOSED = 'connection closed';

/** The connection ended, or the target does not answer. */
export class Gone extends Error {}

export class Pipe {
  readonly #initiator: Initiator;
  readonly #running = new Map<number, Running>();
  readonly #waiting: (() => void)[] = [];
  #window: number;
  #ended: Error | undefined;
  /** Resolves when the connection is over. Never rejects. */
  readonly over: Promise<void>;

  private constructor(initiator: Initiator) {
    this.#initiator = initiator;
    this.#window = initiator.cmdSN;
    this.over = this.#receive();
  }

  static async open(portal: string, options: LoginOptions): Promise<Pipe> {
    const [host = '', port = ''] = portal.split(':');
    return new Pipe(await Initiator.login(host, Number(port), options));
  }

  /** Sends a command when the window of the target allows it. Rejects with Gone. */
  async send(cdb: Buffer, options: { read?: number; write?: Buffer } = {}, sent?: () => void): Promise<Answer> {
    while (this.#ended === undefined && this.#initiator.cmdSN > this.#window) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    if (this.#ended !== undefined) throw this.#ended;
    sent?.();
    const initiator = this.#initiator;
    const { read, write } = options;
    const most = Math.min(write?.length ?? 0, 8192, initiator.maxRecvTarget);
    const immediate = initiator.answers.get('ImmediateData') === 'No' ? 0 : most;
    // Simple tasks: the target may change their order.
    const flags = 0x81 | (read === undefined ? 0 : 0x40) | (write === undefined ? 0 : 0x20);
    const header = initiator.command(cdb, { flags, length: read ?? write?.length ?? 0 });
    const data = write ?? Buffer.alloc(0);
    return new Promise<Answer>((resolve, reject) => {
      this.#running.set(header.readUInt32BE(16), { header, write: data, parts: [], resolve, reject });
      initiator.send(header, data.subarray(0, immediate));
    });
  }

  close(): void {
    this.#initiator.destroy();
  }

  async #receive(): Promise<void> {
    try {
      for (;;) {
        const pdu = await this.#initiator.receive(PATIENCE).catch((error: unknown) => {
          const hung = error instanceof Error && error.message === 'no PDU in time';
          if (hung && this.#running.size === 0) return undefined;
          throw error;
        });
        if (pdu !== undefined) this.#take(pdu);
      }
    } catch (error) {
      this.#ended = new Gone(error instanceof Error ? error.message : String(error), { cause: error });
      this.#initiator.destroy();
      for (const { reject } of this.#running.values()) reject(this.#ended);
      this.#running.clear();
      for (const wake of this.#waiting.splice(0)) wake();
    }
  }

  #take(pdu: Pdu): void {
    const { header } = pdu;
    // RFC 7143 §11.4.10: the last CmdSN the target takes; a smaller one is from before.
    this.#window = Math.max(this.#window, header.readUInt32BE(32));
    for (const wake of this.#waiting.splice(0)) wake();
    if (pdu.opcode === Opcode.nopIn || pdu.opcode === Opcode.asyncMessage) return;
    const tag = header.readUInt32BE(16);
    const running = this.#running.get(tag);
    if (running === undefined) throw new Error(`a PDU ${pdu.opcode.toString(16)} for no command`);
    if (pdu.opcode === Opcode.r2t) this.#serve(running, header);
    else if (pdu.opcode === Opcode.dataIn) {
      running.parts.push(pdu.data);
      if (((header[1] as number) & 1) !== 0) this.#finish(tag, running, header, Buffer.alloc(0));
    } else if (pdu.opcode === Opcode.scsiResponse) this.#finish(tag, running, header, pdu.data.subarray(2));
    else throw new Error(`unexpected PDU ${pdu.opcode.toString(16)}`);
  }

  #finish(tag: number, { parts, resolve }: Running, header: Buffer, sense: Buffer): void {
    this.#running.delete(tag);
    this.#initiator.expStatSN = (header.readUInt32BE(24) + 1) >>> 0;
    resolve({ status: header[3] as number, data: Buffer.concat(parts), senseCode: codeOf(sense) });
  }

  #serve({ header, write }: Running, r2t: Buffer): void {
    const initiator = this.#initiator;
    const end = r2t.readUInt32BE(40) + r2t.readUInt32BE(44);
    for (let at = r2t.readUInt32BE(40), sn = 0; at < end; sn++) {
      const size = Math.min(initiator.maxRecvTarget, end - at);
      const out = initiator.dataOut(header, r2t.readUInt32BE(20), sn, at, at + size === end);
      initiator.send(out, write.subarray(at, at + size));
      at += size;
    }
  }
}
