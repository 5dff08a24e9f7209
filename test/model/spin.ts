// Runs a model: SPIN makes a C program of it, which looks at every state there is within the bounds.
import { rmSync } from 'node:fs';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atExit } from '../support/cleanup.ts';
import { projectRoot } from '../support/project.ts';
import { run } from '../support/process.ts';
import type { Check } from './mutants.ts';

/** Steps of the longest path that is followed, and memory (MiB) a search may take. */
const DEPTH = 200_000;
const MEMORY = 3000;
/** Of a search that keeps a few bits of each state: steps, and the logarithm of how many bits there are (1 GiB). */
const BIT_DEPTH = 2_000_000;
const BITS = 33;

export interface Verdict {
  readonly errors: number;
  readonly states: number;
  /** It was looked at all there is, or up to the first error. */
  readonly complete: boolean;
  readonly milliseconds: number;
  /** The path to the error, when there is one and `trail` was asked for. */
  readonly trail: string;
}

/**
 * Throws when a tool fails. `timeoutMs` is for the search. `optimise`: the compiler takes longer, and a long search less;
 * what is found at once is found sooner without. `bits`: of each state a hash is kept (-DBITSTATE): an error it finds is one; where it
 * finds none, some states may have been taken for others, hardly any while there are a hundred times as many bits as states.
 */
export async function check(
  { model, define }: Check,
  timeoutMs: number,
  { trail = false, optimise = true, bits = false } = {},
): Promise<Verdict> {
  const folder = await mkdtemp(join(tmpdir(), 'gemel-model-'));
  const forget = atExit(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  try {
    await copyFile(join(projectRoot, 'test', 'model', `${model}.pml`), join(folder, 'model.pml'));
    const flags = define.map((each) => `-D${each}`);
    const ok = async (program: string, ...args: string[]): Promise<string> => {
      const result = await run(program, args, { cwd: folder, timeoutMs: 60_000 });
      if (result.code !== 0) throw new Error(`${result.command}: ${result.stdout}${result.stderr}`);
      return result.stdout;
    };
    await ok('spin', '-a', ...flags, 'model.pml');
    const how = bits ? '-DBITSTATE' : '-DCOLLAPSE';
    const c = [optimise ? '-O1' : '-O0', '-w', '-DSAFETY', how, `-DMEMLIM=${String(MEMORY)}`];
    await ok('gcc', ...c, '-o', 'pan', 'pan.c');
    // A state in which nothing can happen any more is no error here: the bounds end everything.
    const bounds = bits ? [`-m${String(BIT_DEPTH)}`, `-w${String(BITS)}`] : [`-m${String(DEPTH)}`];
    const search = await run(join(folder, 'pan'), ['-E', ...bounds], { cwd: folder, timeoutMs });
    const said = search.stdout;
    const errors = Number(/errors: (\d+)/.exec(said)?.[1] ?? Number.NaN);
    const states = Number(/(\d+) states, stored/.exec(said)?.[1] ?? 0);
    const complete =
      !search.timedOut && !Number.isNaN(errors) && !/max search depth too small|out of memory/.test(said);
    if (!search.timedOut && Number.isNaN(errors)) throw new Error(`${search.command}: ${said}${search.stderr}`);
    const path = trail && errors > 0 ? await ok('spin', '-t', '-p', '-g', ...flags, 'model.pml') : '';
    return { errors: search.timedOut ? 0 : errors, states, complete, milliseconds: search.ms, trail: path };
  } finally {
    forget();
    await rm(folder, { recursive: true, force: true });
  }
}
