// Frees space inside a file. Node has no fallocate, so one small shell per open file runs the fallocate program of
// util-linux (which every Debian has) on the inherited descriptor. The daemon itself never forks: with gigabytes of cache
// that would stop it for long. Only numbers travel to the shell.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { MAX_PUNCH, MAX_WAITING_PUNCHES, PUNCH_IDLE } from '../base/limits.ts';

/**
 * `position length` per line in, one exit status per line out. Ctrl-C in a terminal reaches the shell too, but the daemon
 * still needs it while it drains: only the end of its input ends it.
 */
const SCRIPT = [
  "trap '' INT TERM HUP QUIT",
  'while read -r at len; do fallocate -p -o "$at" -l "$len" /proc/self/fd/3 2>/dev/null; echo $?; done',
].join('\n');

interface Request {
  position: number;
  length: number;
  readonly done: ((freed: boolean) => void)[];
}

export class HolePuncher {
  readonly #fd: number;
  #shell: ChildProcess | undefined;
  #unsupported = process.platform !== 'linux';
  #succeeded = false;
  readonly #waiting: Request[] = [];
  #running: Request | undefined;
  #output = '';
  #idle: NodeJS.Timeout | undefined;
  /** Shells that were not needed any more are gone. */
  #ending: Promise<void> = Promise.resolve();

  constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * Frees the range, in bytes. False: this file system cannot, the program is missing, or too many requests wait; nothing
   * has changed then.
   */
  punch(position: number, length: number): Promise<boolean> {
    if (this.#unsupported) return Promise.resolve(false);
    return new Promise((resolve) => {
      const last = this.#waiting.at(-1);
      if (last !== undefined && last.position + last.length === position && last.length + length <= MAX_PUNCH) {
        last.length += length;
        last.done.push(resolve);
      } else if (this.#waiting.length >= MAX_WAITING_PUNCHES) {
        resolve(false);
      } else {
        this.#waiting.push({ position, length, done: [resolve] });
      }
      this.#next();
    });
  }

  /** Waits for what runs, then ends the shell. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const shell = this.#shell;
    if (shell === undefined) this.#unsupported = true;
    else {
      await new Promise<void>((resolve) => {
        shell.once('close', () => {
          resolve();
        });
        shell.stdin?.end();
      });
    }
    await this.#ending;
  }

  /** Nobody wants anything: the shell ends, the next request starts another one. */
  #retire(): void {
    const shell = this.#shell;
    if (shell === undefined || this.#running !== undefined) return;
    this.#shell = undefined;
    this.#output = '';
    const before = this.#ending;
    const ended = new Promise<void>((resolve) => {
      shell.once('close', () => {
        resolve();
      });
    });
    this.#ending = before.then(() => ended);
    shell.stdin?.end();
  }

  #next(): void {
    if (this.#running !== undefined) return;
    clearTimeout(this.#idle);
    const request = this.#waiting.shift();
    if (request === undefined) {
      if (this.#shell === undefined) return;
      this.#idle = setTimeout(() => {
        this.#retire();
      }, PUNCH_IDLE).unref();
      return;
    }
    const shell = this.#start();
    this.#running = request;
    shell.stdin?.write(`${String(request.position)} ${String(request.length)}\n`);
  }

  #start(): ChildProcess {
    if (this.#shell !== undefined) return this.#shell;
    const shell = spawn('/bin/sh', ['-c', SCRIPT], {
      stdio: ['pipe', 'pipe', 'ignore', this.#fd],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    });
    this.#shell = shell;
    shell.stdin?.on('error', () => undefined);
    shell.stdout?.setEncoding('latin1');
    shell.stdout?.on('data', (text: string) => {
      this.#answered(text);
    });
    // A shell that cannot start or dies answers nothing: everybody is told that nothing was freed.
    const gone = (): void => {
      if (this.#shell === shell) this.#giveUp();
    };
    shell.on('error', gone);
    shell.on('close', gone);
    return shell;
  }

  #answered(text: string): void {
    this.#output += text;
    for (;;) {
      const end = this.#output.indexOf('\n');
      if (end < 0) return;
      const freed = this.#output.slice(0, end) === '0';
      this.#output = this.#output.slice(end + 1);
      const request = this.#running;
      this.#running = undefined;
      for (const done of request?.done ?? []) done(freed);
      this.#succeeded ||= freed;
      // A file system that cannot do it never can: no further attempts.
      if (this.#succeeded) this.#next();
      else this.#refuseAll();
    }
  }

  #giveUp(): void {
    this.#shell = undefined;
    this.#refuseAll();
  }

  #refuseAll(): void {
    this.#unsupported = true;
    const left = this.#running === undefined ? [] : [this.#running];
    this.#running = undefined;
    for (const request of [...left, ...this.#waiting.splice(0)]) for (const done of request.done) done(false);
  }
}
