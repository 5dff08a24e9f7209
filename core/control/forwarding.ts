// Volumes that several nodes serve: who owns which, and the connections their commands are forwarded over. Only a node in a cluster
// has one of these.
import type { Log } from '../base/log.ts';
import type { Clock } from '../base/world.ts';
import type { ScsiDevice } from '../scsi/device.ts';
import { AluaState } from '../scsi/alua.ts';
import { Forwarder, NexusNumbers } from '../scsi/forward/forwarder.ts';
import type { ForwardLink } from '../scsi/forward/link.ts';
import { OwnerEntry } from '../scsi/forward/owner-entry.ts';
import { UnitOwnership, groupOfNode, targetPorts } from '../scsi/forward/ownership.ts';
import type { PortNode } from '../scsi/forward/ownership.ts';
import { unitStateIn } from '../scsi/forward/unit-state.ts';
import type { UnitStateKeeper } from '../scsi/forward/unit-state.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import type { TargetPort } from '../scsi/lun-nexus.ts';
import { resumeSanitize } from '../scsi/sbc/sanitize.ts';
import type { UnitStateStore } from '../scsi/reservations/store.ts';
import type { Volume } from '../volume/volume.ts';

export interface ForwardingOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Id of this node. */
  readonly self: string;
  /** The data nodes of the cluster, this one included. */
  readonly nodes: () => readonly PortNode[];
  /** Portals of other nodes, `HOST:PORT` and portal group tag, for discovery. */
  readonly portals?: () => readonly RemotePortal[];
  /** All target devices of this node. */
  readonly devices: () => Iterable<ScsiDevice>;
  /** When this node was seen to run last, by its clock; absent: it is not looked at. */
  readonly runsAt?: () => number;
}

/** A portal of another node (RFC 7143 §13.8: TargetAddress). */
export interface RemotePortal {
  readonly address: string;
  readonly group: number;
}

interface Owner {
  readonly node: string | undefined;
  readonly preferred: string | undefined;
  readonly isHeir: boolean;
}

const NOBODY: Owner = { node: undefined, preferred: undefined, isHeir: true };

export class Forwarding {
  readonly #options: ForwardingOptions;
  readonly #numbers = new NexusNumbers();
  readonly #forwarders = new Map<string, Forwarder>();
  readonly #units = new Map<string, { readonly lu: LogicalUnit; readonly ownership: UnitOwnership }>();
  /** What is known of owners, by id of the volume, whether it is exposed here or not. */
  readonly #owners = new Map<string, Owner>();

  constructor(options: ForwardingOptions) {
    this.#options = options;
  }

  /** Commands go to this node, and come from it. A link is made once for a node, and lives as long as it is in the cluster. */
  addPeer(link: ForwardLink): void {
    const { clock, log, devices } = this.#options;
    new OwnerEntry(link, { clock, log, unit: (id) => this.#units.get(id)?.lu, devices });
    this.#forwarders.set(link.node, new Forwarder(link, clock, this.#numbers, log));
    // Volumes whose owner was known before there was a way to it.
    for (const [id, owner] of this.#owners) if (owner.node === link.node) this.#show(id);
  }

  /** The ports of a target, on all nodes. */
  ports(iqn: string): readonly TargetPort[] {
    return targetPorts(iqn, this.#options.nodes());
  }

  portals(): readonly RemotePortal[] {
    return this.#options.portals?.() ?? [];
  }

  /** Where the state of a unit is kept; undefined: its volume is on this node alone. */
  stateOf(volume: Volume): UnitStateStore | undefined {
    return isKeeper(volume) ? unitStateIn(volume) : undefined;
  }

  /** Initiators see the unit from now on. One whose volume is mirrored waits for its owner; others are owned by this node. */
  exposed(lu: LogicalUnit): void {
    const { self, nodes, runsAt } = this.#options;
    const { id } = lu.identity;
    this.#units.get(id)?.ownership.close();
    if (!isKeeper(lu.volume)) {
      this.#units.delete(id);
      for (const node of nodes()) if (node.node !== self) lu.setAccessState(groupOfNode(node), AluaState.unavailable);
      return;
    }
    const remote = (node: string): Forwarder | undefined => this.#forwarders.get(node);
    const options = { self, nodes, remote, ...(runsAt === undefined ? {} : { runsAt }) };
    this.#units.set(id, { lu, ownership: new UnitOwnership(lu, options) });
    this.#show(id);
  }

  withdrawn(lu: LogicalUnit): void {
    const { id } = lu.identity;
    const unit = this.#units.get(id);
    if (unit?.lu !== lu) return;
    unit.ownership.close();
    this.#units.delete(id);
  }

  /**
   * The owner of the volume with this id (32 hexadecimal digits), as the mirror knows it; undefined: nobody is known to be. This
   * node may be told that it is only when it may serve. `preferred`: the node that should be. `isHeir`: this node could become owner.
   */
  setOwner(id: string, owner: string | undefined, preferred: string | undefined, isHeir = true): void {
    this.#owners.set(id, { node: owner, preferred, isHeir });
    this.#show(id);
  }

  /**
   * This node did not run for a while. What its sessions bring may be older than what their hosts have sent by other paths since:
   * they end, and log in again.
   */
  stoodStill(): void {
    for (const { lu } of this.#units.values()) lu.endSessions('this node stood still');
  }

  /** The volume is gone. */
  forget(id: string): void {
    this.#owners.delete(id);
  }

  /**
   * Makes a volume of this node ready for another owner: commands wait from now on, those that run end, and what the next owner
   * goes on with is saved. False: not within `ms` milliseconds, or this node does not own it; nothing has changed then. After
   * true somebody has to say setOwner.
   */
  async handOver(id: string, ms: number): Promise<boolean> {
    const lu = this.#units.get(id)?.lu;
    return lu?.role.here === true && (await lu.role.handOver(ms));
  }

  #show(id: string): void {
    const owner = this.#owners.get(id) ?? NOBODY;
    const unit = this.#units.get(id);
    if (unit === undefined) return;
    const { lu, ownership } = unit;
    const was = lu.role.here;
    ownership.set(owner.node, owner.preferred, owner.isHeir);
    // SBC-3 4.11: what the owner before us was sanitizing is not given out half erased.
    if (lu.role.here && !was && lu.notReady === undefined) resumeSanitize(lu);
  }
}

/** A mirrored volume keeps the state of its unit in step with its data. */
function isKeeper(volume: Volume): volume is Volume & UnitStateKeeper {
  return 'unitState' in volume && 'setUnitState' in volume;
}
