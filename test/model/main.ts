// `npm run model -- [--large] [--only WORD] [--trail]`: the models at larger bounds, all mutants, and what each of them says.
import { parseArgs } from 'node:util';
import { LARGE, MUTANTS, SMALL } from './mutants.ts';
import type { Mutant } from './mutants.ts';
import { check } from './spin.ts';

const { values } = parseArgs({
  options: {
    large: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    trail: { type: 'boolean', default: false },
  },
});
/** Milliseconds a search may take. */
const LIMIT = values.large ? 3_600_000 : 300_000;

const chosen = (each: { readonly name: string }): boolean => each.name.includes(values.only);

for (const each of [...SMALL, ...(values.large ? LARGE : [])].filter(chosen)) {
  const how = { trail: values.trail, bits: LARGE.includes(each) };
  const { errors, states, complete, milliseconds, trail } = await check(each, LIMIT, how);
  const verdict = errors > 0 ? 'ERROR' : complete ? 'clean' : 'not ended';
  console.log(
    `${verdict}  ${each.model}: ${each.name} (${String(states)} states, ${(milliseconds / 1000).toFixed(1)} s)`,
  );
  if (trail !== '') console.log(trail);
  if (errors > 0) process.exitCode = 1;
}
for (const each of MUTANTS.filter(chosen)) {
  const how = { trail: values.trail, bits: each.slow === true };
  const { errors, states, complete, trail } = await check(each, LIMIT, how);
  console.log(`${verdictOf(each, errors, complete)}  ${each.model}: without ${each.name} (${String(states)} states)`);
  if (trail !== '') console.log(trail);
}

function verdictOf({ masked }: Mutant, errors: number, complete: boolean): string {
  const isExpected = errors > 0 === (masked === undefined);
  if (!isExpected && (complete || errors > 0)) process.exitCode = 1;
  if (errors > 0) return masked === undefined ? 'found' : 'FOUND, though said to be masked';
  if (!complete) return 'not ended';
  return masked === undefined ? 'MISSED' : `masked by: ${masked}`;
}
