// How a scenario is run: one life after the other, each cut off at a random operation.
import assert from 'node:assert/strict';
import { Machine } from './machine.ts';
import { seeded } from './record.ts';
import { Scenario } from './scenario.ts';

export interface RoundOptions {
  /** Times the machine is switched on, worked with and cut off. */
  readonly lives: number;
  /** Operations of each host in one life. */
  readonly steps: number;
  /** The power fails at one of the first so many operations of the disk. */
  readonly within: number;
  /** Grains of the pool that are left for the scenario; undefined: plenty. */
  readonly spare?: number | undefined;
  /** More happens at once, the disk fails now and then, and time passes faster: see Trouble and Scenario. */
  readonly wide?: boolean;
  /** A host does nothing but make tokens and look at them. */
  readonly copies?: boolean;
}

/** Recovery is cut off too, at one of its first so many operations. */
const RECOVERY = 30;

/** Returns how many operations were asked for. */
export async function crashRounds(seed: number, options: RoundOptions): Promise<number> {
  const random = seeded(seed);
  const machine = new Machine(random);
  await machine.create(6);
  const wide = options.wide === true;
  const scenario = new Scenario(random, machine, wide, options.copies);
  const first = await machine.start();
  assert.ok(first !== undefined);
  await scenario.create(first.pool, options.spare);
  await first.pool.close();
  for (let life = 0; life < options.lives; life++) {
    if (wide) machine.turnTime = [5, 40, 300][Math.floor(random() * 3)] ?? 5;
    const frames = wide ? ([16, 24, 64][Math.floor(random() * 3)] ?? 24) : undefined;
    const running = await machine.start(1 + Math.floor(random() * options.within), frames);
    if (running !== undefined) await scenario.run(running, options.steps);
    machine.crash();
    while (random() < 0.4) {
      await machine.start(1 + Math.floor(random() * RECOVERY));
      machine.crash();
    }
    const calm = await machine.start();
    assert.ok(calm !== undefined);
    await scenario.verify(calm);
    await calm.pool.close();
  }
  return scenario.steps;
}

/** What a seed means: every other one leaves little room, so that what is given back is used again at once. */
export function optionsOf(seed: number): RoundOptions {
  const spare = seed % 2 === 0 ? 70 : undefined;
  const wide = seed % 5 >= 3;
  // Even seeds go on as they did when they were found.
  const copies = seed % 2 === 1;
  return { lives: 4, steps: 30, within: seed % 3 === 0 ? 500 : 200, spare, wide, copies };
}
