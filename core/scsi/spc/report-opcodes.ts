// REPORT SUPPORTED OPERATION CODES (SPC-4 6.35), from the same table that carries the commands out, and REPORT SUPPORTED
// TASK MANAGEMENT FUNCTIONS (SPC-4 6.36).
import { OK_WITHOUT_MEDIUM, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import { badCdb } from '../sense.ts';
import { goodData } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { rowsOf } from './usage.ts';

/** REPORTING OPTIONS (SPC-4 6.35.1). */
const Option = { all: 0, opcode: 1, serviceAction: 2, either: 3 } as const;
/** SUPPORT (SPC-4 6.35.3). */
const Support = { not: 0x01, standard: 0x03 } as const;

/** Command timeouts descriptor (SPC-4 6.35.4) without times: neither a nominal nor a recommended one is given. */
const TIMEOUTS = Buffer.from([0x00, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/** all_commands parameter data (SPC-4 6.35.2). */
function allCommands(lu: LogicalUnit, timeouts: boolean): Buffer {
  const offered = lu.commands.specs.filter((spec) => spec.offered?.(lu) !== false);
  const parts = offered.map((spec) => {
    const out = Buffer.alloc(8);
    out[0] = spec.opcode;
    out.writeUInt16BE(spec.serviceAction ?? 0, 2);
    out[5] = (timeouts ? 0x02 : 0) | (spec.serviceAction === undefined ? 0 : 0x01); // CTDP, SERVACTV
    out.writeUInt16BE(spec.cdbUsage.length, 6);
    return timeouts ? Buffer.concat([out, TIMEOUTS]) : out;
  });
  const data = Buffer.concat([Buffer.alloc(4), ...parts]);
  data.writeUInt32BE(data.length - 4, 0);
  return data;
}

/** one_command parameter data (SPC-4 6.35.3). */
function oneCommand(spec: CommandSpec | undefined, timeouts: boolean): Buffer {
  if (spec === undefined) return Buffer.from([0, Support.not, 0, 0]);
  const header = Buffer.from([0, (timeouts ? 0x80 : 0) | Support.standard, 0, spec.cdbUsage.length]);
  return Buffer.concat([header, Buffer.from(spec.cdbUsage), timeouts ? TIMEOUTS : Buffer.alloc(0)]);
}

/** The row asked for. Throws 05/24/00 when the option does not suit the opcode (SPC-4 6.35.1). */
function findRow(lu: LogicalUnit, option: number, opcode: number, action: number): CommandSpec | undefined {
  const rows = rowsOf(lu, opcode);
  const shared = rows.some((row) => row.serviceAction !== undefined);
  if (option === Option.opcode && shared) throw badCdb(2, 2);
  if (option === Option.serviceAction && !shared && rows.length > 0) throw badCdb(2, 2);
  if (option === Option.opcode) return rows[0];
  // Option 3 takes service action 0 for "none".
  return rows.find((row) => (row.serviceAction ?? 0) === action);
}

function reportOpcodes({ lu, cdb }: ScsiTask): TaskResult {
  const timeouts = (cdb.readUInt8(2) & 0x80) !== 0; // RCTD
  const option = cdb.readUInt8(2) & 0x07;
  const allocation = cdb.readUInt32BE(6);
  if (option > Option.either) throw badCdb(2, 2);
  if (option === Option.all) return goodData(allCommands(lu, timeouts), allocation);
  const spec = findRow(lu, option, cdb.readUInt8(3), cdb.readUInt16BE(4));
  return goodData(oneCommand(spec, timeouts), allocation);
}

/** ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET; no ACA, no queries, no I_T NEXUS RESET. */
const FUNCTIONS = 0x80 | 0x40 | 0x10 | 0x08;

function reportFunctions({ cdb }: ScsiTask): TaskResult {
  const extended = (cdb.readUInt8(2) & 0x80) !== 0; // REPD
  const data = Buffer.alloc(extended ? 16 : 4); // TMFTMOV=0: no timeouts are promised
  data[0] = FUNCTIONS;
  data[3] = data.length - 4;
  return goodData(data, cdb.readUInt32BE(6));
}

const base = {
  opcode: 0xa3,
  access: 'none',
  reserved: Reserved.unlessExclusive,
  okWhen: OK_WITHOUT_MEDIUM,
  order: 'free',
} as const;

export const REPORT_OPCODES: readonly CommandSpec[] = [
  {
    ...base,
    name: 'REPORT SUPPORTED OPERATION CODES',
    serviceAction: 0x0c,
    cdbUsage: [0xa3, 0x0c, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
    clause: 'SPC-4 6.35',
    run: reportOpcodes,
  },
  {
    ...base,
    name: 'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS',
    serviceAction: 0x0d,
    cdbUsage: [0xa3, 0x0d, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
    clause: 'SPC-4 6.36',
    run: reportFunctions,
  },
];
