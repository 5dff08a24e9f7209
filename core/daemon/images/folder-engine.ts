// Images as files in a folder that all nodes see (NFS, a cluster file system). Nobody can be shut out by force here: an exporter has
// a lock as long as it runs, so the next one waits until the last one is gone; that one is killed by its own switch (exporter.ts) when
// its node does not answer for it any more. (The lock of qemu itself keeps nobody out: a NBD export lets others write beside it.)
import { constants } from 'node:fs';
import { open, rename, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { ServiceError, messageOf } from '../../base/errors.ts';
import type { BackendRecord } from '../../control/records.ts';
import { requireProgram } from './engine.ts';
import type { ImageEngine } from './engine.ts';

export class FolderEngine implements ImageEngine {
  readonly #folder: string;

  constructor({ folder = '' }: BackendRecord) {
    this.#folder = folder;
  }

  async check(): Promise<void> {
    requireProgram('qemu-storage-daemon', 'qemu-utils qemu-system-common');
    const found = await stat(this.#folder).catch(() => undefined);
    if (found?.isDirectory() !== true) throw new ServiceError('bad-request', `${this.#folder} is no folder here`);
    await this.#direct();
  }

  async create(image: string, size: number): Promise<void> {
    const path = this.#path(image);
    // Under its name only when it is whole: a crash leaves nothing that looks like an image.
    const file = await this.#told(open(`${path}.new`, 'w', 0o600));
    try {
      await this.#told(file.truncate(size));
      await this.#told(file.sync());
    } finally {
      await file.close();
    }
    await this.#told(rename(`${path}.new`, path));
  }

  async take(image: string): Promise<void> {
    await this.size(image);
  }

  async size(image: string): Promise<number> {
    return (await this.#told(stat(this.#path(image)))).size;
  }

  async resize(image: string, size: number): Promise<void> {
    await this.#told(truncate(this.#path(image), size));
  }

  async remove(image: string): Promise<void> {
    await this.#told(rm(this.#path(image), { force: true }));
    await this.#told(rm(this.lock(image), { force: true }));
  }

  fence(): Promise<void> {
    return Promise.resolve();
  }

  /** Not the one of the image itself, part of which qemu locks for itself: of NFS both kinds of locks are one. */
  lock(image: string): string {
    return join(this.#folder, `${image}.lock`);
  }

  async blockdev(image: string): Promise<Readonly<Record<string, unknown>>> {
    const direct = await this.#direct();
    const filename = this.#path(image);
    const file = { driver: 'file', filename, locking: 'on', cache: { direct }, discard: 'unmap' };
    // Without a format on top clients are told of the alignment direct I/O wants, and may ask for nothing smaller.
    return { driver: 'raw', file, cache: { direct }, discard: 'unmap' };
  }

  #path(image: string): string {
    return join(this.#folder, `${image}.raw`);
  }

  /** Whether files here can be read and written past the page cache, which is not the same on all nodes. */
  async #direct(): Promise<boolean> {
    const path = join(this.#folder, `.gemel-${String(process.pid)}`);
    const { O_CREAT, O_RDWR, O_DIRECT } = constants;
    try {
      await (await open(path, O_CREAT | O_RDWR | O_DIRECT, 0o600)).close();
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EINVAL') return false;
      throw refused(error);
    } finally {
      await rm(path, { force: true });
    }
  }

  async #told<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw refused(error);
    }
  }
}

const refused = (error: unknown): ServiceError =>
  new ServiceError('io-error', `the folder of the backend: ${messageOf(error)}`, { cause: error });
