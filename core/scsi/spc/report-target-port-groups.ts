// REPORT TARGET PORT GROUPS (SPC-4 6.37). SET TARGET PORT GROUPS is not in the command table: access states are ours to
// change, and an initiator that tries is told so (05/20/00) instead of being half obeyed.
import type { AluaGroup } from '../alua.ts';
import { OK_WITHOUT_MEDIUM, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { badCdb } from '../sense.ts';
import { goodData } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';

/** PARAMETER DATA FORMAT. */
const Format = { lengthOnly: 0, extended: 1 } as const;

/** T_SUP, U_SUP, S_SUP, AN_SUP, AO_SUP: the states a group of ours can ever be in. */
const SUPPORTED_STATES = 0x80 | 0x08 | 0x04 | 0x02 | 0x01;

/** Target port group descriptor. */
function groupDescriptor(group: AluaGroup): Buffer {
  const out = Buffer.alloc(8 + 4 * group.ports.length);
  out[0] = (group.preferred ? 0x80 : 0) | group.state;
  out[1] = SUPPORTED_STATES;
  out.writeUInt16BE(group.id, 2);
  out[5] = group.cause;
  out[7] = group.ports.length;
  group.ports.forEach((port, index) => out.writeUInt16BE(port, 10 + 4 * index));
  return out;
}

function reportTargetPortGroups({ lu, nexus, cdb }: ScsiTask): TaskResult {
  const format = cdb.readUInt8(1) >> 5;
  if (format > Format.extended) throw badCdb(1, 7);
  // The extended header adds RETURN DATA FORMAT and IMPLICIT TRANSITION TIME, which is 0: none is promised.
  const header = Buffer.from(format === Format.extended ? [0, 0, 0, 0, 0x10, 0, 0, 0] : [0, 0, 0, 0]);
  const groups = lu.alua.groups(nexus.owner.device.ports);
  const data = Buffer.concat([header, ...groups.map(groupDescriptor)]);
  data.writeUInt32BE(data.length - 4, 0);
  return goodData(data, cdb.readUInt32BE(6));
}

export const REPORT_TARGET_PORT_GROUPS: readonly CommandSpec[] = [
  {
    name: 'REPORT TARGET PORT GROUPS',
    opcode: 0xa3,
    serviceAction: 0x0a,
    cdbUsage: [0xa3, 0xea, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
    access: 'none',
    reserved: Reserved.allowed,
    everywhere: 'always',
    okWhen: { ...OK_WITHOUT_MEDIUM, unavailable: true },
    order: 'free',
    clause: 'SPC-4 6.37',
    run: reportTargetPortGroups,
  },
];
