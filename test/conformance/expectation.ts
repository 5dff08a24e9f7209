// The checked-in expectation files: every test of iscsi-test-cu, per LUN profile, with what it must come out as.
//
//   # comment
//   [Suite]
//   Test pass
//   Test skip WHY      the test must say itself that it skips
//   Test omit WHY      not run on this profile: wrong about it, or meaningless there
import { readFileSync } from 'node:fs';

export interface Expected {
  kind: 'pass' | 'skip' | 'omit';
  /** Empty for pass. */
  reason: string;
}

/** Suites in file order, each with its tests in file order. */
export type Expectation = Map<string, Map<string, Expected>>;

function parseLine(line: string, where: string): [string, Expected] {
  const match = /^(\S+)\s+(pass|skip|omit)(?:\s+(\S.*))?$/.exec(line);
  const [, name, kind, reason = ''] = match ?? [];
  if (name === undefined || kind === undefined) throw new Error(`${where}: not an expectation: ${line}`);
  if ((kind === 'pass') !== (reason === ''))
    throw new Error(`${where}: a reason belongs to skip and omit, and only there`);
  return [name, { kind: kind as Expected['kind'], reason }];
}

/** Reads an expectation. Throws with file and line number when it is malformed or names a test twice. */
export function parseExpectation(text: string, file: string): Expectation {
  const suites: Expectation = new Map();
  let suite: Map<string, Expected> | undefined;
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.replace(/#.*/, '').trim();
    if (line === '') continue;
    const where = `${file}:${index + 1}`;
    const heading = /^\[(\S+)\]$/.exec(line)?.[1];
    if (heading !== undefined) {
      if (suites.has(heading)) throw new Error(`${where}: suite ${heading} a second time`);
      suite = new Map();
      suites.set(heading, suite);
      continue;
    }
    if (suite === undefined) throw new Error(`${where}: a test before the first suite`);
    const [name, expected] = parseLine(line, where);
    if (suite.has(name)) throw new Error(`${where}: test ${name} a second time`);
    suite.set(name, expected);
  }
  return suites;
}

/** parseExpectation for a file. */
export function readExpectation(file: string): Expectation {
  return parseExpectation(readFileSync(file, 'utf8'), file);
}
