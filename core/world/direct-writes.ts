// Stable writes past the page cache (O_DIRECT with O_DSYNC, open(2)). Through it, Linux makes whoever writes wait while much of
// anybody's data is still to be written (balance_dirty_pages), for ten milliseconds and more at a time: a journal, which never
// has any such data itself, would wait because somebody else copies a file.
import * as fs from 'node:fs';
import { constants } from 'node:os';
import { MEMORY_ALIGNMENT, addressOf } from '../base/memory-address.ts';

const { EINVAL, EOPNOTSUPP } = constants.errno;

export class DirectWrites {
  readonly #handle: fs.promises.FileHandle;
  /** The file system, or the disk, wants something else than it said. */
  #impossible = false;

  private constructor(handle: fs.promises.FileHandle) {
    this.#handle = handle;
  }

  /** The same file once more; undefined: it cannot be written that way. */
  static async open(fd: number): Promise<DirectWrites | undefined> {
    // Windows has no such flag, and other systems no /proc.
    const { O_RDWR, O_DSYNC } = fs.constants;
    const direct = (fs.constants as { O_DIRECT?: number }).O_DIRECT;
    if (process.platform !== 'linux' || direct === undefined) return undefined;
    try {
      // By its number: the name may belong to another file by now.
      return new DirectWrites(await fs.promises.open(`/proc/self/fd/${String(fd)}`, O_RDWR | O_DSYNC | direct));
    } catch {
      return undefined;
    }
  }

  /** The file descriptor, if these bytes from `at` on can be written through it; else undefined. */
  fdFor(from: Buffer, at: number, length: number, position: number): number | undefined {
    if (this.#impossible || length % MEMORY_ALIGNMENT !== 0 || position % MEMORY_ALIGNMENT !== 0) return undefined;
    const address = addressOf(from);
    return address === undefined || (address + at) % MEMORY_ALIGNMENT !== 0 ? undefined : this.#handle.fd;
  }

  /** A write failed like this. True: it never works, and has to be made the other way. */
  refused(error: NodeJS.ErrnoException): boolean {
    if (error.errno !== -EINVAL && error.errno !== -EOPNOTSUPP) return false;
    this.#impossible = true;
    return true;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}
