// The volumes that are being served: each opened Volume as a LogicalUnit behind its target.
import type { Clock } from '../base/world.ts';
import type { Log } from '../base/log.ts';
import type { CommandTable } from '../scsi/command-table.ts';
import { ScsiDevice } from '../scsi/device.ts';
import type { Visibility, Visitor } from '../scsi/device.ts';
import { identityOf } from '../scsi/identity.ts';
import { LogicalUnit } from '../scsi/logical-unit.ts';
import type { TargetPort } from '../scsi/lun-nexus.ts';
import type { ReservationStore } from '../scsi/reservations/store.ts';
import type { SanitizeStore } from '../scsi/sanitize-store.ts';
import { resumeSanitize } from '../scsi/sbc/sanitize.ts';
import { SENSE, ScsiError } from '../scsi/sense.ts';
import { CopyRoute } from '../volume/copy-route.ts';
import type { Volume } from '../volume/volume.ts';
import type { Catalog } from './catalog.ts';
import type { Forwarding, RemotePortal } from './forwarding.ts';
import type { VolumeRecord } from './records.ts';
import type { HostStanding } from './hosts.ts';
import { visibilityOf } from './visibility.ts';

export interface UnitsOptions {
  readonly catalog: Catalog;
  readonly commands: CommandTable;
  readonly clock: Clock;
  readonly log: Log;
  /** Portal group tags there are now; each is one target port of every target. */
  readonly portalGroups: () => readonly number[];
  /** Bytes a second a host has been seen to read and write; nothing is known when absent. */
  readonly hostRate?: (host: string) => number | undefined;
  /** The host and the groups of an initiator; nobody has one when absent. */
  readonly standing?: (initiator: string) => HostStanding;
  /** In a cluster: the nodes that serve the volumes together. */
  readonly forwarding?: Forwarding | undefined;
}

export class Units {
  readonly #options: UnitsOptions;
  readonly #devices = new Map<string, ScsiDevice>();
  readonly #units = new Map<string, LogicalUnit>();
  /** Names of the served ones by NAA designator, in hexadecimal digits. */
  readonly #byNaa = new Map<string, string>();
  /** Why a volume is not served, by name. */
  readonly #problems = new Map<string, string>();

  /** By name of the volume. */
  readonly #uses = new Map<string, string[]>();

  constructor(options: UnitsOptions) {
    this.#options = options;
  }

  /** Target devices that have at least one served volume, by IQN. */
  get devices(): ReadonlyMap<string, ScsiDevice> {
    return this.#devices;
  }

  unit(name: string): LogicalUnit | undefined {
    return this.#units.get(name);
  }

