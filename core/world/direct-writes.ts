// Large writes past the page cache (O_DIRECT, open(2)), of memory whose place allows that. The copy the kernel would make costs
// more of the processor than all the rest of such a write, and drives out of its memory what somebody may want.
import * as fs from 'node:fs';
import { LARGE_WRITE } from '../base/limits.ts';
import { MEMORY_ALIGNMENT, addressOf } from '../base/memory-address.ts';
import { DirectFile } from './direct-file.ts';

export class DirectWrites {
  readonly #direct: DirectFile;

  /** `syncWrites`: as with the file itself, what has been written is on stable media. */
  constructor(fd: number, syncWrites: boolean) {
    this.#direct = new DirectFile(fd, fs.constants.O_WRONLY | (syncWrites ? fs.constants.O_DSYNC : 0));
  }

  /** True when this write can be made with write(). Bytes. */
  wanted(from: Buffer, at: number, length: number, position: number): boolean {
    if (this.#direct.impossible || length < LARGE_WRITE) return false;
    if (length % MEMORY_ALIGNMENT !== 0 || position % MEMORY_ALIGNMENT !== 0) return false;
    const address = addressOf(from);
    if (address === undefined || (address + at) % MEMORY_ALIGNMENT !== 0) return false;
    return this.#direct.want();
  }

  /** False: not all of it was written, write it through the page cache, which tells why. */
  write(from: Buffer, at: number, length: number, position: number): Promise<boolean> {
    const { fd } = this.#direct;
    if (fd === undefined) return Promise.resolve(false);
    this.#direct.begins();
    return new Promise((resolve) => {
      fs.write(fd, from, at, length, position, (error, written) => {
        this.#direct.ended(error === null ? written : (error.errno ?? 0));
        resolve(error === null && written === length);
      });
    });
  }

  /** Nothing is written any more when it resolves. */
  close(): Promise<void> {
    return this.#direct.close();
  }
}
