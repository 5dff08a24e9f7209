// WRITE SAME (10) and (16) (SBC-3 5.43, 5.44): one block, many times. Zeros become a request to clear, not data.
import { WRITE_SAME_STEP } from '../core/base/limits.ts';
import { OK_ORDINARY, Reserved } from '../core/scsi/command-spec.ts';
import type { CommandSpec } from '../core/scsi/command-spec.ts';
import type { LogicalUnit } from '../core/scsi/logical-unit.ts';
import { maxWriteSame } from '../core/scsi/provisioning.ts';
import { SENSE, ScsiError, badCdb } from '../core/scsi/sense.ts';
import { GOOD } from '../core/scsi/task.ts';
import type { ScsiTask, TaskResult } from '../core/scsi/task.ts';
import { blocksOf, lbaOf, rangeOf, usageOf } from '../core/scsi/sbc/cdb.ts';
import { copyPace } from '../core/volume/copy-pace.ts';

type Shape = 10 | 16;
const UNMAP = 0x08;
/** NO DATA-OUT BUFFER, only in the 16-byte form. */
const NDOB = 0x01;

/** Byte length of the range; NUMBER OF LOGICAL BLOCKS 0 means up to the last block (WSNZ=0). */
function lengthOf(cdb: Buffer, shape: Shape, lu: LogicalUnit): number {
  return (blocksOf(cdb, shape) || lu.blocks - lbaOf(cdb, shape)) * lu.blockSize;
}

const hasNoData = (cdb: Buffer, shape: Shape): boolean => shape === 16 && ((cdb[1] ?? 0) & NDOB) !== 0;

async function writeSame(task: ScsiTask, shape: Shape): Promise<TaskResult> {
  const { lu, nexus, cdb, data, expectedDataOut } = task;
  const unmap = ((cdb[1] ?? 0) & UNMAP) !== 0;
  if (unmap && !lu.volume.info.thin) throw badCdb(1, 3);
  const length = lengthOf(cdb, shape, lu);
  if (length > maxWriteSame(lu)) throw tooLong(shape);
  const noData = hasNoData(cdb, shape);
  // Exactly one block, or none with NDOB: anything else is a mistake that would be multiplied.
  if (expectedDataOut !== (noData ? 0 : lu.blockSize)) throw badCdb(1, 0);
  const position = lbaOf(cdb, shape) * lu.blockSize;
  // With UNMAP set the blocks are given back and read as zeros whatever the block holds. SBC-3 4.7.3.4.4 would have a block
  // that is not zero written (LBPRZ=1), but iscsi-test-cu (UnmapUntilEnd) sends FFh and expects zeros, and the other targets
  // do as it says. Initiators send zeros with UNMAP, where both are the same.
  const began = lu.clock.now();
  const { volume } = lu;
  const zeros = noData || isZero(data);
  if (unmap) await inSteps(task, position, length, 'zero', (at, size) => volume.unmap(at, size));
  else if (zeros) await inSteps(task, position, length, 'zero', (at, size) => volume.zero(at, size));
  else {
    const pattern = Buffer.alloc(Math.min(WRITE_SAME_STEP, length), data);
    await inSteps(task, position, length, 'pattern', (at, size) => volume.write(at, pattern, 0, size, false));
  }
  if (task.aborted) return GOOD;
  const moved = unmap || (zeros && volume.info.quickZero === true) ? 0 : length;
  const micros = (lu.clock.now() - began) * 1000;
  lu.offload.used(nexus, 'write-same', { shared: length - moved, copied: moved, micros });
  return GOOD;
}

/**
 * Bytes; the standard does not want WRITE SAME to be one step for others, so each piece is locked by itself: whoever reads or
 * writes elsewhere in the range goes on, and an abort ends it after the piece that is being worked on. While hosts are being
 * served the pieces are small, and make room for them.
 */
async function inSteps(
  task: ScsiTask,
  position: number,
  length: number,
  kind: 'zero' | 'pattern',
  work: (position: number, length: number) => Promise<void>,
): Promise<void> {
  const aborted = (): boolean => task.aborted;
  const { clock } = task.lu;
  for (let done = 0; done < length && !aborted();) {
    if (done > 0) await copyPace.turn(clock);
    const step = copyPace.step(clock, kind);
    // Up to a multiple of the step, so that the pieces are whole grains and leaves.
    const size = Math.min(step - ((position + done) % step), length - done);
    copyPace.begin(clock, kind, size);
    const lock = await task.lu.locks.acquire(position + done, size, true);
    try {
      if (!aborted()) await work(position + done, size);
    } finally {
      lock.release();
    }
    done += size;
  }
}

const tooLong = (shape: Shape): ScsiError =>
  new ScsiError(SENSE.invalidFieldInCdb, { field: shape === 10 ? 7 : 10, reason: 'too-long' });

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
    order: 'steps',
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
