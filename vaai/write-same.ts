// WRITE SAME (10) and (16) (SBC-3 5.43, 5.44): one block, many times. Zeros become a request to clear, not data.
import { MAX_WRITE_SAME } from '../core/base/limits.ts';
import { OK_ORDINARY, Reserved } from '../core/scsi/command-spec.ts';
import type { CommandSpec } from '../core/scsi/command-spec.ts';
import type { LogicalUnit } from '../core/scsi/logical-unit.ts';
import { badCdb } from '../core/scsi/sense.ts';
import { GOOD } from '../core/scsi/task.ts';
import type { ScsiTask, TaskResult } from '../core/scsi/task.ts';
import { blocksOf, lbaOf, rangeOf, usageOf } from '../core/scsi/sbc/cdb.ts';

type Shape = 10 | 16;
/** Bytes of pattern written at a time. */
const PIECE = 1_048_576;
const UNMAP = 0x08;
/** NO DATA-OUT BUFFER, only in the 16-byte form. */
const NDOB = 0x01;

/** Byte length of the range; NUMBER OF LOGICAL BLOCKS 0 means up to the last block (WSNZ=0). */
function lengthOf(cdb: Buffer, shape: Shape, lu: LogicalUnit): number {
  return (blocksOf(cdb, shape) || lu.blocks - lbaOf(cdb, shape)) * lu.blockSize;
}

const hasNoData = (cdb: Buffer, shape: Shape): boolean => shape === 16 && ((cdb[1] ?? 0) & NDOB) !== 0;

async function writeSame({ lu, cdb, data, expectedDataOut }: ScsiTask, shape: Shape): Promise<TaskResult> {
  const unmap = ((cdb[1] ?? 0) & UNMAP) !== 0;
  if (unmap && !lu.volume.info.thin) throw badCdb(1, 3);
  const length = lengthOf(cdb, shape, lu);
  if (length > MAX_WRITE_SAME) throw badCdb(shape === 10 ? 7 : 10);
  const noData = hasNoData(cdb, shape);
  // Exactly one block, or none with NDOB: anything else is a mistake that would be multiplied.
  if (expectedDataOut !== (noData ? 0 : lu.blockSize)) throw badCdb(1, 0);
  const position = lbaOf(cdb, shape) * lu.blockSize;
  // With UNMAP set the blocks are given back and read as zeros whatever the block holds. SBC-3 4.7.3.4.4 would have a block
  // that is not zero written (LBPRZ=1), but iscsi-test-cu (UnmapUntilEnd) sends FFh and expects zeros, and the other targets
  // do as it says. Initiators send zeros with UNMAP, where both are the same.
  if (unmap) await lu.volume.unmap(position, length);
  else if (noData || isZero(data)) await lu.volume.zero(position, length);
  else await fill(lu, position, length, data);
  return GOOD;
}

async function fill(lu: LogicalUnit, position: number, length: number, block: Buffer): Promise<void> {
  const pattern = Buffer.alloc(Math.min(PIECE, length), block);
  for (let done = 0; done < length;) {
    const size = Math.min(pattern.length, length - done);
    await lu.volume.write(position + done, pattern, 0, size, false);
    done += size;
  }
}

function isZero(data: Buffer): boolean {
  return data[0] === 0 && data.compare(data, 1, data.length, 0, data.length - 1) === 0;
}

function row(opcode: number, shape: Shape, flags: number, clause: string): CommandSpec {
  return {
    name: `WRITE SAME (${String(shape)})`,
    opcode,
    cdbUsage: usageOf(opcode, shape, flags),
    access: 'write',
    reserved: Reserved.conflict,
    okWhen: OK_ORDINARY,
    order: 'extent',
    extent: (cdb, lu) => {
      const { lba, blocks } = rangeOf(cdb, shape);
      return { lba, blocks: blocks || Math.max(0, lu.blocks - lba) };
    },
    dataOut: (cdb, lu) => (hasNoData(cdb, shape) ? 0 : lu.blockSize),
    clause,
    run: (task) => writeSame(task, shape),
  };
}

// ANCHOR is refused by the usage mask: there are no anchored blocks (VPD B2 ANC_SUP=0).
export const WRITE_SAME: readonly CommandSpec[] = [
  row(0x41, 10, UNMAP, 'SBC-3 5.43'),
  row(0x93, 16, UNMAP | NDOB, 'SBC-3 5.44'),
];
