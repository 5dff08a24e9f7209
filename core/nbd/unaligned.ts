// Reads and writes of any bytes: a client that has not asked for the block sizes may send them ("Block size constraints").
import type { RangeLocks } from '../volume/range-locks.ts';
import type { Volume } from '../volume/volume.ts';

/** Reads `length` bytes at `position` into `target` at `at`. Rejects with a VolumeError. */
export async function readAny(
  volume: Volume,
  locks: RangeLocks,
  position: number,
  length: number,
  target: Buffer,
  at: number,
): Promise<void> {
  const { first, bytes } = around(volume, position, length);
  const lock = await locks.acquire(first, bytes, false);
  try {
    if (bytes === length) {
      if (!volume.readNow(position, length, target, at)) await volume.read(position, length, target, at);
      return;
    }
    const whole = Buffer.allocUnsafe(bytes);
    await volume.read(first, bytes, whole, 0);
    whole.copy(target, at, position - first, position - first + length);
  } finally {
    lock.release();
  }
}

/** Writes `length` bytes of `source` at `at` to `position`. Rejects with a VolumeError. */
export async function writeAny(
  volume: Volume,
  locks: RangeLocks,
  position: number,
  source: Buffer,
  at: number,
  length: number,
  fua: boolean,
): Promise<void> {
  const { first, bytes } = around(volume, position, length);
  const whole = bytes === length;
  // The blocks at the ends are read and written back: nobody may change them in between.
  const lock = await locks.acquire(first, bytes, !whole);
  try {
    if (whole) {
      await volume.write(position, source, at, length, fua);
      return;
    }
    const { blockSize } = volume.info;
    const blocks = Buffer.allocUnsafe(bytes);
    await volume.read(first, blockSize, blocks, 0);
    if (bytes > blockSize) await volume.read(first + bytes - blockSize, blockSize, blocks, bytes - blockSize);
    source.copy(blocks, position - first, at, at + length);
    await volume.write(first, blocks, 0, bytes, fua);
  } finally {
    lock.release();
  }
}

/** The whole blocks that hold the range. */
function around({ info: { blockSize } }: Volume, position: number, length: number): { first: number; bytes: number } {
  const first = position - (position % blockSize);
  const end = Math.ceil((position + length) / blockSize) * blockSize;
  return { first, bytes: end - first };
}
