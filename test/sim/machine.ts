// A node of the simulated cluster: what is on its disks, and the life it has at the moment. What runs in it is the mirror
// itself, on a World of the simulator.
import { silentLog } from '../../core/base/log.ts';
import type { Log } from '../../core/base/log.ts';
import type { World } from '../../core/base/world.ts';
import { MirrorNode } from '../../core/mirror/mirror-node.ts';
import type { MirroredVolume } from '../../core/mirror/mirrored-volume.ts';
import { Durability } from '../../core/volume/volume.ts';
import { Boot } from './boot.ts';
import { CopyVolume } from './copy-volume.ts';
import type { Blocks } from './copy-volume.ts';
import { DiskQueue, Platters, SimDisk } from './disk.ts';
import type { Flaw } from './flaws.ts';
import { flawedClock, flawedLeases, flawedPlatters, flawedRead, flawedStore } from './flaws.ts';
import type { Network } from './net.ts';
import type { Chance } from './random.ts';
import { SimPoints } from './points.ts';
import type { Points } from './points.ts';
import type { CentralStore } from './store.ts';
import type { VirtualTime } from './virtual-time.ts';

export const PORT = 7481;
/** Milliseconds until a volume that could not be opened is tried again. */
const RETRY = 1000;
export const VOLUME = 'a';
/** What is copied to, and from, where there are copies between volumes. */
export const OTHER = 'b';
const CLUSTER = 'c0ffee00-0000-4000-8000-000000000001';

export interface Site {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly network: Network;
  readonly store: CentralStore;
  readonly names: readonly string[];
  /** Bytes of the volume. */
  readonly size: number;
  /** Volumes; VOLUME alone when absent. */
  readonly volumes?: readonly string[];
  readonly durability: Durability;
  readonly flaw: Flaw | undefined;
}

export interface Kept {
  /** It has been opened before. */
  isKnown?: boolean;
  readonly blocks: Blocks;
  readonly points: Points;
}

export class Machine {
  readonly name: string;
  readonly #site: Site;
  readonly platters: Platters;
  /** What is on its disks, by volume; a volume that is not there yet has its blocks before it is opened. */
  readonly kept = new Map<string, Kept>();
  boot: Boot | undefined;
  queue: DiskQueue | undefined;
  node: MirrorNode | undefined;
  /** Those that are open, by id. */
  readonly volumes = new Map<string, MirroredVolume>();
  /** The marks of the admissions, by volume, since which it has lost what was in its memory. */
  lostSince: readonly string[] | undefined;
  #boots = 0;
  /** Its clock is this much off the true rate. */
  readonly #rate: number;
  log: Log = silentLog;

  constructor(name: string, site: Site) {
    this.name = name;
    this.#site = site;
    this.platters = new Platters(site.chance);
    this.#rate = 1 + site.chance.between(-0.01, 0.01);
    for (const id of site.volumes ?? [VOLUME]) this.kept.set(id, { blocks: new Map(), points: new Map() });
  }

  get volume(): MirroredVolume | undefined {
    return this.volumes.get(VOLUME);
  }
  get blocks(): Blocks {
    return this.on(VOLUME).blocks;
  }
  get points(): Points {
    return this.on(VOLUME).points;
  }
  /** What is on its disks of a volume it has. */
  on(volume: string): Kept {
    const kept = this.kept.get(volume);
    if (kept === undefined) throw new Error(`${this.name} has no ${volume}`);
    return kept;
  }

  get isUp(): boolean {
    return this.boot?.alive === true;
  }

  /** Switches it on. */
  start(): void {
    const { time, chance, network, store, names, flaw } = this.#site;
    const boot = new Boot(time, chance, this.#rate);
    const queue = new DiskQueue(this.platters, boot);
    this.boot = boot;
    this.queue = queue;
    if (this.#boots++ > 0) flawedPlatters(flaw, this.platters);
    time.note(`${this.name} starts`);
    const world: World = {
      clock: flawedClock(flaw, boot),
      random: boot.random(),
      net: network.attach(this.name, boot),
      disk: new SimDisk(queue),
    };
    const node = new MirrorNode({
      ...{ world, cluster: CLUSTER, node: this.name, log: this.log },
      store: flawedStore(flaw, store.client(this.name, boot), this.name),
      boot: `${this.name}${String(this.#boots)}`,
      listen: { host: this.name, port: PORT },
    });
    flawedLeases(flaw, node.leases, world.clock);
    this.node = node;
    const run = async (): Promise<void> => {
      await node.start();
      for (const other of names) if (other !== this.name) node.addPeer({ node: other, host: other, port: PORT });
      for (const id of this.kept.keys()) await this.open(id);
    };
    // Begun from within its life, like everything it does.
    boot.later(0, () => {
      run().catch((error: unknown) => {
        if (boot.alive) time.note(`${this.name} does not start: ${String(error)}`);
      });
    });
  }

  /** Opens what is on its disks of a volume. */
  async open(id: string): Promise<void> {
    const { boot, queue, node } = this;
    if (boot?.alive !== true || queue === undefined || node === undefined) return;
    const { size, durability } = this.#site;
    const { blocks, points: kept, isKnown } = this.on(id);
    const fresh = isKnown !== true;
    this.on(id).isKnown = true;
    const copy = new CopyVolume(queue, blocks, size, durability === Durability.mirroredRam);
    const points = new SimPoints(queue, kept, blocks, size);
    const volume = await node.open({ id, durability, folder: '/mirror', fresh, points }, copy).catch(() => undefined);
    if (volume === undefined) {
      // Its disk fails: as control does, it tries again.
      await new Promise<void>((resolve) => boot.later(RETRY, resolve));
      await this.open(id);
      return;
    }
    if (this.boot === boot) this.volumes.set(id, volume);
  }

  /** How hosts read a volume here, if not through it. */
  otherRead(id: string): ReturnType<typeof flawedRead> {
    const volume = this.volumes.get(id);
    return volume === undefined ? undefined : flawedRead(this.#site.flaw, volume);
  }

  /** The power is gone, or the process has been killed. */
  crash(): void {
    this.#site.time.note(`${this.name} crashes`);
    this.volumes.clear();
    this.node = undefined;
    this.boot?.end();
    this.boot = undefined;
    this.queue = undefined;
  }
}
