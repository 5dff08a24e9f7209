// Which node owns a logical unit, as initiators see it (SPC-4 5.15): the ports of the owner are Active/Optimized, those of the
// others Active/Non-optimized, and the whole is in transition when nobody has been the owner for too long. Ports of a node that
// cannot reach the owner, and cannot become it either, are Unavailable.
import { FORWARD_HOLD } from '../../base/limits.ts';
import type { Timer } from '../../base/world.ts';
import { AluaState } from '../alua.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import type { TargetPort } from '../lun-nexus.ts';
import type { RemoteUnit } from './remote-unit.ts';

/** A node as a target port group. */
export interface PortNode {
  /** Id of the node. */
  readonly node: string;
  /** Its index in the cluster, from 0, for ever. */
  readonly index: number;
  /** Portal groups it has. */
  readonly portalGroups: number;
}

/** Target ports of one node: what fits into a RELATIVE TARGET PORT IDENTIFIER beside the index of the node. */
const PORTS_OF_A_NODE = 256;

/** TARGET PORT GROUP of a node. */
export const groupOfNode = ({ index }: Pick<PortNode, 'index'>): number => index + 1;

/**
 * RELATIVE TARGET PORT IDENTIFIER, and portal group tag, of the n-th (from 0) portal group of a node. RFC 7143 §4.4.1 wants
 * tags unique in the target, which is the same on all nodes.
 */
export const portOfNode = ({ index }: Pick<PortNode, 'index'>, n: number): number => index * PORTS_OF_A_NODE + n + 1;

/** The ports of a target that all nodes serve. */
export function targetPorts(target: string, nodes: readonly PortNode[]): TargetPort[] {
  return nodes.flatMap((node) =>
    Array.from({ length: node.portalGroups }, (_, n) => {
      const id = portOfNode(node, n);
      return { name: target, portalGroup: id, relativeId: id, group: groupOfNode(node) };
    }),
  );
}

export interface OwnershipOptions {
  /** Id of this node. */
  readonly self: string;
  /** All nodes that serve the unit. */
  readonly nodes: () => readonly PortNode[];
  /** How to reach it at another node; undefined: not known. */
  readonly remote: (node: string) => RemoteUnit | undefined;
  /** When this node was seen to run last, by its clock; absent: it is not looked at. */
  readonly runsAt?: () => number;
}

/** Keeps the role and the access states of one unit in line with its owner. */
export class UnitOwnership {
  readonly #lu: LogicalUnit;
  readonly #options: OwnershipOptions;
  #timer: Timer | undefined;
  #owner: string | undefined;
  #preferred: string | undefined;
  #closed = false;
  readonly #watched = new WeakSet<RemoteUnit>();

  constructor(lu: LogicalUnit, options: OwnershipOptions) {
    this.#lu = lu;
    this.#options = options;
    lu.role.change();
    if (options.runsAt !== undefined) lu.role.runsAt = options.runsAt;
  }

  get owner(): string | undefined {
    return this.#owner;
  }

  /**
   * `owner` carries commands out from now on; undefined: nobody is known to. `preferred`: the node that should, when it can.
   * `isHeir`: this node could become owner if that one stays away.
   *
   * A node that loses the unit without having handed it over (LogicalUnit.role.handOver) ends its sessions. Somebody else may have
   * served it for a while, to hosts that gave this path up; what they had sent here before must not come after that, however
   * late the network brings it.
   */
  set(owner: string | undefined, preferred: string | undefined, isHeir = true): void {
    const { self, remote } = this.#options;
    const { role } = this.#lu;
    const isLost = role.here && owner !== self;
    this.#owner = owner;
    this.#preferred = preferred;
    this.#timer?.cancel();
    this.#timer = undefined;
    const there = owner === undefined || owner === self ? undefined : remote(owner);
    if (owner === self) role.takeOver();
    else if (there !== undefined) role.forwardTo(there, isHeir);
    else role.change();
    if (isLost) this.#lu.endSessions('this node has lost the volume');
    if (there !== undefined) this.#watch(there);
    if (owner !== self && there === undefined) {
      // Initiators that ask meanwhile hear of the old state: what they send waits, and nothing is gained by holding it back.
      this.#timer = this.#lu.clock.after(FORWARD_HOLD, () => {
        this.#show(() => AluaState.transitioning, preferred);
      });
      return;
    }
    this.#showOwner();
  }

  /** The states of a unit with an owner; those of this node depend on whether it reaches it. */
  #showOwner(): void {
    const { self } = this.#options;
    const { role, clock } = this.#lu;
    const { strandedAt = Infinity } = role;
    this.#timer?.cancel();
    this.#timer = undefined;
    const wait = strandedAt - clock.now();
    if (wait > 0 && wait < Infinity) {
      this.#timer = clock.after(wait, () => {
        this.#showOwner();
      });
    }
    const own = wait > 0 ? AluaState.activeNonOptimized : AluaState.unavailable;
    const other = (node: string): AluaState => (node === self ? own : AluaState.activeNonOptimized);
    this.#show((node) => (node === this.#owner ? AluaState.activeOptimized : other(node)), this.#preferred);
  }

  #watch(remote: RemoteUnit): void {
    if (this.#watched.has(remote)) return;
    this.#watched.add(remote);
    remote.watch(() => {
      if (this.#lu.role.remote === remote && !this.#closed) this.#showOwner();
    });
  }

  #show(stateOf: (node: string) => AluaState, preferred: string | undefined): void {
    for (const node of this.#options.nodes()) {
      this.#lu.setAccessState(groupOfNode(node), stateOf(node.node), node.node === preferred);
    }
  }

  /** The unit is withdrawn. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }
}
