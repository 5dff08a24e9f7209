// From a CDB to a status: the checks every command passes, in one fixed order, then the command itself.
// Order: unit attention, access state of the port, CDB bits, reservation, readiness, write protection, capacity. (SAM-5
// 5.3.3 leaves the choice between several applicable conditions to the device server, except that unit attentions come
// before execution.)
import { Reserved } from './command-spec.ts';
import type { CommandSpec } from './command-spec.ts';
import type { LunNexus } from './lun-nexus.ts';
import { noteRefusal, offloadKindOf } from './offload-meter.ts';
import type { OffloadKind } from './offload-meter.ts';
import { SENSE, ScsiError, badCdb, encodeSense, senseOf } from './sense.ts';
import { Status, TaskAttribute } from './task.ts';
import type { ScsiTask, TaskResult } from './task.ts';
import type { SetTask } from './task-set.ts';
import { attentionError } from './unit-attention.ts';
import type { RangeLock } from '../volume/range-locks.ts';

/** A range lock as its task may use it while it runs. */
export type HeldRange = Pick<RangeLock, 'makeExclusive'>;

/** A task as dispatch needs it: the command and its place in the task set are one object. */
export type DispatchTask = ScsiTask &
  SetTask & {
    /** The range lock the command holds while it runs. */
    held?: HeldRange | undefined;
    /** While another node carries it out, or one is being waited for: ends it there, as RemoteRun.abort does. */
    elsewhere?: { abort(): Promise<void> } | undefined;
  };

const CONFLICT: TaskResult = { status: Status.reservationConflict };
const BUSY: TaskResult = { status: Status.busy };

/**
 * Carries out one command. Never rejects: every failure becomes a status. The result of a task that was aborted meanwhile
 * is computed all the same; whether it is still told is the transport's business.
 */
export function execute(task: DispatchTask): Promise<TaskResult> {
  return task.lu.role.here || isAnsweredHere(task) ? executeHere(task) : passOn(task);
}

/** Another node owns the volume, but this is ours to say. */
function isAnsweredHere({ spec, nexus }: DispatchTask): boolean {
  return spec.everywhere === 'always' || (spec.everywhere === 'attention' && nexus.attentions.any);
}

/** To the node that owns the volume, when what this node has to say has been said. */
async function passOn(task: DispatchTask): Promise<TaskResult> {
  try {
    if (!task.spec.okWhen.unitAttention) reportAttention(task.nexus);
    return await task.lu.role.pass(task, (each) => executeHere(each, true));
  } catch (error) {
    return failed(task, error);
  }
}

/** `told`: unit attentions have had their turn; what has come since is for the next command (SAM-5 5.14). */
async function executeHere(task: DispatchTask, told = false): Promise<TaskResult> {
  const { lu, spec, nexus } = task;
  const turn = lu.tasks.enter(task, spec.order === 'barrier');
  try {
    if (turn !== undefined) await turn;
    if (task.aborted) return { status: Status.taskAborted };
    if (!told && !spec.okWhen.unitAttention) reportAttention(nexus);
    // SAM-5 8.7: no ACA condition is ever established (NORMACA=0), so nothing can be sent under one.
    if (task.attribute > TaskAttribute.headOfQueue) throw new ScsiError(SENSE.invalidMessage);
    const refusal = precheck(nexus, spec, task.cdb);
    const result = refusal ?? (await runLocked(task));
    noteEnd(task, result);
    return result;
  } catch (error) {
    return failed(task, error);
  } finally {
    lu.tasks.leave(task);
  }
}

/**
 * SAM-5 5.14: a pending unit attention is what a command ends with before anything else about it is looked at, but for
 * the commands that say so in their row. Throws it as a ScsiError; it is consumed.
 */
export function reportAttention(nexus: LunNexus): void {
  if (!nexus.attentions.any) return;
  const row = nexus.attentions.take();
  nexus.lu.refresh(nexus);
  if (row === SENSE.reportedLunsChanged) nexus.owner.inventoryReported();
  if (row !== undefined) throw attentionError(row);
}

/** The row of this CDB, and the data-out it asks for. Throws ScsiError; of a pending unit attention before all else. */
export function commandOf(nexus: LunNexus, cdb: Buffer): { spec: CommandSpec; byCdb: number } {
  let spec: CommandSpec | undefined;
  try {
    spec = nexus.lu.commands.find(cdb);
    return { spec, byCdb: spec.dataOut?.(cdb, nexus.lu) ?? 0 };
  } catch (error) {
    if (spec?.okWhen.unitAttention !== true) reportAttention(nexus);
    throw error;
  }
}

/**
 * The checks before a command runs, after the unit attentions. Returns the status that ends it, or undefined to go on; throws ScsiError for CHECK
 * CONDITION.
 */
export function precheck(nexus: LunNexus, spec: CommandSpec, cdb: Buffer): TaskResult | undefined {
  const lu = nexus.lu;
  if (spec.offered?.(lu) === false) throw new ScsiError(SENSE.invalidOpcode, { field: 0 });
  const barred = lu.inaccessible(nexus);
  if (barred !== undefined && !(barred === SENSE.standby ? spec.okWhen.standby : spec.okWhen.unavailable)) {
    throw new ScsiError(barred);
  }
  // SBC-3 4.11.2: during a sanitize operation everything but the inquiring commands ends like this, right or wrong.
  if (lu.notReady?.sense === SENSE.sanitizeInProgress && spec.access !== 'none') throw lu.notReady;
  checkUsage(spec, cdb);
  if (spec.reserved !== Reserved.allowed && lu.reservations.conflicts(nexus, spec.reserved)) return CONFLICT;
  if (lu.busy && !spec.okWhen.notReady) return BUSY;
  if (lu.notReady !== undefined && !spec.okWhen.notReady) throw lu.notReady;
  if (spec.access === 'write') {
    const row = lu.writeProtection(nexus);
    if (row !== undefined) throw new ScsiError(row);
  }
  const range = spec.extent?.(cdb, lu);
  if (range !== undefined && !(range.lba + range.blocks <= lu.blocks)) {
    throw new ScsiError(SENSE.lbaOutOfRange, range.lba <= 0xffff_ffff_ffff ? { information: range.lba } : {});
  }
  return undefined;
}

