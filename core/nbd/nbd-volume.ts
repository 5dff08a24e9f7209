// A volume that lives behind a NBD server: a Ceph image through qemu-storage-daemon, a qcow2 file, anything with an exporter.
import { MAX_NBD_PAYLOAD } from '../base/nbd-limits.ts';
import { Durability, VolumeError, VolumeFault, WriteNow } from '../volume/volume.ts';
import type { Extent, StableWaiter, Volume, VolumeInfo } from '../volume/volume.ts';
import type { Asked } from './client-connection.ts';
import { NbdRequestError } from './client-connection.ts';
import { NbdClient } from './client.ts';
import type { NbdClientOptions } from './client.ts';
import { AllocationFlag, Command, CommandFlag, ExportFlag, NbdError } from './wire/protocol.ts';
import type { Descriptor } from './wire/transmission.ts';

/** Longest range of a request that carries no data; a multiple of every block size. */
const MAX_RANGE = 0x4000_0000;
/** How often a write is repeated because the server was lost before the flush behind it. */
const MAX_ROUNDS = 8;
/** Requests one command may have running where it is cut into several. */
const PARALLEL = 8;

export interface NbdVolumeOptions extends NbdClientOptions {
  /** Logical block size in bytes, 512 or 4096; not smaller than what the server allows. */
  readonly blockSize: 512 | 4096;
  /** durable: every write is stable before it is acknowledged; volatile: as the server caches. */
  readonly durability: typeof Durability.durable | typeof Durability.volatile;
}

export class NbdVolume implements Volume {
  readonly info: VolumeInfo;
  readonly #client: NbdClient;
  readonly #largest: number;
  #closed = false;
  /** Losses of the server at the time of the first write it has not been told to make stable; undefined: there is none. */
  #unstableSince: number | undefined;
  /** Why nothing is acknowledged any more. */
  #damaged: VolumeError | undefined;

  /** Rejects with a ServiceError (unreachable, no such export) or a VolumeError (an export we cannot serve). */
  static async open(options: NbdVolumeOptions): Promise<NbdVolume> {
    const client = await NbdClient.open(options);
    const { size, flags, sizes } = client.opened;
    const minimum = sizes?.minimum ?? 1;
    const refuse = (message: string): VolumeError => {
      client.close();
      return new VolumeError(VolumeFault.notReady, message);
    };
    if (minimum > options.blockSize) {
      throw refuse(`the export has blocks of ${String(minimum)} bytes: choose a block size of at least that`);
    }
    if (size % options.blockSize !== 0 || size === 0) {
      throw refuse(`the size of the export is not a multiple of ${String(options.blockSize)} bytes`);
    }
    const readOnly = (flags & ExportFlag.readOnly) !== 0;
    const stable = (flags & (ExportFlag.flush | ExportFlag.fua)) !== 0;
    if (options.durability === Durability.durable && !readOnly && !stable) {
      throw refuse('the server can make nothing stable (neither flush nor FUA): it cannot hold a durable volume');
    }
    return new NbdVolume(client, options);
  }

  private constructor(client: NbdClient, options: NbdVolumeOptions) {
    const { size, flags, sizes } = client.opened;
    this.#client = client;
    const largest = Math.min(sizes?.maximum ?? MAX_NBD_PAYLOAD, MAX_NBD_PAYLOAD);
    this.#largest = Math.max(largest - (largest % 65_536), options.blockSize);
    this.info = {
      size,
      blockSize: options.blockSize,
      durability: options.durability,
      readOnly: (flags & ExportFlag.readOnly) !== 0,
      thin: this.#has(ExportFlag.writeZeroes),
      unmapGranularity: Math.max(sizes?.preferred ?? 4096, options.blockSize),
      quickZero: this.#has(ExportFlag.fastZero),
    };
  }

  /** False while the server is away. */
  get connected(): boolean {
    return this.#client.connected;
  }

  readNow(): boolean {
    return false;
  }

  viewNow(): boolean {
    return false;
  }

