// Offload as people see it: per volume and host what was done for it, what was refused and why, and how copies are routed.
import { OFFLOAD_KINDS } from '../scsi/offload-meter.ts';
import type { KindMeter, OffloadKind } from '../scsi/offload-meter.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import type { OffloadReason } from '../scsi/sense.ts';
import { supports } from '../scsi/spc/usage.ts';
import type { CopyRoutePolicy, RouteReason } from '../volume/copy-route.ts';
import type { Catalog } from './catalog.ts';
import type { Provisioner } from './provision.ts';
import type { VolumeRecord } from './records.ts';
import type { Units } from './units.ts';

export interface OffloadKindView {
  kind: OffloadKind;
  used: number;
  refused: number;
  /** Bytes done in the map alone. */
  sharedBytes: number;
  /** Bytes moved inside the storage. */
  copiedBytes: number;
  /** Seconds the commands took, all together. */
  seconds: number;
  reasons: { reason: OffloadReason; count: number }[];
  last: { at: string; reason: OffloadReason; told: string } | null;
}

export interface OffloadHostView {
  initiator: string;
  /** It has a session that sees the volume now. */
  connected: boolean;
  /** ISO 8601; null: it has never asked for anything. */
  lastAt: string | null;
  kinds: OffloadKindView[];
}

export interface OffloadView {
  volume: string;
  thin: boolean;
  /** What hosts can ask for. */
  offered: OffloadKind[];
  copyRoute: CopyRoutePolicy;
  /** Why the last copy was taken or not; null: none was asked for. */
  lastRoute: RouteReason | null;
  hosts: OffloadHostView[];
}

/** Opcode and service action that stand for a kind in the command table. */
const COMMANDS: Readonly<Record<OffloadKind, readonly [number, number | undefined]>> = {
  'extended-copy': [0x83, 0x00],
  'populate-token': [0x83, 0x10],
  'write-using-token': [0x83, 0x11],
  'write-same': [0x93, undefined],
  unmap: [0x42, undefined],
  'compare-and-write': [0x89, undefined],
};

export interface OffloadOptions {
  readonly catalog: Catalog;
  readonly units: Units;
  readonly provisioner: Provisioner;
}

export class Offload {
  readonly #catalog: Catalog;
  readonly #units: Units;
  readonly #provisioner: Provisioner;

  constructor({ catalog, units, provisioner }: OffloadOptions) {
    this.#catalog = catalog;
    this.#units = units;
    this.#provisioner = provisioner;
  }

  /** Of all served volumes, or of one. Throws ServiceError not-found. */
  views(volume?: string): OffloadView[] {
    if (volume !== undefined) this.#provisioner.volume(volume);
    const all = this.#units.all().filter(({ record }) => volume === undefined || record.name === volume);
    return all.map(({ record, lu }) => this.#view(record, lu));
  }

  /** The policy of the node, and of the volumes that have their own. */
  routes(): { node: CopyRoutePolicy; volumes: { volume: string; policy: CopyRoutePolicy }[] } {
    const volumes = this.#catalog.volumes.values().flatMap(({ name, copyRoute }) => {
      return copyRoute === undefined ? [] : [{ volume: name, policy: copyRoute }];
    });
    return { node: this.#catalog.node.copyRoute ?? 'auto', volumes };
  }

  /** Of the node, or of one volume, which follows the node again with `undefined`. Takes effect with the next copy. */
  async setRoute(policy: CopyRoutePolicy | undefined, volume?: string): Promise<void> {
    if (volume === undefined) {
      await this.#catalog.setCopyRoute(policy ?? 'auto');
      return;
    }
    await this.#provisioner.turn.run(async () => {
      const { copyRoute: before, ...rest } = this.#provisioner.volume(volume);
      if (before === policy) return;
      const record: VolumeRecord = policy === undefined ? rest : { ...rest, copyRoute: policy };
      await this.#catalog.apply(this.#catalog.volumes.edit(volume, record));
    });
  }

  #view(record: VolumeRecord, lu: LogicalUnit): OffloadView {
    const connected = new Set([...lu.nexuses].map((nexus) => nexus.initiator.name));
    const names = [...new Set([...lu.offload.hosts.keys(), ...connected])].sort();
    return {
      volume: record.name,
      thin: lu.volume.info.thin,
      offered: OFFLOAD_KINDS.filter((kind) => supports(lu, ...COMMANDS[kind])),
      copyRoute: lu.copyRoute.policy,
      lastRoute: lu.copyRoute.last?.why ?? null,
      hosts: names.map((initiator) => {
        const meter = lu.offload.hosts.get(initiator);
        return {
          initiator,
          connected: connected.has(initiator),
          lastAt: meter === undefined ? null : new Date(meter.lastAt).toISOString(),
          kinds: [...(meter?.kinds ?? [])].map(([kind, each]) => kindView(kind, each)),
        };
      }),
    };
  }
}

function kindView(kind: OffloadKind, meter: KindMeter): OffloadKindView {
  const { used, refused, sharedBytes, copiedBytes, micros, last } = meter;
  return {
    ...{ kind, used, refused, sharedBytes, copiedBytes },
    seconds: Math.round(micros) / 1e6,
    reasons: [...meter.reasons].map(([reason, count]) => ({ reason, count })).sort((a, b) => b.count - a.count),
    last: last === undefined ? null : { at: new Date(last.at).toISOString(), reason: last.reason, told: last.told },
  };
}
