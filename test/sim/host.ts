// A host with paths to all nodes, and the record of what it was told. A command that fails, or is not answered in time, is
// repeated on another path as an operation of its own: nobody knows what has become of the first.
import { BLOCK } from './copy-volume.ts';
import type { Operation } from './linearizable.ts';
import { VOLUME } from './machine.ts';
import type { Machine } from './machine.ts';
import type { Network } from './net.ts';
import type { Chance } from './random.ts';
import type { CentralStore } from './store.ts';
import type { VirtualTime } from './virtual-time.ts';

/** How often a host tries a command at most, and when it is about to stop. */
const TRIES = 200;
const TRIES_AT_THE_END = 150;
/** Bytes between two stamps of a block: what is torn between them shows. */
const STAMP = 512;

/** How a host behaves. */
export interface Habits {
  /** Milliseconds it waits for an answer. */
  readonly patience: number;
  /** Share of its commands that read. */
  readonly reads: number;
  /** Milliseconds between two commands at most. */
  readonly pace: number;
}

export interface Field {
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly network: Network;
  readonly machines: readonly Machine[];
  readonly store: CentralStore;
  /** Blocks the hosts use: their numbers. */
  readonly blocks: readonly number[];
}

/** Blocks of the second volume have numbers behind those of the first one in a history. */
const SECOND = 1_000_000;
export const keyOf = (volume: string, block: number): number => (volume === VOLUME ? block : SECOND + block);

/** What all hosts have seen, block by block. */
export class History {
  readonly #byBlock = new Map<number, Operation[]>();
  #last = 0;
  operations = 0;
  torn: string | undefined;

  /** A value nobody has written before. */
  value(): number {
    return ++this.#last;
  }
  add(block: number, operation: Operation): void {
    const list = this.#byBlock.get(block) ?? [];
    this.#byBlock.set(block, list);
    list.push(operation);
    this.operations++;
  }
  of(block: number): readonly Operation[] {
    return this.#byBlock.get(block) ?? [];
  }
  get blocks(): number[] {
    return [...this.#byBlock.keys()];
  }
}

export function fill(target: Buffer, at: number, value: number): void {
  target.fill(0, at, at + BLOCK);
  if (value === 0) return;
  for (let stamp = at; stamp < at + BLOCK; stamp += STAMP) target.writeUInt32BE(value, stamp);
}

/** The value of a block; undefined: it is not whole. */
export function valueOf(source: Buffer, at: number): number | undefined {
  const value = source.readUInt32BE(at);
  for (let stamp = at; stamp < at + BLOCK; stamp += STAMP) if (source.readUInt32BE(stamp) !== value) return undefined;
  return value;
}

type Kind = 'read' | 'write' | 'zero';
type Outcome = 'done' | 'failed' | 'silence';

export class Host {
  readonly name: string;
  readonly #field: Field;
  readonly #history: History;
  readonly #habits: Habits;
  readonly #volume: string;
  #path: Machine;
  /** No new commands. */
  stopping = false;
  /** Nothing is written any more: what was lost stays lost, and is seen. */
  onlyReads = false;
  /** A command is under way. */
  busy = false;
  /** When the last command was answered, and the longest time between two answers. */
  #answered = 0;
  longestPause = 0;
  done = 0;
  failed = 0;

  constructor(name: string, field: Field, habits: Habits, history: History, volume = VOLUME) {
    this.name = name;
    this.#volume = volume;
    this.#habits = habits;
    this.#field = field;
    this.#history = history;
    this.#path = field.chance.of(field.machines);
  }

