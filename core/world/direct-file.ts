// A file once more, open to go past the page cache (O_DIRECT, open(2)), from when it is first wanted until nothing of it is under way.
import * as fs from 'node:fs';
import { constants } from 'node:os';

const { EINVAL, EOPNOTSUPP } = constants.errno;

export class DirectFile {
  readonly #file: number;
  readonly #flags: number;
  readonly #prepare: () => boolean;
  #fd: number | undefined;
  #opening: Promise<void> | undefined;
  #impossible = false;
  #running = 0;
  #closed: (() => void) | undefined;

  /** `file`: descriptor of the open file. `flags`: how it is opened, O_DIRECT aside. `prepare`: false when it is of no use. */
  constructor(file: number, flags: number, prepare: () => boolean = () => true) {
    this.#file = file;
    this.#flags = flags;
    this.#prepare = prepare;
  }

  /** Its descriptor; undefined: it is not open yet, or cannot be had. */
  get fd(): number | undefined {
    return this.#fd;
  }

  /** True when it cannot be had, for good. */
  get impossible(): boolean {
    return this.#impossible;
  }

  /** True when it is open; else it will be, if that is possible. */
  want(): boolean {
    if (this.#impossible) return false;
    if (this.#fd !== undefined) return true;
    this.#opening ??= this.#open();
    return false;
  }

  /** A call begins; ended() is told of its end. */
  begins(): void {
    this.#running++;
  }

  /** A call is over: bytes, or a negative error number. */
  ended(result: number): void {
    // The file system, or the disk, wants something else than it said.
    if (result === -EINVAL || result === -EOPNOTSUPP) this.#impossible = true;
    if (--this.#running === 0) this.#closed?.();
  }

  async #open(): Promise<void> {
    // Windows has no such flag, and other systems no /proc.
    const flag = (fs.constants as { O_DIRECT?: number }).O_DIRECT;
    if (process.platform !== 'linux' || flag === undefined || !this.#prepare()) {
      this.#impossible = true;
      return;
    }
    await new Promise<void>((resolve) => {
      // By its number: the name may belong to another file by now.
      fs.open(`/proc/self/fd/${String(this.#file)}`, this.#flags | flag, (error, fd) => {
        if (error === null) this.#fd = fd;
        else this.#impossible = true;
        resolve();
      });
    });
  }

  /** Nothing is under way any more when it resolves. */
  async close(): Promise<void> {
    this.#impossible = true;
    await this.#opening;
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd === undefined) return;
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#closed = resolve));
    await new Promise<void>((resolve) => {
      fs.close(fd, () => {
        resolve();
      });
    });
  }
}
