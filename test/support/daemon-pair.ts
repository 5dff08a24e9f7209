// A real cluster on loopback: two daemons and a witness, each with its own etcd.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { atExit, temporaryFolder } from './cleanup.ts';
import { startDaemon } from './daemon.ts';
import type { Daemon } from './daemon.ts';
import { basePorts } from './etcd.ts';
import { killGroup } from './process.ts';
import { projectFile } from './project.ts';

/** Milliseconds for anything that should happen within seconds, on a machine that is busy with something else. */
const PATIENCE = 60_000;

export interface DaemonPair {
  readonly alpha: Daemon;
  readonly beta: Daemon;
}

export interface PairOptions {
  /** Size of each pool, as `gemel pool create` takes it; 1G when absent. */
  readonly pool?: string;
  /** An existing folder for the data of both nodes, not removed afterwards; temporary ones when absent. */
  readonly folder?: string;
  /** The checkout both run from; this one when absent. */
  readonly project?: string;
}

/** Kills the etcd of a node, which outlives its daemon. */
export function killEtcd(dataFolder: string): void {
  try {
    process.kill(Number(readFileSync(join(dataFolder, 'cluster', 'etcd.pid'), 'utf8')), 'SIGKILL');
  } catch {
    // There is none.
  }
}

/** Asks until there is an answer. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  for (const end = Date.now() + PATIENCE; ;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    assert.ok(Date.now() < end, `${what}: not within ${PATIENCE} ms`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Runs `body` with the nodes `alpha` and `beta`, each with a pool `p1`, and the witness `watch`; an automatic takeover is possible. */
export async function withDaemonPair(
  body: (pair: DaemonPair) => Promise<void>,
  { pool = '1G', folder: data, project }: PairOptions = {},
): Promise<void> {
  const ends: (() => Promise<void> | void)[] = [];
  /** Its etcd goes with it, also when the test is killed. */
  const withEtcd = (folder: string, end: () => Promise<void> | void): void => {
    const forget = atExit(() => {
      killEtcd(folder);
    });
    ends.push(async () => {
      killEtcd(folder);
      forget();
      await end();
    });
  };
  const node = async (name: string): Promise<Daemon> => {
    const place = data === undefined ? {} : { dataFolder: join(data, name) };
    const { daemon, end } = await startDaemon({
      args: ['--no-demo'],
      ...place,
      ...(project === undefined ? {} : { project }),
    });
    withEtcd(daemon.dataFolder, end);
    await daemon.gemelJson(['pool', 'create', 'p1', '--size', pool]);
    return daemon;
  };
  const address = async (): Promise<string> => `127.0.0.1:${(await basePorts(1))[0] ?? 0}`;
  const slow = { timeoutMs: 2 * PATIENCE };
  try {
    const [alpha, beta] = [await node('alpha'), await node('beta')];
    const init = ['cluster', 'init', '--address', await address(), '--name', 'alpha'];
    const { token } = (await alpha.gemelJson(init, slow)) as { token: string };
    const joining = ['cluster', 'join', '--token-of-cluster', '-', '--address', await address(), '--name', 'beta'];
    await beta.gemelJson(joining, { ...slow, input: token });
    // Who serves what is for the test to say. (An earlier checkout may not know the command, and moves nothing by itself.)
    if (project === undefined) await alpha.gemelJson(['cluster', 'balance', 'off']);
    const folder = temporaryFolder('witness');
    // As a person would: all that was printed, not the token alone.
    const { stdout: printed } = await alpha.gemel(['cluster', 'token']);
    const args = ['witness', '--folder', folder.path, '--address', await address(), '--name', 'watch'];
    const child = spawn(process.execPath, [projectFile('bin', 'gemel.js'), ...args, '--token-of-cluster', '-'], {
      stdio: ['pipe', 'ignore', 'inherit'],
      detached: true,
    });
    const forget = atExit(() => {
      killGroup(child, 'SIGKILL');
    });
    withEtcd(folder.path, () => {
      forget();
      killGroup(child, 'SIGKILL');
      killEtcd(folder.path);
      folder.remove();
    });
    child.stdin.end(printed);
    await eventually('three votes', async () => {
      const { takeover } = (await beta.gemelJson(['cluster', 'status'])) as { takeover: string };
      return takeover === 'automatic';
    });
    await body({ alpha, beta });
  } finally {
    for (const end of ends.reverse()) await end();
  }
}
