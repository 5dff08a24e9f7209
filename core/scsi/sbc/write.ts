// WRITE (6), (10), (12), (16) (SBC-2 5.24, SBC-3 5.33 to 5.35).
import { OK_ORDINARY, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { GOOD } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { blocksOf, checkTransfer, fuaOf, lbaOf, rangeOf, usageOf } from './cdb.ts';
import type { Shape } from './cdb.ts';

/**
 * Writes what arrived, in whole blocks: an initiator that sends less than the CDB names (overflow) gets GOOD with the
 * residual, and the rest of the range stays as it was. A ragged last block is not written.
 */
async function write({ lu, cdb, data }: ScsiTask, shape: Shape): Promise<TaskResult> {
  checkTransfer(cdb, shape, lu);
  const whole = Math.min(Math.floor(data.length / lu.blockSize), blocksOf(cdb, shape)) * lu.blockSize;
  if (whole > 0) await lu.volume.write(lbaOf(cdb, shape) * lu.blockSize, data, 0, whole, shape !== 6 && fuaOf(cdb));
  return GOOD;
}

function row(opcode: number, shape: Shape, clause: string): CommandSpec {
  return {
    name: `WRITE (${String(shape)})`,
    opcode,
    cdbUsage: usageOf(opcode, shape, 0x18), // DPO, FUA
    access: 'write',
    reserved: Reserved.conflict,
    okWhen: OK_ORDINARY,
    order: 'free',
    extent: (cdb) => rangeOf(cdb, shape),
    dataOut: (cdb, lu) => {
      checkTransfer(cdb, shape, lu);
      return blocksOf(cdb, shape) * lu.blockSize;
    },
    clause,
    run: (task) => write(task, shape),
    fast: 'write',
  };
}

export const WRITE: readonly CommandSpec[] = [
  row(0x0a, 6, 'SBC-2 5.24'),
  row(0x2a, 10, 'SBC-3 5.33'),
  row(0xaa, 12, 'SBC-3 5.34'),
  row(0x8a, 16, 'SBC-3 5.35'),
];