  async read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    await this.#cut(position, length, this.#largest, (from, size) => ({
      ...{ type: Command.read, flags: 0, position: from, length: size },
      ...{ memory: target, at: at + from - position },
    }));
  }

  writeNow(): WriteNow {
    return WriteNow.refused;
  }

  whenStable(waiter: StableWaiter): void {
    // Nothing is ever placed: every write has its own answer.
    void Promise.resolve().then(() => {
      waiter.stable(undefined);
    });
  }

  async write(position: number, source: Buffer, at: number, length: number, fua: boolean): Promise<void> {
    await this.#change(fua, (flags) =>
      this.#cut(position, length, this.#largest, (from, size) => ({
        ...{ type: Command.write, flags, position: from, length: size },
        ...{ memory: source, at: at + from - position },
      })),
    );
  }

  async flush(): Promise<void> {
    this.#checkDamage();
    if (!this.#has(ExportFlag.flush)) return;
    const { losses } = this.#client;
    const since = this.#unstableSince;
    this.#unstableSince = undefined;
    try {
      await this.#request({ type: Command.flush, flags: 0, position: 0, length: 0 });
    } catch (error) {
      this.#unstableSince = since ?? this.#unstableSince;
      throw error;
    }
    if (since === undefined || (since === losses && losses === this.#client.losses)) return;
    // It may be another process that has never seen those writes: its GOOD says nothing about them.
    const message =
      'the NBD server was lost with writes that were not stable; open the volume anew and check its content';
    this.#damaged = new VolumeError(VolumeFault.writeError, message);
    throw this.#damaged;
  }

  zero(position: number, length: number): Promise<void> {
    return this.#clear(position, length, CommandFlag.noHole);
  }

  unmap(position: number, length: number): Promise<void> {
    return this.#clear(position, length, 0);
  }

  /** Both read as zeros afterwards; TRIM would promise nothing about that. */
  async #clear(position: number, length: number, flags: number): Promise<void> {
    if (!this.#has(ExportFlag.writeZeroes)) {
      const zeros = Buffer.alloc(Math.min(length, 1_048_576));
      for (let done = 0; done < length; done += zeros.length) {
        await this.write(position + done, zeros, 0, Math.min(zeros.length, length - done), false);
      }
      return;
    }
    await this.#change(false, (fua) =>
      this.#cut(position, length, MAX_RANGE, (from, size) => ({
        ...{ type: Command.writeZeroes, flags: flags | fua, position: from, length: size },
      })),
    );
  }

  /** Runs a change with the flags that make it as stable as it has to be. */
  async #change(fua: boolean, change: (flags: number) => Promise<void>): Promise<void> {
    this.#checkDamage();
    if (this.info.readOnly) throw new VolumeError(VolumeFault.readOnly, 'the export is read-only');
    const wanted = fua || this.info.durability === Durability.durable;
    if (!wanted) {
      this.#unstableSince ??= this.#client.losses;
      await change(0);
      return;
    }
    if (this.#has(ExportFlag.fua)) {
      await change(CommandFlag.fua);
      return;
    }
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const { losses } = this.#client;
      await change(0);
      await this.#request({ type: Command.flush, flags: 0, position: 0, length: 0 });
      // Lost in between: the server that flushed may not be the one that had the data. Once more.
      if (losses === this.#client.losses) return;
    }
    throw new VolumeError(VolumeFault.writeError, 'the NBD server is lost again and again');
  }

  #checkDamage(): void {
    if (this.#damaged !== undefined) throw this.#damaged;
  }

  async extents(position: number, length: number, limit: number): Promise<Extent[]> {
    const end = Math.min(position + length, this.info.size);
    if (this.#client.opened.context === undefined) return [{ position, length: end - position, mapped: true }];
    const found: Extent[] = [];
    for (let at = position; at < end && found.length < limit;) {
      const asked = Math.min(end - at, MAX_RANGE);
      const flags = limit === 1 ? CommandFlag.reqOne : 0;
      const runs = await this.#request({ type: Command.blockStatus, flags, position: at, length: asked });
      if (runs.length === 0) throw new VolumeError(VolumeFault.readError, 'the server told no block status', at);
      at = this.#append(found, runs, at, end, limit);
    }
    return found;
  }

  /** Appends runs from `at` on, adjacent ones of one state joined; returns where they end. */
  #append(found: Extent[], runs: readonly Descriptor[], from: number, end: number, limit: number): number {
    let at = from;
    const hole = AllocationFlag.hole | AllocationFlag.zero;
    for (const run of runs) {
      // What lies behind the range is told by the last descriptor only, and not asked for.
      const whole = Math.min(run.length, end - at);
      // A state that changes within a block counts for the whole block as mapped.
      const length = whole - (whole % this.info.blockSize) || Math.min(this.info.blockSize, end - at);
      const mapped = (run.flags & hole) !== hole || length > whole;
      const last = found.at(-1);
      if (last?.mapped === mapped) found[found.length - 1] = { ...last, length: last.length + length };
      else if (found.length < limit) found.push({ position: at, length, mapped });
      else return at;
      at += length;
      if (at >= end) break;
    }
    return at;
  }

  allocatedBytes(): number {
    // NBD has no number for it; a walk over all of a large volume is not for somebody who wants one.
    return this.info.size;
  }

  resize(): Promise<void> {
    const message = 'the size of a NBD export is changed at its server; open the volume anew afterwards';
    return Promise.reject(new VolumeError(VolumeFault.notReady, message));
  }

  /** Lets go of the server at once: what is under way fails, and nothing is made stable. */
  abandon(): void {
    this.#closed = true;
    this.#client.close();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (!this.info.readOnly) await this.flush();
    } finally {
      this.#client.close();
    }
  }

  #has(flag: number): boolean {
    return (this.#client.opened.flags & flag) !== 0;
  }

  /** Cuts a range into requests of at most `largest` bytes, some of them at a time. */
  async #cut(
    position: number,
    length: number,
    largest: number,
    asked: (from: number, size: number) => Asked,
  ): Promise<void> {
    if (length <= largest) {
      await this.#request(asked(position, length));
      return;
    }
    let next = position;
    const end = position + length;
    const worker = async (): Promise<void> => {
      while (next < end) {
        const from = next;
        const size = Math.min(largest, end - from);
        next += size;
        await this.#request(asked(from, size));
      }
    };
    // All of them have to end before an error is told: the memory is in use, and the range locked, until then.
    const ended = await Promise.allSettled(Array.from({ length: PARALLEL }, worker));
    for (const each of ended) if (each.status === 'rejected') throw each.reason;
  }

  async #request(asked: Asked): Promise<readonly Descriptor[]> {
    try {
      return await this.#client.request(asked);
    } catch (error) {
      throw asVolumeError(error, asked);
    }
  }
}

function asVolumeError(error: unknown, { type, position }: Asked): VolumeError {
  const message = error instanceof Error ? error.message : String(error);
  const reading = type === Command.read || type === Command.blockStatus;
  if (!(error instanceof NbdRequestError)) {
    return new VolumeError(VolumeFault.notReady, message, position, { cause: error });
  }
  const faults: Record<number, VolumeFault> = {
    [NbdError.noSpace]: VolumeFault.noSpace,
    [NbdError.permission]: VolumeFault.readOnly,
    [NbdError.shutdown]: VolumeFault.notReady,
  };
  const fault = faults[error.number] ?? (reading ? VolumeFault.readError : VolumeFault.writeError);
  return new VolumeError(fault, message, position, { cause: error });
}
