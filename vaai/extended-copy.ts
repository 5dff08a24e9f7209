// EXTENDED COPY (SPC-4 6.4, 6.5): what ESXi clones with. The initiator names source and destination by their designators; both
// are looked for among what is mapped to it, and nothing is done that it could not do itself.
import { MAX_COPY_DESCRIPTORS } from '../core/base/limits.ts';
import { load32 } from '../core/base/bytes-at.ts';
import { OK_ORDINARY, Reserved, all } from '../core/scsi/command-spec.ts';
import type { CommandSpec } from '../core/scsi/command-spec.ts';
import { COUNT_IN_BLOCKS, COUNT_IN_KIB, CopyOperation, CopyStatus } from '../core/scsi/copy-operations.ts';
import { CopyWork } from '../core/scsi/copy-work.ts';
import type { LogicalUnit } from '../core/scsi/logical-unit.ts';
import type { LunNexus } from '../core/scsi/lun-nexus.ts';
import { noteRefusal } from '../core/scsi/offload-meter.ts';
import { reach, reachDesignated } from '../core/scsi/reach.ts';
import type { Reach, Refusal } from '../core/scsi/reach.ts';
import { SENSE, ScsiError, badCdb, badParameter, encodeSense, senseOf } from '../core/scsi/sense.ts';
import type { SenseDetail, SenseRow } from '../core/scsi/sense.ts';
import { GOOD, Status, TaskAttribute } from '../core/scsi/task.ts';
import type { ScsiTask, TaskResult } from '../core/scsi/task.ts';
import type { SetTask } from '../core/scsi/task-set.ts';
import { CopyError, copyRange, isShareable } from '../core/volume/copy.ts';
import { DATA_SEGMENT_GRANULARITY, Descriptor, HEADER, OWN_UNIT, parseCopyList } from './copy-list.ts';
import type { CopyList, ListForm, Segment } from './copy-list.ts';

const ACTION: Readonly<Record<ListForm, number>> = { lid1: 0x00, lid4: 0x01 };
/** Where the numbers of the CSCD descriptors and the LBAs are in a segment descriptor. */
const FIELD = { source: 4, target: 6, sourceLba: 12, targetLba: 20, length: 8 } as const;

const KIB = 1024;

type Side = 'source' | 'target';

/** A logical unit that takes part, and where the list describes it; undefined: it is the one that was asked. */
interface End extends Pick<Reach, 'lu' | 'paths' | 'refusal'> {
  readonly at: number | undefined;
}

/** One segment, its ends found and its numbers checked. Bytes. */
interface Job {
  readonly number: number;
  readonly source: End;
  readonly target: End;
  readonly from: number;
  readonly to: number;
  readonly length: number;
  readonly verifies: boolean;
  readonly testReady: boolean;
}

/** Segments that are one copy: what is shared costs by the command, not by the segment. */
interface Run extends Job {
  /** One behind the other on both sides. */
  readonly parts: readonly Job[];
}

/** Consecutive segments that go on where the one before ends, of two disks that can share it, become one run. */
function runsOf(jobs: readonly Job[]): Run[] {
  const runs: Run[] = [];
  for (const job of jobs) {
    const last = runs.at(-1);
    if (last === undefined || !goesOn(last, job)) runs.push({ ...job, parts: [job] });
    else runs[runs.length - 1] = { ...last, length: last.length + job.length, parts: [...last.parts, job] };
  }
  return runs;
}

function goesOn(run: Run, { source, target, from, to, length, verifies }: Job): boolean {
  if (run.source !== source || run.target !== target || run.verifies || verifies || source.lu === target.lu)
    return false;
  if (run.from + run.length !== from || run.to + run.length !== to) return false;
  return isShareable({ ...run, source: source.lu.volume, target: target.lu.volume, length: run.length + length });
}

async function extendedCopy(task: ScsiTask, form: ListForm): Promise<TaskResult> {
  const { lu, nexus, cdb, data } = task;
  const wanted = load32(cdb, 10);
  if (wanted === 0) return GOOD; // SPC-4 6.4: no error
  if (data.length < wanted) throw new ScsiError(SENSE.parameterListLength);
  const list = parseCopyList(data, form);
  const jobs = planned(nexus, list);
  routed(nexus, jobs);
  const operation = begin(nexus, list, form);
  operation.units = unitsOf(jobs);
  const done = carryOut(operation, jobs, () => !list.immediate && task.aborted);
  if (list.immediate) {
    done.catch((error: unknown) => {
      if (!(error instanceof ScsiError)) lu.trouble.report(error, task.spec.name);
      // The command ended well long ago: dispatch does not see this.
      noteRefusal(nexus, 'extended-copy', senseOf(error, lu.blockSize));
    });
    return GOOD;
  }
  await done;
  return list.tells ? told(lu, jobs.length) : GOOD;
}

