// One row = one command. Dispatch, REPORT SUPPORTED OPERATION CODES, reservation checks, write protection, ordering and
// the command reference in the documentation are all derived from these rows; there is no second table.
import type { LogicalUnit } from './logical-unit.ts';
import type { ScsiTask, TaskResult } from './task.ts';

/** What a command does to the medium. `write` is refused when write protected. */
export type Access = 'none' | 'read' | 'write' | 'manage';

/** What happens when another I_T nexus holds a reservation (SPC-4 5.13.2, tables 62 and 63; SPC-2 table 9). */
export const Reserved = {
  /** Allowed in any case (INQUIRY, REPORT LUNS, …). */
  allowed: 'allowed',
  /** Allowed when the reservation is of a write exclusive type; conflicts with exclusive access and with RESERVE. */
  unlessExclusive: 'unless-exclusive',
  /** RESERVATION CONFLICT. */
  conflict: 'conflict',
} as const;
export type Reserved = (typeof Reserved)[keyof typeof Reserved];

/** Blocks a command touches. */
export interface BlockRange {
  readonly lba: number;
  readonly blocks: number;
}

export interface CommandSpec {
  /** As in the standard, with the CDB length: `READ (16)`. */
  readonly name: string;
  readonly opcode: number;
  /** For opcodes that are shared by several commands: byte 1 bits 4-0. */
  readonly serviceAction?: number;
  /**
   * CDB USAGE DATA (SPC-4 6.35.3): one byte per CDB byte, its length is the CDB length. Byte 0 is the opcode, byte 1
   * includes the service action value; a set bit is a bit we look at. A CDB with any other bit set is refused with
   * 05/24/00 and the field pointer.
   */
  readonly cdbUsage: readonly number[];
  readonly access: Access;
  readonly reserved: Reserved;
  /** States in which the command is still carried out. */
  readonly okWhen: {
    /** A unit attention is pending: not reported and not cleared by this command (SAM-5 5.14). */
    readonly unitAttention: boolean;
    /** The target port is in the ALUA state standby (SPC-4 5.15.2.4.4). */
    readonly standby: boolean;
    /** The target port is in the ALUA state unavailable, or in transition (SPC-4 5.15.2.4.5, 5.15.2.5). */
    readonly unavailable: boolean;
    /** The logical unit is stopped, ejected or being sanitized. */
    readonly notReady: boolean;
  };
  /**
   * `extent`: exclusive over `extent(cdb)`; `steps`: it locks what it is working on, piece by piece, itself; `barrier`: alone
   * on the logical unit; `free`: shared over `extent(cdb)`.
   */
  readonly order: 'free' | 'extent' | 'steps' | 'barrier';
  /** Blocks the command names; checked against the capacity (05/21/00) before run. */
  readonly extent?: (cdb: Buffer, lu: LogicalUnit) => BlockRange | undefined;
  /** Data-out bytes the CDB asks for. Absent: none. The transport collects at most this much. */
  readonly dataOut?: (cdb: Buffer, lu: LogicalUnit) => number;
  /** False: this logical unit does not have the command, 05/20/00. Absent: every one has it. */
  readonly offered?: (lu: LogicalUnit) => boolean;
  /** Where it is specified. */
  readonly clause: string;
  /** Carries the command out. Throws ScsiError (or VolumeError) for CHECK CONDITION. */
  readonly run: (task: ScsiTask) => TaskResult | Promise<TaskResult>;
  /**
   * Any node answers it, whichever owns the volume: it is about the port the command came by, or (`attention`) it is while that
   * has a unit attention to tell.
   */
  readonly everywhere?: 'always' | 'attention';
  /** Marks the plain media commands that the transport may serve without creating a task. */
  readonly fast?: 'read' | 'write';
}

/** `okWhen` of ordinary commands. */
export const OK_ORDINARY = { unitAttention: false, standby: false, unavailable: false, notReady: false } as const;
/** `okWhen` of commands about the device server rather than the medium (the list of SPC-4 5.15.2.4.4). */
export const OK_WITHOUT_MEDIUM = { ...OK_ORDINARY, standby: true, notReady: true } as const;
/** `okWhen` of INQUIRY, REPORT LUNS, REQUEST SENSE. */
export const OK_ALWAYS = { unitAttention: true, standby: true, unavailable: true, notReady: true } as const;

/** A bit mask row helper: big-endian field of `bytes` bytes, all bits looked at. */
export const all = (bytes: number): number[] => Array.from({ length: bytes }, () => 0xff);
