// Commands that change their blocks in one step as every other command sees it: WRITE ATOMIC (16), ORWRITE (16).
import { MAX_ATOMIC } from '../../base/limits.ts';
import { load16 } from '../../base/bytes-at.ts';
import { OK_ORDINARY, Reserved, all } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import { badCdb } from '../sense.ts';
import { GOOD } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { blocksOf, checkTransfer, fuaOf, lbaOf, rangeOf, usageOf } from './cdb.ts';

/** SBC-4 5.48: TRANSFER LENGTH in bytes 12 and 13, ATOMIC BOUNDARY before it. */
const atomicBlocks = (cdb: Buffer): number => load16(cdb, 12);

/** Bytes of the data, after the checks. We have no atomic boundaries: any but 0 is refused. */
function atomicLength(cdb: Buffer, lu: LogicalUnit): number {
  const length = atomicBlocks(cdb) * lu.blockSize;
  if (load16(cdb, 10) !== 0) throw badCdb(10);
  if (length > MAX_ATOMIC) throw badCdb(12);
  return length;
}

async function writeAtomic({ lu, cdb, data }: ScsiTask): Promise<TaskResult> {
  const length = atomicLength(cdb, lu);
  // Part of the data must not be written: that would not be atomic.
  if (data.length < length) throw badCdb(12);
  if (length === 0) return GOOD;
  const { volume } = lu;
  const position = lbaOf(cdb, 16) * lu.blockSize;
  if (volume.writeAtomic === undefined) await volume.write(position, data, 0, length, fuaOf(cdb));
  else await volume.writeAtomic(position, data, 0, length, fuaOf(cdb));
  return GOOD;
}

async function orWrite({ lu, cdb, data }: ScsiTask): Promise<TaskResult> {
  checkTransfer(cdb, 16, lu);
  const length = Math.min(Math.floor(data.length / lu.blockSize), blocksOf(cdb, 16)) * lu.blockSize;
  if (length === 0) return GOOD;
  const position = lbaOf(cdb, 16) * lu.blockSize;
  const merged = Buffer.allocUnsafe(length);
  await lu.volume.read(position, length, merged, 0);
  for (let i = 0; i < length; i++) merged[i] = (merged[i] ?? 0) | (data[i] ?? 0);
  await lu.volume.write(position, merged, 0, length, fuaOf(cdb));
  return GOOD;
}

const base = {
  access: 'write',
  reserved: Reserved.conflict,
  okWhen: OK_ORDINARY,
  order: 'extent',
} as const;

export const ATOMIC: readonly CommandSpec[] = [
  {
    ...base,
    name: 'WRITE ATOMIC (16)',
    opcode: 0x9c,
    cdbUsage: [0x9c, 0x18, ...all(8), ...all(2), ...all(2), 0x1f, 0],
    extent: (cdb) => ({ lba: lbaOf(cdb, 16), blocks: atomicBlocks(cdb) }),
    // Limits are checked when the command runs, after its range: beyond the end is the more telling answer.
    dataOut: (cdb, lu) => Math.min(atomicBlocks(cdb) * lu.blockSize, MAX_ATOMIC),
    clause: 'SBC-4 5.48',
    run: writeAtomic,
  },
  {
    ...base,
    name: 'ORWRITE (16)',
    opcode: 0x8b,
    cdbUsage: usageOf(0x8b, 16, 0x18), // DPO, FUA
    extent: (cdb) => rangeOf(cdb, 16),
    dataOut: (cdb, lu) => {
      checkTransfer(cdb, 16, lu);
      return blocksOf(cdb, 16) * lu.blockSize;
    },
    clause: 'SBC-3 5.5',
    run: orWrite,
  },
];
