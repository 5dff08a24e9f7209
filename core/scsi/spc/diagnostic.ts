// SEND DIAGNOSTIC (SPC-4 6.42): the default self-test only; there are no diagnostic pages.
import { OK_ORDINARY, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import { SENSE, ScsiError, badCdb } from '../sense.ts';
import { GOOD } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';

/** Reads the first and the last block. Throws 04/3E/03 when the volume cannot. */
async function selfTest(lu: LogicalUnit): Promise<void> {
  const block = Buffer.alloc(lu.blockSize);
  try {
    await lu.volume.read(0, lu.blockSize, block, 0);
    await lu.volume.read((lu.blocks - 1) * lu.blockSize, lu.blockSize, block, 0);
  } catch (error) {
    lu.log.error({ error: String(error) }, 'self-test failed: check the disk behind this volume');
    throw new ScsiError(SENSE.selfTestFailed);
  }
}

async function sendDiagnostic({ lu, cdb }: ScsiTask): Promise<TaskResult> {
  const flags = cdb.readUInt8(1);
  // Background and foreground self-tests (SELF-TEST CODE) would need a results log.
  if (flags >> 5 !== 0) throw badCdb(1, 7);
  if (cdb.readUInt16BE(3) !== 0) throw badCdb(3);
  if ((flags & 0x04) !== 0) await selfTest(lu); // SELFTEST
  return GOOD;
}

export const DIAGNOSTIC: readonly CommandSpec[] = [
  {
    name: 'SEND DIAGNOSTIC',
    opcode: 0x1d,
    cdbUsage: [0x1d, 0xf7, 0, 0xff, 0xff, 0],
    access: 'none',
    reserved: Reserved.conflict,
    okWhen: { ...OK_ORDINARY, standby: true },
    order: 'free',
    clause: 'SPC-4 6.42',
    run: sendDiagnostic,
  },
];
