// The host as a real one: a Linux guest with open-iscsi and dm-multipath as docs and console recommend, in which test/guest/pattern.c
// writes and checks. QEMU emulates it, so it is slow, and its clock runs as ours does.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { iscsidConf, multipathConf } from '../../core/control/profile-files.ts';
import { assertGuest, prepareGuest, runGuest } from '../guest/guest.ts';
import type { GuestResult } from '../guest/guest.ts';
import { temporaryFolder } from '../support/cleanup.ts';
import { needs } from '../support/needs.ts';
import { runOk } from '../support/process.ts';
import { projectFile } from '../support/project.ts';
import type { MachinePlace } from '../support/switch.ts';
import type { FaultHost } from './fault-host.ts';

/** Writers, and blocks of 4 KiB each of them has. */
const [THREADS, BLOCKS] = [4, 512];
/** Writes after which it is said to go on, and milliseconds an I/O may take by then. */
const [SOME, SOON] = [40, 1_000];
/** Milliseconds for whatever a guest should do within seconds, and for all rounds of a run. */
const PATIENCE = 150_000;
const ALL = 3 * 3_600_000;

export interface GuestHostOptions {
  readonly machine: MachinePlace;
  readonly target: string;
  readonly portals: readonly string[];
  readonly initiator: string;
  readonly rounds: number;
  /** One round, while the guest writes. */
  readonly round: (host: FaultHost) => Promise<void>;
  /** Before each round. */
  readonly ready: () => Promise<void>;
  readonly progress: (line: string) => void;
}

/** Resolves when the guest has gone through all rounds. Rejects when one of them did, or the guest has seen what it must not. */
export async function withGuestHost(options: GuestHostOptions): Promise<GuestResult> {
  const missing = needs('gcc', 'gcc libc6-dev');
  const guest = await prepareGuest();
  const skip = missing || ('skip' in guest && guest.skip);
  if (skip !== false || 'skip' in guest) throw new Error(String(skip));
  const folder = temporaryFolder('pattern');
  try {
    return await rounds(options, guest, await buildPattern(folder.path));
  } finally {
    folder.remove();
  }
}

async function rounds(
  { machine, target, portals, initiator, rounds: count, round, ready, progress }: GuestHostOptions,
  guest: Parameters<typeof runGuest>[0],
  pattern: string,
): Promise<GuestResult> {
  const console = new PatternConsole(progress);
  let failure: unknown;
  const guarded = (work: () => Promise<void>) => async () => {
    try {
      await work();
    } catch (error) {
      failure ??= error;
      throw error;
    }
  };
  const [first = '', second = ''] = portals;
  const result = await runGuest(
    guest,
    {
      script: 'faults.sh',
      files: { pattern },
      env: {
        ...{ GUEST_IQN: initiator, IQN: target, PORTAL_A: first, PORTAL_B: second, ADDRESS: machine.host },
        // The kernel of the guest has no handler for ALUA; multipathd reads the states by itself.
        ...{ ISCSID: iscsidConf().content, MULTIPATH: multipathConf().content.replace(/^ *hardware_handler.*\n/m, '') },
        ...{ ROUNDS: String(count), THREADS: String(THREADS), BLOCKS: String(BLOCKS) },
      },
    },
    {
      ...{ wrapper: machine.wrapper, netdev: machine.netdev, timeoutMs: ALL },
      onLine: (line) => {
        console.line(line);
      },
      on: {
        ready,
        round: guarded(() => round(console)),
        verified: guarded(() => console.verify()),
      },
    },
  );
  if (failure instanceof Error) {
    failure.message += `\n--- end of the console ---\n${result.log.slice(-60).join('\n')}`;
    throw failure;
  }
  assertGuest(result, ['every block as it was written']);
  return result;
}

/** Makes test/guest/pattern.c in this folder; its path. */
export async function buildPattern(folder: string): Promise<string> {
  const pattern = join(folder, 'pattern');
  const source = projectFile('test', 'guest', 'pattern.c');
  await runOk('gcc', ['-O2', '-static', '-pthread', '-o', pattern, source], { timeoutMs: 60_000 });
  return pattern;
}

/** What the guest says of its I/O. */
export class PatternConsole implements FaultHost {
  readonly #progress: (line: string) => void;
  counts = { writes: 0, errors: 0, bad: 0 };
  #oldest = 0;
  #longest = 0;
  #verified = 0;
  #wanted = 0;
  /** Lines with the numbers of I/Os so far. */
  #told = 0;

  constructor(progress: (line: string) => void) {
    this.#progress = progress;
  }

  line(line: string): void {
    const [, word = '', rest = ''] = /@@(SLOW|SUM|ERROR|BADBLOCK|VERIFIED|BAD|T) ?(.*)$/.exec(line) ?? [];
    const [first = 0, second = 0, errors = 0, bad = 0, oldest = 0] = rest.split(' ').map(Number);
    if (word === 'SLOW') this.#longest = Math.max(this.#longest, first);
    else if (word === 'SUM' && Number.isFinite(oldest)) {
      this.counts = { writes: first, errors, bad };
      this.#oldest = oldest;
      this.#longest = Math.max(this.#longest, oldest);
      this.#told++;
    } else if (word === 'VERIFIED') {
      this.#verified++;
      this.counts.bad = second;
    } else if (word !== '') this.#progress(`guest: ${line}`);
  }

  async progress(): Promise<void> {
    const { writes } = this.counts;
    const told = this.#told;
    await this.#until('writes', () => {
      return this.#told > told + 1 && this.counts.writes >= writes + SOME && this.#oldest < SOON;
    });
    const { errors, bad } = this.counts;
    assert.deepEqual({ errors, bad }, { errors: 0, bad: 0 });
  }

  takePause(): number {
    const longest = this.#longest;
    this.#longest = 0;
    return longest;
  }

  async verify(): Promise<void> {
    this.#wanted++;
    await this.#until('has verified its blocks', () => this.#verified >= this.#wanted);
    assert.equal(this.counts.bad, 0, 'blocks that do not hold what was acknowledged');
  }

  end(): Promise<void> {
    return Promise.resolve();
  }

  async #until(what: string, so: () => boolean): Promise<void> {
    for (const end = performance.now() + PATIENCE; !so();) {
      assert.ok(performance.now() < end, `the guest ${what}: not within ${PATIENCE} ms`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
