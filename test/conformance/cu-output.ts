// Understands what iscsi-test-cu prints with -v.

/** What became of one test. */
export type Verdict = 'pass' | 'fail' | 'skip';

export interface TestOutcome {
  verdict: Verdict;
  /** What the test printed: reasons of skips, failed assertions. */
  text: string;
}

// The word comes straight after "Test: NAME ..." or, when the test printed something, at the start of a line. A "[FAILED]"
// in brackets is only a message: tests that retry print it and pass all the same.
const VERDICT_WORD = /(?:^|\n) *(passed|FAILED)(?=\s|$)/;
const VERDICT_WORD_AFTER_TEXT = /[^[\n](passed|FAILED)[ \t]*(?=\n|$)/;

function outcomeOf(block: string): TestOutcome | undefined {
  const word = VERDICT_WORD.exec(block) ?? VERDICT_WORD_AFTER_TEXT.exec(block);
  if (word === null) return undefined;
  const said = block.slice(0, word.index);
  if (word[1] === 'FAILED') return { verdict: 'fail', text: block };
  // CUnit knows no skips and calls them passed.
  return { verdict: said.includes('[SKIPPED]') ? 'skip' : 'pass', text: block };
}

/**
 * The outcomes by test name out of the output of one suite. A test that was started but has no verdict (crash, time
 * limit) is not in the map.
 */
export function parseOutcomes(output: string): Map<string, TestOutcome> {
  const body = output.split(/^Run Summary:/m)[0] ?? '';
  const outcomes = new Map<string, TestOutcome>();
  const [, ...blocks] = body.split(/^ {2}Test: /m);
  for (const block of blocks) {
    const head = /^(\S+) \.\.\./.exec(block);
    if (head?.[1] === undefined) continue;
    const outcome = outcomeOf(block.slice(head[0].length));
    if (outcome !== undefined) outcomes.set(head[1], outcome);
  }
  return outcomes;
}

/** The single tests in the output of --list, as "Suite.Test", of the family ALL. */
export function parseTestList(output: string): string[] {
  return output
    .split('\n')
    .map((line) => /^ALL\.([^.\s]+\.\S+)$/.exec(line.trim())?.[1])
    .filter((name): name is string => name !== undefined);
}

/** Shortens repetitive output: equal neighbours become one line with a count, the rest is cut after `lines` lines. */
export function condense(text: string, lines = 40): string {
  const out: { line: string; count: number }[] = [];
  for (const line of text.split('\n')) {
    const last = out.at(-1);
    const plain = line.replace(/^\s+\d+\. /, '    - '); // numbered assertions of one place count as equal
    if (last?.line === plain) last.count += 1;
    else out.push({ line: plain, count: 1 });
  }
  const shown = out.slice(0, lines).map(({ line, count }) => (count > 1 ? `${line}  (${count} times)` : line));
  if (out.length > lines) shown.push(`… ${out.length - lines} more lines`);
  return shown.join('\n');
}
