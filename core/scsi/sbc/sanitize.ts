// SANITIZE (SBC-3 5.24, 4.11): makes all data irretrievable through this logical unit. It goes on in the background through
// resets, logouts and restarts; until it is over, only a few commands are carried out.
// CRYPTOGRAPHIC ERASE: there is no key to forget, so the blocks themselves are erased. That takes longer than changing a key
// would, and leaves as little.
import { MAX_PARAMETER_LIST } from '../../base/limits.ts';
import { load16 } from '../../base/bytes-at.ts';
import { OK_ORDINARY, Reserved, all } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import type { SanitizePlan, SavedSanitize } from '../sanitize-store.ts';
import { SENSE, ScsiError, badCdb, badParameter } from '../sense.ts';
import { GOOD } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import type { RangeLock } from '../../volume/range-locks.ts';
import { VolumeError, VolumeFault } from '../../volume/volume.ts';

/** How a long operation leaves room for others: at least so many steps, and a pause in milliseconds after each. */
interface Pace {
  readonly minSteps: number;
  readonly pause: number;
}
/** Overwriting moves as many bytes as the disk has; other disks must keep their speed meanwhile. */
const OVERWRITE_PACE: Pace = { minSteps: 80, pause: 100 };
/** Erasing gives blocks back, which costs little. */
const ERASE_PACE: Pace = { minSteps: 1, pause: 1 };
/** Largest step, bytes. */
const MAX_STEP = 67_108_864;
/** Pattern is written in pieces of at most this many bytes. */
const PIECE = 1_048_576;
const HEADER = 4;

/** Byte 1 of the CDB beside the service action: IMMED and AUSE; ZNR is for zoned devices. */
const IMMED = 0x80;
const AUSE = 0x20;

/** Logical units whose last sanitize operation was asked for without AUSE. */
const RESTRICTED = new WeakSet<LogicalUnit>();
/** The last operation failed and only a successful one ends that (restricted completion mode, SBC-3 4.11.4). */
const failedRestricted = (lu: LogicalUnit): boolean =>
  lu.notReady?.sense === SENSE.sanitizeFailed && RESTRICTED.has(lu);

/** Clears or overwrites `length` bytes at `position`. */
type Work = (position: number, length: number) => Promise<void>;

/** Notes what is going to happen, durably, and lets it happen; with IMMED the answer does not wait for the end. */
async function sanitize(task: ScsiTask, plan: SanitizePlan): Promise<TaskResult> {
  const { lu, cdb } = task;
  if (lu.notReady?.sense === SENSE.sanitizeInProgress) throw lu.notReady;
  const unrestricted = ((cdb[1] ?? 0) & AUSE) !== 0;
  if (unrestricted && failedRestricted(lu)) throw badCdb(1, 5);
  const operation: SavedSanitize = { state: 'running', restricted: !unrestricted, plan };
  const before = lu.notReady;
  lu.setNotReady(new ScsiError(SENSE.sanitizeInProgress, { progress: 0 }));
  let lock: RangeLock | undefined;
  try {
    // What has begun before may finish; nothing of it lands on erased blocks.
    lock = await lu.locks.acquire(0, lu.blocks * lu.blockSize, true);
    await lu.sanitizeStore.save(operation);
  } catch (error) {
    lock?.release();
    lu.setNotReady(before);
    throw error;
  }
  const done = carryOut(lu, operation, lock);
  if (((cdb[1] ?? 0) & IMMED) === 0) await done;
  else done.catch(() => undefined);
  return GOOD;
}

/**
 * Goes on where the last run of the daemon stopped: a running operation begins again from the start, a failure stays one.
 * To be called before anybody sees the logical unit.
 */
export function resumeSanitize(lu: LogicalUnit): void {
  const saved = lu.sanitizeStore.load();
  if (saved === undefined) return;
  if (saved.restricted) RESTRICTED.add(lu);
  if (saved.state === 'failed') {
    lu.setNotReady(new ScsiError(SENSE.sanitizeFailed));
    return;
  }
  lu.log.warn({}, 'a sanitize operation was interrupted by a restart: it begins again');
  lu.setNotReady(new ScsiError(SENSE.sanitizeInProgress, { progress: 0 }));
  void lu.locks
    .acquire(0, lu.blocks * lu.blockSize, true)
    .then((lock) => carryOut(lu, saved, lock))
    // carryOut has reported it.
    .catch(() => undefined);
}

async function carryOut(lu: LogicalUnit, operation: SavedSanitize, lock: RangeLock): Promise<void> {
  if (operation.restricted) RESTRICTED.add(lu);
  else RESTRICTED.delete(lu);
  const { plan } = operation;
  try {
    if (plan.kind === 'erase') await runAll(lu, 1, ERASE_PACE, eraseWork(lu));
    else await runAll(lu, plan.passes, OVERWRITE_PACE, overwriteWork(lu, plan));
    await lu.volume.flush();
    await lu.sanitizeStore.save(undefined);
    lu.setNotReady(undefined);
  } catch (error) {
    // The daemon stops, or the volume is opened anew: that is no failure, the operation begins again then.
    if (!lu.retired) await fail(lu, operation, error);
    throw new ScsiError(SENSE.sanitizeFailed);
  } finally {
    lock.release();
  }
}

