import type { Nexus } from '../scsi/device.ts';
import { ScsiError, encodeSense, senseOf } from '../scsi/sense.ts';
import { runOnAbsentLun } from '../scsi/spc/absent-lun.ts';
import { Status } from '../scsi/task.ts';
import { load32 } from '../base/bytes-at.ts';
import type { CommandPath } from './command-path.ts';
import { underflow } from './iscsi-task.ts';

/** Answers a command to a LUN this nexus does not see (SPC-4 6.6.1, SAM-5 5.11). */
export function answerAbsentLun(path: CommandPath, nexus: Nexus, bytes: Buffer, at: number): void {
  const answers = path.connection.answers;
  const itt = load32(bytes, at + 16);
  try {
    const result = runOnAbsentLun(nexus, Buffer.from(bytes.subarray(at + 32, at + 48)));
    const data = Buffer.concat(result.dataIn ?? []);
    const expected = ((bytes[at + 1] as number) & 0x40) === 0 ? 0 : load32(bytes, at + 20);
    const length = Math.min(data.length, expected);
    if (length > 0) answers.dataIn(itt, data, length, data.length - expected, result.status);
    else answers.scsiResponse(itt, result.status, -expected, result.sense, 0);
  } catch (error) {
    const scsi = error instanceof ScsiError ? error : senseOf(error, 512);
    answers.scsiResponse(itt, Status.checkCondition, underflow(bytes, at), encodeSense(scsi, false), 0);
  }
}
