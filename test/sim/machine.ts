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
export const VOLUME = 'a';
const CLUSTER = 'c0ffee00-0000-4000-8000-000000000001';

export interface Site {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly network: Network;
  readonly store: CentralStore;
  readonly names: readonly string[];
  /** Bytes of the volume. */
  readonly size: number;
  readonly durability: Durability;
  readonly flaw: Flaw | undefined;
}

export class Machine {
  readonly name: string;
  readonly #site: Site;
  readonly platters: Platters;
  readonly blocks: Blocks = new Map();
  readonly points: Points = new Map();
  boot: Boot | undefined;
  queue: DiskQueue | undefined;
  node: MirrorNode | undefined;
  volume: MirroredVolume | undefined;
  /** The mark of the admission since which it has lost what was in its memory. */
  lostSince: string | undefined;
  #boots = 0;
  /** Its clock is this much off the true rate. */
  readonly #rate: number;
  log: Log = silentLog;

  constructor(name: string, site: Site) {
    this.name = name;
    this.#site = site;
    this.platters = new Platters(site.chance);
    this.#rate = 1 + site.chance.between(-0.01, 0.01);
  }

  get isUp(): boolean {
    return this.boot?.alive === true;
  }

  /** Switches it on. */
  start(): void {
    const { time, chance, network, store, names, size, durability, flaw } = this.#site;
    const boot = new Boot(time, chance, this.#rate);
    const queue = new DiskQueue(this.platters, boot);
    this.boot = boot;
    this.queue = queue;
    const fresh = this.#boots++ === 0;
    if (!fresh) flawedPlatters(flaw, this.platters);
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
      const copy = new CopyVolume(queue, this.blocks, size, durability === Durability.mirroredRam);
      const points = new SimPoints(queue, this.points, this.blocks, size);
      const volume = await node.open({ id: VOLUME, durability, folder: '/mirror', fresh, points }, copy);
      if (boot.alive) this.volume = volume;
    };
    // Begun from within its life, like everything it does.
    boot.later(0, () => {
      run().catch((error: unknown) => {
        if (boot.alive) time.note(`${this.name} does not start: ${String(error)}`);
      });
    });
  }

  /** How hosts read here, if not through the volume. */
  get otherRead(): ReturnType<typeof flawedRead> {
    return this.volume === undefined ? undefined : flawedRead(this.#site.flaw, this.volume);
  }

  /** The power is gone, or the process has been killed. */
  crash(): void {
    this.#site.time.note(`${this.name} crashes`);
    this.volume = undefined;
    this.node = undefined;
    this.boot?.end();
    this.boot = undefined;
    this.queue = undefined;
  }
}
