// Runs iscsi-test-cu, every suite in a process of its own against a fresh LUN, some at a time, and holds each of its tests against the
// expectation file of a LUN profile. Every test of iscsi-test-cu is one test here, so that the counts are honest.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { memoryFolder } from '../support/cleanup.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { needsAll } from '../support/needs.ts';
import { projectFile } from '../support/project.ts';
import { describeRun, run, runOk } from '../support/process.ts';
import { condense, parseOutcomes, parseTestList, type TestOutcome } from './cu-output.ts';
import { readExpectation, type Expectation, type Expected } from './expectation.ts';

export interface Profile {
  /** Names the profile and its expectation file, profile-NAME.expect. */
  name: string;
  title: string;
  /** Arguments of `volume create` that make the LUN what it is. */
  createArguments: readonly string[];
  /** Arguments of `pool create` for the pool the LUNs are in; without it, there is none. */
  poolArguments?: readonly string[];
  /** Sizes of the LUNs of some suites; LUN_SIZE for the others. */
  sizes?: Readonly<Record<string, string>>;
  /** Only these suites are listed in the expectation file; without it, the file has to list all there are. */
  subset?: true;
}

/** Milliseconds for one suite. */
const SUITE_TIMEOUT = 180_000;
/**
 * Sanitize waits for every operation to end, and in its Reset for a full minute in one piece. Unmap sends a thousand small
 * commands one after the other, each of which a durable volume makes stable; OrWrite hundreds of large ones.
 */
const SLOW_SUITES: ReadonlyMap<string, number> = new Map([
  ['Sanitize', 240_000],
  ['Unmap', 240_000],
  ['OrWrite', 240_000],
]);
/** Small enough to be quick, large enough for every test (they want 1 MiB and more at both ends). */
const LUN_SIZE = '64M';

export interface SuiteRun {
  outcomes: Map<string, TestOutcome>;
  /** What to show when a test has no outcome. */
  log: string;
}

async function runCu(filter: string, urls: readonly string[]): Promise<SuiteRun> {
  const args = ['--dataloss', '--allow-sanitize', '-v', '-t', `ALL.${filter}`, ...urls];
  const timeoutMs = SLOW_SUITES.get(filter.split('.')[0] ?? '') ?? SUITE_TIMEOUT;
  // Line buffered: otherwise a crash or the time limit would swallow the verdicts so far.
  const result = await run('stdbuf', ['-oL', 'iscsi-test-cu', ...args], { timeoutMs });
  return { outcomes: parseOutcomes(result.stdout), log: condense(describeRun(result)) };
}

/** Runs the tests of a suite that are not omitted. */
export async function runSuite(
  suite: string,
  tests: Map<string, Expected>,
  urls: readonly string[],
): Promise<SuiteRun> {
  const wanted = [...tests].filter(([, expected]) => expected.kind !== 'omit').map(([name]) => name);
  if (wanted.length === tests.size) return runCu(suite, urls);
  // Some are left out: iscsi-test-cu can only run a whole suite or one test.
  const all: SuiteRun = { outcomes: new Map(), log: '' };
  for (const name of wanted) {
    const one = await runCu(`${suite}.${name}`, urls);
    for (const [test, outcome] of one.outcomes) all.outcomes.set(test, outcome);
    all.log += `${one.log}\n`;
  }
  return all;
}

/** Fails, unless the test came out as expected. */
export function judge(name: string, expected: Expected, suiteRun: SuiteRun): void {
  const outcome = suiteRun.outcomes.get(name);
  assert.ok(outcome, `no verdict: crash, hang or lost connection\n${suiteRun.log}`);
  const said = condense(outcome.text);
  if (outcome.verdict === 'fail') assert.fail(`failed${said}`);
  if (expected.kind === 'skip') {
    assert.equal(outcome.verdict, 'skip', 'passes now: change its line in the expectation file');
  } else {
    assert.equal(outcome.verdict, 'pass', `skips, but has to pass:${said}`);
  }
}

/** Suites at the same time, each with a LUN and a target of its own: most of the time they wait. */
const AT_ONCE = 2;

