// The suites of iscsi-test-cu against a LUN that another node owns: every command crosses the link between the two. What the LUN
// passes at its owner (profile b), it has to pass here.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import { needsAll } from '../support/needs.ts';
import { projectFile } from '../support/project.ts';
import { IQN } from '../support/target.ts';
import { startTwoNodes } from '../support/two-nodes.ts';
import type { TwoNodes } from '../support/two-nodes.ts';
import { readExpectation } from './expectation.ts';
import { judge, runSuite } from './profile.ts';
import type { SuiteRun } from './profile.ts';

/** Those where it makes a difference; the others were run once, and are the same code behind the link. */
const SUITES: ReadonlySet<string> = new Set([
  ...['CompareAndWrite', 'ExtendedCopy', 'GetLBAStatus', 'Inquiry', 'Mandatory', 'ModeSense6', 'NoMedia', 'Prefetch16'],
  ...[
    'PrinReadKeys',
    'PrinServiceactionRange',
    'PrinReportCapabilities',
    'ProutRegister',
    'ProutReserve',
    'ProutClear',
  ],
  ...['ProutPreempt', 'Read16', 'ReadCapacity16', 'ReceiveCopyResults', 'ReportSupportedOpcodes', 'Reserve6'],
  ...['StartStopUnit', 'TestUnitReady', 'Write16', 'WriteAtomic16'],
  ...['iSCSIcmdsn', 'iSCSIdatasn', 'iSCSIResiduals', 'iSCSITMF', 'MultipathIO'],
]);
const SIZE = 64 * 1_048_576;

const skip = needsAll(['iscsi-test-cu', 'libiscsi-bin'], ['stdbuf', 'coreutils']);
const expectation = readExpectation(projectFile('test', 'conformance', 'profile-b.expect'));

describe('iscsi-test-cu at a node that forwards', { skip, concurrency: 1 }, () => {
  for (const [suite, tests] of expectation) {
    if (!SUITES.has(suite)) continue;
    describe(suite, () => {
      let nodes: TwoNodes | undefined;
      let result: SuiteRun = { outcomes: new Map(), log: 'not run' };
      before(async () => {
        nodes = await startTwoNodes({ volume: new MemoryVolume(SIZE), peers: true });
        const ports = suite === 'MultipathIO' ? [nodes.b.port, nodes.a.port] : [nodes.b.port];
        const urls = ports.map((port) => `iscsi://127.0.0.1:${String(port)}/${IQN}/0`);
        result = await runSuite(suite, tests, urls);
      });
      after(async () => {
        await nodes?.close();
      });
      for (const [name, expected] of tests) {
        it(`${suite}.${name}`, (t) => {
          if (expected.kind !== 'omit') judge(name, expected, result);
          if (expected.kind !== 'pass') t.skip(expected.reason);
        });
      }
      it('the owner has carried it out, and nothing is left', () => {
        assert.ok(nodes);
        assert.equal(nodes.b.lu.counters.reads + nodes.b.lu.counters.writes, 0);
        assert.equal(nodes.a.lu.tasks.running, 0);
      });
    });
  }
});
