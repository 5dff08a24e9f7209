// Block device VPD pages (SBC-3 6.6): everything in them follows from the limits we enforce, from the volume and from the
// command table of the logical unit. What is not in the table is not announced.
import {
  MAX_ATOMIC,
  MAX_COMPARE_AND_WRITE_BLOCKS,
  MAX_TRANSFER,
  MAX_UNMAP_BLOCKS,
  MAX_UNMAP_DESCRIPTORS,
  OPTIMAL_TRANSFER,
} from '../../base/limits.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import type { LunNexus } from '../lun-nexus.ts';
import { maxWriteSame, thresholdExponent } from '../provisioning.ts';
import { supports } from './usage.ts';

const Opcode = {
  writeSame10: 0x41,
  unmap: 0x42,
  sanitize: 0x48,
  compareAndWrite: 0x89,
  writeSame16: 0x93,
  writeAtomic16: 0x9c,
} as const;

const canUnmap = (lu: LogicalUnit): boolean => lu.volume.info.thin && supports(lu, Opcode.unmap);

/** B0h, Block Limits (SBC-3 6.6.3), without the header. Lengths are blocks. */
export function blockLimits({ lu }: LunNexus): Buffer {
  const blocks = (bytes: number): number => Math.floor(bytes / lu.blockSize);
  const page = Buffer.alloc(64);
  // Byte 4, WSNZ=0: WRITE SAME of 0 blocks reaches to the end.
  page[5] = supports(lu, Opcode.compareAndWrite) ? Math.min(255, MAX_COMPARE_AND_WRITE_BLOCKS) : 0;
  page.writeUInt16BE(blocks(lu.physicalBlockSize), 6); // OPTIMAL TRANSFER LENGTH GRANULARITY
  page.writeUInt32BE(blocks(MAX_TRANSFER), 8);
  page.writeUInt32BE(blocks(OPTIMAL_TRANSFER), 12);
  if (canUnmap(lu)) {
    page.writeUInt32BE(MAX_UNMAP_BLOCKS, 20);
    page.writeUInt32BE(MAX_UNMAP_DESCRIPTORS, 24);
    page.writeUInt32BE(Math.max(1, blocks(lu.volume.info.unmapGranularity)), 28);
    page.writeUInt32BE(0x8000_0000, 32); // UGAVALID, alignment 0
  }
  if (supports(lu, Opcode.writeSame10) || supports(lu, Opcode.writeSame16)) {
    page.writeBigUInt64BE(BigInt(blocks(maxWriteSame(lu))), 36);
  }
  // ATOMIC ALIGNMENT and GRANULARITY 0: none needed. No atomic boundaries (bytes 56 to 63).
  if (supports(lu, Opcode.writeAtomic16)) page.writeUInt32BE(blocks(MAX_ATOMIC), 44);
  return page.subarray(4);
}

/** B1h, Block Device Characteristics (SBC-3 6.6.2). */
export function blockCharacteristics({ lu }: LunNexus): Buffer {
  const page = Buffer.alloc(64);
  page.writeUInt16BE(0x0001, 4); // MEDIUM ROTATION RATE: does not rotate
  // After BLOCK ERASE (02h) and CRYPTOGRAPHIC ERASE (03h) reads succeed: WABEREQ and WACEREQ are 01b.
  const afterBlockErase = supports(lu, Opcode.sanitize, 0x02) ? 0x40 : 0;
  const afterCryptoErase = supports(lu, Opcode.sanitize, 0x03) ? 0x10 : 0;
  page[7] = afterBlockErase | afterCryptoErase;
  page[8] = 0x03; // FUAB: FUA and SYNCHRONIZE CACHE reach the medium; VBULS: VERIFY reads unmapped blocks
  return page.subarray(4);
}

/** B2h, Logical Block Provisioning (SBC-3 6.6.4). */
export function blockProvisioning({ lu }: LunNexus): Buffer {
  const page = Buffer.alloc(8);
  page[4] = thresholdExponent(lu);
  if (lu.volume.info.thin) {
    const unmap = supports(lu, Opcode.unmap) ? 0x80 : 0; // LBPU
    const writeSame16 = supports(lu, Opcode.writeSame16) ? 0x40 : 0; // LBPWS
    const writeSame10 = supports(lu, Opcode.writeSame10) ? 0x20 : 0; // LBPWS10
    page[5] = unmap | writeSame16 | writeSame10 | 0x04; // LBPRZ
    page[6] = 0x02; // PROVISIONING TYPE: thin
  }
  return page.subarray(4);
}