/** Runs one suite against a LUN of its own. */
async function runOnNewLun(
  suite: string,
  tests: Map<string, Expected>,
  profile: Profile,
  daemon: Daemon,
): Promise<SuiteRun> {
  // A new LUN for every suite: zeroed, without reservations, mode pages at their defaults. Suites leave all that.
  const volume = `cu-${suite.toLowerCase()}`;
  const disk = await daemon.createVolume(volume, profile.sizes?.[suite] ?? LUN_SIZE, profile.createArguments);
  // With two addresses, tests of other suites leave reservations on the second path for the tests that follow.
  const paths = suite === 'MultipathIO' ? daemon.portals : daemon.portals.slice(0, 1);
  const urls = paths.map((_, portal) => daemon.url(disk, portal));
  const suiteRun = await runSuite(suite, tests, urls);
  await daemon.gemelJson(['volume', 'delete', '--purge', volume]);
  return suiteRun;
}

/** Runs all suites, the slow ones first. Returns what comes of each; nothing is rejected before somebody waits for it. */
function runSuites(expectation: Expectation, profile: Profile, daemon: Daemon): Map<string, Promise<SuiteRun>> {
  const runs = new Map<string, Promise<SuiteRun>>();
  const begin: (() => Promise<unknown>)[] = [];
  const isSlow = (suite: string): number => (SLOW_SUITES.has(suite) ? 0 : 1);
  for (const [suite, tests] of [...expectation].toSorted(([a], [b]) => isSlow(a) - isSlow(b))) {
    const suiteRun = new Promise<SuiteRun>((resolve, reject) => {
      begin.push(() => runOnNewLun(suite, tests, profile, daemon).then(resolve, reject));
    });
    suiteRun.catch(() => undefined);
    runs.set(suite, suiteRun);
  }
  const worker = async (): Promise<void> => {
    for (let next = begin.shift(); next !== undefined; next = begin.shift()) await next();
  };
  for (let i = 0; i < AT_ONCE; i++) void worker();
  return runs;
}

function defineSuite(suite: string, tests: Map<string, Expected>, find: () => Promise<SuiteRun> | undefined): void {
  describe(suite, () => {
    let suiteRun: SuiteRun = { outcomes: new Map(), log: 'not run' };
    before(async () => {
      suiteRun = (await find()) ?? suiteRun;
    });
    for (const [name, expected] of tests) {
      it(`${suite}.${name}`, (t) => {
        if (expected.kind !== 'omit') judge(name, expected, suiteRun);
        if (expected.kind !== 'pass') t.skip(expected.reason);
      });
    }
  });
}

/** Defines the tests of a profile. */
export function defineProfile(profile: Profile): void {
  const file = projectFile('test', 'conformance', `profile-${profile.name}.expect`);
  const expectation = readExpectation(file);
  const skip = needsAll(['iscsi-test-cu', 'libiscsi-bin'], ['stdbuf', 'coreutils']);
  describe(`iscsi-test-cu, profile ${profile.name}: ${profile.title}`, { skip, concurrency: 1 }, () => {
    let running: Awaited<ReturnType<typeof startDaemon>> | undefined;
    let memory: ReturnType<typeof memoryFolder> | undefined;
    let runs: ReturnType<typeof runSuites> = new Map();
    before(async () => {
      // What is tested is what the daemon answers, not the disk behind it.
      memory = memoryFolder('conformance');
      running = await startDaemon({ portals: 2, dataFolder: memory.path });
      if (profile.poolArguments) await running.daemon.gemelJson(['pool', 'create', ...profile.poolArguments]);
      runs = runSuites(expectation, profile, running.daemon);
    });
    after(async () => {
      await running?.end();
      memory?.remove();
    });
    it('the expectation file lists the tests there are', async () => {
      const known = parseTestList((await runOk('iscsi-test-cu', ['--list'])).stdout);
      const listed = [...expectation].flatMap(([suite, tests]) => [...tests.keys()].map((test) => `${suite}.${test}`));
      const there = profile.subset ? known.filter((name) => expectation.has(name.split('.')[0] ?? '')) : known;
      assert.deepEqual(listed.toSorted(), there.toSorted());
    });
    for (const [suite, tests] of expectation) {
      defineSuite(suite, tests, () => runs.get(suite));
    }
    it('the daemon came through it', async () => {
      assert.ok(running);
      assert.deepEqual(
        (await running.daemon.listVolumes()).map((disk) => disk.name).filter((name) => name.startsWith('cu-')),
        [],
      );
      await running.daemon.stop();
    });
  });
}
