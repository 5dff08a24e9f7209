// Processes of the benchmarks that run programs of this folder.
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from '../support/project.ts';

/** As the daemon is started (scripts/bootstrap.mjs). */
export const DAEMON_FLAGS = ['--max-semi-space-size=32'];
export const DAEMON_ENV = {
  ...process.env,
  UV_THREADPOOL_SIZE: process.env['UV_THREADPOOL_SIZE'] ?? String(Math.min(32, 4 + 4 * availableParallelism())),
};
export const program = (name: string): string => join(projectRoot, 'dist', 'test', 'bench', name);

/** What a process of the benchmark says. */
export function child(name: string, args: readonly string[]): unknown {
  const command = ['--expose-gc', program(name), ...args];
  const done = spawnSync(process.execPath, command, { encoding: 'utf8', env: DAEMON_ENV, timeout: 600_000 });
  if (done.status !== 0) throw new Error(`${name} ${args.join(' ')}: ${done.stderr}`);
  return JSON.parse(done.stdout) as unknown;
}
