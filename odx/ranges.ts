// Block device range descriptors (SBC-3 5.7.3), as POPULATE TOKEN and WRITE USING TOKEN both have them behind their header.
import { MAX_ODX_RANGES, MAX_TOKEN_TRANSFER } from '../core/base/limits.ts';
import { load16, load32 } from '../core/base/bytes-at.ts';
import type { LogicalUnit } from '../core/scsi/logical-unit.ts';
import { SENSE, ScsiError, badParameter } from '../core/scsi/sense.ts';
import type { ScsiTask } from '../core/scsi/task.ts';
import type { RodRange } from '../core/volume/rod.ts';

const DESCRIPTOR = 16;
const LIST_ID_AT = 6;
const LENGTH_AT = 10;

/** LIST IDENTIFIER of POPULATE TOKEN and WRITE USING TOKEN. */
export const listIdOf = (cdb: Buffer): number => load32(cdb, LIST_ID_AT);
export const listLengthOf = (cdb: Buffer): number => load32(cdb, LENGTH_AT);

/** The parameter list; undefined: the CDB announces none, which is no error. Throws 05/1A/00 for less than it announces. */
export function listOf({ cdb, data }: ScsiTask, header: number): Buffer | undefined {
  const length = listLengthOf(cdb);
  if (length === 0) return undefined;
  if (length < header || data.length < length) throw new ScsiError(SENSE.parameterListLength);
  return data;
}

/**
 * The ranges behind a header, whose last two bytes are their length, as bytes of the volume; ranges of no blocks are left out
 * (SBC-3 5.7.3: not an error), and so is a descriptor that is not completely there. All are checked: within the logical unit,
 * apart from each other, not too many, not too long.
 */
export function rangesOf(list: Buffer, header: number, lu: LogicalUnit): RodRange[] {
  const lengthAt = header - 2;
  // The first field counts what is behind it: at least one descriptor.
  if (load16(list, 0) + 2 < header + DESCRIPTOR) throw badParameter(0);
  const length = load16(list, lengthAt);
  if (length < DESCRIPTOR) throw badParameter(lengthAt);
  const count = Math.floor(Math.min(length, list.length - header) / DESCRIPTOR);
  if (count > MAX_ODX_RANGES) throw new ScsiError(SENSE.tooManySegments, { field: lengthAt, inData: true });
  const ranges: RodRange[] = [];
  let total = 0;
  for (let at = header; at < header + count * DESCRIPTOR; at += DESCRIPTOR) {
    const lba = load32(list, at) * 4_294_967_296 + load32(list, at + 4);
    const blocks = load32(list, at + 8);
    if (!(lba + blocks <= lu.blocks)) {
      throw new ScsiError(SENSE.lbaOutOfRange, lba <= 0xffff_ffff_ffff ? { information: lba } : {});
    }
    total += blocks * lu.blockSize;
    if (total > MAX_TOKEN_TRANSFER) throw badParameter(at + 8);
    if (blocks > 0) ranges.push({ position: lba * lu.blockSize, length: blocks * lu.blockSize });
  }
  refuseOverlap(ranges, header);
  return ranges;
}

function refuseOverlap(ranges: readonly RodRange[], header: number): void {
  const sorted = [...ranges].sort((a, b) => a.position - b.position);
  sorted.forEach(({ position }, i) => {
    const before = sorted[i - 1];
    if (before !== undefined && before.position + before.length > position) throw badParameter(header);
  });
}

export const sizeOf = (ranges: readonly RodRange[]): number => ranges.reduce((sum, { length }) => sum + length, 0);
