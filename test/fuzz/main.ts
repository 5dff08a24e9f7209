// `npm run fuzz -- [--minutes N] [--seed N]`: the campaigns of the fuzz test for longer, with a new seed each round.
import { parseArgs } from 'node:util';
import { Arena, cutParameterLists, fuzzCommands, fuzzDispatch, fuzzLogin, fuzzPdus, loginFlood } from './campaign.ts';
import { fuzzDigests, fuzzFields, fuzzLengths } from './wire-campaign.ts';

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' }, seed: { type: 'string' } } });
const end = Date.now() + Number(values.minutes) * 60_000;
const ROUND = 15_000;
let seed = Number(values.seed ?? Date.now() % 2 ** 31);
do {
  console.log(`seed ${String(seed)}`);
  const arena = await Arena.open();
  await fuzzCommands(arena, { seed, time: ROUND });
  await fuzzPdus(arena, { seed, time: ROUND });
  await fuzzLogin(arena, { seed, time: ROUND });
  await fuzzFields({ seed, time: ROUND });
  await fuzzDigests({ seed, time: ROUND });
  await fuzzLengths({ seed, time: ROUND });
  await fuzzDispatch(seed);
  await cutParameterLists(arena);
  await loginFlood(arena, seed);
  await arena.close();
  seed = (seed + 1) % 2 ** 31;
} while (Date.now() < end && values.seed === undefined);
console.log('nothing found');
