// Carrying a copy operation out: while the command waits for it, or (IMMED=1) in the background.
import { CopyStatus } from '../core/scsi/copy-operations.ts';
import type { CopyOperation } from '../core/scsi/copy-operations.ts';
import { isPartial, noteRefusal } from '../core/scsi/offload-meter.ts';
import type { OffloadKind } from '../core/scsi/offload-meter.ts';
import { SENSE, ScsiError, encodeSense, senseOf } from '../core/scsi/sense.ts';
import { GOOD, Status } from '../core/scsi/task.ts';
import type { ScsiTask, TaskResult } from '../core/scsi/task.ts';

/** How an operation ends that is over with this sense. */
function statusOf(error: ScsiError): CopyStatus {
  if (isPartial(error)) return CopyStatus.partial;
  return error.sense === SENSE.copyAborted ? CopyStatus.terminated : CopyStatus.failed;
}

/**
 * Runs `work` and takes note of how it ended: as `work` says, or well. `cleanUp` is called when it is over. In the background the command ends at once;
 * what goes wrong later is only told to who asks.
 */
export async function carryOut(
  { lu, nexus }: ScsiTask,
  kind: OffloadKind,
  operation: CopyOperation,
  work: () => Promise<CopyStatus | undefined>,
  cleanUp: () => void = () => undefined,
): Promise<TaskResult> {
  const background = operation.status === CopyStatus.background;
  const running = run(operation, lu.blockSize, work).finally(cleanUp);
  if (background) {
    running.catch((error: unknown) => {
      if (!(error instanceof ScsiError)) lu.trouble.report(error);
      // The command ended well long ago: dispatch does not see this.
      noteRefusal(nexus, kind, senseOf(error, lu.blockSize));
    });
    return GOOD;
  }
  await running;
  return GOOD;
}

async function run(
  operation: CopyOperation,
  blockSize: number,
  work: () => Promise<CopyStatus | undefined>,
): Promise<void> {
  try {
    operation.end((await work()) ?? CopyStatus.done);
  } catch (error) {
    const scsi = senseOf(error, blockSize);
    operation.completion = Status.checkCondition;
    operation.sense = encodeSense(scsi, false);
    operation.end(statusOf(scsi));
    throw error;
  }
}
