import type { CommandSpec } from './command-spec.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { LunNexus } from './lun-nexus.ts';

/** SAM-5 5.3.1 status codes. */
export const Status = {
  good: 0x00,
  checkCondition: 0x02,
  conditionMet: 0x04,
  busy: 0x08,
  reservationConflict: 0x18,
  taskSetFull: 0x28,
  taskAborted: 0x40,
} as const;
export type Status = (typeof Status)[keyof typeof Status];

/** SAM-5 8.9 task attributes, as RFC 7143 §11.3.1 numbers them. */
export const TaskAttribute = { untagged: 0, simple: 1, ordered: 2, headOfQueue: 3, aca: 4 } as const;

/** What a command ended with. */
export interface TaskResult {
  readonly status: Status;
  /** Data-in as the CDB asks for it, already cut to the allocation length. Belongs to the transport from here on. */
  readonly dataIn?: readonly Buffer[];
  /** Encoded sense data, with CHECK CONDITION; with GOOD where the initiator has asked for it. */
  readonly sense?: Buffer;
}

export const GOOD: TaskResult = { status: Status.good };

/** GOOD with parameter data, cut to `allocationLength` bytes. */
export function goodData(data: Buffer, allocationLength: number): TaskResult {
  return { status: Status.good, dataIn: [data.length > allocationLength ? data.subarray(0, allocationLength) : data] };
}

/** One command on its way, outside the fast path. Made by the transport when all data-out is there. */
export interface ScsiTask {
  readonly nexus: LunNexus;
  readonly lu: LogicalUnit;
  readonly spec: CommandSpec;
  /** At least 16 bytes; longer only for variable-length CDBs. */
  readonly cdb: Buffer;
  /** Data-out received: min(spec.dataOut, what the initiator sent). Empty without data-out. */
  readonly data: Buffer;
  /** Bytes of data-out the initiator announced (its expected data transfer length), for residual decisions. */
  readonly expectedDataOut: number;
  /** Bytes of data-in the initiator expects; whoever carries the command out elsewhere has to provide for them. */
  readonly expectedDataIn?: number;
  readonly attribute: number;
  /** Set by task management; long-running commands look at it between steps and stop early. */
  readonly aborted: boolean;
  /**
   * Answers GOOD with these bytes of the volume of the logical unit, which are in memory: the result of the command is told
   * to nobody then. False: nothing was answered. Absent: the transport cannot.
   */
  sendNow?(position: number, length: number): boolean;
}
