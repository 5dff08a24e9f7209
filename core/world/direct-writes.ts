// Large writes past the page cache (O_DIRECT, open(2)), of memory whose place allows that. The copy the kernel would make costs
// more of the processor than all the rest of such a write, and drives out of its memory what somebody may want.
import * as fs from 'node:fs';
import { constants } from 'node:os';
import { LARGE_WRITE } from '../base/limits.ts';
import { MEMORY_ALIGNMENT, addressOf } from '../base/memory-address.ts';

const { EINVAL, EOPNOTSUPP } = constants.errno;

export class DirectWrites {
  readonly #fd: number;
  readonly #flags: number;
  /** The same file once more, open with O_DIRECT; undefined: not yet, or it cannot be had. */
  #direct: number | undefined;
  #opening: Promise<void> | undefined;
  #impossible = false;
  #running = 0;
  #closed: (() => void) | undefined;

  /** `syncWrites`: as with the file itself, what has been written is on stable media. */
  constructor(fd: number, syncWrites: boolean) {
    this.#fd = fd;
    this.#flags = fs.constants.O_WRONLY | (syncWrites ? fs.constants.O_DSYNC : 0);
  }

  /** True when this write can be made with write(). Bytes. */
  wanted(from: Buffer, at: number, length: number, position: number): boolean {
    if (this.#impossible || length < LARGE_WRITE) return false;
    if (length % MEMORY_ALIGNMENT !== 0 || position % MEMORY_ALIGNMENT !== 0) return false;
    const address = addressOf(from);
    if (address === undefined || (address + at) % MEMORY_ALIGNMENT !== 0) return false;
    if (this.#direct !== undefined) return true;
    this.#opening ??= this.#open();
    return false;
  }

  /** False: not all of it was written, write it through the page cache, which tells why. */
  write(from: Buffer, at: number, length: number, position: number): Promise<boolean> {
    const fd = this.#direct;
    if (fd === undefined) return Promise.resolve(false);
    this.#running++;
    return new Promise((resolve) => {
      fs.write(fd, from, at, length, position, (error, written) => {
        // The file system, or the disk, wants something else than it said.
        if (error?.errno === -EINVAL || error?.errno === -EOPNOTSUPP) this.#impossible = true;
        if (--this.#running === 0) this.#closed?.();
        resolve(error === null && written === length);
      });
    });
  }

  async #open(): Promise<void> {
    // Windows has no such flag, and other systems no /proc.
    const flag = (fs.constants as { O_DIRECT?: number }).O_DIRECT;
    if (process.platform !== 'linux' || flag === undefined) {
      this.#impossible = true;
      return;
    }
    await new Promise<void>((resolve) => {
      // By its number: the name may belong to another file by now.
      fs.open(`/proc/self/fd/${String(this.#fd)}`, this.#flags | flag, (error, fd) => {
        if (error === null) this.#direct = fd;
        else this.#impossible = true;
        resolve();
      });
    });
  }

  /** Nothing is written any more when it resolves. */
  async close(): Promise<void> {
    this.#impossible = true;
    await this.#opening;
    const fd = this.#direct;
    this.#direct = undefined;
    if (fd === undefined) return;
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#closed = resolve));
    await new Promise<void>((resolve) => {
      fs.close(fd, () => {
        resolve();
      });
    });
  }
}
