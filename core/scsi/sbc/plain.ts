// READ and WRITE (10) and (16) without anything out of the ordinary, looked at in place: what may be carried out at once, past
// dispatch, when nothing else is in the way.
import { load16, load32 } from '../../base/bytes-at.ts';
import { MAX_TRANSFER } from '../../base/limits.ts';
import type { LogicalUnit } from '../logical-unit.ts';

/**
 * Byte position of the blocks of the READ or WRITE (10) or (16) whose CDB lies at `cdb`, and whose initiator expects to move
 * `expected` bytes; -1: anything is out of the ordinary. Allocation-free.
 */
export function plainPosition(lu: LogicalUnit, bytes: Buffer, cdb: number, expected: number): number {
  // Byte 1 without DPO: protection, FUA and reserved bits take the slow path (SBC-3 5.11, 5.33).
  if (((bytes[cdb + 1] as number) & ~0x10) !== 0) return -1;
  if (expected > MAX_TRANSFER) return -1;
  if ((bytes[cdb] as number) < 0x60) {
    if (bytes[cdb + 6] !== 0 || bytes[cdb + 9] !== 0) return -1;
    const blocks = load16(bytes, cdb + 7);
    const lba = load32(bytes, cdb + 2);
    if (blocks === 0 || blocks << lu.blockShift !== expected || lba + blocks > lu.blocks) return -1;
    return lba * lu.blockSize;
  }
  if (bytes[cdb + 14] !== 0 || bytes[cdb + 15] !== 0) return -1;
  const blocks = load32(bytes, cdb + 10);
  const lba = load32(bytes, cdb + 2) * 4_294_967_296 + load32(bytes, cdb + 6);
  if (blocks === 0 || blocks * lu.blockSize !== expected || !(lba + blocks <= lu.blocks)) return -1;
  return lba * lu.blockSize;
}
