// TEST UNIT READY, START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL: is the unit ready, and who may change that.
import { OK_ORDINARY, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { SENSE, ScsiError } from '../sense.ts';
import { GOOD, Status } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';

const CONFLICT: TaskResult = { status: Status.reservationConflict };

/** True when a reservation of somebody else forbids what only some forms of a command do. */
const reservedByOther = ({ lu, nexus }: ScsiTask): boolean => lu.reservations.conflicts(nexus, Reserved.conflict);

/**
 * START STOP UNIT (SBC-3 5.25). A stopped unit answers 02/04/02 until somebody starts it. LOEJ means nothing on a medium
 * that cannot be removed; power conditions are not offered.
 */
async function startStopUnit(task: ScsiTask): Promise<TaskResult> {
  const { lu, cdb } = task;
  const start = (cdb.readUInt8(4) & 0x01) !== 0;
  const noFlush = (cdb.readUInt8(4) & 0x04) !== 0;
  // SBC-3 table 13: only starting is allowed against a reservation.
  if (!start && reservedByOther(task)) return CONFLICT;
  const stopped = lu.notReady?.sense === SENSE.initializingCommandRequired;
  if (lu.notReady !== undefined && !stopped) throw lu.notReady;
  if (start) {
    if (stopped) lu.setNotReady(undefined);
    return GOOD;
  }
  if (!noFlush) await lu.volume.flush();
  // A host that spins its disks down when it shuts down (Windows does) must not take a shared disk from the others.
  if (!stopped && !isShared(task)) lu.setNotReady(new ScsiError(SENSE.initializingCommandRequired));
  return GOOD;
}

/** Another host is logged in and sees this logical unit. */
function isShared({ lu, nexus }: ScsiTask): boolean {
  for (const each of lu.nexuses) if (each.initiator.name !== nexus.initiator.name) return true;
  return false;
}

/** PREVENT ALLOW MEDIUM REMOVAL (SBC-3 5.10): remembered per nexus; there is no medium to keep in. */
function preventAllow(task: ScsiTask): TaskResult {
  const prevent = (task.cdb.readUInt8(4) & 0x01) !== 0;
  // SPC-4 table 62: allowing is allowed, preventing is not.
  if (prevent && reservedByOther(task)) return CONFLICT;
  task.nexus.preventsRemoval = prevent;
  return GOOD;
}

export const READINESS: readonly CommandSpec[] = [
  {
    name: 'TEST UNIT READY',
    opcode: 0x00,
    cdbUsage: [0x00, 0, 0, 0, 0, 0],
    access: 'none',
    reserved: Reserved.allowed,
    okWhen: OK_ORDINARY,
    order: 'free',
    clause: 'SPC-4 6.47',
    run: () => GOOD,
  },
  {
    name: 'START STOP UNIT',
    opcode: 0x1b,
    cdbUsage: [0x1b, 0x01, 0, 0, 0x07, 0],
    access: 'manage',
    reserved: Reserved.allowed,
    okWhen: { ...OK_ORDINARY, notReady: true },
    order: 'free',
    clause: 'SBC-3 5.25',
    run: startStopUnit,
  },
  {
    name: 'PREVENT ALLOW MEDIUM REMOVAL',
    opcode: 0x1e,
    cdbUsage: [0x1e, 0, 0, 0, 0x01, 0],
    access: 'manage',
    reserved: Reserved.allowed,
    okWhen: OK_ORDINARY,
    order: 'free',
    clause: 'SBC-3 5.10',
    run: preventAllow,
  },
];
