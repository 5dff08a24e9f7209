// Running other programs: with a time limit, with all output kept, and never left behind.
import { spawn, type ChildProcess } from 'node:child_process';
import process from 'node:process';
import { atExit } from './cleanup.ts';

export interface RunOptions {
  /** Milliseconds until the program and its children are killed; 60 s when absent. */
  timeoutMs?: number;
  /** Written to its standard input, which is closed afterwards. */
  input?: string;
  cwd?: string;
  /** Added to the environment of this process. */
  env?: Readonly<Record<string, string>>;
  /** Called whenever it has written to its standard output. */
  onStdout?: () => void;
}

export interface RunResult {
  command: string;
  /** Exit status; -1 when a signal ended it or it could not be started. */
  code: number;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  timedOut: boolean;
  /** Wall time in milliseconds. */
  ms: number;
}

/** Kills a process started as the leader of its own group, together with everything it started. */
export function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // Already gone.
  }
}

/** Runs a program to its end. Never throws because of the program: look at the result, or use runOk. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const start = performance.now();
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true, // its own group: the time limit must reach its children as well
    });
    const forget = atExit(() => {
      killGroup(child, 'SIGKILL');
    });
    let stdout = '';
    let stderr = '';
    let timedOut = false;
    let settled = false;
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup(child, 'SIGKILL');
    }, options.timeoutMs ?? 60_000);
    const finish = (code: number, signal: NodeJS.Signals | null): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      forget();
      const command = [program, ...args].join(' ');
      resolve({ command, code, signal, stdout, stderr, timedOut, ms: performance.now() - start });
    };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      options.onStdout?.();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.stdin.on('error', () => undefined); // it may end without reading its input
    child.stdin.end(options.input ?? '');
    child.on('error', (error) => {
      stderr += error.message;
      finish(-1, null);
    });
    child.on('close', (code, signal) => {
      finish(code ?? -1, signal);
    });
  });
}

/** One paragraph that says what a program did, for failure messages. */
export function describeRun(result: RunResult): string {
  const how = result.timedOut ? 'time limit' : result.signal ? `signal ${result.signal}` : `status ${result.code}`;
  const tail = (text: string): string => (text.length > 4000 ? `…${text.slice(-4000)}` : text);
  return `${result.command}\n${how} after ${Math.round(result.ms)} ms\n${tail(result.stdout)}${tail(result.stderr)}`;
}

/** Runs a program that has to succeed; throws with everything it said otherwise. */
export async function runOk(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const result = await run(program, args, options);
  if (result.code !== 0 || result.timedOut) throw new Error(describeRun(result));
  return result;
}
