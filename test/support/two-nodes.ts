// Two nodes in one process that serve the same LUN, one of which owns it: real servers over real sockets, and a link between them.
// The volume is one and the same for both, as if the mirror were perfect.
import { silentLog } from '../../core/base/log.ts';
import type { Log } from '../../core/base/log.ts';
import type { Clock, World } from '../../core/base/world.ts';
import { IscsiServer } from '../../core/iscsi/server.ts';
import { ScsiDevice } from '../../core/scsi/device.ts';
import { Forwarder, NexusNumbers } from '../../core/scsi/forward/forwarder.ts';
import type { ForwardLink } from '../../core/scsi/forward/link.ts';
import { OwnerEntry } from '../../core/scsi/forward/owner-entry.ts';
import { UnitOwnership, portOfNode, targetPorts } from '../../core/scsi/forward/ownership.ts';
import { unitStateIn } from '../../core/scsi/forward/unit-state.ts';
import { identityOf } from '../../core/scsi/identity.ts';
import { LogicalUnit } from '../../core/scsi/logical-unit.ts';
import { noReservationStore } from '../../core/scsi/reservations/store.ts';
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import type { Volume } from '../../core/volume/volume.ts';
import { nodeWorld } from '../../core/world/node-world.ts';
import { linkPair } from './forward-link.ts';
import type { LinkPair } from './forward-link.ts';
import { peerPair } from './peer-pair.ts';
import { COMMANDS, IQN } from './target.ts';

/** Milliseconds a planned change of the owner may wait for commands that run. */
const HAND_OVER = 10_000;
const UNIT = '7'.repeat(32);

/** Both nodes of a pair. */
export type NodeName = 'a' | 'b';
const NODES = [
  { node: 'a', index: 0, portalGroups: 1 },
  { node: 'b', index: 1, portalGroups: 1 },
] as const;

export interface TwoNodesOptions {
  readonly volume?: Volume;
  readonly clock?: Clock;
  readonly log?: Log;
  /** Port of each server on loopback; any by default. */
  readonly ports?: Readonly<Record<NodeName, number>>;
  /** The link of the daemon, over loopback, instead of one in memory. */
  readonly peers?: boolean;
}

export interface TestNode {
  readonly server: IscsiServer;
  readonly device: ScsiDevice;
  readonly lu: LogicalUnit;
  readonly ownership: UnitOwnership;
  readonly port: number;
}

export interface TwoNodes {
  readonly a: TestNode;
  readonly b: TestNode;
  readonly world: World;
  /** Unused with `peers`. */
  readonly link: LinkPair;
  /** The state the owner keeps for its successor. */
  readonly state: () => Buffer | undefined;
  /** The owner changes in good order. */
  handOver(to: NodeName): Promise<void>;
  /** The owner changes without the old one knowing of it beforehand. */
  takeOver(to: NodeName): void;
  close(): Promise<void>;
}

/** Starts both; `a` is the owner. */
export async function startTwoNodes(options: TwoNodesOptions = {}): Promise<TwoNodes> {
  const real = await nodeWorld();
  const world = options.clock === undefined ? real : { ...real, clock: options.clock };
  const log = options.log ?? silentLog;
  const volume = options.volume ?? new MemoryVolume(16 * 1_048_576);
  const link = linkPair('a', 'b');
  const peers = options.peers === true ? await peerPair(world, log) : undefined;
  let state: Buffer | undefined;
  const keeper = {
    unitState: () => state,
    setUnitState: (bytes: Buffer) => {
      state = bytes;
      return Promise.resolve();
    },
  };

  const start = async (self: NodeName, to: ForwardLink): Promise<TestNode> => {
    const lu = new LogicalUnit({
      name: 'disk',
      volume,
      identity: identityOf(UNIT),
      physicalBlockSize: 4096,
      commands: COMMANDS,
      clock: world.clock,
      log,
      reservationStore: noReservationStore,
      unitState: unitStateIn(keeper),
    });
    const device = new ScsiDevice(IQN, targetPorts(IQN, NODES));
    device.setLun(0, { lun: 0, lu, visibility: () => 'read-write' });
    const devices = (): ScsiDevice[] => [device];
    new OwnerEntry(to, { clock: world.clock, log, unit: (id) => (id === UNIT ? lu : undefined), devices });
    const forwarder = new Forwarder(to, world.clock, new NexusNumbers(), log);
    const ownership = new UnitOwnership(lu, { self, nodes: () => NODES, remote: () => forwarder });
    const group = portOfNode({ index: self === 'a' ? 0 : 1 }, 0);
    const server = new IscsiServer({
      world,
      log,
      portals: [{ host: '127.0.0.1', port: options.ports?.[self] ?? 0, group }],
      isLocal: () => true,
      policy: {
        device: (name) => (name === IQN ? device : undefined),
        devices,
        credentials: () => ({ method: 'none' }),
        redirect: () => undefined,
      },
    });
    await server.listen();
    return { server, device, lu, ownership, port: server.portals[0]?.port ?? 0 };
  };

  const a = await start('a', peers?.first ?? link.first);
  const b = await start('b', peers?.second ?? link.second);
  const nodes = { a, b };
  const takeOver = (to: NodeName): void => {
    const other = to === 'a' ? b : a;
    // The old owner learns of it first: it must not answer out of its own knowledge any more.
    other.ownership.set(to, 'a');
    nodes[to].ownership.set(to, 'a');
  };
  takeOver('a');
  return {
    a,
    b,
    world,
    link,
    state: () => state,
    takeOver,
    async handOver(to) {
      const from = nodes[to === 'a' ? 'b' : 'a'];
      if (!(await from.lu.role.handOver(HAND_OVER))) throw new Error('commands do not end');
      takeOver(to);
    },
    async close() {
      await Promise.all([a.server.shutdown(), b.server.shutdown()]);
      await peers?.close();
      a.ownership.close();
      b.ownership.close();
    },
  };
}
