// `npm run sim -- [--seed N] [--hours H | --runs N] [--nodes 2|3] [--flaw NAME] [--snapshots] [--copies] [--trace]`: whole clusters on a virtual clock.
import { parseArgs } from 'node:util';
import { Undecided } from './linearizable.ts';
import { PLANTED } from './planted.ts';
import { simulate } from './simulation.ts';
import type { Plan } from './simulation.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    hours: { type: 'string' },
    runs: { type: 'string' },
    nodes: { type: 'string' },
    seconds: { type: 'string', default: '40' },
    flaw: { type: 'string' },
    snapshots: { type: 'boolean', default: false },
    copies: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
  },
});

const number = (text: string | undefined, name: string): number | undefined => {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`--${name} takes a number`);
  return value;
};

const planted = PLANTED.find(({ flaw }) => flaw === values.flaw);
if (values.flaw !== undefined && planted === undefined) {
  throw new Error(`--flaw takes one of ${PLANTED.map(({ flaw }) => flaw).join(', ')}`);
}
const nodesOf = (at: number): 2 | 3 => {
  if (nodes !== undefined) return nodes === 3 ? 3 : 2;
  return planted === undefined && at % 4 === 0 ? 3 : 2;
};
const seed = number(values.seed, 'seed');
const hours = number(values.hours, 'hours');
const runs = number(values.runs, 'runs') ?? (hours !== undefined ? Number.POSITIVE_INFINITY : 1);
const nodes = number(values.nodes, 'nodes');
const duration = (number(values.seconds, 'seconds') ?? 40) * 1000;
const begin = Date.now();
const until = begin + (hours ?? Number.POSITIVE_INFINITY) * 3_600_000;
const first = seed ?? Math.floor(Math.random() * 1e9);
let operations = 0;
let virtual = 0;
let done = 0;
for (let at = first; done < runs && Date.now() < until; at++) {
  const plan: Plan = {
    ...{ seed: at, duration, nodes: nodesOf(at) },
    ...{ flaw: planted?.flaw, weather: planted?.weather, load: planted?.load },
    snapshots: values.snapshots || planted?.snapshots,
    copies: values.copies || planted?.copies,
    tell: values.trace ? (line) => void process.stdout.write(`${line}\n`) : undefined,
  };
  const result = await simulate(plan).catch((error: unknown) => {
    if (error instanceof Undecided) return undefined;
    throw error;
  });
  if (result === undefined) {
    console.log(`seed ${String(at)}: undecided, too many orders explain it or do not`);
    done++;
    continue;
  }
  operations += result.operations;
  virtual += result.virtual;
  done++;
  if (runs === 1)
    console.log(`seed ${String(at)}: trace ${result.trace}, longest pause ${result.longestPause.toFixed(0)} ms`);
  if (result.wrong !== undefined) {
    console.log(`seed ${String(at)} (${String(plan.nodes)} nodes), trace ${result.trace}: ${result.wrong}`);
    const flaw =
      (planted === undefined ? '' : ` --flaw ${planted.flaw}`) +
      (plan.snapshots === true ? ' --snapshots' : '') +
      (plan.copies === true ? ' --copies' : '');
    console.log(
      `npm run sim -- --seed ${String(at)} --nodes ${String(plan.nodes)} --seconds ${String(duration / 1000)}${flaw} --trace`,
    );
    process.exitCode = 1;
    break;
  }
}
const seconds = (Date.now() - begin) / 1000;
console.log(
  `${String(done)} runs, ${String(operations)} operations, ${(virtual / 1000).toFixed(0)} virtual seconds in ${seconds.toFixed(1)} s`,
);
