// Boots a small Debian guest under QEMU's software emulation and runs one test script in it. The guest sees the host's
// loopback interface as 10.0.2.2, so a target on 127.0.0.1 needs no network set-up; neither KVM nor root is needed once
// the packages are there.
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { Readable, Writable } from 'node:stream';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { needsAll } from '../support/needs.ts';
import { killGroup, run } from '../support/process.ts';
import { projectFile } from '../support/project.ts';

/** How the guest sees 127.0.0.1 of the host. */
export const HOST_ADDRESS = '10.0.2.2';

/** Bytes of what is added to the prepared image. */
const MAX_OVERLAY = 64 * 1_048_576;

export interface PreparedGuest {
  kernel: string;
  initramfs: string;
}

/**
 * Has setup.sh make kernel and initramfs; takes a second when they are there already. Returns the reason to skip when
 * that is not possible on this machine (not Debian, packages missing, no mirror).
 */
export async function prepareGuest(): Promise<PreparedGuest | { skip: string }> {
  const missing = needsAll(['bash', 'bash'], ['cpio', 'cpio'], ['qemu-system-x86_64', 'qemu-system-x86']);
  const isRoot = process.getuid?.() === 0;
  if (missing && !isRoot) return { skip: missing };
  const setup = await run('bash', [projectFile('test', 'guest', 'setup.sh')], { timeoutMs: 600_000 });
  const folder = /^prepared (.*)$/m.exec(setup.stdout)?.[1];
  if (setup.code !== 0 || folder === undefined) {
    return { skip: `the guest cannot be prepared: ${setup.stderr.trim().split('\n').at(-1) ?? 'setup.sh failed'}` };
  }
  return { kernel: join(folder, 'vmlinuz'), initramfs: join(folder, 'initramfs.cpio') };
}

export interface GuestScript {
  /** A file of test/guest/. */
  script: string;
  /** Environment of the script; GUEST_IQN sets the initiator name. */
  env?: Readonly<Record<string, string>>;
  /** More files for the root of its file system: name there, path here. */
  files?: Readonly<Record<string, string>>;
}

export interface BootOptions {
  /** Called when the script says `host NAME`; the script goes on when it is done, and sees whether it threw. */
  on?: Readonly<Record<string, () => unknown>>;
  /** More arguments for QEMU. */
  qemu?: readonly string[];
  /** Words before QEMU, such as `ip netns exec NAME`. */
  wrapper?: readonly string[];
  /** Its network instead of one with the loopback interface of the host. */
  netdev?: string;
  /** Called with every line of the console. */
  onLine?: (line: string) => void;
  /** Milliseconds for everything; 170 s when absent. */
  timeoutMs?: number;
}

export interface GuestResult {
  /** The script's exit status; undefined when the guest ended without one (panic, time limit). */
  status: number | undefined;
  timedOut: boolean;
  /** The names of the checks that came out as expected. */
  passed: string[];
  /** The names of those that did not, with what they printed. */
  failed: string[];
  /** Everything on the console, with the seconds since QEMU started. */
  log: string[];
}

/** The kernel command line: boot time under emulation, and a panic ends QEMU instead of looping. */
export const KERNEL_ARGUMENTS =
  'console=ttyS0 panic=-1 quiet mitigations=off nokaslr tsc=reliable audit=0 random.trust_cpu=on';

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/**
 * The initramfs with the script added as /test.sh. The kernel unpacks concatenated archives one after the other, so the
 * prepared image stays as it is.
 */
export function initramfsWith(guest: PreparedGuest, script: GuestScript): Buffer {
  const folder = temporaryFolder('overlay');
  try {
    copyFileSync(projectFile('test', 'guest', script.script), join(folder.path, 'test.sh'));
    copyFileSync(projectFile('test', 'guest', 'guest-lib.sh'), join(folder.path, 'guest-lib.sh'));
    const params = Object.entries(script.env ?? {}).map(([name, value]) => `${name}=${quote(value)}\n`);
    writeFileSync(join(folder.path, 'params'), params.join(''));
    for (const [name, path] of Object.entries(script.files ?? {})) copyFileSync(path, join(folder.path, name));
    const names = execFileSync('find', ['.', '-print0'], { cwd: folder.path });
    const overlay = execFileSync('cpio', ['--quiet', '--null', '-o', '-H', 'newc', '-R', '0:0'], {
      cwd: folder.path,
      input: names,
      maxBuffer: MAX_OVERLAY,
    });
    return Buffer.concat([readFileSync(guest.initramfs), overlay]);
  } finally {
    folder.remove();
  }
}

/** What the console of a guest says, and who answers there. */
export interface ConsoleStreams {
  readonly outputs: readonly (Readable | null)[];
  readonly input: Writable | null;
}

