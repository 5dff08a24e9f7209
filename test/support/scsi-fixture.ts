// A logical unit in memory behind a target, and initiators that send it CDBs through dispatch.
import assert from 'node:assert/strict';
import { silentLog } from '../../core/base/log.ts';
import type { Clock } from '../../core/base/world.ts';
import { CommandTable } from '../../core/scsi/command-table.ts';
import type { CommandSpec } from '../../core/scsi/command-spec.ts';
import { ScsiDevice } from '../../core/scsi/device.ts';
import type { Nexus, Visibility } from '../../core/scsi/device.ts';
import { checkCondition, execute } from '../../core/scsi/dispatch.ts';
import type { DispatchTask } from '../../core/scsi/dispatch.ts';
import { identityOf } from '../../core/scsi/identity.ts';
import { LogicalUnit } from '../../core/scsi/logical-unit.ts';
import type { LunNexus, TargetPort } from '../../core/scsi/lun-nexus.ts';
import { SPC_COMMANDS } from '../../core/scsi/spc/index.ts';
import { SBC_COMMANDS } from '../../core/scsi/sbc/index.ts';
import { RESERVATION_COMMANDS } from '../../core/scsi/reservations/index.ts';
import { VAAI_COMMANDS } from '../../vaai/index.ts';
import { ODX_COMMANDS } from './odx.ts';
import { noReservationStore } from '../../core/scsi/reservations/store.ts';
import type { ReservationStore } from '../../core/scsi/reservations/store.ts';
import { noSanitizeStore } from '../../core/scsi/sanitize-store.ts';
import type { SanitizeStore } from '../../core/scsi/sanitize-store.ts';
import { Status, TaskAttribute } from '../../core/scsi/task.ts';
import type { TaskResult } from '../../core/scsi/task.ts';
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import type { Volume, VolumeInfo } from '../../core/volume/volume.ts';

export const TARGET = 'iqn.2025-01.example:disk';
export const HOST_A = 'iqn.2025-01.example:host-a';
export const HOST_B = 'iqn.2025-01.example:host-b';
/** The volume id all fixtures share. */
export const VOLUME_ID = '0123456789abcdef0123456789abcdef';

/** A clock that stands still and never calls anybody. */
export const stoppedClock: Clock = {
  now: () => 0,
  wall: () => 0,
  after: () => ({ cancel: () => undefined }),
  soon: (fn) => {
    queueMicrotask(fn);
  },
};

/** A clock on which all that is to happen later happens in the next turn of the event loop. */
export const hastyClock: Clock = {
  ...stoppedClock,
  after: (_ms, fn) => {
    const next = setImmediate(fn);
    return {
      cancel: () => {
        clearImmediate(next);
      },
    };
  },
  soon: (fn) => {
    setImmediate(fn);
  },
};

/** All commands of the product. */
export const ALL_COMMANDS: readonly CommandSpec[] = [
  ...SPC_COMMANDS,
  ...SBC_COMMANDS,
  ...RESERVATION_COMMANDS,
  ...VAAI_COMMANDS,
  ...ODX_COMMANDS,
];

export interface FixtureOptions {
  /** Bytes; 512 by default. */
  readonly blockSize?: number;
  /** Bytes; the logical block size by default. */
  readonly physicalBlockSize?: number;
  /** 2048 by default. */
  readonly blocks?: number;
  /** Overrides what the memory volume says of itself. */
  readonly info?: Partial<VolumeInfo>;
  /** Replaces the memory volume. */
  readonly volume?: Volume;
  /** SPC_COMMANDS by default. */
  readonly commands?: readonly CommandSpec[];
  readonly reservationStore?: ReservationStore;
  readonly sanitizeStore?: SanitizeStore;
  /** stoppedClock by default. */
  readonly clock?: Clock;
  /** One port, portal group 1, by default. */
  readonly ports?: readonly TargetPort[];
  /** 0 by default. */
  readonly lun?: number;
  readonly visibility?: Visibility;
}

export interface RunOptions {
  readonly data?: Buffer;
  readonly attribute?: number;
}

/** One initiator, logged in at one port. */
export class Initiator {
  readonly nexus: Nexus;
  readonly lun: number;

  constructor(nexus: Nexus, lun: number) {
    this.nexus = nexus;
    this.lun = lun;
  }

  get lunNexus(): LunNexus {
    const found = this.nexus.luns[this.lun];
    assert.ok(found, `LUN ${this.lun} is not visible`);
    return found;
  }

  /** Forgets the pending unit attentions, so that the next command runs. */
  clearAttentions(): void {
    this.lunNexus.attentions.clear();
    this.lunNexus.lu.refresh(this.lunNexus);
  }

  /** Runs one CDB through dispatch, with the data-out cut to what the command asks for, as a transport does. */
  async run(cdb: readonly number[] | Buffer, { data, attribute }: RunOptions = {}): Promise<TaskResult> {
    const nexus = this.lunNexus;
    const bytes = Buffer.alloc(Math.max(16, cdb.length));
    Buffer.from(cdb).copy(bytes);
    const sent = data ?? Buffer.alloc(0);
    let spec: CommandSpec;
    let wanted: number;
    try {
      spec = nexus.lu.commands.find(bytes);
      wanted = spec.dataOut?.(bytes, nexus.lu) ?? 0;
    } catch (error) {
      return checkCondition(nexus, error);
    }
    const task: DispatchTask & { aborted: boolean } = {
      nexus,
      lu: nexus.lu,
      spec,
      cdb: bytes,
      data: sent.subarray(0, Math.min(wanted, sent.length)),
      expectedDataOut: sent.length,
      attribute: attribute ?? TaskAttribute.simple,
      aborted: false,
      abort() {
        this.aborted = true;
      },
    };
    return execute(task);
  }

