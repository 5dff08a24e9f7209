// READ (6), (10), (12), (16) (SBC-2 5.5, SBC-3 5.11 to 5.13).
import { OK_ORDINARY, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { GOOD, Status } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { blocksOf, checkTransfer, fuaOf, lbaOf, rangeOf, usageOf } from './cdb.ts';
import type { Shape } from './cdb.ts';

async function read(task: ScsiTask, shape: Shape): Promise<TaskResult> {
  const { lu, cdb } = task;
  checkTransfer(cdb, shape, lu);
  const length = blocksOf(cdb, shape) * lu.blockSize;
  if (length === 0) return { status: Status.good };
  // FUA: what is read has to be on the medium before (SBC-3 4.15).
  if (shape !== 6 && fuaOf(cdb) && !lu.volume.info.readOnly) await lu.volume.flush();
  const position = lbaOf(cdb, shape) * lu.blockSize;
  if ((await lu.volume.bring?.(position, length)) === true && task.sendNow?.(position, length) === true) return GOOD;
  const data = Buffer.allocUnsafe(length);
  if (!lu.volume.readNow(position, length, data, 0)) await lu.volume.read(position, length, data, 0);
  return { status: Status.good, dataIn: [data] };
}

function row(opcode: number, shape: Shape, clause: string): CommandSpec {
  return {
    name: `READ (${String(shape)})`,
    opcode,
    cdbUsage: usageOf(opcode, shape, 0x18), // DPO, FUA
    access: 'read',
    reserved: Reserved.unlessExclusive,
    okWhen: OK_ORDINARY,
    order: 'free',
    extent: (cdb) => rangeOf(cdb, shape),
    clause,
    run: (task) => read(task, shape),
    fast: 'read',
  };
}

export const READ: readonly CommandSpec[] = [
  row(0x08, 6, 'SBC-2 5.5'),
  row(0x28, 10, 'SBC-3 5.11'),
  row(0xa8, 12, 'SBC-3 5.12'),
  row(0x88, 16, 'SBC-3 5.13'),
];
