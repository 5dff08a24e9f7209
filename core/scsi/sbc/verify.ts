// VERIFY (10), (12), (16) and WRITE AND VERIFY (10), (12), (16) (SBC-3 5.29 to 5.31, 5.37 to 5.39).
import { OK_ORDINARY, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import { badCdb } from '../sense.ts';
import { GOOD } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { blocksOf, checkTransfer, lbaOf, rangeOf, usageOf } from './cdb.ts';
import type { Shape } from './cdb.ts';
import { compare, scan } from './media.ts';

/** BYTCHK (SBC-3 table 134): what the medium is compared with. */
const ByteCheck = { medium: 0, data: 1, oneBlock: 3 } as const;
const byteCheckOf = (cdb: Buffer): number => ((cdb[1] ?? 0) >> 1) & 3;

/** Data-out of VERIFY: nothing, the whole range, or one block to compare each block with. */
function verifyDataOut(cdb: Buffer, shape: Shape, lu: LogicalUnit): number {
  switch (byteCheckOf(cdb)) {
    case ByteCheck.medium:
      return 0;
    case ByteCheck.data:
      checkTransfer(cdb, shape, lu);
      return blocksOf(cdb, shape) * lu.blockSize;
    case ByteCheck.oneBlock:
      return blocksOf(cdb, shape) === 0 ? 0 : lu.blockSize;
    default:
      throw badCdb(1, 2);
  }
}

async function verify(task: ScsiTask, shape: Shape): Promise<TaskResult> {
  const { lu, cdb, data } = task;
  const check = byteCheckOf(cdb);
  // Without a comparison any length may be verified, also above MAXIMUM TRANSFER LENGTH: nothing is transferred, and hosts
  // that check a disk for bad blocks take the largest length the CDB can hold. With one, only what was sent can be compared.
  const length = check === ByteCheck.data ? data.length : blocksOf(cdb, shape) * lu.blockSize;
  if (check === ByteCheck.oneBlock && data.length < lu.blockSize) return GOOD;
  await scan(task, lbaOf(cdb, shape) * lu.blockSize, length - (length % lu.blockSize), (piece, offset) => {
    if (check === ByteCheck.data) compare(piece, data.subarray(offset, offset + piece.length), offset);
    if (check === ByteCheck.oneBlock) {
      for (let at = 0; at < piece.length; at += lu.blockSize) {
        compare(piece.subarray(at, at + lu.blockSize), data, offset + at);
      }
    }
  });
  return GOOD;
}

async function writeAndVerify(task: ScsiTask, shape: Shape): Promise<TaskResult> {
  const { lu, cdb, data } = task;
  if (byteCheckOf(cdb) > ByteCheck.data) throw badCdb(1, 2);
  checkTransfer(cdb, shape, lu);
  const length = Math.min(Math.floor(data.length / lu.blockSize), blocksOf(cdb, shape)) * lu.blockSize;
  const position = lbaOf(cdb, shape) * lu.blockSize;
  if (length === 0) return GOOD;
  await lu.volume.write(position, data, 0, length, true);
  await scan(task, position, length, (piece, offset) => {
    if (byteCheckOf(cdb) === ByteCheck.data) compare(piece, data.subarray(offset, offset + piece.length), offset);
  });
  return GOOD;
}

function verifyRow(opcode: number, shape: Shape, clause: string): CommandSpec {
  return {
    name: `VERIFY (${String(shape)})`,
    opcode,
    cdbUsage: usageOf(opcode, shape, 0x16), // DPO, BYTCHK
    access: 'read',
    reserved: Reserved.unlessExclusive,
    okWhen: OK_ORDINARY,
    order: 'free',
    extent: (cdb) => rangeOf(cdb, shape),
    dataOut: (cdb, lu) => verifyDataOut(cdb, shape, lu),
    clause,
    run: (task) => verify(task, shape),
  };
}

function writeRow(opcode: number, shape: Shape, clause: string): CommandSpec {
  return {
    name: `WRITE AND VERIFY (${String(shape)})`,
    opcode,
    cdbUsage: usageOf(opcode, shape, 0x16), // DPO, BYTCHK
    access: 'write',
    reserved: Reserved.conflict,
    okWhen: OK_ORDINARY,
    // Alone on its blocks, or another write could come between writing and verifying.
    order: 'extent',
    extent: (cdb) => rangeOf(cdb, shape),
    dataOut: (cdb, lu) => {
      checkTransfer(cdb, shape, lu);
      return blocksOf(cdb, shape) * lu.blockSize;
    },
    clause,
    run: (task) => writeAndVerify(task, shape),
  };
}

export const VERIFY: readonly CommandSpec[] = [
  verifyRow(0x2f, 10, 'SBC-3 5.29'),
  verifyRow(0xaf, 12, 'SBC-3 5.30'),
  verifyRow(0x8f, 16, 'SBC-3 5.31'),
  writeRow(0x2e, 10, 'SBC-3 5.37'),
  writeRow(0xae, 12, 'SBC-3 5.38'),
  writeRow(0x8e, 16, 'SBC-3 5.39'),
];