/** GOOD, with the number of segments that have been processed (SPC-4 6.4.2, G_SENSE). */
function told(lu: LogicalUnit, segments: number): TaskResult {
  const sense = new ScsiError(SENSE.copyInformation, { specific: segments });
  return { status: Status.good, sense: encodeSense(sense, lu.modes.descriptorSense) };
}

/**
 * The destination decides whether the storage takes the copy: 05/55/03 if not, before anything is done, and the initiator
 * reads and writes by itself. All segments to one destination are one question. Throws ScsiError.
 */
function routed(nexus: LunNexus, jobs: readonly Job[]): void {
  const ends = new Map<LogicalUnit, { shareable: boolean; bytes: number }>();
  for (const { source, target, from, to, length, verifies } of jobs) {
    if (verifies || length === 0) continue;
    const shareable = isShareable({ source: source.lu.volume, from, target: target.lu.volume, to, length });
    const known = ends.get(target.lu) ?? { shareable: true, bytes: 0 };
    ends.set(target.lu, { shareable: known.shareable && shareable, bytes: known.bytes + length });
  }
  for (const [{ copyRoute }, question] of ends) {
    if (copyRoute.decide({ ...question, host: nexus.initiator.name }) === 'accept') continue;
    throw new ScsiError(SENSE.insufficientResources, {
      reason: copyRoute.last?.why === 'slower' ? 'slower' : 'policy',
    });
  }
}

/**
 * SPC-4 5.17.4.2 has a list identifier in use refused, 6.4.3.2 says how when it is one of a list of the other form. QEMU gives all
 * its copies, several at a time, the same one, and says (10b) that it will never ask about them: such a copy is carried out
 * without being listed.
 */
function begin(nexus: LunNexus, { listId, discard, immediate }: CopyList, form: ListForm): CopyOperation {
  const { copies } = nexus.lu;
  const action = ACTION[form];
  if (listId === undefined) return new CopyOperation(nexus, 0, action, immediate);
  const earlier = copies.find(nexus, listId);
  if (earlier?.isOver === false) {
    if (earlier.action !== action && Object.values(ACTION).includes(earlier.action)) {
      throw badParameter(form === 'lid1' ? 0 : 20);
    }
    if (discard && !immediate) return new CopyOperation(nexus, listId, action, immediate);
  }
  return copies.begin(nexus, listId, action, immediate);
}

/** TRANSFER COUNT is in blocks of the destination (SPC-4 table 251); where those have blocks of several sizes, in kibibytes. */
function unitsOf(jobs: readonly Job[]): number {
  const sizes = new Set(jobs.filter(({ verifies }) => !verifies).map(({ target }) => target.lu.blockSize));
  return sizes.size > 1 ? COUNT_IN_KIB : COUNT_IN_BLOCKS;
}

async function carryOut(operation: CopyOperation, jobs: readonly Job[], isAborted: () => boolean): Promise<void> {
  const leave = enterOthers(operation, jobs);
  const work = new CopyWork(operation.nexus, 'extended-copy');
  try {
    for (const run of runsOf(jobs)) {
      operation.segments = run.number + 1;
      await carryOutRun(operation, run, work, () => operation.aborted || isAborted());
      operation.counter++;
    }
    work.done();
    operation.end(CopyStatus.done);
  } catch (error) {
    const scsi = senseOf(error, operation.nexus.lu.blockSize);
    operation.completion = Status.checkCondition;
    operation.sense = encodeSense(scsi, operation.nexus.lu.modes.descriptorSense);
    operation.end(operation.aborted ? CopyStatus.terminated : CopyStatus.failed);
    throw error;
  } finally {
    leave();
  }
}

/**
 * The copy is a task of the other logical units, too: LOGICAL UNIT RESET, CLEAR TASK SET and PREEMPT AND ABORT there end it, and
 * wait for it. In the background, it is one of the logical unit that was asked.
 */
function enterOthers(operation: CopyOperation, jobs: readonly Job[]): () => void {
  const own = operation.status === CopyStatus.background ? undefined : operation.nexus.lu;
  const entered = new Map<LogicalUnit, SetTask>();
  for (const end of jobs.flatMap(({ source, target }) => [source, target])) {
    if (end.lu === own || entered.has(end.lu)) continue;
    const part: SetTask = {
      nexus: end.paths()[0] ?? operation.nexus,
      // It must not wait there: two copies could wait for each other.
      attribute: TaskAttribute.headOfQueue,
      abort: () => {
        operation.aborted = true;
      },
    };
    entered.set(end.lu, part);
    void end.lu.tasks.enter(part, false);
  }
  return () => {
    for (const [lu, part] of entered) lu.tasks.leave(part);
  };
}

