// A target in this process: the real server over real sockets, one target with LUNs of the caller's choice.
import type { Log } from '../../core/base/log.ts';
import { silentLog } from '../../core/base/log.ts';
import type { Clock, World } from '../../core/base/world.ts';
import type { AccessPolicy, Credentials } from '../../core/iscsi/context.ts';
import { IscsiServer } from '../../core/iscsi/server.ts';
import { CommandTable } from '../../core/scsi/command-table.ts';
import { ScsiDevice } from '../../core/scsi/device.ts';
import type { Visibility, Visitor } from '../../core/scsi/device.ts';
import { identityOf } from '../../core/scsi/identity.ts';
import { LogicalUnit } from '../../core/scsi/logical-unit.ts';
import { RESERVATION_COMMANDS } from '../../core/scsi/reservations/index.ts';
import { noReservationStore } from '../../core/scsi/reservations/store.ts';
import type { ReservationStore } from '../../core/scsi/reservations/store.ts';
import { SBC_COMMANDS } from '../../core/scsi/sbc/index.ts';
import { SPC_COMMANDS } from '../../core/scsi/spc/index.ts';
import { VAAI_COMMANDS } from '../../vaai/index.ts';
import { ODX_COMMANDS } from './odx.ts';
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import type { Volume } from '../../core/volume/volume.ts';
import { nodeWorld } from '../../core/world/node-world.ts';
import type { ReceiveMode } from '../../core/world/node-net.ts';

export const IQN = 'iqn.2026-11.org.example:unit';
export const COMMANDS = new CommandTable([
  ...[SPC_COMMANDS, SBC_COMMANDS, RESERVATION_COMMANDS, VAAI_COMMANDS].flat(),
  ...ODX_COMMANDS,
]);

export interface TestTargetOptions {
  readonly volumes?: readonly Volume[];
  readonly receive?: ReceiveMode;
  readonly credentials?: (initiator: string, target: string | undefined) => Credentials;
  readonly visibility?: (visitor: Visitor) => Visibility;
  readonly redirect?: AccessPolicy['redirect'];
  readonly portals?: readonly { host: string; group: number; advertised?: string }[];
  readonly reservationStore?: ReservationStore;
  readonly log?: Log;
  /** Time of the server; the default is real. */
  readonly clock?: Clock;
  /** Does an address belong to this machine? The default is yes. */
  readonly isLocal?: (address: string) => boolean;
}

export interface TestTarget {
  readonly server: IscsiServer;
  readonly device: ScsiDevice;
  readonly units: readonly LogicalUnit[];
  readonly world: World;
  readonly port: number;
  close(): Promise<void>;
}

/** Starts the server on free loopback ports; LUN n is the n-th volume (default: one memory volume of 16 MiB). */
export async function startTarget(options: TestTargetOptions = {}): Promise<TestTarget> {
  const real = await nodeWorld(options.receive);
  const world = options.clock === undefined ? real : { ...real, clock: options.clock };
  const log = options.log ?? silentLog;
  const volumes = options.volumes ?? [new MemoryVolume(16 * 1_048_576)];
  const units = volumes.map(
    (volume, i) =>
      new LogicalUnit({
        name: `disk${String(i)}`,
        volume,
        identity: identityOf(i.toString(16).padStart(32, '7')),
        physicalBlockSize: 4096,
        commands: COMMANDS,
        clock: world.clock,
        log,
        reservationStore: options.reservationStore ?? noReservationStore,
      }),
  );
  const portals = (options.portals ?? [{ host: '127.0.0.1', group: 1 }]).map((each) => ({ ...each, port: 0 }));
  const groups = [...new Set(portals.map((each) => each.group))];
  const device = new ScsiDevice(
    IQN,
    groups.map((portalGroup, i) => ({ name: IQN, portalGroup, relativeId: i + 1 })),
  );
  units.forEach((lu, lun) => {
    device.setLun(lun, { lun, lu, visibility: options.visibility ?? (() => 'read-write') });
  });
  const server = new IscsiServer({
    world,
    log,
    portals,
    isLocal: options.isLocal ?? (() => true),
    policy: {
      device: (name) => (name === IQN ? device : undefined),
      devices: () => [device],
      credentials: options.credentials ?? (() => ({ method: 'none' })),
      redirect: options.redirect ?? (() => undefined),
    },
  });
  await server.listen();
  return {
    server,
    device,
    units,
    world,
    port: server.portals[0]?.port ?? 0,
    close: () => server.shutdown(),
  };
}
