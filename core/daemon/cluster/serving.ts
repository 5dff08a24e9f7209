// What a daemon in a cluster has besides what a single one has: the mirror, and the way to what other nodes own.
import { join } from 'node:path';
import type { Log } from '../../base/log.ts';
import type { World } from '../../base/world.ts';
import type { VolumeBackend } from '../../control/backend.ts';
import { ClusterBalance } from '../../control/balance/cluster-balance.ts';
import type { Catalog } from '../../control/catalog.ts';
import { ClusterVolumes, portNodes } from '../../control/cluster-volumes.ts';
import { Forwarding } from '../../control/forwarding.ts';
import type { Images } from '../../control/images.ts';
import { MirrorBackend } from '../../control/mirror-backend.ts';
import { MirrorSnapshots } from '../../control/mirror-snapshots.ts';
import { NodeFacts } from '../../control/node-facts.ts';
import type { Provisioner } from '../../control/provision.ts';
import type { SessionSource } from '../../control/sessions.ts';
import type { Units } from '../../control/units.ts';
import { versionsUpTo } from '../../mirror/link/versions.ts';
import type { LinkVersions } from '../../mirror/link/versions.ts';
import { MirrorNode } from '../../mirror/mirror-node.ts';
import type { ScsiDevice } from '../../scsi/device.ts';
import { portOfNode } from '../../scsi/forward/ownership.ts';
import { NodeBeacons } from './beacon-thread.ts';
import type { Membership } from './membership.ts';

export interface ClusterServingOptions {
  readonly member: Membership;
  readonly world: World;
  readonly log: Log;
  /** The data folder. */
  readonly data: string;
  /** Portal groups of this node, in the order in which they came. */
  readonly groups: () => readonly number[];
  readonly devices: () => Iterable<ScsiDevice>;
}

/** GEMEL_LINK_VERSION: speak to the other nodes as an older build does, to test upgrades. */
function linkVersions(): LinkVersions {
  const most = process.env['GEMEL_LINK_VERSION'];
  return versionsUpTo(most === undefined ? undefined : Number(most));
}

/** What control has that this needs, when it is there. */
export interface Served {
  readonly catalog: Catalog;
  readonly units: Units;
  readonly provisioner: Provisioner;
  readonly server: () => SessionSource | undefined;
}

export class ClusterServing {
  readonly mirror: MirrorNode;
  readonly forwarding: Forwarding;
  readonly facts: NodeFacts;
  readonly #options: ClusterServingOptions;
  #volumes: ClusterVolumes | undefined;
  #balance: ClusterBalance | undefined;
  #backend: MirrorBackend | undefined;
  #snapshots: MirrorSnapshots | undefined;

  constructor(options: ClusterServingOptions) {
    this.#options = options;
    const { member, world, log, devices } = options;
    const { self, store, tls, cluster, bootId } = member;
    const node = { node: self.id, boot: bootId, cluster };
    const versions = linkVersions();
    const beacons = new NodeBeacons({ ...node, tls, log, versions });
    this.mirror = new MirrorNode({ world, store, ...node, log, tls, listen: self.address, versions, beacons });
    this.facts = new NodeFacts(member, world.clock, log);
    this.forwarding = new Forwarding({
      ...{ clock: world.clock, log, self: self.id, devices },
      nodes: () =>
        portNodes(member.nodes(), (id) => (id === self.id ? this.#options.groups().length : this.facts.groups(id))),
      portals: () => this.facts.portals(),
      runsAt: () => this.mirror.leases.beatAt,
    });
  }

  /** The tag of a portal group of this node: no other node has it. */
  tagOf(group: number): number {
    return portOfNode(this.#options.member.self, this.#options.groups().indexOf(group));
  }

  get volumes(): ClusterVolumes {
    if (this.#volumes === undefined) throw new Error('nothing is served yet');
    return this.#volumes;
  }

  get balance(): ClusterBalance {
    if (this.#balance === undefined) throw new Error('nothing is served yet');
    return this.#balance;
  }

  backend(
    local: VolumeBackend,
    images: Images,
    withdraw: ConstructorParameters<typeof MirrorBackend>[0]['withdraw'],
  ): MirrorBackend {
    const { member, world, log, data } = this.#options;
    const folder = join(data, 'mirror');
    return (this.#backend = new MirrorBackend({
      ...{ local, images, member, mirror: this.mirror, folder, world, log, withdraw },
    }));
  }

  /** Snapshots of volumes with copies on several nodes. When there is a backend. */
  snapshots({ catalog, units }: Pick<Served, 'catalog' | 'units'>): MirrorSnapshots {
    const { member, world, log } = this.#options;
    if (this.#backend === undefined) throw new Error('there is no backend yet');
    const parts = { catalog, units, member, mirror: this.mirror, backend: this.#backend };
    return (this.#snapshots = new MirrorSnapshots({ ...parts, clock: world.clock, log }));
  }

  /** Listens for the other nodes. Before volumes are opened. Rejects with a ServiceError. */
  async prepare(served: Served): Promise<void> {
    const { member, world, log } = this.#options;
    if (this.#backend === undefined || this.#snapshots === undefined) throw new Error('there is no backend yet');
    const { mirror, forwarding } = this;
    const { server } = served;
    const kept = { backend: this.#backend, snapshots: this.#snapshots };
    const parts = { mirror, forwarding, member, server, ...kept, clock: world.clock, log };
    const volumes = new ClusterVolumes({ ...served, ...parts });
    this.#volumes = volumes;
    const handOver = (volume: string, to: string): Promise<number> => volumes.handOver(volume, to);
    const isMaintained = (node: string): boolean => volumes.maintenance.has(node);
    this.#balance = new ClusterBalance({ ...served, mirror, member, clock: world.clock, log, handOver, isMaintained });
    await this.facts.start(() => {
      served.units.portsChanged();
    });
    await this.mirror.start();
    this.#volumes.prepare();
  }

  /** Tells the other nodes where this one serves; `addresses`: of the portals, as others reach them. */
  publish(
    { portals }: { portals: readonly { readonly group: number }[] },
    addresses: readonly string[],
  ): Promise<void> {
    const reachable = portals.map(({ group }, i) => ({ address: addresses[i] ?? '', group }));
    return this.facts.publish({ groups: this.#options.groups().length, portals: reachable });
  }

  /** When everything of the catalog is open. */
  async start(): Promise<void> {
    await this.volumes.start();
    await this.balance.start();
  }

  /** Gives what others can serve to them. */
  async stop(): Promise<void> {
    await this.#balance?.stop();
    await this.#volumes?.stop();
    this.facts.stop();
    await this.mirror.stop();
    await this.#snapshots?.stop();
  }
}
