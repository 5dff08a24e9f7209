// A machine of its own for the tests of the package: namespaces of this one, with systemd as process 1.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { killGroup, run, runOk } from '../support/process.ts';
import type { RunOptions, RunResult } from '../support/process.ts';
import { projectFile } from '../support/project.ts';

/** Milliseconds the machine has to start and its services to settle. */
const PATIENCE = 90_000;

export interface Machine {
  /** Runs a program in it; look at the result. */
  readonly run: (program: string, args: readonly string[], options?: RunOptions) => Promise<RunResult>;
  /** The same for one that has to succeed. Returns its standard output. */
  readonly ok: (program: string, ...args: string[]) => Promise<string>;
  /** The arguments that run something in it, for who starts it himself. */
  readonly enter: readonly string[];
  /** Folder of this machine that is /tmp/files in it. */
  readonly files: string;
}

/** The folder of the second version of cgroups; undefined: there is none, or it is not ours to write. */
function cgroupFolder(): string | undefined {
  const line = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .find((each) => each.split(' ')[2] === 'cgroup2');
  return line?.split(' ')[1];
}

/** The reason why there can be no such machine here, or false. */
export function noMachine(): string | false {
  if (process.getuid?.() !== 0) return 'needs root: namespaces, and a systemd in them';
  const cgroups = cgroupFolder();
  if (cgroups === undefined) return 'needs cgroups of version 2';
  const flags = ['--mount', '--pid', '--fork', '--net', '--ipc', '--uts', '--cgroup'];
  const { status } = spawnSync('unshare', [...flags, 'mount', '-t', 'tmpfs', 'gemel-test', '/mnt']);
  return status === 0 ? false : 'namespaces with mounts of their own are not allowed here';
}

/** Runs `body` with a machine and takes it away afterwards. */
export async function withMachine(body: (machine: Machine) => Promise<void>): Promise<void> {
  const folder = temporaryFolder('machine');
  const [files, root] = [join(folder.path, 'files'), join(folder.path, 'machine')];
  mkdirSync(files);
  mkdirSync(root);
  const cgroup = join(cgroupFolder() ?? '', basename(folder.path));
  mkdirSync(cgroup);
  const flags = ['--mount', '--pid', '--fork', '--kill-child=SIGKILL', '--net', '--ipc', '--uts', '--cgroup'];
  // Its root in the tree of cgroups is where it stands when the namespace is made.
  const script = `echo $$ > ${cgroup}/cgroup.procs && exec unshare ${flags.join(' ')} sh ${projectFile('test/package/machine.sh')} ${root} ${files}`;
  const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
  const gone = new Promise((resolve) => child.once('close', resolve));
  const forget = atExit(() => {
    killGroup(child, 'SIGKILL');
  });
  try {
    const pid = await until('systemd', () => {
      const children = readFileSync(`/proc/${String(child.pid)}/task/${String(child.pid)}/children`, 'utf8').trim();
      const comm = children === '' ? '' : readFileSync(`/proc/${children}/comm`, 'utf8').trim();
      return comm === 'systemd' ? children : undefined;
    });
    const spaces = ['--mount', '--pid', '--net', '--ipc', '--uts', '--cgroup'];
    const enter = ['--target', pid, ...spaces, `--root=/proc/${pid}/root`, `--wd=/proc/${pid}/root`, 'env', '-i'];
    enter.push('PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'LANG=C.UTF-8', 'HOME=/root', 'DEBIAN_FRONTEND=noninteractive');
    const inside: Machine['run'] = (program, args, options) =>
      run('nsenter', [...enter, program, ...args], { timeoutMs: PATIENCE, ...options });
    const ok = async (program: string, ...args: string[]): Promise<string> =>
      (await runOk('nsenter', [...enter, program, ...args], { timeoutMs: PATIENCE })).stdout;
    await until('the manager of services', async () => {
      const { stdout } = await inside('systemctl', ['is-active', 'gemel-test.target']);
      return stdout.trim() === 'active' ? true : undefined;
    });
    try {
      await body({ run: inside, ok, enter, files });
    } catch (error) {
      output += (await inside('journalctl', ['--no-pager', '-o', 'cat', '-n', '60'])).stdout;
      throw error;
    }
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- machine ---\n${output.slice(-3000)}`;
    throw error;
  } finally {
    killGroup(child, 'SIGKILL');
    await gone;
    forget();
    await removeCgroups(cgroup);
    folder.remove();
  }
}

/** Asks again and again until there is an answer. */
export async function until<T>(what: string, ask: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const end = performance.now() + PATIENCE;
  for (;;) {
    let answer: T | undefined;
    try {
      answer = await ask();
    } catch {
      // Not yet.
    }
    if (answer !== undefined) return answer;
    if (performance.now() > end) throw new Error(`${what} did not come within ${String(PATIENCE / 1000)} s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A cgroup can be removed when its last process is quite gone, which takes the kernel a moment. */
async function removeCgroups(folder: string): Promise<void> {
  writeFileSync(join(folder, 'cgroup.kill'), '1');
  await until('the end of the machine', () => {
    const { stdout } = spawnSync('find', [folder, '-depth', '-type', 'd'], { encoding: 'utf8' });
    for (const each of stdout.trim().split('\n')) rmdirSync(each);
    return true;
  });
}
