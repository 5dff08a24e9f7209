// SANITIZE (SBC-3 5.16, 4.11): makes all data irretrievable through this logical unit. It goes on in the background through
// resets and logouts; until it is over, only a few commands are carried out.
// CRYPTOGRAPHIC ERASE: there is no key to forget, so the blocks themselves are erased. That takes longer than changing a key
// would, and leaves as little.
import { MAX_PARAMETER_LIST } from '../../base/limits.ts';
import { load16 } from '../../base/bytes-at.ts';
import { Reserved, all } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import { SENSE, ScsiError, badCdb, badParameter } from '../sense.ts';
import { GOOD } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';

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

/** Clears or overwrites `length` bytes at `position`. */
type Work = (position: number, length: number) => Promise<void>;

async function sanitize(task: ScsiTask, passes: number, pace: Pace, work: Work): Promise<TaskResult> {
  const { lu, cdb } = task;
  if (lu.notReady?.sense === SENSE.sanitizeInProgress) throw lu.notReady;
  const done = runAll(lu, passes, pace, work);
  // IMMED
  if (((cdb[1] ?? 0) & 0x80) === 0) await done;
  else done.catch(() => undefined);
  return GOOD;
}

async function runAll(lu: LogicalUnit, passes: number, pace: Pace, work: Work): Promise<void> {
  const size = lu.blocks * lu.blockSize;
  lu.setNotReady(new ScsiError(SENSE.sanitizeInProgress, { progress: 0 }));
  // What has begun before may finish; nothing of it lands on erased blocks.
  const lock = await lu.locks.acquire(0, size, true).catch((error: unknown) => {
    lu.setNotReady(undefined);
    throw error;
  });
  const step = Math.min(
    MAX_STEP,
    Math.max(lu.blockSize, Math.ceil(size / pace.minSteps / lu.blockSize) * lu.blockSize),
  );
  try {
    for (let pass = 0; pass < passes; pass++) {
      for (let position = 0; position < size; position += step) {
        const progress = Math.floor(((pass + position / size) / passes) * 65_536);
        lu.setNotReady(new ScsiError(SENSE.sanitizeInProgress, { progress }));
        await work(position, Math.min(step, size - position));
        await new Promise<void>((resolve) => lu.clock.after(pace.pause, resolve));
      }
    }
    await lu.volume.flush();
    lu.setNotReady(undefined);
  } catch (error) {
    lu.log.error(
      { error: String(error) },
      'sanitize failed: the data may still be there; repeat it or replace the disk',
    );
    lu.setNotReady(new ScsiError(SENSE.sanitizeFailed));
    throw error;
  } finally {
    lock.release();
  }
}

/** SBC-3 table 70: overwrite count, and a pattern that fills every block. */
function parseOverwrite({ cdb, data, lu }: ScsiTask): { passes: number; invert: boolean; block: Buffer } {
  if (load16(cdb, 7) !== data.length) throw badCdb(7);
  if (data.length < HEADER + 1 || data.length > HEADER + lu.blockSize) throw badCdb(7);
  const passes = (data[0] ?? 0) & 0x1f;
  const patternLength = load16(data, 2);
  if (passes === 0) throw badParameter(0, 4);
  if (data[1] !== 0) throw badParameter(1);
  if (patternLength === 0 || patternLength !== data.length - HEADER) throw badParameter(2);
  const block = Buffer.alloc(lu.blockSize, data.subarray(HEADER));
  return { passes, invert: ((data[0] ?? 0) & 0x80) !== 0, block };
}

function overwrite(task: ScsiTask): Promise<TaskResult> {
  const { lu } = task;
  const { passes, invert, block } = parseOverwrite(task);
  const plain = Buffer.alloc(PIECE, block);
  const inverted = Buffer.from(plain.map((byte) => byte ^ 0xff));
  let pass = -1;
  return sanitize(task, passes, OVERWRITE_PACE, async (position, length) => {
    if (position === 0) pass++;
    const data = invert && pass % 2 === 1 ? inverted : plain;
    for (let done = 0; done < length;) {
      const size = Math.min(PIECE, length - done);
      await lu.volume.write(position + done, data, 0, size, false);
      done += size;
    }
  });
}

function erase(task: ScsiTask): Promise<TaskResult> {
  const { volume } = task.lu;
  return sanitize(task, 1, ERASE_PACE, (position, length) =>
    volume.info.thin ? volume.unmap(position, length) : volume.zero(position, length),
  );
}

function exitFailureMode({ lu }: ScsiTask): TaskResult {
  if (lu.notReady?.sense === SENSE.sanitizeInProgress) throw lu.notReady;
  if (lu.notReady?.sense === SENSE.sanitizeFailed) lu.setNotReady(undefined);
  return GOOD;
}

/** Byte 1 of the CDB has, beside the service action, IMMED and AUSE; ZNR is for zoned devices. */
const FLAGS = 0xa0;

function row(name: string, action: number, run: CommandSpec['run'], hasData: boolean): CommandSpec {
  const length = hasData ? all(2) : [0, 0];
  const spec: CommandSpec = {
    name: `SANITIZE, ${name}`,
    opcode: 0x48,
    serviceAction: action,
    cdbUsage: [0x48, FLAGS | action, 0, 0, 0, 0, 0, ...length, 0],
    access: 'write',
    reserved: Reserved.conflict,
    okWhen: { unitAttention: false, standby: false, notReady: true },
    // Not a barrier: while it runs the others are answered NOT READY, they do not wait.
    order: 'free',
    clause: 'SBC-3 5.16',
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
