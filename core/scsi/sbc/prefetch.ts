// PRE-FETCH (10) and (16) (SBC-3 5.8, 5.9): brings blocks into memory so that reads of them are fast.
import { MAX_PREFETCH } from '../../base/limits.ts';
import { OK_ORDINARY, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { Status } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { blocksOf, lbaOf, rangeOf, usageOf } from './cdb.ts';
import { scan } from './media.ts';

async function prefetch(task: ScsiTask, shape: 10 | 16): Promise<TaskResult> {
  const { lu, cdb } = task;
  const lba = lbaOf(cdb, shape);
  // SBC-3 5.8: a length of zero means up to the last block.
  const asked = (blocksOf(cdb, shape) || lu.blocks - lba) * lu.blockSize;
  const reading = scan(task, lba * lu.blockSize, Math.min(asked, MAX_PREFETCH), () => undefined);
  // IMMED: an unreadable block will be met by the READ that wants it.
  if (((cdb[1] ?? 0) & 0x02) !== 0) reading.catch(() => undefined);
  else await reading;
  // CONDITION MET: everything asked for is, or will be, in memory; GOOD: not all of it.
  return { status: asked <= MAX_PREFETCH ? Status.conditionMet : Status.good };
}

function row(opcode: number, shape: 10 | 16, clause: string): CommandSpec {
  return {
    name: `PRE-FETCH (${String(shape)})`,
    opcode,
    cdbUsage: usageOf(opcode, shape, 0x02), // IMMED
    access: 'read',
    reserved: Reserved.unlessExclusive,
    okWhen: OK_ORDINARY,
    order: 'free',
    extent: (cdb) => rangeOf(cdb, shape),
    clause,
    run: (task) => prefetch(task, shape),
  };
}

export const PREFETCH: readonly CommandSpec[] = [row(0x34, 10, 'SBC-3 5.8'), row(0x90, 16, 'SBC-3 5.9')];