async function carryOutRun(
  operation: CopyOperation,
  run: Run,
  work: CopyWork,
  isAborted: () => boolean,
): Promise<void> {
  const { source, target, from, to, length } = run;
  let problem: ScsiError | undefined;
  let bytes = 0;
  let inOrder = 0;
  /** The segment with the first byte that is missing, and where it begins in the run. */
  const current = (): { job: Job; begin: number } => {
    let begin = 0;
    for (const job of run.parts) {
      if (inOrder < begin + job.length) return { job, begin };
      begin += job.length;
    }
    const last = run.parts.at(-1) ?? run;
    return { job: last, begin: begin - last.length };
  };
  // Asked before every step: whoever loses the right to write there (a reservation, a mapping) stops at once.
  const stopped = (): boolean => {
    const { job } = current();
    problem = isAborted() ? copyFailure(job, SENSE.copyAborted) : problemOf(job);
    return problem !== undefined;
  };
  if (stopped()) throw problem as unknown as ScsiError;
  if (length === 0) return;
  const unit = operation.units === COUNT_IN_KIB ? KIB : target.lu.blockSize;
  const before = operation.transferred;
  /** SPC-4 5.17.7.4: where something of the segment has been written, its blocks that are missing from the first gap on. */
  const residual = (): SenseDetail => {
    const { job, begin } = current();
    if (bytes <= begin) return {};
    return { information: Math.ceil((begin + job.length - inOrder) / target.lu.blockSize) };
  };
  try {
    await copyRange({
      source: source.lu.volume,
      from,
      target: target.lu.volume,
      to,
      length,
      sourceLocks: source.lu.locks,
      targetLocks: target.lu.locks,
      clock: target.lu.clock,
      isAborted: stopped,
      progress: (step, done) => {
        work.add(target.lu, step);
        bytes += step.shared + step.copied;
        inOrder = done;
        operation.segments = current().job.number + 1;
        operation.transferred = before + Math.floor(done / unit);
        operation.counter++;
      },
    });
  } catch (error) {
    if (!(error instanceof CopyError)) throw error;
    const end = error.side === 'source' ? source : target;
    end.lu.trouble.report(error, 'EXTENDED COPY');
    const answer = { side: error.side, status: Status.checkCondition, error: senseOf(error, end.lu.blockSize) };
    const detail = { segment: current().job.number, forwarded: answer, ...pointerTo(end), ...residual() };
    throw new ScsiError(SENSE.thirdPartyDeviceFailure, detail);
  }
  if (bytes < length && stopped()) {
    const { sense, detail } = problem as unknown as ScsiError;
    throw new ScsiError(sense, { ...detail, ...residual() });
  }
}

/** SPC-4 5.17.7.4: the field pointer is to the descriptor of the logical unit that is to blame. */
const pointerTo = ({ at }: Pick<End, 'at'>): SenseDetail => (at === undefined ? {} : { field: at, inData: true });

/** COPY ABORTED at this segment (SPC-4 5.17.7.4), at a field of its descriptor where there is one to blame. */
function copyFailure({ number }: Pick<Job, 'number'>, row: SenseRow, field?: number): ScsiError {
  return new ScsiError(row, field === undefined ? { segment: number } : { segment: number, field, inSegment: true });
}

/** Why one of the ends does not let the initiator in now. */
function problemOf(job: Job): ScsiError | undefined {
  if (job.verifies && !job.testReady) return undefined;
  const ends: readonly [Side, Refusal | undefined][] = [
    ['source', job.source.refusal('read')],
    ['target', job.verifies ? undefined : job.target.refusal('write')],
  ];
  for (const [side, refusal] of ends) {
    if (refusal === undefined) continue;
    const forwarded = { side, status: refusal.status, error: refusal.error };
    return new ScsiError(SENSE.thirdPartyDeviceFailure, { segment: job.number, forwarded, ...pointerTo(job[side]) });
  }
  return undefined;
}

/** All segments, checked before any of them is carried out. Throws ScsiError. */
function planned(nexus: LunNexus, list: CopyList): Job[] {
  const found = new Map<number, End>();
  const endOf = (number: number, segment: Segment, side: Side): End => {
    const id = segment[side];
    const known = found.get(id);
    if (known !== undefined) return known;
    const end = endAt(nexus, list, number, id, side);
    found.set(id, end);
    return end;
  };
  return list.segments.map((segment, number) => {
    const source = endOf(number, segment, 'source');
    const target = endOf(number, segment, 'target');
    return jobOf(segment, number, source, target);
  });
}

/**
 * The logical unit a CSCD DESCRIPTOR ID names, among those the initiator sees. Throws ScsiError. Null logical units (C000h, C001h)
 * count as not reachable: nothing can be copied from or to them (SPC-4 table 148).
 */
