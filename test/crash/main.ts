// `npm run crash -- [--seed N] [--rounds N] [--minutes M]`: one seed again, or new ones for as long as there is time; then the
// process that is killed, again and again.
import { parseArgs } from 'node:util';
import { everyBoundary } from './boundaries.ts';
import { killRounds } from './kill.ts';
import { crashRounds, optionsOf } from './rounds.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    rounds: { type: 'string', default: '0' },
    minutes: { type: 'string', default: '5' },
    kills: { type: 'string', default: '50' },
  },
});

/** Runs seeds from `first` on until `rounds` are done, or, when that is 0, until `end`. */
async function seeds(first: number, rounds: number, end: number): Promise<void> {
  for (let seed = first, done = 0; rounds > 0 ? done < rounds : Date.now() < end; seed = (seed + 1) % 2 ** 31, done++) {
    console.log(`seed ${String(seed)}`);
    await crashRounds(seed, optionsOf(seed)).catch((error: unknown) => {
      throw new Error(`npm run crash -- --seed ${String(seed)}`, { cause: error });
    });
  }
}

const rounds = Number(values.rounds);
if (values.seed !== undefined) {
  await seeds(Number(values.seed), Math.max(1, rounds), 0);
} else {
  const first = Date.now() % 2 ** 31;
  await seeds(first, rounds, Date.now() + Number(values.minutes) * 60_000);
  for (let seed = first; seed < first + 3; seed++)
    console.log(`boundaries, seed ${String(seed)}: ${String(await everyBoundary(seed))}`);
  await killRounds(first, Number(values.kills), (round) => {
    console.log(`killed ${String(round)} times`);
  });
}
console.log('nothing found');
// What was running when the power failed never ends.
process.exit(0);
