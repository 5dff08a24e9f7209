// Which node owns a logical unit, as initiators see it (SPC-4 5.15): the ports of the owner are Active/Optimized, those of the
// others Active/Non-optimized, and the whole is in transition when nobody has been the owner for too long.
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
}

/** Keeps the role and the access states of one unit in line with its owner. */
export class UnitOwnership {
  readonly #lu: LogicalUnit;
  readonly #options: OwnershipOptions;
  #timer: Timer | undefined;
  #owner: string | undefined;

  constructor(lu: LogicalUnit, options: OwnershipOptions) {
    this.#lu = lu;
    this.#options = options;
    lu.role.change();
  }

  get owner(): string | undefined {
    return this.#owner;
  }

  /**
   * `owner` carries commands out from now on; undefined: nobody is known to. `preferred`: the node that should, when it can.
   */
  set(owner: string | undefined, preferred: string | undefined): void {
    const { self, remote } = this.#options;
    const { role } = this.#lu;
    this.#owner = owner;
    this.#timer?.cancel();
    this.#timer = undefined;
    const there = owner === undefined || owner === self ? undefined : remote(owner);
    if (owner === self) role.takeOver();
    else if (there !== undefined) role.forwardTo(there);
    else {
      role.change();
      // Initiators that ask meanwhile hear of the old state: what they send waits, and nothing is gained by holding it back.
      this.#timer = this.#lu.clock.after(FORWARD_HOLD, () => {
        this.#show(() => AluaState.transitioning, preferred);
      });
      return;
    }
    this.#show((node) => (node === owner ? AluaState.activeOptimized : AluaState.activeNonOptimized), preferred);
  }

  #show(stateOf: (node: string) => AluaState, preferred: string | undefined): void {
    for (const node of this.#options.nodes()) {
      this.#lu.setAccessState(groupOfNode(node), stateOf(node.node), node.node === preferred);
    }
  }

  /** The unit is withdrawn. */
  close(): void {
    this.#timer?.cancel();
  }
}
