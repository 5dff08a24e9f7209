// READ CAPACITY (10) and (16) (SBC-3 5.15, 5.16).
import { OK_ORDINARY, Reserved, all } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { goodData } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';

const LAST_32 = 0xffff_ffff;

function capacity10({ lu }: ScsiTask): TaskResult {
  const out = Buffer.alloc(8);
  out.writeUInt32BE(Math.min(lu.blocks - 1, LAST_32), 0);
  out.writeUInt32BE(lu.blockSize, 4);
  return goodData(out, out.length);
}

function capacity16({ lu, cdb }: ScsiTask): TaskResult {
  const out = Buffer.alloc(32);
  out.writeBigUInt64BE(BigInt(lu.blocks - 1), 0);
  out.writeUInt32BE(lu.blockSize, 8);
  out[13] = Math.log2(lu.physicalBlockSize / lu.blockSize); // LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT
  if (lu.volume.info.thin) out[14] = 0x80 | 0x40; // LBPME, LBPRZ
  return goodData(out, cdb.readUInt32BE(10));
}

const base = {
  access: 'none',
  reserved: Reserved.allowed,
  // SBC-3 4.11.2 wants it during a sanitize operation, and a stopped disk has a size too.
  okWhen: { ...OK_ORDINARY, notReady: true },
  order: 'free',
} as const;

export const READ_CAPACITY: readonly CommandSpec[] = [
  {
    ...base,
    name: 'READ CAPACITY (10)',
    opcode: 0x25,
    // PMI and its LBA are obsolete (SBC-3) but old initiators set them.
    cdbUsage: [0x25, 0x01, ...all(4), 0, 0, 0x01, 0],
    clause: 'SBC-3 5.15',
    run: capacity10,
  },
  {
    ...base,
    name: 'READ CAPACITY (16)',
    opcode: 0x9e,
    serviceAction: 0x10,
    cdbUsage: [0x9e, 0x10, ...all(8), ...all(4), 0x01, 0],
    clause: 'SBC-3 5.16',
    run: capacity16,
  },
];
