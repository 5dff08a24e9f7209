// REQUEST SENSE (SPC-4 6.39). With autosense it only ever tells of conditions, not of failed commands.
import { OK_ALWAYS, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import type { LunNexus } from '../lun-nexus.ts';
import { SENSE, ScsiError, encodeSense } from '../sense.ts';
import { goodData } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { attentionError } from '../unit-attention.ts';

/** GOOD with `condition` as parameter data, in the format and length the CDB asks for. */
export function senseAsData(condition: ScsiError, cdb: Buffer): TaskResult {
  const descriptorFormat = (cdb.readUInt8(1) & 0x01) !== 0; // DESC
  return goodData(encodeSense(condition, descriptorFormat), cdb.readUInt8(4));
}

/** The pending unit attention, which this ends; else why the port or the logical unit is not ready; else nothing. */
function takeCondition(nexus: LunNexus): ScsiError {
  const attention = nexus.attentions.take();
  if (attention === undefined) {
    const barred = nexus.lu.inaccessible(nexus);
    return barred === undefined ? (nexus.lu.notReady ?? new ScsiError(SENSE.noSense)) : new ScsiError(barred);
  }
  nexus.lu.refresh(nexus);
  if (attention === SENSE.reportedLunsChanged) nexus.owner.inventoryReported();
  return attentionError(attention);
}

function requestSense({ nexus, cdb }: ScsiTask): TaskResult {
  return senseAsData(takeCondition(nexus), cdb);
}

export const REQUEST_SENSE: readonly CommandSpec[] = [
  {
    name: 'REQUEST SENSE',
    opcode: 0x03,
    cdbUsage: [0x03, 0x01, 0, 0, 0xff, 0],
    access: 'none',
    reserved: Reserved.allowed,
    everywhere: 'attention',
    okWhen: OK_ALWAYS,
    order: 'free',
    clause: 'SPC-4 6.39',
    run: requestSense,
  },
];
