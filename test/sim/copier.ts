// Who copies blocks within a volume and between two, as hosts do that offload copies: nothing but the order crosses to the other
// nodes. What it is told is done goes into the history as a read of the source and a write of the target.
import { BLOCK, CopyVolume } from './copy-volume.ts';
import { flawedShare } from './flaws.ts';
import type { Flaw } from './flaws.ts';
import { keyOf, valueOf } from './host.ts';
import type { Field, History } from './host.ts';
import { OTHER, VOLUME } from './machine.ts';
import type { Machine } from './machine.ts';

/** Milliseconds between two copies. */
const PACE = [20, 250] as const;

interface Copy {
  readonly from: string;
  readonly to: string;
  /** Numbers of the first blocks. */
  readonly source: number;
  readonly target: number;
  readonly count: number;
}

export class Copier {
  readonly #field: Field;
  readonly #history: History;
  readonly #flaw: Flaw | undefined;
  /** Targets somebody is copying to. */
  readonly #busy = new Set<string>();
  stopping = false;
  /** Copies that were done. */
  done = 0;

  constructor(field: Field, history: History, flaw: Flaw | undefined) {
    this.#field = field;
    this.#history = history;
    this.#flaw = flaw;
  }

  /** Nothing is under way. */
  get isIdle(): boolean {
    return this.#busy.size === 0;
  }

  start(): void {
    const { time, chance } = this.#field;
    const next = (): void => {
      if (this.stopping) return;
      this.#copy(this.#draw());
      time.after(chance.between(...PACE), next);
    };
    time.after(chance.between(...PACE), next);
  }

  #draw(): Copy {
    const { chance, blocks } = this.#field;
    const [from, to] = [chance.of([VOLUME, OTHER]), chance.of([VOLUME, OTHER])];
    // The first blocks are neighbours.
    if (from !== to && chance.happens(0.3)) return { from, to, source: 0, target: 0, count: 3 };
    const source = chance.of(blocks);
    return { from, to, source, target: chance.of(blocks.filter((each) => each !== source)), count: 1 };
  }

  #copy(copy: Copy): void {
    const { time, chance, machines } = this.#field;
    const machine = machines.find(({ node }) => node?.ownership(copy.to)?.role === 'owner') ?? chance.of(machines);
    const { boot } = machine;
    const key = `${machine.name} ${copy.to}`;
    if (boot === undefined || this.#busy.has(key)) return;
    const start = time.now;
    let content: readonly (Buffer | undefined)[] | undefined;
    let isOver = false;
    const over = (isDone: boolean): void => {
      if (isOver) return;
      isOver = true;
      this.#busy.delete(key);
      if (content !== undefined) this.#note(copy, content, start, machine, isDone);
    };
    // What has come to a machine that is paused is under way, too.
    this.#busy.add(key);
    boot.onEnd(() => {
      over(false);
    });
    boot.arrive(() => {
      const [target, source] = [machine.volumes.get(copy.to), machine.volumes.get(copy.from)];
      if (target === undefined || source === undefined || !(target.backing instanceof CopyVolume)) {
        over(false);
        return;
      }
      const position = copy.target * BLOCK;
      // Whoever has not begun here has not told the others; a disk that is slow may still do it when it has failed.
      target.backing.onShared.set(position, (found) => {
        content = found;
        if (isOver) this.#note(copy, found, start, machine, false);
      });
      flawedShare(this.#flaw, target, source, copy.source * BLOCK, position, copy.count * BLOCK).then(
        (isDone) => {
          if (boot.alive) over(isDone);
        },
        () => {
          if (boot.alive) over(false);
        },
      );
    });
  }

  #note(copy: Copy, content: readonly (Buffer | undefined)[], start: number, at: Machine, isDone: boolean): void {
    const end = isDone ? this.#field.time.now : Number.POSITIVE_INFINITY;
    const by = `copy ${copy.from}${String(copy.source)} to ${copy.to}${String(copy.target)}@${at.name}`;
    if (isDone) this.done++;
    for (const [index, held] of content.entries()) {
      const value = held === undefined ? 0 : valueOf(held, 0);
      if (value === undefined) {
        this.#history.torn ??= `a block of ${by} is torn`;
        return;
      }
      if (isDone) this.#history.add(keyOf(copy.from, copy.source + index), { kind: 'read', value, start, end, by });
      const target = keyOf(copy.to, copy.target + index);
      this.#history.add(target, { kind: 'write', value, start, end, by, again: true });
    }
  }
}
