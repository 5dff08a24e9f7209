// Task management functions (RFC 7143 §11.5, SAM-5 7). Every function is answered: what it ends gets a moment to finish
// its I/O, then the answer goes out even if a backend hangs; whatever finishes later answers nothing.
import { TASK_MANAGEMENT_PATIENCE } from '../base/limits.ts';
import { load32 } from '../base/bytes-at.ts';
import { endTasks, isForwarded } from '../scsi/end-tasks.ts';
import { UnitFunction } from '../scsi/forward/remote-unit.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import type { LunNexus } from '../scsi/lun-nexus.ts';
import { SENSE } from '../scsi/sense.ts';
import type { CommandPath } from './command-path.ts';
import type { Pending } from './pending.ts';
import type { IscsiContext } from './context.ts';
import { lunOf } from './lun.ts';

/** Function codes (RFC 7143 §11.5.1). */
export const TaskFunction = {
  abortTask: 1,
  abortTaskSet: 2,
  clearAca: 3,
  clearTaskSet: 4,
  logicalUnitReset: 5,
  targetWarmReset: 6,
  targetColdReset: 7,
  taskReassign: 8,
} as const;

/** Response codes (RFC 7143 §11.6.1). */
export const TaskResponse = {
  complete: 0,
  noSuchTask: 1,
  noSuchLun: 2,
  reassignmentNotSupported: 4,
  notSupported: 5,
  rejected: 255,
} as const;

/** Carries out the function in the PDU at `at`; resolves with the response code. */
export async function manageTasks(path: CommandPath, bytes: Buffer, at: number): Promise<number> {
  const code = (bytes[at + 1] as number) & 0x7f;
  const context = path.connection.context;
  switch (code) {
    case TaskFunction.targetWarmReset:
    case TaskFunction.targetColdReset:
      return resetTarget(context, path);
    case TaskFunction.taskReassign:
      return TaskResponse.reassignmentNotSupported;
    case TaskFunction.abortTask:
    case TaskFunction.abortTaskSet:
    case TaskFunction.clearTaskSet:
    case TaskFunction.logicalUnitReset:
      break;
    default:
      return TaskResponse.notSupported; // CLEAR ACA: NACA is never accepted; QUERY TASK and others: RFC 7144
  }
  const lun = lunOf(bytes, at + 8);
  const nexus = lun === undefined ? undefined : path.nexus.luns[lun];
  if (nexus === undefined) return TaskResponse.noSuchLun;
  const cmdSN = load32(bytes, at + 24);
  if (code === TaskFunction.abortTask) {
    return abortTask(context, path, nexus, { tag: load32(bytes, at + 20), refCmdSN: load32(bytes, at + 32), cmdSN });
  }
  // Commands that came ahead of a missing one belong to the task set as well (RFC 7143 §4.2.3.3: CmdSN below ours).
  path.abortEarly(nexus, cmdSN);
  if (code === TaskFunction.abortTaskSet) return abortTaskSet(context, path, nexus);
  if (code === TaskFunction.clearTaskSet) {
    return (
      (await manageElsewhere(context, path, nexus, UnitFunction.clearTaskSet)) ?? clearTaskSet(context, path, nexus)
    );
  }
  const elsewhere = await manageElsewhere(context, path, nexus, UnitFunction.logicalUnitReset);
  return elsewhere ?? resetUnit(context, path, nexus.lu);
}

/**
 * The node that carries the commands out does it for the whole logical unit, and has us end what has not reached it yet. Our own
 * tasks end at once. undefined: that node is this one.
 */
async function manageElsewhere(
  context: IscsiContext,
  path: CommandPath,
  nexus: LunNexus,
  what: UnitFunction,
): Promise<number | undefined> {
  if (nexus.lu.role.here) return undefined;
  const { chosen, settled, confirmed } = path.abort((each) => each.nexus === nexus, false);
  const done = await nexus.lu.role.manage(nexus, what);
  await patience(context, settled);
  await confirmed;
  path.abandon(chosen);
  if (done === 'here') return undefined;
  return done ? TaskResponse.complete : TaskResponse.rejected;
}

/** The task an ABORT TASK means (RFC 7143 §11.5.4, §11.5.5), and the number of the request itself. */
interface TaskReference {
  readonly tag: number;
  readonly refCmdSN: number;
  readonly cmdSN: number;
}

