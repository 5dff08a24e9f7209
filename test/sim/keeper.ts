// Who takes snapshots of the volume and rolls it back to them, and knows which there are: the part of control that matters to
// the mirror. What it is told is done goes into the history, a snapshot as a read of every block at one moment between its
// beginning and its end, a roll-back as a write of every block.
import { ServiceError } from '../../core/base/errors.ts';
import { newRecord, recordKey } from '../../core/mirror/config-record.ts';
import { fetchPoint } from '../../core/mirror/points.ts';
import type { Blocks } from './copy-volume.ts';
import type { Flaw } from './flaws.ts';
import { flawedTake } from './flaws.ts';
import { valueOf } from './host.ts';
import type { Field, History } from './host.ts';
import { VOLUME } from './machine.ts';
import type { Machine } from './machine.ts';

/** Milliseconds between two things it does, and between two looks of a node at what it lacks. */
const PACE = [300, 2500] as const;
const LOOK = 1500;
/** Clones that are made in a run at most: each is a volume that every node has open. */
const MOST_CLONES = 3;

export class Keeper {
  readonly #field: Field;
  readonly #history: History;
  readonly #size: number;
  readonly #flaw: Flaw | undefined;
  /** Snapshots that were taken. */
  readonly ready: string[] = [];
  #count = 0;
  stopping = false;
  done = 0;
  /** Clones, and what of. */
  readonly clones = new Map<string, string>();

  constructor(field: Field, history: History, size: number, flaw: Flaw | undefined) {
    this.#field = field;
    this.#history = history;
    this.#size = size;
    this.#flaw = flaw;
  }

  start(): void {
    const { time, chance, machines } = this.#field;
    const next = (): void => {
      if (this.stopping) return;
      const owner = machines.find(({ node }) => node?.ownership(VOLUME)?.role === 'owner') ?? chance.of(machines);
      const id = chance.happens(0.4) && this.ready.length > 0 ? chance.of(this.ready) : undefined;
      if (id === undefined) this.#take(owner);
      else if (this.clones.size < MOST_CLONES && chance.happens(0.5)) this.#clone(owner, id);
      else this.#rollback(owner, id);
      time.after(chance.between(...PACE), next);
    };
    time.after(chance.between(...PACE), next);
    const look = (): void => {
      for (const each of machines) each.boot?.arrive(() => void this.#fetch(each));
      time.after(LOOK, look);
    };
    time.after(LOOK, look);
  }

  /** Every node has every snapshot. */
  get isWhole(): boolean {
    return this.#field.machines.every(({ points }) => this.ready.every((id) => points.has(id)));
  }

  /** What is wrong with the snapshots, once every node has them. */
  compare(): string | undefined {
    const { machines, blocks } = this.#field;
    for (const id of this.ready) {
      for (const block of blocks) {
        const values = machines.map(({ points }) => valueIn(points.get(id), block));
        if (new Set(values).size > 1) {
          return `block ${String(block)} of snapshot ${id} differs: ${values.map(String).join(', ')}`;
        }
      }
    }
    for (const [clone, id] of this.clones) {
      for (const block of blocks) {
        const values = machines.map((each) => valueIn(each.on(clone).blocks, block));
        if (values.some((value) => value !== valueIn(machines[0]?.points.get(id), block))) {
          return `block ${String(block)} of clone ${clone} of ${id} differs: ${values.map(String).join(', ')}`;
        }
      }
    }
    return undefined;
  }

  #take(machine: Machine): void {
    const { time } = this.#field;
    const { boot } = machine;
    const start = time.now;
    const id = `s${String(++this.#count)}`;
    boot?.arrive(() => {
      const { volume } = machine;
      if (volume === undefined) return;
      flawedTake(this.#flaw, volume, id).then(
        () => {
          const point = machine.points.get(id);
          if (!boot.alive || point === undefined) return;
          time.note(`snapshot ${id} at ${machine.name}`);
          this.ready.push(id);
          this.#note('read', point, start, `${id}@${machine.name}`);
        },
        () => undefined,
      );
    });
  }

  #rollback(machine: Machine, id: string): void {
    const { time } = this.#field;
    const { boot } = machine;
    const start = time.now;
    const point = machine.points.get(id);
    if (point === undefined) return;
    const by = `rollback to ${id}@${machine.name}`;
    boot?.arrive(() => {
      const { volume } = machine;
      if (volume === undefined) return;
      let isOver = false;
      // What is not heard of may have been done, or may still be.
      boot.onEnd(() => {
        if (!isOver) this.#note('write', point, start, by, Number.POSITIVE_INFINITY);
        isOver = true;
      });
      volume.rollback(id).then(
        () => {
          if (isOver || !boot.alive) return;
          isOver = true;
          time.note(`${by} done`);
          this.#note('write', point, start, by);
        },
        (error: unknown) => {
          if (isOver || !boot.alive) return;
          isOver = true;
          if (!(error instanceof ServiceError)) this.#note('write', point, start, by, Number.POSITIVE_INFINITY);
        },
      );
    });
  }

  /**
   * As control does it: each node makes a copy of its own snapshot, and those that have are in sync in the first record. Others
   * begin with nothing.
   */
  #clone(owner: Machine, point: string): void {
    const { time, machines, store } = this.#field;
    if (!owner.isUp || !owner.points.has(point)) return;
    const clone = `c${String(this.clones.size + 1)}`;
    const able = machines.filter(({ isUp, points }) => isUp && points.has(point));
    for (const each of machines) {
      const content = able.includes(each) ? each.points.get(point) : undefined;
      each.kept.set(clone, { blocks: new Map(content), points: new Map() });
    }
    time.note(`clone ${clone} of ${point} at ${able.map(({ name }) => name).join(' ')}`);
    const names = machines.map(({ name }) => name);
    const inSync = able.map(({ name }) => name);
    store.commit([{ key: recordKey(clone), value: { ...newRecord(names, owner.name), inSync } }], []);
    this.clones.set(clone, point);
    for (const each of machines) each.boot?.arrive(() => void each.open(clone).catch(() => undefined));
  }

  #note(kind: 'read' | 'write', point: Blocks, start: number, by: string, end = this.#field.time.now): void {
    for (const block of this.#field.blocks) {
      const value = valueIn(point, block);
      if (value === undefined) this.#history.torn ??= `block ${String(block)} of ${by} is torn`;
      else this.#history.add(block, { kind, value, start, end, by, ...(kind === 'write' ? { again: true } : {}) });
    }
    this.done++;
  }

  /** As control does it: a node that has all of the volume gets the snapshots it has missed. */
  async #fetch(machine: Machine): Promise<void> {
    const { node, boot, volume } = machine;
    const points = volume?.steward.options.points;
    const role = node?.ownership(VOLUME)?.role;
    if (node === undefined || boot === undefined || points === undefined || boot.isFetching) return;
    if (role !== 'owner' && role !== 'replica') return;
    const id = this.ready.find((each) => !points.has(each));
    if (id === undefined) return;
    boot.isFetching = true;
    for (const link of node.peers.all()) {
      if (!link.up || points.has(id)) continue;
      const wanted = { volume: VOLUME, id, size: this.#size, created: 0 };
      await fetchPoint(link, points, wanted, boot.clock()).catch(() => undefined);
    }
    boot.isFetching = false;
  }
}

function valueIn(point: Blocks | undefined, block: number): number | undefined {
  const held = point?.get(block);
  return held === undefined ? 0 : valueOf(held, 0);
}
