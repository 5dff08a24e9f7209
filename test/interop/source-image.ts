// A raw image with random data and holes, to copy to a disk and compare with.
import { randomBytes } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../support/cleanup.ts';

const MIB = 1024 * 1024;

export interface SourceImage {
  path: string;
  bytes: number;
  /** Bytes of random data in it; the rest are holes. */
  dataBytes: number;
  /** An offset inside the data. */
  dataAt: number;
  /** An offset inside a hole. */
  holeAt: number;
}

/** Makes the image (96 MiB, 24 of them data), runs `body` with it and removes it. */
export async function withSourceImage<T>(body: (source: SourceImage) => Promise<T>): Promise<T> {
  const folder = temporaryFolder('source');
  try {
    const path = join(folder.path, 'source.raw');
    const file = openSync(path, 'w');
    ftruncateSync(file, 96 * MIB);
    writeSync(file, randomBytes(8 * MIB), 0, 8 * MIB, 0);
    writeSync(file, randomBytes(12 * MIB), 0, 12 * MIB, 40 * MIB);
    writeSync(file, randomBytes(4 * MIB), 0, 4 * MIB, 92 * MIB);
    closeSync(file);
    return await body({ path, bytes: 96 * MIB, dataBytes: 24 * MIB, dataAt: 41 * MIB, holeAt: 20 * MIB });
  } finally {
    folder.remove();
  }
}
