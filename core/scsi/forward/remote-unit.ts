// A logical unit whose commands another node carries out, as its own node sees it.
import type { DispatchTask } from '../dispatch.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import type { LunNexus } from '../lun-nexus.ts';
import type { TaskResult } from '../task.ts';

/** How a forwarded command ended. */
export type ForwardOutcome =
  | { readonly kind: 'done'; readonly result: TaskResult }
  /** Somebody's task management ended it; `tell`: with TASK ABORTED. */
  | { readonly kind: 'ended'; readonly tell: boolean }
  /** It has not been carried out and will not be: it may be sent anew. */
  | { readonly kind: 'elsewhere' }
  /**
   * The connection broke: it may have been carried out. It can still be until the clock of this node says `until`, milliseconds;
   * after that nothing of it reaches the medium out of order.
   */
  | { readonly kind: 'lost'; readonly until: number };

/** A command on its way to the owner. */
export interface RemoteRun {
  readonly outcome: Promise<ForwardOutcome>;
  /**
   * Task management ended it. Resolves when the owner has confirmed that nothing of it will reach the medium after what is sent
   * to it from now on; at the latest when the owner would no longer take it.
   */
  abort(): Promise<void>;
}

/** Task management of a whole logical unit (SAM-5 7.5, 7.7). */
export const UnitFunction = { clearTaskSet: 1, logicalUnitReset: 2 } as const;
export type UnitFunction = (typeof UnitFunction)[keyof typeof UnitFunction];

export interface RemoteUnit {
  /** The node commands go to. */
  readonly node: string;
  /** Whether there is a connection to it. */
  readonly up: boolean;
  /** When it was lost last, by the clock of this node; or made, when it never was there. */
  readonly lostAt: number;
  /** The owner does not begin it any more when the clock of this node says `until`, milliseconds. */
  execute(task: DispatchTask, until: number): RemoteRun;
  /** Resolves when the owner has done it; false: it could not be reached, or is not the owner. */
  manage(nexus: LunNexus, what: UnitFunction): Promise<boolean>;
  /**
   * The nexus is gone. undefined: the owner knows nothing of it; else resolves like RemoteRun.abort, for all of its tasks.
   */
  forget(nexus: LunNexus): Promise<void> | undefined;
  /** The owner of the logical unit is another one now: nothing more is sent, and what is on its way is answered `elsewhere` or as it ends. */
  release(lu: LogicalUnit): void;
  /** Calls `fn` whenever the connection has come up, or is lost. */
  watch(fn: () => void): void;
}
