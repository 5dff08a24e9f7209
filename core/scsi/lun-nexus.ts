import type { Nexus } from './device.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { UnitAttentions } from './unit-attention.ts';
import { SENSE } from './sense.ts';
import type { SenseRow } from './sense.ts';

/** SCSI initiator port of iSCSI (RFC 7143 §4.4.1): name plus ISID. */
export interface InitiatorPort {
  /** iSCSI name, normalized to lower case. */
  readonly name: string;
  /** Twelve hexadecimal digits. */
  readonly isid: string;
}

/** SCSI target port of iSCSI: target name plus portal group tag. */
export interface TargetPort {
  /** IQN of the target. */
  readonly name: string;
  readonly portalGroup: number;
  /** RELATIVE TARGET PORT IDENTIFIER (SPC-4 7.8.6.8), 1 to 65535, unique in the SCSI device. */
  readonly relativeId: number;
  /** Target port group (SPC-4 5.15.2.1); the default group when absent. */
  readonly group?: number;
}

/** SCSI port names (RFC 7143 §4.4.1; SPC-4 7.8.6.11 wants them NUL terminated and padded by the user). */
export const initiatorPortName = (port: InitiatorPort): string => `${port.name},i,0x${port.isid}`;
export const targetPortName = (port: TargetPort): string =>
  `${port.name},t,0x${port.portalGroup.toString(16).padStart(4, '0')}`;

/** Key of the I_T nexus of these two ports. */
export const nexusKey = (initiatorPort: string, relativeTargetPort: number): string =>
  `${initiatorPort}|${String(relativeTargetPort)}`;

/** One I_T_L nexus: what a logical unit remembers about one initiator port on one target port. */
export class LunNexus {
  /** The I_T nexus this belongs to. */
  readonly owner: Nexus;
  readonly lu: LogicalUnit;
  readonly lun: number;
  readonly initiator: InitiatorPort;
  readonly target: TargetPort;
  /** Key of the I_T nexus, the unit reservations are kept by. */
  readonly key: string;
  /** True when the mapping of this initiator is read-only. */
  readonly readOnly: boolean;
  readonly attentions = new UnitAttentions();
  /** May READ (and may WRITE) be served at once: no unit attention, reservation, standby, write protection in the way. */
  readOk = false;
  writeOk = false;
  /** PREVENT ALLOW MEDIUM REMOVAL by this nexus. */
  preventsRemoval = false;

  constructor(owner: Nexus, lu: LogicalUnit, lun: number, readOnly: boolean) {
    this.owner = owner;
    this.lu = lu;
    this.lun = lun;
    this.initiator = owner.visitor.initiator;
    this.target = owner.target;
    this.key = nexusKey(initiatorPortName(this.initiator), this.target.relativeId);
    this.readOnly = readOnly;
    this.attentions.add(SENSE.powerOn);
  }

  /** True when the target device has a port with this relative identifier. */
  hasTargetPort(relativeId: number): boolean {
    return this.owner.device.ports.some((port) => port.relativeId === relativeId);
  }

  attention(row: SenseRow): void {
    this.attentions.add(row);
    this.lu.refresh(this);
  }
}
