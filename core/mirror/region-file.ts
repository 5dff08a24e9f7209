// How a node keeps what it knows of its copy of a volume: a whole state in one file, and in another one the changes since,
// each on stable media before the next begins. A torn record was not promised to anybody; anything else is damage.
import { crc32c } from '../base/crc32c.ts';
import { REGION_LOG_BYTES, REGION_RECORD } from '../base/limits.ts';
import type { DiskFile, World } from '../base/world.ts';

const MAGIC = 0x474d_5247;
const HEAD = 32;

export interface StoredFiles {
  /** Undefined: there is none. */
  readonly state: unknown;
  readonly changes: readonly unknown[];
  /** Something is there, but not as we left it. */
  readonly damaged: boolean;
}

export class RegionFile {
  readonly #world: World;
  readonly #statePath: string;
  readonly #file: DiskFile;
  #generation = 0;
  #sequence = 0;
  #at = 0;
  #broken = false;

  private constructor(world: World, statePath: string, file: DiskFile) {
    this.#world = world;
    this.#statePath = statePath;
    this.#file = file;
  }

  /** Opens or makes both files, `<path>.state` and `<path>.log`. Rejects with a ServiceError. */
  static async open(world: World, path: string): Promise<{ file: RegionFile; stored: StoredFiles }> {
    const disk = await world.disk.open(`${path}.log`, { create: true, syncWrites: true });
    const file = new RegionFile(world, `${path}.state`, disk);
    return { file, stored: await file.#load() };
  }

  /** Both files are gone when it resolves. */
  static async remove(world: World, path: string): Promise<void> {
    await world.disk.remove(`${path}.state`);
    await world.disk.remove(`${path}.log`);
  }

  /** True when the log should begin anew. */
  get isFull(): boolean {
    return this.#at >= REGION_LOG_BYTES;
  }

  /** An append has failed: only a checkpoint makes it whole again. */
  get isBroken(): boolean {
    return this.#broken;
  }

  /** Appends a change; it is on stable media when this resolves. One at a time. After a failure no other is taken. */
  async append(change: unknown): Promise<void> {
    if (this.#broken) throw new Error('the log of regions could not be written');
    const text = Buffer.from(JSON.stringify(change));
    const record = Buffer.alloc(Math.ceil((HEAD + text.length) / REGION_RECORD) * REGION_RECORD);
    record.writeUInt32BE(MAGIC, 0);
    record.writeUInt32BE(this.#generation, 4);
    record.writeUInt32BE(this.#sequence, 8);
    record.writeUInt32BE(text.length, 12);
    text.copy(record, HEAD);
    record.writeUInt32BE(crc32c(text), 16);
    record.writeUInt32BE(crc32c(record, 0, 28), 28);
    try {
      await this.#file.write(record, 0, record.length, this.#at);
    } catch (error) {
      // What is there now nobody knows; behind it nothing would be found.
      this.#broken = true;
      throw error;
    }
    this.#at += record.length;
    this.#sequence++;
  }

  /** Keeps the whole state, and begins the log anew. */
  async checkpoint(state: unknown): Promise<void> {
    const generation = this.#generation + 1;
    const text = Buffer.from(JSON.stringify({ generation, state }));
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32c(text));
    await this.#world.disk.replaceFile(this.#statePath, Buffer.concat([sum, text]));
    this.#generation = generation;
    this.#sequence = 0;
    this.#at = 0;
    this.#broken = false;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #load(): Promise<StoredFiles> {
    const whole = await this.#world.disk.readFile(this.#statePath);
    if (whole === undefined) return { state: undefined, changes: [], damaged: false };
    const text = whole.subarray(4);
    if (whole.length < 5 || whole.readUInt32BE(0) !== crc32c(text))
      return { state: undefined, changes: [], damaged: true };
    const { generation, state } = JSON.parse(text.toString()) as { generation: number; state: unknown };
    this.#generation = generation;
    const { changes, damaged } = await this.#changes();
    return { state, changes, damaged };
  }

  async #changes(): Promise<{ changes: unknown[]; damaged: boolean }> {
    const bytes = Buffer.alloc(this.#file.size());
    if (bytes.length > 0) await this.#file.read(bytes, 0, bytes.length, 0);
    const changes: unknown[] = [];
    let at = 0;
    for (;;) {
      const found = recordAt(bytes, at, this.#generation);
      if (found?.sequence !== changes.length) break;
      changes.push(found.change);
      at += found.bytes;
    }
    this.#at = at;
    this.#sequence = changes.length;
    // A later record of this generation would have been written after the one that is missing.
    for (let later = at; later < bytes.length; later += REGION_RECORD) {
      const found = recordAt(bytes, later, this.#generation);
      if (found !== undefined && found.sequence >= changes.length) return { changes, damaged: true };
    }
    return { changes, damaged: false };
  }
}

function recordAt(
  bytes: Buffer,
  at: number,
  generation: number,
): { sequence: number; bytes: number; change: unknown } | undefined {
  if (at + HEAD > bytes.length || bytes.readUInt32BE(at) !== MAGIC || bytes.readUInt32BE(at + 4) !== generation)
    return undefined;
  const length = bytes.readUInt32BE(at + 12);
  const end = at + HEAD + length;
  if (end > bytes.length || crc32c(bytes, at, at + 28) !== bytes.readUInt32BE(at + 28)) return undefined;
  if (crc32c(bytes, at + HEAD, end) !== bytes.readUInt32BE(at + 16)) return undefined;
  const change: unknown = JSON.parse(bytes.toString('utf8', at + HEAD, end));
  return {
    sequence: bytes.readUInt32BE(at + 8),
    bytes: Math.ceil((HEAD + length) / REGION_RECORD) * REGION_RECORD,
    change,
  };
}
