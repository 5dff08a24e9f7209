// kill -9 at every commit of every kind of job: the next start goes on, and what the job was for is there once, whole.
import assert from 'node:assert/strict';
import process from 'node:process';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../support/cleanup.ts';
import { describeRun, run } from '../support/process.ts';
import { projectFile } from '../support/project.ts';
import { JOB_CASES } from './jobs/cases.ts';

/** More commits than any job has. */
const MAX_ROUNDS = 40;

describe('a control plane that is killed at any commit of a job', { timeout: 300_000 }, () => {
  for (const { kind, commits } of JOB_CASES) {
    it(`goes on with ${kind}`, async () => {
      const folder = temporaryFolder('die');
      try {
        let killed = 0;
        for (let at = 1; at <= MAX_ROUNDS; at++) {
          const worker = projectFile('dist', 'test', 'crash', 'jobs', 'worker.js');
          const result = await run(process.execPath, [worker, folder.path, kind, String(at)]);
          if (result.code === 3) break;
          assert.equal(result.signal, 'SIGKILL', `round ${String(at)}: ${describeRun(result)}`);
          killed = at;
        }
        assert.ok(killed >= commits && killed < MAX_ROUNDS, `${kind} was killed at ${String(killed)} commits`);
      } finally {
        folder.remove();
      }
    });
  }
});
