// What a vector of a command is, and how sense data is written down.
import { h } from './hex.ts';

/** One CDB, and what has to become of it. Hex throughout; spaces are for the reader. */
export interface CdbVector {
  /** What it shows. */
  readonly shows: string;
  /** Commands before, as `cdb` or `cdb | data`, from host a; with `b:` in front from host b. They end with GOOD. */
  readonly before?: readonly string[];
  readonly from?: 'a' | 'b';
  readonly cdb: string;
  /** Data-out. */
  readonly data?: string;
  /** SAM-5 5.3.1; unless it is given, GOOD without sense and CHECK CONDITION with it. */
  readonly status?: '00' | '04' | '18';
  /** Data-in. */
  readonly in?: string;
  readonly sense?: string;
  /** What blocks hold afterwards: LBA, and the byte all of the block consists of. */
  readonly medium?: readonly (readonly [lba: number, byte: string])[];
  /** Commands afterwards with their data-in, as `cdb = data`, or their sense, as `cdb ! sense`; from host a or `b:`. */
  readonly then?: readonly string[];
  /** Less data-out than the CDB says is never GOOD and changes nothing. */
  readonly whole?: boolean;
}

/** The vectors of one row of the command table. */
export interface RowVectors {
  /** Name in the standard; clause as the row cites it. */
  readonly row: string;
  /** CDB USAGE DATA (SPC-4 6.35.3): opcode, service action, and a set bit for each bit that is looked at. */
  readonly usage: string;
  readonly vectors: readonly CdbVector[];
}

/** Sense data in fixed format (SPC-4 4.5.3): 70h, key, INFORMATION, length 10, code and qualifier, sense key specific. */
export const fixed = (key: string, code: string, specific = '000000', information?: string): string =>
  h(information === undefined ? '70' : 'f0', '00', key, information ?? '00000000', '0a 00000000', code, '00', specific);

/** FIELD POINTER (SPC-4 4.5.2.4.2): SKSV and C/D=1 (CDB), the byte, and with BPV the bit. */
export const inCdb = (byte: number, bit?: number): string => pointer(0xc0, byte, bit);
/** The same in the parameter list: C/D=0. */
export const inData = (byte: number, bit?: number): string => pointer(0x80, byte, bit);

function pointer(flags: number, byte: number, bit: number | undefined): string {
  const first = flags | (bit === undefined ? 0 : 0x08 | bit);
  return first.toString(16) + byte.toString(16).padStart(4, '0');
}

/** 05h/24h/00h INVALID FIELD IN CDB, 05h/26h/00h INVALID FIELD IN PARAMETER LIST. */
export const invalidCdb = (byte: number, bit?: number): string => fixed('05', '24 00', inCdb(byte, bit));
export const invalidList = (byte: number, bit?: number): string => fixed('05', '26 00', inData(byte, bit));
/** 05h/1Ah/00h PARAMETER LIST LENGTH ERROR. */
export const LIST_LENGTH = fixed('05', '1a 00');
/** 05h/21h/00h LOGICAL BLOCK ADDRESS OUT OF RANGE, with the first LBA. */
export const beyondEnd = (lba: string): string => fixed('05', '21 00', '000000', lba);
/** 0Eh/1Dh/00h MISCOMPARE DURING VERIFY OPERATION, with the offset of the first difference (SBC-3 4.7.2). */
export const miscompare = (offset: string): string => fixed('0e', '1d 00', '000000', offset);

/** A block of 512 bytes. */
export const block = (byte: string): string => byte.repeat(512);
