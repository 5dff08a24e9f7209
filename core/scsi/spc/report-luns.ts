// REPORT LUNS (SPC-4 6.33).
import { OK_ALWAYS, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import type { Nexus } from '../device.ts';
import { badCdb } from '../sense.ts';
import { goodData } from '../task.ts';
import type { TaskResult } from '../task.ts';

/** SELECT REPORT (SPC-4 6.33). */
const Select = { addressable: 0x00, wellKnown: 0x01, all: 0x02 } as const;

/** Eight bytes of a LUN (SAM-5 4.7.7): peripheral device addressing below 256, flat space addressing above. */
function writeLun(lun: number, into: Buffer, at: number): void {
  into.writeUInt16BE(lun < 256 ? lun : 0x4000 | lun, at);
}

/** Answers REPORT LUNS for one I_T nexus; any LUN of it may be asked. Throws 05/24/00 for an unknown SELECT REPORT. */
export function reportLuns(nexus: Nexus, cdb: Buffer): TaskResult {
  const select = cdb.readUInt8(2);
  if (select > Select.all) throw badCdb(2);
  // There are no well known logical units.
  const luns = select === Select.wellKnown ? [] : [...nexus.visible()].map((each) => each.lun);
  const data = Buffer.alloc(8 + 8 * luns.length);
  data.writeUInt32BE(8 * luns.length, 0);
  luns.forEach((lun, index) => {
    writeLun(lun, data, 8 + 8 * index);
  });
  nexus.inventoryReported();
  return goodData(data, cdb.readUInt32BE(6));
}

export const REPORT_LUNS: readonly CommandSpec[] = [
  {
    name: 'REPORT LUNS',
    opcode: 0xa0,
    cdbUsage: [0xa0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
    access: 'none',
    reserved: Reserved.allowed,
    everywhere: 'always',
    okWhen: OK_ALWAYS,
    order: 'free',
    clause: 'SPC-4 6.33',
    run: ({ nexus, cdb }) => reportLuns(nexus.owner, cdb),
  },
];
