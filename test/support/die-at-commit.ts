// Loaded into a daemon before everything else (NODE_OPTIONS=--import): the process ends like by kill -9 at a commit of the journal
// of a job. The file DIE_FILE says at which: `before 3` or `after 3`, counted from when it is there.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import type { Change, CommitResult, Expectation } from '../../core/cluster/config-store.ts';
import { EmbeddedStore } from '../../core/cluster/embedded-store.ts';

/** For NODE_OPTIONS. */
export const HOOK = import.meta.url;

const file = process.env['DIE_FILE'] ?? '';

/** When to die at this commit; undefined: not at this one. */
function now(): string | undefined {
  if (!existsSync(file)) return undefined;
  const [when = '', left] = readFileSync(file, 'utf8').split(' ');
  if (Number(left) > 1) {
    writeFileSync(file, `${when} ${String(Number(left) - 1)}`);
    return undefined;
  }
  rmSync(file);
  return when;
}

const commit = Reflect.get<EmbeddedStore, 'commit'>(EmbeddedStore.prototype, 'commit');
EmbeddedStore.prototype.commit = async function (
  this: EmbeddedStore,
  changes: readonly Change[],
  expectations?: readonly Expectation[],
): Promise<CommitResult> {
  const when = changes.some(({ key }) => key.startsWith('jobs/')) ? now() : undefined;
  if (when === 'before') process.kill(process.pid, 'SIGKILL');
  const result = await commit.call(this, changes, expectations);
  if (when === 'after') process.kill(process.pid, 'SIGKILL');
  return result;
};
