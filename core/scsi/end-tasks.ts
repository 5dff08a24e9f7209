// Task management of a whole logical unit, at the node that carries its commands out (SAM-5 7.5, 7.7).
import type { LogicalUnit } from './logical-unit.ts';
import type { LunNexus } from './lun-nexus.ts';
import { SENSE } from './sense.ts';
import type { SetTask } from './task-set.ts';

/** What is being ended. */
export interface Ending {
  /** The nexuses that lose tasks by it; complete when `told` has resolved. */
  readonly losers: ReadonlySet<LunNexus>;
  /**
   * Resolves when the transports, here and on forwarding nodes, have given up what they had not handed over: nothing of it
   * comes later. It never takes longer than a peer's patience.
   */
  readonly told: Promise<void>;
  /** Resolves when, besides, nothing in the task set runs any more. */
  readonly over: Promise<void>;
}

/** Ends all tasks of the nexuses `which` picks; `tell`: with TASK ABORTED, else without an answer. */
export function endTasks(lu: LogicalUnit, which: (nexus: LunNexus) => boolean, tell: boolean): Ending {
  const losers = new Set<LunNexus>();
  const mine = (task: SetTask): boolean => {
    if (!which(task.nexus)) return false;
    losers.add(task.nexus);
    return true;
  };
  const running = lu.tasks.end(mine, tell);
  const told = Promise.all(
    [...lu.nexuses].filter(which).map(async (nexus) => {
      if (await nexus.owner.abortUnstarted(nexus, tell)) losers.add(nexus);
    }),
  );
  // What a forwarding node had sent before it was told has arrived before its answer.
  const late = told.then(() => ({ over: lu.tasks.end(mine, tell) }));
  return {
    losers,
    told: late.then(() => undefined),
    over: Promise.all([running, late.then(({ over }) => over)]).then(() => undefined),
  };
}

/** True for what came through another node. */
export const isForwarded = (nexus: LunNexus): boolean => nexus.owner.forwardedBy !== undefined;

/** CLEAR TASK SET asked for by `asker` (SAM-5 7.5): the others are told by status (TAS=1) or by unit attention. */
export function clearTaskSet(lu: LogicalUnit, asker: LunNexus): Ending {
  const tell = lu.modes.taskAbortedStatus;
  const own = endTasks(lu, (nexus) => nexus === asker, false);
  const others = endTasks(lu, (nexus) => nexus !== asker, tell);
  const told = Promise.all([own.told, others.told]).then(() => {
    if (!tell) for (const nexus of others.losers) nexus.attention(SENSE.commandsClearedByOther);
  });
  return { losers: others.losers, told, over: Promise.all([told, own.over, others.over]).then(() => undefined) };
}

/** LOGICAL UNIT RESET (SAM-5 7.7). */
export function resetUnit(lu: LogicalUnit): Ending {
  const ending = endTasks(lu, () => true, false);
  lu.reset(SENSE.busDeviceReset);
  return ending;
}
