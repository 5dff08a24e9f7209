import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { condense, parseOutcomes, parseTestList } from './cu-output.ts';
import { parseExpectation } from './expectation.ts';

const suite = (body: string): string => `
     CUnit - A unit testing framework for C - Version 2.1-3

Suite: Sample
${body}
Run Summary:    Type  Total    Ran Passed Failed Inactive
              suites      1      1    n/a      0        0
`;

describe('parseOutcomes', () => {
  const verdicts = (body: string): Record<string, string> =>
    Object.fromEntries([...parseOutcomes(suite(body))].map(([name, { verdict }]) => [name, verdict]));

  it('reads the word of CUnit', () => {
    assert.deepEqual(
      verdicts('  Test: One ...passed\n  Test: Two ...FAILED\n    1. file.c:80  - CU_ASSERT_EQUAL(_r,0)\n'),
      {
        One: 'pass',
        Two: 'fail',
      },
    );
  });
  it('takes a skip for a skip although CUnit calls it passed', () => {
    assert.deepEqual(
      verdicts('  Test: One ...    [SKIPPED] LBPPB < 2. Skipping test\npassed\n  Test: Two ...passed\n'),
      {
        One: 'skip',
        Two: 'pass',
      },
    );
  });
  it('ignores messages of retries and of the tear-down', () => {
    const retry = '  Test: One ...    [FAILED] PRIN command: failed with sense.\n    [FAILED] again\npassed\n';
    const tearDown = '  Test: Two ...passed    [FAILED] PRIN command: failed\n';
    assert.deepEqual(verdicts(retry + tearDown), { One: 'pass', Two: 'pass' });
  });
  it('finds a failure behind text without a line end', () => {
    assert.deepEqual(verdicts('  Test: One ...    some text FAILED\n    1. a.c:1  - CU_ASSERT\n'), { One: 'fail' });
  });
  it('reports nothing for a test that never ended', () => {
    const cut = 'Suite: Sample\n  Test: One ...passed\n  Test: Two ...    [FAILED] lost the connection\n';
    assert.deepEqual([...parseOutcomes(cut).keys()], ['One']);
  });
});

describe('the helpers around it', () => {
  it('keeps single tests of the family ALL out of --list', () => {
    assert.deepEqual(
      parseTestList('ALL\nALL.Read10\nALL.Read10.Simple\nSCSI.Read10.Simple\n  ALL.PreventAllow.2ITNexuses\n'),
      ['Read10.Simple', 'PreventAllow.2ITNexuses'],
    );
  });
  it('condenses equal neighbours', () => {
    assert.equal(condense('    1. a.c:1  - X\n    2. a.c:1  - X\nend'), '    - a.c:1  - X  (2 times)\nend');
    assert.equal(condense('a\nb\nc', 2), 'a\nb\n… 1 more lines');
  });
  it('refuses expectations without a reason, without a suite, or given twice', () => {
    assert.equal(
      parseExpectation('# c\n[S]\nA pass\nB skip because # note\n', 'f').get('S')?.get('B')?.reason,
      'because',
    );
    assert.throws(() => parseExpectation('[S]\nA skip\n', 'f'), /f:2: a reason belongs/);
    assert.throws(() => parseExpectation('A pass\n', 'f'), /f:1: a test before/);
    assert.throws(() => parseExpectation('[S]\nA pass\nA pass\n', 'f'), /f:3: test A a second time/);
    assert.throws(() => parseExpectation('[S]\nA maybe\n', 'f'), /f:2: not an expectation/);
  });
});