async function fail(lu: LogicalUnit, operation: SavedSanitize, error: unknown): Promise<void> {
  lu.log.error({ error: String(error) }, 'sanitize failed: the data may still be there; repeat it or replace the disk');
  lu.setNotReady(new ScsiError(SENSE.sanitizeFailed));
  // What cannot be noted is noted as running, and begins again after a restart.
  await lu.sanitizeStore.save({ ...operation, state: 'failed' }).catch(() => undefined);
}

async function runAll(lu: LogicalUnit, passes: number, pace: Pace, work: Work): Promise<void> {
  const size = lu.blocks * lu.blockSize;
  const step = Math.min(
    MAX_STEP,
    Math.max(lu.blockSize, Math.ceil(size / pace.minSteps / lu.blockSize) * lu.blockSize),
  );
  for (let pass = 0; pass < passes; pass++) {
    for (let position = 0; position < size; position += step) {
      if (lu.retired) throw new VolumeError(VolumeFault.notReady, 'the volume is being closed');
      const progress = Math.floor(((pass + position / size) / passes) * 65_536);
      lu.setNotReady(new ScsiError(SENSE.sanitizeInProgress, { progress }));
      await work(position, Math.min(step, size - position));
      await new Promise<void>((resolve) => lu.clock.after(pace.pause, resolve));
    }
  }
}

/** SBC-3 table 70: overwrite count, and a pattern that fills every block. */
function parseOverwrite({ cdb, data, lu }: ScsiTask): OverwritePlan {
  if (load16(cdb, 7) !== data.length) throw badCdb(7);
  if (data.length < HEADER + 1 || data.length > HEADER + lu.blockSize) throw badCdb(7);
  const passes = (data[0] ?? 0) & 0x1f;
  const patternLength = load16(data, 2);
  if (passes === 0) throw badParameter(0, 4);
  if (((data[0] ?? 0) & 0x60) !== 0) throw badParameter(0, 6); // TEST: vendor specific
  if (data[1] !== 0) throw badParameter(1);
  if (patternLength === 0 || patternLength !== data.length - HEADER) throw badParameter(2);
  const pattern = data.toString('hex', HEADER);
  return { kind: 'overwrite', passes, invert: ((data[0] ?? 0) & 0x80) !== 0, pattern };
}

type OverwritePlan = Extract<SanitizePlan, { kind: 'overwrite' }>;

function overwriteWork({ blockSize, volume }: LogicalUnit, { passes, invert, pattern }: OverwritePlan): Work {
  const plain = Buffer.alloc(PIECE, Buffer.alloc(blockSize, Buffer.from(pattern, 'hex')));
  const inverted = Buffer.from(plain.map((byte) => byte ^ 0xff));
  let pass = -1;
  return async (position, length) => {
    if (position === 0) pass++;
    // With INVERT every second pass is inverted, counted so that the last one is the pattern itself (SBC-4 5.30.2.2).
    const data = invert && (passes - 1 - pass) % 2 === 1 ? inverted : plain;
    for (let done = 0; done < length;) {
      const size = Math.min(PIECE, length - done);
      await volume.write(position + done, data, 0, size, false);
      done += size;
    }
  };
}

function eraseWork({ volume }: LogicalUnit): Work {
  return (position, length) => (volume.info.thin ? volume.unmap(position, length) : volume.zero(position, length));
}

const overwrite = (task: ScsiTask): Promise<TaskResult> => sanitize(task, parseOverwrite(task));
const erase = (task: ScsiTask): Promise<TaskResult> => sanitize(task, { kind: 'erase' });

async function exitFailureMode({ lu }: ScsiTask): Promise<TaskResult> {
  if (lu.notReady?.sense === SENSE.sanitizeInProgress) throw lu.notReady;
  if (failedRestricted(lu)) throw badCdb(1, 4);
  if (lu.notReady?.sense !== SENSE.sanitizeFailed) return GOOD;
  await lu.sanitizeStore.save(undefined);
  lu.setNotReady(undefined);
  return GOOD;
}

function row(name: string, action: number, run: CommandSpec['run'], hasData: boolean): CommandSpec {
  const length = hasData ? all(2) : [0, 0];
  const spec: CommandSpec = {
    name: `SANITIZE, ${name}`,
    opcode: 0x48,
    serviceAction: action,
    cdbUsage: [0x48, IMMED | AUSE | action, 0, 0, 0, 0, 0, ...length, 0],
    access: 'write',
    reserved: Reserved.conflict,
    okWhen: { ...OK_ORDINARY, notReady: true },
    // Not a barrier: while it runs the others are answered NOT READY, they do not wait.
    order: 'free',
    clause: 'SBC-3 5.24',
    run,
  };
  if (!hasData) return spec;
  return { ...spec, dataOut: (cdb) => Math.min(load16(cdb, 7), MAX_PARAMETER_LIST) };
}

export const SANITIZE: readonly CommandSpec[] = [
  row('OVERWRITE', 0x01, overwrite, true),
  row('BLOCK ERASE', 0x02, erase, false),
  row('CRYPTOGRAPHIC ERASE', 0x03, erase, false),
  row('EXIT FAILURE MODE', 0x1f, exitFailureMode, false),
];