export class Console {
  readonly result: GuestResult = { status: undefined, timedOut: false, passed: [], failed: [], log: [] };
  readonly #start = performance.now();
  readonly #input: Writable | null;
  readonly #on: NonNullable<BootOptions['on']>;
  readonly #onLine: NonNullable<BootOptions['onLine']>;
  #failing = false;

  constructor({ outputs, input }: ConsoleStreams, { on = {}, onLine = () => undefined }: BootOptions) {
    this.#input = input;
    this.#on = on;
    this.#onLine = onLine;
    for (const stream of outputs) {
      let rest = '';
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) this.#line(line.replaceAll('\r', ''));
      });
      stream?.on('end', () => {
        if (rest !== '') this.#line(rest);
      });
    }
    input?.on('error', () => undefined); // a hook may answer after the guest is gone
  }

  #line(said: string): void {
    const seconds = ((performance.now() - this.#start) / 1000).toFixed(2).padStart(7);
    this.result.log.push(`${seconds} ${said}`);
    this.#onLine(said);
    // What follows a failed check, indented, is what it printed.
    const { failed } = this.result;
    if (this.#failing && said.startsWith('    ')) {
      failed.push(`${failed.pop() ?? ''}\n${said}`);
      return;
    }
    this.#failing = false;
    const [, word, text = ''] = /@@(OK|BAD|EXIT|HOST) (.*)$/.exec(said) ?? [];
    if (word === 'OK') this.result.passed.push(text);
    if (word === 'EXIT') this.result.status = Number(text);
    if (word === 'HOST') void this.#hook(text.trim());
    if (word === 'BAD') {
      failed.push(text);
      this.#failing = true;
    }
  }

  async #hook(name: string): Promise<void> {
    let status = 0;
    try {
      const hook = this.#on[name];
      if (hook === undefined) throw new Error('no such function');
      await hook();
    } catch (error) {
      status = 1;
      this.result.failed.push(`host ${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
    this.#input?.write(`done ${name} ${status}\n`);
  }
}

/** Runs QEMU with a serial console on our side until it ends; `args` say what it boots. */
export async function boot(args: readonly string[], options: BootOptions = {}): Promise<GuestResult> {
  const [program = '', ...qemu] = [
    ...(options.wrapper ?? []),
    'qemu-system-x86_64',
    ...['-M', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '1', '-m', '768'],
    ...['-nodefaults', '-display', 'none', '-serial', 'stdio', '-no-reboot'],
    ...['-netdev', options.netdev ?? 'user,id=net0,ipv6=off', '-device', 'virtio-net-pci,romfile=,netdev=net0'],
    ...args,
    ...(options.qemu ?? []),
  ];
  const vm = spawn(program, qemu, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  const forget = atExit(() => {
    killGroup(vm, 'SIGKILL');
  });
  const { result } = new Console({ outputs: [vm.stdout, vm.stderr], input: vm.stdin }, options);
  const timer = setTimeout(() => {
    result.timedOut = true;
    killGroup(vm, 'SIGKILL');
  }, options.timeoutMs ?? 170_000);
  await new Promise<void>((resolve, reject) => {
    vm.once('error', reject);
    vm.once('close', () => {
      resolve();
    });
  }).finally(() => {
    clearTimeout(timer);
    forget();
  });
  return result;
}

/** Boots the prepared guest with the kernel given to QEMU directly, and runs the script. */
export async function runGuest(
  guest: PreparedGuest,
  script: GuestScript,
  options: BootOptions = {},
): Promise<GuestResult> {
  const folder = temporaryFolder('guest');
  try {
    const initrd = join(folder.path, 'initrd');
    writeFileSync(initrd, initramfsWith(guest, script));
    return await boot(['-kernel', guest.kernel, '-initrd', initrd, '-append', KERNEL_ARGUMENTS], options);
  } finally {
    folder.remove();
  }
}

/** Throws unless the script said status 0 and all of `checks` passed; the message has the failures and the console. */
export function assertGuest(result: GuestResult, checks: readonly string[] = []): void {
  const absent = checks.filter((name) => !result.passed.includes(name));
  if (result.status === 0 && result.failed.length === 0 && absent.length === 0) return;
  const how = result.timedOut ? 'time limit' : `status ${result.status ?? 'none (panic or QEMU failure)'}`;
  const parts = [`guest: ${how}`, ...result.failed.map((text) => `FAILED ${text}`)];
  if (absent.length > 0) parts.push(`never passed: ${absent.join('; ')}`);
  throw new Error([...parts, '--- end of the console ---', ...result.log.slice(-60)].join('\n'));
}
