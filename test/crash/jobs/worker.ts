// A process with a control plane that ends itself like by kill -9 while it works on a job: `worker.js FOLDER KIND ROUND`.
// In round N at commit N after the job was submitted: in odd ones before the commit is durable, in even ones after. A round first
// sees to the end of the job of the one before. Exit status 3: the job was over before commit N.
import assert from 'node:assert/strict';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import type { Change, CommitResult, Expectation } from '../../../core/cluster/config-store.ts';
import { openPlane } from '../../unit/control/fixture.ts';
import { JOB_CASES } from './cases.ts';

const [folder = '', kind = '', round = ''] = process.argv.slice(2);
const at = Number(round);
const found = JOB_CASES.find((each) => each.kind === kind);
assert.ok(found);

/** Commits until the end; undefined: it is not near. */
let left: number | undefined;
const commit = Reflect.get(EmbeddedStore.prototype, 'commit');
EmbeddedStore.prototype.commit = async function (
  this: EmbeddedStore,
  changes: readonly Change[],
  expectations?: readonly Expectation[],
): Promise<CommitResult> {
  const now = left !== undefined && --left === 0;
  if (now && at % 2 === 1) process.kill(process.pid, 'SIGKILL');
  const result = await commit.call(this, changes, expectations);
  if (now) process.kill(process.pid, 'SIGKILL');
  return result;
};

const keyOf = (number: number): string => `round-${String(number)}`;
const plane = await openPlane(folder);
const before = at - 1;
if (before > 0) {
  // Nobody knows what became of it, so it is asked for again with the same key.
  const { id } = await plane.jobs.submit(kind, found.request(plane, before), keyOf(before));
  const job = await plane.jobs.wait(id);
  assert.equal(job.state, 'done', JSON.stringify(job));
  assert.equal(plane.catalog.jobs.values().filter(({ key }) => key === keyOf(before)).length, 1);
  await found.verify(plane, before, job);
}
await found.prepare?.(plane, at);
left = at;
const { id } = await plane.jobs.submit(kind, found.request(plane, at), keyOf(at));
const over = await plane.jobs.wait(id);
left = undefined;
assert.equal(over.state, 'done', JSON.stringify(over));
await found.verify(plane, at, over);
await plane.close();
process.exit(3);
