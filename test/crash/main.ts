// `npm run crash -- [--seed N] [--rounds N] [--minutes M]`: one seed again, or new ones for as long as there is time; then the
// process that is killed, again and again. `npm run crash -- --daemon [--kills N] [--seed N] [--minutes M]`: the whole daemon, under
// load, is killed instead.
import { parseArgs } from 'node:util';
import { everyBoundary } from './boundaries.ts';
import { daemonRounds, fullRounds } from './daemon-rounds.ts';
import { killRounds } from './kill.ts';
import { crashRounds, optionsOf } from './rounds.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    rounds: { type: 'string', default: '0' },
    minutes: { type: 'string' },
    kills: { type: 'string', default: '50' },
    daemon: { type: 'boolean', default: false },
  },
});

/** Kills before there is another data folder. */
const KILLS_OF_A_SEED = 10;
const FULL_SEEDS = 3;

/** Runs seeds from `first` on until `rounds` are done, or, when that is 0, until `end`. */
async function seeds(first: number, rounds: number, end: number): Promise<void> {
  for (let seed = first, done = 0; rounds > 0 ? done < rounds : Date.now() < end; seed = (seed + 1) % 2 ** 31, done++) {
    console.log(`seed ${String(seed)}`);
    await crashRounds(seed, optionsOf(seed)).catch((error: unknown) => {
      throw new Error(`npm run crash -- --seed ${String(seed)}`, { cause: error });
    });
  }
}

/** Kills the daemon, with a fresh data folder for every few kills. */
async function daemons(first: number, kills: number, end: number): Promise<void> {
  let killed = 0;
  const progress = (line: string): void => {
    console.log(`  ${line}`);
  };
  for (let seed = first; killed < kills && Date.now() < end; seed++) {
    console.log(`daemon: seed ${String(seed)}`);
    const wanted = Math.min(KILLS_OF_A_SEED, kills - killed);
    const { rounds, good, operations, offloads, ends, slowestStop } = await daemonRounds({
      seed,
      rounds: wanted,
      until: end,
      progress,
    });
    killed += rounds;
    const list = (counts: ReadonlyMap<string, number>): string =>
      [...counts].map(([what, count]) => `${what} ${String(count)}`).join(', ');
    console.log(`  ${String(good)} commands; ends: ${list(ends)}; operations: ${list(operations)}`);
    console.log(`  copies: ${list(offloads)}`);
    if (slowestStop > 0) console.log(`  slowest orderly stop: ${String(Math.round(slowestStop))} ms`);
  }
  for (let seed = first; seed < first + FULL_SEEDS && Date.now() < end; seed++) {
    console.log(`daemon on a full file system: seed ${String(seed)}`);
    killed += (await fullRounds({ seed, rounds: 2, progress }))?.rounds ?? 0;
  }
  console.log(`${String(killed)} kills`);
}

const rounds = Number(values.rounds);
if (values.daemon) {
  const minutes = Number(values.minutes ?? Infinity);
  await daemons(Number(values.seed ?? Date.now() % 2 ** 31), Number(values.kills), Date.now() + minutes * 60_000);
} else if (values.seed !== undefined) {
  await seeds(Number(values.seed), Math.max(1, rounds), 0);
} else {
  const first = Date.now() % 2 ** 31;
  await seeds(first, rounds, Date.now() + Number(values.minutes ?? 5) * 60_000);
  for (let seed = first; seed < first + 3; seed++)
    console.log(`boundaries, seed ${String(seed)}: ${String(await everyBoundary(seed))}`);
  await killRounds(first, Number(values.kills), (round) => {
    console.log(`killed ${String(round)} times`);
  });
}
console.log('nothing found');
// What was running when the power failed never ends.
process.exit(0);
