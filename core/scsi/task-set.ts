import type { LunNexus } from './lun-nexus.ts';
import { TaskAttribute } from './task.ts';

/** A task as the task set sees it. */
export interface SetTask {
  readonly nexus: LunNexus;
  readonly attribute: number;
  /** Task management ended it: it must stop early and answer nothing (or TASK ABORTED when `tell`). */
  abort(tell: boolean): void;
}

interface Waiting {
  readonly task: SetTask;
  readonly barrier: boolean;
  readonly go: () => void;
}

/**
 * The enabled tasks of one logical unit and those waiting behind an ordered one (SAM-5 8.6). SIMPLE tasks run side by
 * side; an ORDERED task, and a command that wants the logical unit for itself (`barrier`), waits for all earlier ones
 * and holds back all later ones; HEAD OF QUEUE passes the waiting ones.
 */
export class TaskSet {
  readonly #running = new Set<SetTask>();
  /** Who waits for running tasks to leave. */
  #watchers: { readonly left: Set<SetTask>; readonly done: () => void }[] = [];
  #waiting: Waiting[] = [];
  #barrier: SetTask | undefined;
  readonly #changed: () => void;
  #wasOpen = true;

  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /** True when a new SIMPLE task may start at once. */
  get open(): boolean {
    return this.#barrier === undefined && this.#waiting.length === 0;
  }

  get running(): number {
    return this.#running.size;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Enters the set. undefined: start now; a promise: start when it resolves. */
  enter(task: SetTask, barrier: boolean): Promise<void> | undefined {
    const alone = barrier || task.attribute === TaskAttribute.ordered;
    const ahead = task.attribute === TaskAttribute.headOfQueue && !barrier;
    if ((this.open || ahead) && (!alone || this.#running.size === 0)) {
      this.#start(task, alone);
      return undefined;
    }
    return new Promise((go) => {
      this.#waiting.push({ task, barrier: alone, go });
      this.#notice();
    });
  }

  leave(task: SetTask): void {
    if (!this.#running.delete(task)) {
      this.#waiting = this.#waiting.filter((each) => each.task !== task);
    }
    if (this.#barrier === task) this.#barrier = undefined;
    if (this.#watchers.length > 0) this.#watchers = this.#watchers.filter((each) => !hasLeft(each, task));
    this.#advance();
  }

  /** Aborts the tasks `which` picks. They stay in the set until they leave by themselves. */
  abort(which: (task: SetTask) => boolean, tell = false): number {
    const chosen = [...this.#running, ...this.#waiting.map((each) => each.task)].filter(which);
    for (const task of chosen) task.abort(tell);
    return chosen.length;
  }

  /**
   * Aborts the tasks `which` picks and resolves when none of them is in the set any more, so that nothing of them can
   * reach the medium later. Those that still wait for their turn leave at once.
   */
  end(which: (task: SetTask) => boolean, tell: boolean): Promise<void> {
    const chosen = new Set([...this.#running, ...this.#waiting.map((each) => each.task)].filter(which));
    for (const task of chosen) task.abort(tell);
    const dismissed = this.#waiting.filter((each) => chosen.has(each.task));
    this.#waiting = this.#waiting.filter((each) => !chosen.has(each.task));
    for (const each of dismissed) each.go();
    this.#advance();
    const left = new Set([...chosen].filter((task) => this.#running.has(task)));
    if (left.size === 0) return Promise.resolve();
    return new Promise((done) => {
      this.#watchers.push({ left, done });
    });
  }

  #start(task: SetTask, alone: boolean): void {
    this.#running.add(task);
    if (alone) this.#barrier = task;
    this.#notice();
  }

  #advance(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (this.#barrier !== undefined || (next.barrier && this.#running.size > 0)) break;
      this.#waiting.shift();
      this.#start(next.task, next.barrier);
      next.go();
    }
    this.#notice();
  }

  #notice(): void {
    if (this.open === this.#wasOpen) return;
    this.#wasOpen = this.open;
    this.#changed();
  }
}

/** Strikes a task off what a watcher waits for. True when that was the last one: the watcher has been told. */
function hasLeft({ left, done }: { readonly left: Set<SetTask>; readonly done: () => void }, task: SetTask): boolean {
  if (!left.delete(task) || left.size > 0) return false;
  done();
  return true;
}