/** A set bit outside the usage mask asks for something we would not do (SPC-4 4.3.1: reserved fields). */
function checkUsage(spec: CommandSpec, cdb: Buffer): void {
  const usage = spec.cdbUsage;
  for (let i = 1; i < usage.length; i++) {
    const extra = (cdb[i] ?? 0) & ~(usage[i] ?? 0) & 0xff;
    if (extra === 0) continue;
    // The service action is part of byte 1 and has been compared already.
    if (i === 1 && spec.serviceAction !== undefined && (extra & ~0x1f) === 0) continue;
    throw badCdb(i, 31 - Math.clz32(extra));
  }
}

/** Runs under the range lock its kind asks for: exclusive for `extent`, shared for other media commands; `steps` lock for themselves. */
async function runLocked(task: DispatchTask): Promise<TaskResult> {
  const { lu, spec } = task;
  const range = spec.extent?.(task.cdb, lu);
  if (range === undefined || range.blocks === 0 || spec.order === 'steps') return spec.run(task);
  const position = range.lba * lu.blockSize;
  const length = range.blocks * lu.blockSize;
  const exclusive = spec.order === 'extent';
  const now = lu.locks.tryAcquire(position, length, exclusive);
  const lock = now ?? (await lu.locks.acquire(position, length, exclusive));
  try {
    if (task.aborted) return { status: Status.taskAborted };
    task.held = lock;
    return await spec.run(task);
  } finally {
    task.held = undefined;
    lock.release();
  }
}

const kindOf = ({ cdb }: DispatchTask): OffloadKind | undefined => offloadKindOf(cdb[0] ?? 0, (cdb[1] ?? 0) & 0x1f);

/** An offload command ended without sense data, and not well. */
function noteEnd(task: DispatchTask, { status }: TaskResult): void {
  if (status === Status.good && !task.aborted) return;
  const kind = kindOf(task);
  if (kind === undefined) return;
  const { lu, nexus } = task;
  if (status === Status.reservationConflict) lu.offload.refused(nexus, kind, 'reserved', 'RESERVATION CONFLICT');
  else if (task.aborted) lu.offload.refused(nexus, kind, 'aborted', 'TASK ABORTED');
}

/** CHECK CONDITION of whatever was thrown. */
export function checkCondition(nexus: LunNexus, error: unknown): TaskResult {
  const lu = nexus.lu;
  const scsi = senseOf(error, lu.blockSize);
  const kind = scsi.cdb === undefined ? undefined : offloadKindOf(scsi.cdb.opcode, scsi.cdb.serviceAction);
  if (kind !== undefined) {
    // A service action we do not have is a command that is not offered, whatever its sense data say.
    const unknown = lu.commands
      .ofOpcode(scsi.cdb?.opcode ?? 0)
      .every((row) => row.serviceAction !== undefined && row.serviceAction !== scsi.cdb?.serviceAction);
    noteRefusal(nexus, kind, unknown ? new ScsiError(scsi.sense, { ...scsi.detail, reason: 'not-offered' }) : scsi);
  }
  if (!(error instanceof ScsiError)) lu.trouble.report(error);
  return { status: Status.checkCondition, sense: encodeSense(scsi, lu.modes.descriptorSense) };
}

function failed(task: DispatchTask, error: unknown): TaskResult {
  const kind = kindOf(task);
  if (kind !== undefined) noteRefusal(task.nexus, kind, senseOf(error, task.lu.blockSize));
  return failure(task, task.spec.name, error);
}

/** What a command of this name that runs, and is in the task set, ends with when this was thrown. */
export function failure(task: SetTask, name: string, error: unknown): TaskResult {
  const { lu } = task.nexus;
  const scsi = senseOf(error, lu.blockSize);
  if (scsi.sense.key !== 0x6) lu.counters.errors++;
  if (!(error instanceof ScsiError)) lu.trouble.report(error, name);
  applyQueueError(task);
  return { status: Status.checkCondition, sense: encodeSense(scsi, lu.modes.descriptorSense) };
}

/**
 * SPC-4 7.5.8 QERR: 01b aborts everybody's tasks on CHECK CONDITION, 11b those of the same nexus. Other nexuses that lose
 * tasks learn it by TASK ABORTED (TAS=1) or by unit attention (SAM-5 5.6).
 */
function applyQueueError(task: SetTask): void {
  const { lu } = task.nexus;
  const qerr = lu.modes.queueErrorManagement;
  if (qerr !== 1 && qerr !== 3) return;
  const tell = lu.modes.taskAbortedStatus;
  const losers = new Set<LunNexus>();
  lu.tasks.abort((other) => {
    if (other === task || (qerr === 3 && other.nexus !== task.nexus)) return false;
    losers.add(other.nexus);
    return true;
  }, tell);
  losers.delete(task.nexus);
  if (!tell) for (const nexus of losers) nexus.attention(SENSE.commandsClearedByOther);
}
