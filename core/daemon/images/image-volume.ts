// An image of another engine as a volume: an exporter beside the daemon, a NBD client, and the cache before it. All of that is
// there only while this node is the one that may write to the image.
import { ServiceError, messageOf } from '../../base/errors.ts';
import { EXPORT_RESTART, EXPORT_START, IMAGE_ACQUIRE } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import { Turn } from '../../base/turn.ts';
import type { World } from '../../base/world.ts';
import type { SharedStorage } from '../../mirror/shared.ts';
import { NbdRequestError } from '../../nbd/client-connection.ts';
import { NbdVolume } from '../../nbd/nbd-volume.ts';
import { NbdError } from '../../nbd/wire/protocol.ts';
import { Durability, VolumeError, VolumeFault, WriteNow } from '../../volume/volume.ts';
import type { Extent, Place, StableWaiter, Volume, VolumeInfo } from '../../volume/volume.ts';
import type { ImageEngine } from './engine.ts';
import { Exporter } from './exporter.ts';

export interface ImageVolumeOptions {
  readonly world: World;
  readonly log: Log;
  readonly engine: ImageEngine;
  readonly image: string;
  readonly socket: string;
  /** What the catalog says of it. */
  readonly info: Pick<VolumeInfo, 'size' | 'readOnly' | 'thin'> & { readonly blockSize: 512 | 4096 };
  /** Puts the cache before it, if there is one. */
  readonly cached: (volume: Volume) => Volume;
}

/** The image while it is open here. */
interface Opened {
  readonly nbd: NbdVolume;
  readonly volume: Volume;
}

export class ImageVolume implements SharedStorage {
  info: VolumeInfo;
  readonly #options: ImageVolumeOptions;
  readonly #exporter: Exporter;
  readonly #turn = new Turn();
  #opened: Opened | undefined;
  /** Present while the image should be open here. */
  #mine: (() => Promise<boolean>) | undefined;
  #reviving = false;

