// The allocation map of a file volume between two runs, in a small file beside it. It is written when the volume is closed
// and removed when it is opened, so after a crash there is none, and everything counts as mapped: never the other way round.
import { crc32c } from '../base/crc32c.ts';
import type { Disk, DiskFile } from '../base/world.ts';
import { AllocationMap } from './allocation-map.ts';

const MAGIC = 'GEMELMAP1';
/** Magic padded to 16 bytes, size of the volume (8), block size (4), CRC32C of the rest (4). */
const HEADER = 32;

const nameOf = (file: DiskFile): string => `${file.path}.map`;

/** The map of a volume that is being opened; whatever was kept is used up. */
export async function loadMap(disk: Disk, file: DiskFile, blockSize: number): Promise<AllocationMap> {
  const size = file.size();
  const name = nameOf(file);
  if (file.isDevice) return new AllocationMap(size, blockSize, true);
  const kept = await disk.readFile(name);
  // Removed before the first write: a map that survives a crash would call new data unmapped.
  await disk.remove(name);
  const map = new AllocationMap(size, blockSize, file.allocatedBytes() > 0);
  if (kept !== undefined && isFor(kept, size, blockSize)) map.decode(kept.subarray(HEADER));
  return map;
}

export async function saveMap(disk: Disk, file: DiskFile, map: AllocationMap): Promise<void> {
  if (file.isDevice) return;
  const body = map.encode();
  const header = Buffer.alloc(HEADER);
  header.write(MAGIC, 'latin1');
  header.writeBigUInt64BE(BigInt(file.size()), 16);
  header.writeUInt32BE(map.blockSize, 24);
  header.writeUInt32BE(crc32c(body), 28);
  await disk.replaceFile(nameOf(file), Buffer.concat([header, body]));
}

function isFor(kept: Buffer, size: number, blockSize: number): boolean {
  if (kept.length < HEADER || kept.toString('latin1', 0, MAGIC.length) !== MAGIC) return false;
  if (kept.readBigUInt64BE(16) !== BigInt(size) || kept.readUInt32BE(24) !== blockSize) return false;
  return kept.readUInt32BE(28) === crc32c(kept, HEADER);
}