  start(): void {
    const { time, chance } = this.#field;
    const { reads, pace } = this.#habits;
    this.#answered = time.now;
    const next = (): void => {
      if (this.stopping) return;
      const { blocks } = this.#field;
      const first = chance.below(blocks.length);
      const isNext = blocks[first + 1] === (blocks[first] as number) + 1;
      const count = isNext && chance.happens(0.3) ? 2 : 1;
      const kind: Kind = this.onlyReads || chance.happens(reads) ? 'read' : chance.happens(0.9) ? 'write' : 'zero';
      this.busy = true;
      // A read that fails is not repeated: the next command may be about a block nobody waits for.
      void this.#command(kind, blocks.slice(first, first + count), kind === 'read' ? 1 : TRIES).then(() => {
        this.busy = false;
        time.after(chance.between(0, pace), next);
      });
    };
    time.after(chance.between(0, 50), next);
  }

  /** Reads every block, on any path that answers. Resolves when all have been read. */
  async readAll(): Promise<void> {
    for (const block of this.#field.blocks) await this.#command('read', [block], TRIES);
  }

  /** One command, repeated until it is answered, and so many times at most. Neighbouring blocks only. */
  async #command(kind: Kind, blocks: readonly number[], most: number): Promise<void> {
    const { time, chance, machines } = this.#field;
    for (let tries = 0; tries < most; tries++) {
      const outcome = await this.#attempt(kind, blocks);
      if (outcome === 'done') {
        this.longestPause = Math.max(this.longestPause, time.now - this.#answered);
        this.#answered = time.now;
        this.done++;
        return;
      }
      this.failed++;
      if (this.stopping && tries > TRIES_AT_THE_END) return;
      // Who reads stays at times: an owner that should not answer any more is asked again.
      if (kind !== 'read' || chance.happens(0.5)) this.#path = chance.of(machines);
      await new Promise<void>((resolve) => time.after(chance.between(5, 200), resolve));
    }
  }

  #attempt(kind: Kind, blocks: readonly number[]): Promise<Outcome> {
    const { time } = this.#field;
    const start = time.now;
    const values = blocks.map(() => (kind === 'write' ? this.#history.value() : 0));
    const buffer = Buffer.alloc(blocks.length * BLOCK);
    if (kind === 'write') for (const [index, value] of values.entries()) fill(buffer, index * BLOCK, value);
    const by = `${this.name}@${this.#path.name}`;
    const keep = (end: number, read?: readonly number[]): void => {
      for (const [index, block] of blocks.entries()) {
        const value = (read ?? values)[index] as number;
        this.#history.add(keyOf(this.#volume, block), {
          kind: kind === 'read' ? 'read' : 'write',
          value,
          start,
          end,
          by,
        });
      }
    };
    return this.#send(kind, (blocks[0] as number) * BLOCK, buffer).then((outcome) => {
      if (outcome !== 'done') {
        if (kind !== 'read') keep(Number.POSITIVE_INFINITY);
        return outcome;
      }
      if (kind !== 'read') {
        keep(time.now);
        return outcome;
      }
      const read = blocks.map((_, index) => valueOf(buffer, index * BLOCK));
      if (read.includes(undefined)) {
        this.#history.torn ??= `${by} read a torn block of ${blocks.join(', ')} at ${time.now.toFixed(1)}`;
      } else keep(time.now, read as number[]);
      return outcome;
    });
  }

  /** To the node and back. The answer to a command the host no longer waits for is not looked at. */
  #send(kind: Kind, position: number, buffer: Buffer): Promise<Outcome> {
    const { time, network } = this.#field;
    const machine = this.#path;
    return new Promise((resolve) => {
      time.after(this.#habits.patience, () => {
        resolve('silence');
      });
      const there = (fn: () => void): void => {
        network.travel(this.name, machine.name, time.now + network.delay(), fn);
      };
      const back = (outcome: Outcome, data?: Buffer): void => {
        network.travel(machine.name, this.name, time.now + network.delay(), () => {
          if (data !== undefined) data.copy(buffer);
          resolve(outcome);
        });
      };
      there(() => {
        const { boot } = machine;
        if (boot === undefined) {
          back('failed');
          return;
        }
        boot.arrive(() => {
          const volume = machine.volumes.get(this.#volume);
          if (volume === undefined) {
            back('failed');
            return;
          }
          // What the node works with is its own; it lives as long as the node needs it.
          const data = Buffer.from(buffer);
          const read = kind === 'read' ? machine.otherRead(this.#volume) : undefined;
          const done = read?.(position, data.length, data) ?? perform(volume, kind, position, data, this.#field.chance);
          done.then(
            () => {
              if (boot.alive) back('done', kind === 'read' ? data : undefined);
            },
            () => {
              if (boot.alive) back('failed');
            },
          );
        });
      });
    });
  }
}

type Served = NonNullable<Machine['volume']>;

/** As the layers above a volume do it: at once where that is possible. */
async function perform(volume: Served, kind: Kind, position: number, data: Buffer, chance: Chance): Promise<void> {
  const { length } = data;
  if (kind === 'read') {
    if (volume.readNow(position, length, data, 0)) return;
    await volume.read(position, length, data, 0);
  } else if (kind === 'zero') {
    await (chance.happens(0.5) ? volume.zero(position, length) : volume.unmap(position, length));
  } else {
    const now = volume.writeNow(position, data, 0, length);
    if (now === 1) return;
    if (now === 0) {
      await volume.write(position, data, 0, length, chance.happens(0.2));
      return;
    }
    await new Promise<void>((resolve, reject) => {
      volume.whenStable({
        stable: (error) => {
          if (error === undefined) resolve();
          else reject(error);
        },
      });
    });
  }
}
