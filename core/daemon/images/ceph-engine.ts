// Images of a Ceph pool (RBD). Whoever has one open is shut out by the cluster itself: his addresses go on the block list of the
// OSDs, and his exclusive lock is broken.
import { join } from 'node:path';
import { ServiceError, messageOf } from '../../base/errors.ts';
import { FENCE_SECONDS } from '../../base/limits.ts';
import type { Disk } from '../../base/world.ts';
import type { BackendRecord } from '../../control/records.ts';
import { CommandError, requireProgram, runCommand } from './engine.ts';
import type { ImageEngine } from './engine.ts';

/** Exit status for something that is not there (ENOENT), and for what is in use (EBUSY). */
const [MISSING, BUSY] = [2, 16];
/** Key of the metadata of an image: the id of the volume it belongs to. */
const MARK = 'gemel.volume';
const PACKAGES = 'ceph-common qemu-utils qemu-block-extra qemu-system-common';

interface Watcher {
  readonly address: string;
}
interface Locker extends Watcher {
  readonly id: string;
  readonly locker: string;
}

export class CephEngine implements ImageEngine {
  readonly #backend: BackendRecord;
  readonly #disk: Disk;
  readonly #folder: string;
  /** Path of the configuration the programs are given. */
  #conf: Promise<string> | undefined;

  /** `folder`: where a configuration that names the keyring is written. */
  constructor(backend: BackendRecord, disk: Disk, folder: string) {
    this.#backend = backend;
    this.#disk = disk;
    this.#folder = folder;
  }

  async check(): Promise<void> {
    requireProgram('qemu-storage-daemon', PACKAGES);
    await this.#rbd(['ls', this.#pool]);
  }

  async create(image: string, size: number): Promise<void> {
    // The lock is what shuts a second writer out: it is asked for, whatever the default of the cluster is.
    const features = ['--image-feature', 'layering,exclusive-lock,object-map,fast-diff'];
    await this.#rbd(['create', '--size', `${String(size)}B`, ...features, this.#spec(image)]);
  }

  async take(image: string, volume: string): Promise<void> {
    const spec = this.#spec(image);
    const { features } = JSON.parse(await this.#rbd(['info', spec, '--format', 'json'])) as { features: string[] };
    if (!features.includes('exclusive-lock')) {
      throw new ServiceError('bad-request', `${spec} has not the feature exclusive-lock (rbd feature enable)`);
    }
    const mark = (await this.#orMissing(this.#rbd(['image-meta', 'get', spec, MARK])))?.trim() ?? volume;
    if (mark !== volume) throw new ServiceError('in-use', `${spec} is volume ${mark} of another Gemel`);
    const [user] = await this.#watchers(image);
    if (user !== undefined) throw new ServiceError('in-use', `${spec} is open at ${user.address}`);
    await this.#rbd(['image-meta', 'set', spec, MARK, volume]);
  }

  async size(image: string): Promise<number> {
    const text = await this.#rbd(['info', this.#spec(image), '--format', 'json']);
    return (JSON.parse(text) as { size: number }).size;
  }

  async resize(image: string, size: number): Promise<void> {
    await this.#rbd(['resize', '--size', `${String(size)}B`, '--allow-shrink', '--no-progress', this.#spec(image)]);
  }

  async remove(image: string): Promise<void> {
    try {
      await this.#orMissing(this.#rbd(['rm', '--no-progress', this.#spec(image)]));
    } catch (error) {
      if (!(error instanceof CommandError) || error.status !== BUSY) throw error;
      throw new ServiceError('in-use', messageOf(error), { cause: error });
    }
  }

  async fence(image: string): Promise<void> {
    const spec = this.#spec(image);
    const [watchers, text] = await Promise.all([
      this.#watchers(image),
      this.#rbd(['lock', 'ls', spec, '--format', 'json']),
    ]);
    const lockers = JSON.parse(text) as Locker[];
    const locked = new Set(lockers.map(({ address }) => address));
    const others = watchers.filter(({ address }) => !locked.has(address));
    // Who has it open without the lock could get that from its next owner for the asking: librbd gives it away.
    await Promise.all(others.map(({ address }) => this.#blocklist(address)));
    for (const { id, locker } of lockers) {
      // Puts the holder on the block list first, and waits until the cluster knows.
      const settings = [
        '--rbd_blocklist_on_break_lock=true',
        `--rbd_blocklist_expire_seconds=${String(FENCE_SECONDS)}`,
      ];
      await this.#orMissing(this.#rbd(['lock', 'rm', spec, id, locker, ...settings]));
    }
  }

  lock(): undefined {
    return undefined;
  }

  async blockdev(image: string): Promise<Readonly<Record<string, unknown>>> {
    const { user } = this.#backend;
    const conf = await this.#configuration();
    return { driver: 'rbd', pool: this.#pool, image, user, conf, cache: { direct: true }, discard: 'unmap' };
  }

  get #pool(): string {
    return this.#backend.pool ?? '';
  }

  #spec(image: string): string {
    return `${this.#pool}/${image}`;
  }

  async #watchers(image: string): Promise<Watcher[]> {
    const text = await this.#rbd(['status', this.#spec(image), '--format', 'json']);
    return (JSON.parse(text) as { watchers: Watcher[] }).watchers;
  }

  async #blocklist(address: string): Promise<void> {
    const program = requireProgram('ceph', PACKAGES);
    await runCommand(program, ['osd', 'blocklist', 'add', address, String(FENCE_SECONDS), ...(await this.#identity())]);
  }

  async #rbd(args: readonly string[]): Promise<string> {
    return runCommand(requireProgram('rbd', PACKAGES), [...args, ...(await this.#identity())]);
  }

  async #identity(): Promise<string[]> {
    return ['--id', this.#backend.user ?? '', '--conf', await this.#configuration()];
  }

  /** Undefined: what it was about is not there. */
  async #orMissing(result: Promise<string>): Promise<string | undefined> {
    try {
      return await result;
    } catch (error) {
      if (error instanceof CommandError && error.status === MISSING) return undefined;
      throw error;
    }
  }

  /** The configuration of the cluster, and where the key of the user is: in its file, not in arguments. */
  #configuration(): Promise<string> {
    this.#conf ??= this.#write();
    this.#conf.catch(() => {
      this.#conf = undefined;
    });
    return this.#conf;
  }

  async #write(): Promise<string> {
    const { conf = '', keyring = '', user = '', name } = this.#backend;
    const text = (await this.#disk.readFile(conf))?.toString();
    if (text === undefined) throw new ServiceError('bad-request', `there is no ${conf} on this node`);
    if (!(await this.#disk.exists(keyring)))
      throw new ServiceError('bad-request', `there is no ${keyring} on this node`);
    const path = join(this.#folder, `${name}.conf`);
    await this.#disk.makeFolder(this.#folder);
    await this.#disk.replaceFile(path, Buffer.from(`${text}\n[client.${user}]\nkeyring = ${keyring}\n`), 0o600);
    return path;
  }
}