  constructor(options: ImageVolumeOptions) {
    this.#options = options;
    const { world, log, socket, image, info } = options;
    this.info = { ...info, durability: Durability.durable, unmapGranularity: 65_536 };
    this.#exporter = new Exporter({
      ...{ socket, name: image, clock: world.clock, log },
      onEnded: () => {
        this.#lost();
      },
    });
  }

  async acquire(mine: () => Promise<boolean>): Promise<void> {
    await this.release();
    await this.#turn.run(async () => {
      this.#mine = mine;
      try {
        this.#opened = await this.#open(mine);
      } catch (error) {
        this.#mine = undefined;
        await this.#exporter.stop();
        throw error;
      }
    });
  }

  async release(): Promise<void> {
    // At once: what is under way must not wait for a server that is shut out.
    this.#mine = undefined;
    const opened = this.#opened;
    this.#opened = undefined;
    opened?.nbd.abandon();
    await this.#turn.run(async () => {
      await this.#exporter.stop();
      // Everything acknowledged is stable; the cache only gives its memory back.
      await opened?.volume.close().catch(() => undefined);
    });
  }

  close(): Promise<void> {
    return this.release();
  }

  // ---- opening it, and keeping it open

  async #open(mine: () => Promise<boolean>): Promise<Opened> {
    const { world, engine, image, cached, info } = this.#options;
    const end = world.clock.now() + IMAGE_ACQUIRE;
    for (;;) {
      if (!(await mine())) throw new ServiceError('replica-state', 'another node owns it by now');
      try {
        await engine.fence(image);
        this.#exporter.start(await engine.blockdev(image), engine.lock(image));
        const nbd = await this.#connect();
        if (nbd.info.size < this.info.size || (nbd.info.readOnly && !info.readOnly)) {
          nbd.abandon();
          throw new ServiceError('io-error', `the image ${image} is smaller than the volume, or read-only`);
        }
        return { nbd, volume: cached(nbd) };
      } catch (error) {
        if (world.clock.now() >= end) throw error;
        await this.#exporter.stop();
        await this.#pause(EXPORT_RESTART);
      }
    }
  }

  async #connect(): Promise<NbdVolume> {
    const { world, log, socket, image, info } = this.#options;
    const { clock } = world;
    const to = { path: socket };
    const state = { isOpen: false };
    const onLost = (): void => {
      // An exporter drops nobody: it has died, or the engine has shut it out and it knows no better.
      if (state.isOpen && this.#mine !== undefined) this.#exporter.kill();
    };
    for (const end = clock.now() + EXPORT_START; ;) {
      try {
        const { blockSize } = info;
        const durability = Durability.durable;
        const nbd = await NbdVolume.open({
          ...{ world, log, to, exportName: image, onLost },
          ...{ blockSize, durability },
        });
        state.isOpen = true;
        return nbd;
      } catch (error) {
        if (!this.#exporter.running)
          throw new ServiceError('io-error', `the image cannot be opened: ${this.#exporter.said}`);
        if (clock.now() >= end) throw error;
        await this.#pause(25);
      }
    }
  }

  /** The exporter has ended: another one takes its place, unless this node is not the owner any more. */
  #lost(): void {
    if (this.#mine === undefined || this.#opened === undefined || this.#reviving) return;
    this.#reviving = true;
    const { log, image } = this.#options;
    log.warn({ image, said: this.#exporter.said }, 'the exporter of an image has ended: it is started again');
    void this.#turn
      .run(() => this.#revive())
      .finally(() => {
        this.#reviving = false;
        // It may have ended again before it was looked at.
        if (!this.#exporter.running) this.#lost();
      });
  }

  async #revive(): Promise<void> {
    const { engine, image, log } = this.#options;
    while (this.#mine !== undefined && !this.#exporter.running) {
      try {
        if (!(await this.#mine())) {
          // The mirror will say so soon. Until then what is asked of it waits, or fails.
          log.warn({ image }, 'this node is not the owner any more: its exporter stays down');
          return;
        }
        // What its predecessor had under way must not come later than what is sent now.
        await engine.fence(image);
        this.#exporter.start(await engine.blockdev(image), engine.lock(image));
        return;
      } catch (error) {
        log.error({ image, error: messageOf(error) }, 'the exporter of an image cannot be started');
      }
      await this.#pause(EXPORT_RESTART);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.world.clock.after(ms, resolve));
  }

  // ---- what is asked of it

  /** Runs `work` on the open image. Once more when the exporter turns out to be shut out and another one takes its place. */
  async #with<T>(work: (volume: Volume) => Promise<T>): Promise<T> {
    const volume = this.#here();
    try {
      return await work(volume);
    } catch (error) {
      if (!isShutOut(error) || this.#opened?.volume !== volume) throw error;
      this.#exporter.kill();
      // Whoever asked holds the range: nobody can have written it in between.
      return work(this.#here());
    }
  }

  #here(): Volume {
    if (this.#opened === undefined) throw new VolumeError(VolumeFault.moved, 'the image is not open on this node');
    return this.#opened.volume;
  }

  readNow(position: number, length: number, target: Buffer, at: number): boolean {
    return this.#opened?.volume.readNow(position, length, target, at) === true;
  }
  viewNow(position: number, length: number, pieces: Buffer[]): boolean {
    return this.#opened?.volume.viewNow(position, length, pieces) === true;
  }
  read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    return this.#with((volume) => volume.read(position, length, target, at));
  }
  readPlaces(places: readonly Place[]): Promise<void> {
    return this.#with(async (volume) => {
      if (volume.readPlaces !== undefined) return volume.readPlaces(places);
      for (const { position, length, memory, at } of places) await volume.read(position, length, memory, at);
    });
  }
  bring(position: number, length: number): Promise<boolean> {
    return this.#with((volume) => volume.bring?.(position, length) ?? Promise.resolve(false));
  }
  writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    return this.#opened?.volume.writeNow(position, source, at, length) ?? WriteNow.refused;
  }
  whenStable(waiter: StableWaiter): void {
    const volume = this.#opened?.volume;
    if (volume !== undefined) {
      volume.whenStable(waiter);
      return;
    }
    this.#options.world.clock.soon(() => {
      waiter.stable(new VolumeError(VolumeFault.moved, 'the image is not open on this node'));
    });
  }
  write(position: number, source: Buffer, at: number, length: number, fua: boolean): Promise<void> {
    return this.#with((volume) => volume.write(position, source, at, length, fua));
  }
  flush(): Promise<void> {
    return this.#with((volume) => volume.flush());
  }
  zero(position: number, length: number): Promise<void> {
    return this.#with((volume) => volume.zero(position, length));
  }
  unmap(position: number, length: number): Promise<void> {
    return this.#with((volume) => volume.unmap(position, length));
  }
  extents(position: number, length: number, limit: number): Promise<Extent[]> {
    return this.#with((volume) => volume.extents(position, length, limit));
  }
  allocatedBytes(): number {
    return this.info.size;
  }

  /** Where it is open, the image is resized and opened anew; elsewhere only what is known of it changes. */
  async resize(size: number): Promise<void> {
    const mine = this.#mine;
    if (mine !== undefined) {
      const { engine, image } = this.#options;
      await this.release();
      await engine.resize(image, size);
      this.info = { ...this.info, size };
      await this.acquire(mine);
      return;
    }
    this.info = { ...this.info, size };
  }
}

/** The engine does not take anything from this exporter any more (ESHUTDOWN). */
function isShutOut(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof NbdRequestError) return at.number === NbdError.shutdown;
  }
  return false;
}
