// Where LBA and length are in a CDB (SBC-3 5, SPC-4 4.2.5): a few shapes serve all block commands.
import { all } from '../command-spec.ts';
import type { BlockRange } from '../command-spec.ts';
import { badCdb } from '../sense.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import { MAX_TRANSFER } from '../../base/limits.ts';
import { load16, load32 } from '../../base/bytes-at.ts';

/** The shape by the CDB's length. */
export type Shape = 6 | 10 | 12 | 16;

/** LOGICAL BLOCK ADDRESS. Above 2^53 it is no longer exact, but certainly out of range. */
export function lbaOf(cdb: Buffer, shape: Shape): number {
  switch (shape) {
    case 6:
      return (((cdb[1] ?? 0) & 0x1f) << 16) | load16(cdb, 2);
    case 10:
    case 12:
      return load32(cdb, 2);
    case 16:
      return load32(cdb, 2) * 4_294_967_296 + load32(cdb, 6);
  }
}

/** TRANSFER LENGTH or its like, in blocks. In READ (6) and WRITE (6) zero means 256. */
export function blocksOf(cdb: Buffer, shape: Shape): number {
  switch (shape) {
    case 6:
      return cdb[4] === 0 ? 256 : (cdb[4] ?? 0);
    case 10:
      return load16(cdb, 7);
    case 12:
      return load32(cdb, 6);
    case 16:
      return load32(cdb, 10);
  }
}

/** Byte of the CDB where the length begins, for the field pointer. */
const LENGTH_AT: Readonly<Record<Shape, number>> = { 6: 4, 10: 7, 12: 6, 16: 10 };

export function rangeOf(cdb: Buffer, shape: Shape): BlockRange {
  return { lba: lbaOf(cdb, shape), blocks: blocksOf(cdb, shape) };
}

/** Refuses transfers above MAXIMUM TRANSFER LENGTH (SBC-3 6.5.3): 05/24/00 at the length. */
export function checkTransfer(cdb: Buffer, shape: Shape, lu: LogicalUnit): void {
  if (blocksOf(cdb, shape) * lu.blockSize > MAX_TRANSFER) throw badCdb(LENGTH_AT[shape]);
}

/** FUA, byte 1 bit 3. */
export const fuaOf = (cdb: Buffer): boolean => ((cdb[1] ?? 0) & 0x08) !== 0;

/** CDB USAGE DATA of a command with this shape; `flags` are the bits of byte 1 that we look at. */
export function usageOf(opcode: number, shape: Shape, flags: number): number[] {
  switch (shape) {
    case 6:
      return [opcode, 0x1f, ...all(2), 0xff, 0];
    case 10:
      return [opcode, flags, ...all(4), 0x1f, ...all(2), 0];
    case 12:
      return [opcode, flags, ...all(4), ...all(4), 0x1f, 0];
    case 16:
      return [opcode, flags, ...all(8), ...all(4), 0x1f, 0];
  }
}