  /** The served ones, with their records, in order of name. */
  all(): { record: VolumeRecord; lu: LogicalUnit }[] {
    return this.#options.catalog.volumes.values().flatMap((record) => {
      const lu = this.#units.get(record.name);
      return lu === undefined ? [] : [{ record, lu }];
    });
  }

  /** What a visitor may do with the volume that has this NAA designator (hexadecimal digits); `gone`: none is served. */
  standing(visitor: Visitor, naa: string): 'may-read' | 'may-not' | 'gone' {
    const record = this.#options.catalog.volumes.get(this.#byNaa.get(naa) ?? '');
    if (record === undefined) return 'gone';
    return this.#visibility(record, visitor) === 'hidden' ? 'may-not' : 'may-read';
  }

  /** Somebody uses the volume past SCSI (`what`: how), until the returned function is called. */
  use(name: string, what: string): () => void {
    const uses = this.#uses.get(name) ?? [];
    this.#uses.set(name, uses);
    uses.push(what);
    return () => {
      uses.splice(uses.indexOf(what), 1);
      if (uses.length === 0) this.#uses.delete(name);
    };
  }

  /** How the volume is used past SCSI now. */
  usesOf(name: string): readonly string[] {
    return this.#uses.get(name) ?? [];
  }

  problem(name: string): string | undefined {
    return this.#problems.get(name);
  }

  setProblem(name: string, reason: string): void {
    this.#problems.set(name, reason);
  }

  forgetProblem(name: string): void {
    this.#problems.delete(name);
  }

  /** Initiators may see the volume from now on, as its maps say. */
  expose(record: VolumeRecord, iqn: string, volume: Volume): void {
    const { catalog, commands, clock, log, hostRate = () => undefined, forwarding } = this.#options;
    const unitState = forwarding?.stateOf(volume);
    const lu = new LogicalUnit({
      name: record.name,
      volume,
      identity: identityOf(record.id),
      physicalBlockSize: record.physicalBlockSize,
      commands,
      clock,
      log,
      reservationStore: reservationsOf(catalog, record.id),
      sanitizeStore: sanitizeOf(catalog, record.id),
      copyRoute: new CopyRoute({ clock, policy: () => catalog.copyRouteOf(record.name), hostRate }),
      ...(unitState === undefined ? {} : { unitState }),
    });
    forwarding?.exposed(lu);
    if (unitState === undefined) resumeSanitize(lu);
    this.#units.set(record.name, lu);
    this.#byNaa.set(lu.identity.naa.toString('hex'), record.name);
    this.#problems.delete(record.name);
    let device = this.#devices.get(iqn);
    if (device === undefined) {
      device = new ScsiDevice(iqn, this.#portsOf(iqn));
      this.#devices.set(iqn, device);
    }
    device.setLun(record.lun, {
      lun: record.lun,
      lu,
      visibility: (visitor) => this.#visibility(catalog.volumes.get(record.name), visitor),
    });
  }

  /**
   * The volume is about to be closed and opened again. Its sessions keep the LUN, which is not ready until expose() or
   * withdraw(): a LUN that is gone for a moment is gone for good to some initiators. What runs on it ends with TASK ABORTED.
   */
  suspend(record: VolumeRecord): LogicalUnit | undefined {
    const lu = this.#units.get(record.name);
    if (lu === undefined) return undefined;
    lu.retire();
    lu.setNotReady(new ScsiError(SENSE.becomingReady));
    for (const nexus of lu.nexuses) void nexus.owner.abortUnstarted(nexus, true);
    return lu;
  }

  /** Running sessions lose the volume. Returns its logical unit, which the caller closes; undefined: was not served. */
  withdraw(record: VolumeRecord, iqn: string): LogicalUnit | undefined {
    const lu = this.#units.get(record.name);
    const device = this.#devices.get(iqn);
    this.#units.delete(record.name);
    this.#problems.delete(record.name);
    if (lu === undefined || device === undefined) return undefined;
    this.#byNaa.delete(lu.identity.naa.toString('hex'));
    this.#options.forwarding?.withdrawn(lu);
    lu.retire();
    device.setLun(record.lun, undefined);
    lu.tasks.abort(() => true);
    if (device.entries.length === 0) this.#devices.delete(iqn);
    return lu;
  }

  /** withdraw() by the name alone, for a volume whose record is gone. */
  gone(name: string): { lu: LogicalUnit; iqn: string } | undefined {
    const lu = this.#units.get(name);
    if (lu === undefined) return undefined;
    for (const [iqn, device] of this.#devices) {
      const entry = device.entries.find((each) => each.lu === lu);
      if (entry === undefined) continue;
      const record = { name, lun: entry.lun } as VolumeRecord;
      return this.withdraw(record, iqn) === undefined ? undefined : { lu, iqn };
    }
    return undefined;
  }

  #visibility(record: VolumeRecord | undefined, visitor: Visitor): Visibility {
    return visibilityOf(record?.maps ?? [], visitor, this.#options.standing?.(visitor.initiator.name));
  }

  /** Portals of other nodes that lead to the same targets. */
  portalsElsewhere(): readonly RemotePortal[] {
    return this.#options.forwarding?.portals() ?? [];
  }

  /** Nodes or portal groups have come or gone: the ports of all targets are others. */
  portsChanged(): void {
    for (const device of this.#devices.values()) device.ports = this.#portsOf(device.name);
  }

  /** RELATIVE TARGET PORT IDENTIFIER = portal group tag: both are 1 to 65535 and unique in the device. */
  #portsOf(iqn: string): readonly TargetPort[] {
    const { forwarding, portalGroups } = this.#options;
    const own = (group: number): TargetPort => ({ name: iqn, portalGroup: group, relativeId: group });
    return forwarding?.ports(iqn) ?? portalGroups().map(own);
  }

  /** The hosts and groups of initiators have changed. */
  reconsiderAll(): void {
    for (const device of this.#devices.values()) device.reconsider();
  }

  /** The maps of the volume have changed. */
  reconsider(iqn: string): void {
    this.#devices.get(iqn)?.reconsider();
  }

  /** Closes all volumes; every acknowledged write is stable afterwards. Returns what went wrong, by volume. */
  async closeAll(): Promise<ReadonlyMap<string, unknown>> {
    const problems = new Map<string, unknown>();
    const closing = [...this.#units].map(async ([name, lu]) => {
      try {
        lu.retire();
        await lu.volume.close();
      } catch (error) {
        problems.set(name, error);
      }
    });
    await Promise.all(closing);
    this.#units.clear();
    this.#devices.clear();
    return problems;
  }
}

/** APTPL reservations of a volume, in the catalog. */
export function reservationsOf(catalog: Catalog, id: string): ReservationStore {
  return {
    load: () => catalog.reservations.get(id),
    save: (state) => catalog.apply(catalog.reservations.edit(id, state)),
  };
}

/** The unfinished SANITIZE of a volume, in the catalog. */
function sanitizeOf(catalog: Catalog, id: string): SanitizeStore {
  return {
    load: () => catalog.sanitizing.get(id),
    save: async (state) => {
      if (state === undefined && catalog.sanitizing.get(id) === undefined) return;
      await catalog.apply(catalog.sanitizing.edit(id, state));
    },
  };
}
