// PDUs that came before their turn (RFC 7143 §4.2.2.1): inside the window, kept until the numbers before them have come.
import { MAX_EARLY_BYTES } from '../base/limits.ts';
import { load32 } from '../base/bytes-at.ts';
import { ProtocolError } from '../base/errors.ts';
import type { DataMemory } from './data-memory.ts';
import { serialAfter } from './serial.ts';

/** Stands for a number that is used up though nothing is carried out for it. */
const NOTHING = Buffer.alloc(0);

export class EarlyPdus {
  readonly #memory: DataMemory;
  readonly #kept = new Map<number, Buffer>();
  #bytes = 0;

  constructor(memory: DataMemory) {
    this.#memory = memory;
  }

  get size(): number {
    return this.#kept.size;
  }

  has(cmdSN: number): boolean {
    return this.#kept.has(cmdSN);
  }

  /**
   * Keeps a copy of the PDU at `at`: headers, then data without digests. Throws ProtocolError when it is too much: on the one
   * connection of a session commands have to be sent in the order of their numbers (RFC 7143 §4.2.2.1), so nobody who
   * keeps to the standard gets here.
   */
  keep(cmdSN: number, bytes: Buffer, at: number, dataAt: number, dataLength: number): void {
    const headers = 48 + (bytes[at + 4] as number) * 4;
    const length = headers + dataLength;
    if (this.#bytes + length > MAX_EARLY_BYTES || !this.#memory.tryGather(length)) {
      throw new ProtocolError('too much has been sent ahead of a command that is missing');
    }
    this.#bytes += length;
    const copy = Buffer.allocUnsafe(length);
    bytes.copy(copy, 0, at, at + headers);
    bytes.copy(copy, headers, dataAt, dataAt + dataLength);
    this.#kept.set(cmdSN, copy);
  }

  /** The number counts as received; nothing is carried out when its turn comes. */
  skip(cmdSN: number): void {
    this.#giveBack(this.#kept.get(cmdSN));
    this.#kept.set(cmdSN, NOTHING);
  }

  /** What was kept for this number: a PDU, an empty buffer when there is nothing to do for it, or undefined. */
  take(cmdSN: number): Buffer | undefined {
    const copy = this.#kept.get(cmdSN);
    if (copy === undefined) return undefined;
    this.#kept.delete(cmdSN);
    this.#giveBack(copy);
    return copy;
  }

  /** Drops the PDUs `which` picks among those numbered before `cmdSN`; their numbers count. Returns how many. */
  drop(cmdSN: number, which: (pdu: Buffer) => boolean): number {
    const chosen = [...this.#kept].filter(
      ([number, copy]) => copy.length > 0 && serialAfter(cmdSN, number) && which(copy),
    );
    for (const [number] of chosen) this.skip(number);
    return chosen.length;
  }

  clear(): void {
    for (const cmdSN of [...this.#kept.keys()]) this.take(cmdSN);
  }

  #giveBack(copy: Buffer | undefined): void {
    if (copy === undefined || copy.length === 0) return;
    this.#bytes -= copy.length;
    this.#memory.giveBackGathered(copy.length);
  }
}

/** Initiator task tag of a kept PDU. */
export const tagOf = (pdu: Buffer): number => load32(pdu, 16);