function endAt(nexus: LunNexus, { cscds, firstId }: CopyList, number: number, id: number, side: Side): End {
  // The header counts as a descriptor of a type that none may be of (SPC-4 6.4.5.2).
  if (id < firstId) throw copyFailure({ number }, SENSE.copyListField, FIELD[side]);
  const cscd = id === OWN_UNIT ? undefined : cscds[id - firstId];
  if (id !== OWN_UNIT && cscd === undefined) throw copyFailure({ number }, SENSE.copyTargetNotReachable, FIELD[side]);
  const found = cscd === undefined ? reach(nexus, (lu) => lu === nexus.lu) : reachDesignated(nexus, cscd.designator);
  if (found === undefined)
    throw new ScsiError(SENSE.copyTargetNotReachable, { segment: number, ...pointerTo(cscd ?? NOWHERE) });
  if (cscd !== undefined && cscd.blockSize !== 0 && cscd.blockSize !== found.lu.blockSize)
    throw badParameter(cscd.at + 29);
  return {
    lu: found.lu,
    at: cscd?.at,
    paths: () => found.paths(),
    refusal: (access) => found.refusal(access),
  };
}

const NOWHERE = { at: undefined };

function jobOf(segment: Segment, number: number, source: End, target: End): Job {
  const { unit, count } = segment.length;
  const length = unit === 'bytes' ? count : count * (unit === 'source-blocks' ? source : target).lu.blockSize;
  const from = segment.sourceLba * source.lu.blockSize + segment.sourceOffset;
  const to = segment.targetLba * target.lu.blockSize + segment.targetOffset;
  const verifies = segment.type === Descriptor.verify;
  const job = { number, source, target, from, to, length, verifies, testReady: segment.testReady };
  // SPC-4 6.22, and table 116 (CAT=0, PAD=0): what is no whole number of blocks. A part of a block would have to be read and written
  // back behind the initiator's back: nobody asks for it.
  if (length % DATA_SEGMENT_GRANULARITY !== 0) {
    throw copyFailure({ number }, SENSE.copySegmentGranularity, FIELD.length);
  }
  if ([source.lu.blockSize, target.lu.blockSize].some((size) => length % size !== 0)) {
    throw copyFailure({ number }, SENSE.unexpectedInexactSegment, FIELD.length);
  }
  if (from % source.lu.blockSize !== 0 || to % target.lu.blockSize !== 0) {
    throw new ScsiError(SENSE.invalidFieldInParameterList, { field: FIELD.length, inSegment: true, segment: number });
  }
  if (verifies) return job;
  for (const [side, end, at] of [
    ['source', source, from],
    ['target', target, to],
  ] as const) {
    if (at + length <= end.lu.blocks * end.lu.blockSize) continue;
    const lba = at / end.lu.blockSize;
    const error = new ScsiError(SENSE.lbaOutOfRange, lba <= 0xffff_ffff ? { information: lba } : {});
    const field = side === 'source' ? FIELD.sourceLba : FIELD.targetLba;
    const forwarded = { side, status: Status.checkCondition, error };
    throw new ScsiError(SENSE.copyTargetNotReachable, { segment: number, field, inSegment: true, forwarded });
  }
  return job;
}

function spec(name: string, form: ListForm, clause: string): CommandSpec {
  return {
    name,
    opcode: 0x83,
    serviceAction: ACTION[form],
    cdbUsage: [0x83, ACTION[form], 0, 0, 0, 0, 0, 0, 0, 0, ...all(4), 0, 0],
    // What it writes need not be on this logical unit, and is looked at where it is.
    access: 'manage',
    reserved: Reserved.conflict,
    okWhen: OK_ORDINARY,
    order: 'free',
    dataOut: (cdb) => {
      if (load32(cdb, 10) > HEADER[form] + MAX_COPY_DESCRIPTORS) throw new ScsiError(SENSE.parameterListLength);
      return load32(cdb, 10);
    },
    clause,
    run: (task) => extendedCopy(task, form),
  };
}

async function copyOperationAbort({ lu, nexus, cdb }: ScsiTask): Promise<TaskResult> {
  const operation = lu.copies.find(nexus, load32(cdb, 2));
  if (operation === undefined || operation.isOver) throw badCdb(2);
  operation.aborted = true;
  await operation.over;
  return GOOD;
}

export const EXTENDED_COPY: readonly CommandSpec[] = [
  spec('EXTENDED COPY (LID1)', 'lid1', 'SPC-4 6.5'),
  spec('EXTENDED COPY (LID4)', 'lid4', 'SPC-4 6.4'),
  {
    name: 'COPY OPERATION ABORT',
    opcode: 0x83,
    serviceAction: 0x1c,
    cdbUsage: [0x83, 0x1c, ...all(4), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    access: 'none',
    reserved: Reserved.unlessExclusive,
    okWhen: { ...OK_ORDINARY, standby: true, notReady: true },
    order: 'free',
    clause: 'SPC-4 6.3',
    run: copyOperationAbort,
  },
];