async function abortTask(
  context: IscsiContext,
  path: CommandPath,
  nexus: LunNexus,
  { tag, refCmdSN, cmdSN }: TaskReference,
): Promise<number> {
  const { chosen, settled, confirmed } = path.abort((each) => each.itt === tag && each.nexus === nexus, false);
  if (chosen.length === 0) {
    const known = path.abortEarly(nexus, cmdSN, tag) > 0 || path.abortUnseen(refCmdSN, cmdSN);
    return known ? TaskResponse.complete : TaskResponse.noSuchTask;
  }
  await patience(context, settled);
  await confirmed;
  path.abandon(chosen);
  return TaskResponse.complete;
}

async function abortTaskSet(context: IscsiContext, path: CommandPath, nexus: LunNexus): Promise<number> {
  const { chosen, settled, confirmed } = path.abort((each) => each.nexus === nexus, false);
  await patience(context, settled);
  await confirmed;
  path.abandon(chosen);
  return TaskResponse.complete;
}

/** SAM-5 7.5: the tasks of all nexuses end; the others are told by status (TAS=1) or by unit attention. */
async function clearTaskSet(context: IscsiContext, path: CommandPath, nexus: LunNexus): Promise<number> {
  const lu = nexus.lu;
  const tell = lu.modes.taskAbortedStatus;
  let own: readonly Pending[] = [];
  const forwarded = endTasks(lu, isForwarded, tell);
  const waits = pathsOf(context).map((each) => {
    const { chosen, settled } = each.abort((pending) => pending.nexus.lu === lu, tell && each !== path);
    if (each === path) own = chosen;
    else if (chosen.length > 0 && !tell) attention(each, lu);
    return settled;
  });
  await forwarded.told;
  if (!tell) for (const each of forwarded.losers) each.attention(SENSE.commandsClearedByOther);
  await patience(context, Promise.all([...waits, forwarded.over]));
  path.abandon(own);
  return TaskResponse.complete;
}

function attention(path: CommandPath, lu: LogicalUnit): void {
  for (const each of path.nexus.visible()) if (each.lu === lu) each.attention(SENSE.commandsClearedByOther);
}

async function resetUnit(context: IscsiContext, path: CommandPath, lu: LogicalUnit): Promise<number> {
  const forwarded = endTasks(lu, isForwarded, false);
  const { own, settled } = abortEverywhere(context, path, (each) => each.nexus.lu === lu);
  lu.reset(SENSE.busDeviceReset);
  await forwarded.told;
  await patience(context, Promise.all([settled, forwarded.over]));
  path.abandon(own);
  return TaskResponse.complete;
}

/** RFC 7143 §11.5.1: warm and cold reset act on all logical units; sessions stay, as §4.2.3.4 allows for warm. */
async function resetTarget(context: IscsiContext, path: CommandPath): Promise<number> {
  const units = [...new Set(path.nexus.device.entries.map((entry) => entry.lu))];
  const here = new Set(units.filter((lu) => lu.role.here));
  const forwarded = [...here].map((lu) => endTasks(lu, isForwarded, false));
  const { own, settled } = abortEverywhere(context, path, (each) => here.has(each.nexus.lu));
  for (const lu of here) lu.reset(SENSE.busDeviceReset);
  const elsewhere = [...path.nexus.visible()]
    .filter((nexus) => !here.has(nexus.lu))
    .map((nexus) => manageElsewhere(context, path, nexus, UnitFunction.logicalUnitReset));
  await Promise.all(forwarded.map(({ told }) => told));
  await patience(context, Promise.all([settled, ...forwarded.map(({ over }) => over)]));
  path.abandon(own);
  const answers = await Promise.all(elsewhere);
  return answers.find((answer) => answer === TaskResponse.rejected) ?? TaskResponse.complete;
}

/** Aborts on all sessions; `own` are those of the session that asked, whose tags are free once it has the answer. */
function abortEverywhere(
  context: IscsiContext,
  path: CommandPath,
  which: (each: Pending) => boolean,
): { own: readonly Pending[]; settled: Promise<unknown> } {
  let own: readonly Pending[] = [];
  const waits = pathsOf(context).map((each) => {
    const { chosen, settled } = each.abort(which, false);
    if (each === path) own = chosen;
    return settled;
  });
  return { own, settled: Promise.all(waits) };
}

function pathsOf(context: IscsiContext): CommandPath[] {
  return [...context.connections].flatMap((connection) => connection.commands ?? []);
}

/** Waits for running I/O to end, but not for ever. */
function patience(context: IscsiContext, settled: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const timer = context.world.clock.after(TASK_MANAGEMENT_PATIENCE, resolve);
    void settled.then(() => {
      timer.cancel();
      resolve();
    });
  });
}
