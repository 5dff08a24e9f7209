// GET LBA STATUS (SBC-3 5.4): which blocks are mapped.
import { load32 } from '../../base/bytes-at.ts';
import { OK_ORDINARY, Reserved, all } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { goodData } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { lbaOf } from './cdb.ts';

const HEADER = 8;
const DESCRIPTOR = 16;
const MAX_DESCRIPTORS = 1024;
/** Bytes of the volume one command looks at; a run that goes on beyond is told in the next answer. */
const MAX_LOOK = 68_719_476_736;
/** PROVISIONING STATUS (SBC-3 table 47). */
const MAPPED = 0;
const DEALLOCATED = 1;

async function getLbaStatus({ lu, cdb }: ScsiTask): Promise<TaskResult> {
  const allocation = load32(cdb, 10);
  // At least one descriptor is made even when it is cut off again by the allocation length.
  const limit = Math.min(MAX_DESCRIPTORS, Math.max(1, Math.floor((allocation - HEADER) / DESCRIPTOR)));
  const position = lbaOf(cdb, 16) * lu.blockSize;
  const length = Math.min(lu.blocks * lu.blockSize - position, MAX_LOOK);
  const extents = await lu.volume.extents(position, length, limit);
  const out = Buffer.alloc(HEADER + extents.length * DESCRIPTOR);
  out.writeUInt32BE(out.length - 4, 0);
  extents.forEach((extent, i) => {
    const at = HEADER + i * DESCRIPTOR;
    out.writeBigUInt64BE(BigInt(extent.position / lu.blockSize), at);
    out.writeUInt32BE(Math.min(extent.length / lu.blockSize, 0xffff_ffff), at + 8);
    out[at + 12] = extent.mapped ? MAPPED : DEALLOCATED;
  });
  return goodData(out, allocation);
}

export const GET_LBA_STATUS: readonly CommandSpec[] = [
  {
    name: 'GET LBA STATUS',
    opcode: 0x9e,
    serviceAction: 0x12,
    cdbUsage: [0x9e, 0x12, ...all(8), ...all(4), 0, 0],
    access: 'read',
    reserved: Reserved.unlessExclusive,
    okWhen: OK_ORDINARY,
    order: 'free',
    extent: (cdb) => ({ lba: lbaOf(cdb, 16), blocks: 1 }),
    clause: 'SBC-3 5.4',
    run: getLbaStatus,
  },
];
