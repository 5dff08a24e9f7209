// SYNCHRONIZE CACHE (10) and (16) (SBC-3 5.26, 5.27). The range is a hint we do not need: everything is made stable.
import { OK_ORDINARY, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { GOOD } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { rangeOf, usageOf } from './cdb.ts';

async function synchronize({ lu, cdb }: ScsiTask): Promise<TaskResult> {
  if (lu.volume.info.readOnly) return GOOD;
  const flushed = lu.volume.flush();
  // IMMED: the answer may come before the data is stable. A failure is met by the next write or flush.
  if (((cdb[1] ?? 0) & 0x02) !== 0) flushed.catch(() => undefined);
  else await flushed;
  return GOOD;
}

function row(opcode: number, shape: 10 | 16, clause: string): CommandSpec {
  return {
    name: `SYNCHRONIZE CACHE (${String(shape)})`,
    opcode,
    cdbUsage: usageOf(opcode, shape, 0x06), // SYNC_NV (obsolete), IMMED
    access: 'read',
    reserved: Reserved.conflict,
    okWhen: OK_ORDINARY,
    order: 'free',
    extent: (cdb) => {
      const { lba, blocks } = rangeOf(cdb, shape);
      return { lba, blocks };
    },
    clause,
    run: synchronize,
  };
}

export const SYNCHRONIZE_CACHE: readonly CommandSpec[] = [row(0x35, 10, 'SBC-3 5.26'), row(0x91, 16, 'SBC-3 5.27')];