  /** Data-in of a command that has to end with GOOD. */
  async data(cdb: readonly number[] | Buffer, options: RunOptions = {}): Promise<Buffer> {
    const result = await this.run(cdb, options);
    assert.equal(describeResult(result), 'GOOD');
    return Buffer.concat(result.dataIn ?? []);
  }

  /** What a command ended with, as describeResult writes it. */
  async status(cdb: readonly number[] | Buffer, options: RunOptions = {}): Promise<string> {
    return describeResult(await this.run(cdb, options));
  }
}

export interface Fixture {
  readonly lu: LogicalUnit;
  readonly device: ScsiDevice;
  readonly volume: Volume;
  /** Logs an initiator in (at the first port, unless told otherwise); its unit attentions are cleared. */
  login(name?: string, port?: number): Initiator;
  /** Logs an initiator out. */
  logout(initiator: Initiator): void;
}

export function scsiFixture(options: FixtureOptions = {}): Fixture {
  const blockSize = options.blockSize ?? 512;
  const volume = options.volume ?? memoryVolume(blockSize, options);
  const lun = options.lun ?? 0;
  const lu = new LogicalUnit({
    name: 'disk',
    volume,
    identity: identityOf(VOLUME_ID),
    physicalBlockSize: options.physicalBlockSize ?? blockSize,
    commands: new CommandTable(options.commands ?? SPC_COMMANDS),
    clock: options.clock ?? stoppedClock,
    log: silentLog,
    reservationStore: options.reservationStore ?? noReservationStore,
    sanitizeStore: options.sanitizeStore ?? noSanitizeStore,
  });
  const ports = options.ports ?? [{ name: TARGET, portalGroup: 1, relativeId: 1 }];
  const device = new ScsiDevice(TARGET, ports);
  device.setLun(lun, { lun, lu, visibility: () => options.visibility ?? 'read-write' });
  let sessions = 0;
  return {
    lu,
    device,
    volume,
    login(name = HOST_A, port = 0) {
      const target = ports[port];
      assert.ok(target, `no port ${port}`);
      const isid = (++sessions).toString(16).padStart(12, '0');
      const initiator = new Initiator(device.attach({ initiator: { name, isid }, local: true }, target), lun);
      initiator.clearAttentions();
      return initiator;
    },
    logout(initiator) {
      device.detach(initiator.nexus);
    },
  };
}

function memoryVolume(blockSize: number, options: FixtureOptions): Volume {
  const volume = new MemoryVolume((options.blocks ?? 2048) * blockSize, blockSize);
  volume.info = { ...volume.info, ...options.info };
  return volume;
}

/**
 * GOOD, RESERVATION CONFLICT, …, or the sense as `05/24/00`, followed by what it carries: `cdb 2 bit 5`, `data 9`,
 * `info 7`, `progress 3`.
 */
export function describeResult(result: TaskResult): string {
  if (result.status === Status.good) return 'GOOD';
  if (result.status !== Status.checkCondition) return `status ${result.status.toString(16).padStart(2, '0')}`;
  assert.ok(result.sense, 'CHECK CONDITION without sense data');
  return describeSense(result.sense);
}

const two = (value: number | undefined): string => (value ?? 0).toString(16).padStart(2, '0').toUpperCase();

/** Sense data in words; both formats. */
export function describeSense(sense: Buffer): string {
  const descriptorFormat = ((sense[0] ?? 0) & 0x7f) === 0x72;
  if (!descriptorFormat) {
    const information = ((sense[0] ?? 0) & 0x80) === 0 ? '' : ` info ${sense.readUInt32BE(3)}`;
    return `${two((sense[2] ?? 0) & 0x0f)}/${two(sense[12])}/${two(sense[13])}${information}${specific(sense, 15)}`;
  }
  let text = `${two(sense[1])}/${two(sense[2])}/${two(sense[3])}`;
  for (let at = 8; at < sense.length; at += 2 + (sense[at + 1] ?? 0)) {
    if (sense[at] === 0x00) text += ` info ${sense.readBigUInt64BE(at + 4)}`;
    if (sense[at] === 0x02) text += specific(sense, at + 4);
  }
  return text;
}

function specific(sense: Buffer, at: number): string {
  const flags = sense[at] ?? 0;
  if ((flags & 0x80) === 0) return '';
  const value = sense.readUInt16BE(at + 1);
  const key = (sense[0] ?? 0) === 0x72 ? (sense[1] ?? 0) : (sense[2] ?? 0) & 0x0f;
  if (key !== 0x05) return ` progress ${value}`;
  return ` ${(flags & 0x40) !== 0 ? 'cdb' : 'data'} ${value}${(flags & 0x08) !== 0 ? ` bit ${flags & 0x07}` : ''}`;
}
