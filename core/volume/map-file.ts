// The allocation map of a file volume between two runs, in a small file beside it. It is written when the volume is closed
// and removed when it is opened, so after a crash there is none, and everything counts as mapped: never the other way round.
import { crc32c } from '../base/crc32c.ts';
import type { Disk, DiskFile } from '../base/world.ts';
import { AllocationMap } from './allocation-map.ts';

const MAGIC = 'GEMELMAP2';
/** Magic padded to 16 bytes, size of the volume (8), change stamp of its file (8), block size (4), CRC32C (4). */
const HEADER = 40;
const CRC_AT = 36;

const nameOf = (file: DiskFile): string => `${file.path}.map`;

/** The map of a volume that is being opened. Unless it is read-only, whatever was kept is used up. */
export async function loadMap(
  disk: Disk,
  file: DiskFile,
  blockSize: number,
  readOnly: boolean,
): Promise<AllocationMap> {
  const size = file.size();
  if (file.isDevice) return new AllocationMap(size, blockSize, true);
  const kept = await disk.readFile(nameOf(file));
  // Removed before the first write: a map that survives a crash would call new data unmapped.
  if (!readOnly) await disk.remove(nameOf(file));
  // Some file systems count blocks only when data has reached the disk.
  await file.dataSync();
  const map = new AllocationMap(size, blockSize, file.allocatedBytes() > 0);
  if (kept !== undefined && isFor(kept, file, blockSize)) map.decode(kept.subarray(HEADER));
  return map;
}

/** Keeps the map. Everything written must be stable, and nothing may be written afterwards. */
export async function saveMap(disk: Disk, file: DiskFile, map: AllocationMap): Promise<void> {
  if (file.isDevice) return;
  const kept = Buffer.concat([Buffer.alloc(HEADER), map.encode()]);
  kept.write(MAGIC, 'latin1');
  kept.writeBigUInt64BE(BigInt(file.size()), 16);
  kept.writeBigInt64BE(file.changeStamp(), 24);
  kept.writeUInt32BE(map.blockSize, 32);
  kept.writeUInt32BE(sumOf(kept), CRC_AT);
  await disk.replaceFile(nameOf(file), kept);
}

function isFor(kept: Buffer, file: DiskFile, blockSize: number): boolean {
  if (kept.length < HEADER || kept.toString('latin1', 0, MAGIC.length) !== MAGIC) return false;
  if (kept.readUInt32BE(CRC_AT) !== sumOf(kept)) return false;
  if (kept.readBigUInt64BE(16) !== BigInt(file.size()) || kept.readUInt32BE(32) !== blockSize) return false;
  // Somebody else may have put other data into the file meanwhile: then the map says nothing about it.
  return kept.readBigInt64BE(24) === file.changeStamp();
}

/** CRC32C of everything but the sum itself. */
function sumOf(kept: Buffer): number {
  return crc32c(kept, HEADER, kept.length, crc32c(kept, 0, CRC_AT));
}
