// A host with a path to every node, as a multipath driver has it: it prefers the Active/Optimized path (SPC-4 5.15.2.4), gives
// up a path that says nothing, repeats its command on another one until it is done, and logs in again on those it gave up.
import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { Opcode, RESERVED_TAG } from '../../core/iscsi/wire/constants.ts';
import { Initiator } from './initiator.ts';
import type { LoginOptions, ScsiAnswer } from './initiator.ts';

/** Milliseconds between pings on a path that owes an answer, and in which something has to come: recommended to Linux hosts. */
const PING = 500;
const SILENCE = 2_000;
/** Milliseconds a login may take, between two attempts to log in, and before a command is repeated that was told to wait. */
const LOGIN = 2_000;
const REVIVE = 500;
const REPEAT = 50;
/** Milliseconds a command may take on one path, and with all its repetitions. */
const COMMAND = 30_000;
const PATIENCE = 90_000;

const INQUIRY_DEVICE_IDENTIFICATION = Buffer.from([0x12, 1, 0x83, 1, 0, 0]);
const REPORT_TARGET_PORT_GROUPS = Buffer.from([0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
const ACTIVE_OPTIMIZED = 0;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const isGood = ({ status }: ScsiAnswer): boolean => status === 0;

/** BUSY, TASK SET FULL, TASK ABORTED (SAM-5 5.3.1), and what says "not here, not now": another path, or later. */
const isPassing = ({ status, senseCode }: ScsiAnswer): boolean =>
  [0x08, 0x28, 0x40].includes(status) || /^(06\/|0b\/|02\/04\/)/i.test(senseCode);

export interface PathAddress {
  readonly host: string;
  readonly port: number;
}

export interface PathHostOptions {
  readonly paths: readonly PathAddress[];
  readonly target: string;
  readonly lun: number;
  readonly initiator: string;
  /** Different for every host of one name: sessions with the same ISID replace each other. */
  readonly number: number;
}

/** One path: at most one session, at most one command. */
class Path {
  optimized = false;
  readonly #address: PathAddress;
  readonly #login: LoginOptions;
  readonly #lun: number;
  #session: Initiator | undefined;
  #heard = 0;
  #nextLogin = 0;
  #reviving = false;
  #nextCheck = 0;
  #checking = false;

  constructor(address: PathAddress, login: LoginOptions, lun: number) {
    this.#address = address;
    this.#login = login;
    this.#lun = lun;
  }

  get up(): boolean {
    return this.#session?.isClosed === false;
  }

  /** It may be given a command. */
  get ready(): boolean {
    return this.up && !this.#checking;
  }

  /** Looks what kind of path it is; takes no commands meanwhile. */
  check(): void {
    const session = this.#session;
    if (session === undefined || !this.ready || performance.now() < this.#nextCheck) return;
    this.#checking = true;
    void this.look(session)
      .catch(() => {
        this.close();
      })
      .finally(() => {
        this.#checking = false;
        this.#nextCheck = performance.now() + REVIVE;
      });
  }

  /** Begins to log in unless it is logged in, or just tried. */
  revive(): void {
    if (this.up || this.#reviving || performance.now() < this.#nextLogin) return;
    this.#reviving = true;
    void this.#open().finally(() => {
      this.#reviving = false;
      this.#nextLogin = performance.now() + REVIVE;
    });
  }

  close(): void {
    this.#session?.destroy();
    this.#session = undefined;
    this.optimized = false;
  }

  /** Carries a command out. Undefined: the path is lost, and nobody knows what became of it. */
  async command(cdb: Buffer, data: { read?: number; write?: Buffer }): Promise<ScsiAnswer | undefined> {
    const session = this.#session;
    if (session === undefined) return undefined;
    const start = (this.#heard = performance.now());
    const watch = setInterval(() => {
      const now = performance.now();
      if (now - this.#heard > SILENCE || now - start > COMMAND) session.destroy();
      else ping(session);
    }, PING);
    try {
      const answer = await session.scsi(cdb, { ...data, lun: this.#lun, timeout: COMMAND });
      // The owner is another one (SPC-4 5.15.2.5).
      if (/^06\/2a\/06$/i.test(answer.senseCode)) await this.look(session);
      return answer;
    } catch {
      this.close();
      return undefined;
    } finally {
      clearInterval(watch);
    }
  }

  /** Reads what kind of path it is. */
  async look(session: Initiator): Promise<void> {
    const ask = async (cdb: Buffer): Promise<Buffer> => {
      for (;;) {
        const answer = await session.scsi(cdb, { lun: this.#lun, read: 256, timeout: SILENCE });
        if (isGood(answer)) return answer.data;
        assert.ok(isPassing(answer), `a path that cannot be asked: ${answer.senseCode}`);
      }
    };
    const group = groupOf(await ask(INQUIRY_DEVICE_IDENTIFICATION));
    this.optimized = stateOf(await ask(REPORT_TARGET_PORT_GROUPS), group) === ACTIVE_OPTIMIZED;
  }

  async #open(): Promise<void> {
    const socket = createConnection({ ...this.#address, noDelay: true });
    const giveUp = setTimeout(() => socket.destroy(new Error('no login in time')), LOGIN);
    socket.on('error', () => undefined);
    try {
      const session = await Initiator.over(socket);
      socket.on('data', () => (this.#heard = performance.now()));
      await session.login(this.#login);
      await this.look(session);
      this.#session = session;
    } catch {
      socket.destroy();
    } finally {
      clearTimeout(giveUp);
    }
  }
}

export class PathHost {
  readonly #paths: readonly Path[];
  #current: Path | undefined;
  /** Milliseconds the slowest command took since this was set to 0. */
  longest = 0;

  constructor({ paths, target, lun, initiator, number }: PathHostOptions) {
    this.#paths = paths.map((address, i) => {
      const isid = `80${(number * 16 + i).toString(16).padStart(10, '0')}`;
      return new Path(address, { target, initiator, isid }, lun);
    });
  }

  close(): void {
    for (const path of this.#paths) path.close();
  }

  /** Repeats a command until it is done. Rejects for an error that no host would repeat, or after {@link PATIENCE}. */
  async command(cdb: Buffer, data: { read?: number; write?: Buffer }, only?: number): Promise<ScsiAnswer> {
    const start = performance.now();
    let last = 'no path';
    while (performance.now() - start < PATIENCE) {
      const path = only === undefined ? this.#choose() : this.#paths[only];
      if (path?.ready !== true) {
        path?.revive();
        await pause(REPEAT);
        continue;
      }
      const answer = await path.command(cdb, data);
      if (answer === undefined || !isGood(answer)) {
        last = answer === undefined ? 'a lost path' : `${answer.status.toString(16)} ${answer.senseCode}`;
        assert.ok(answer === undefined || isPassing(answer), `the host saw an error: ${last}`);
        const elsewhere = answer === undefined || answer.senseCode.startsWith('02/');
        if (elsewhere) this.#avoid(path);
        if (answer?.senseCode.startsWith('06/') !== true) await pause(REPEAT);
        continue;
      }
      this.longest = Math.max(this.longest, performance.now() - start);
      return answer;
    }
    throw new Error(`a command was not done within ${PATIENCE} ms: ${last}`);
  }

  /** The path for the next command. Beside it those that are down log in, and are looked at while a better one is wanted. */
  #choose(): Path | undefined {
    for (const path of this.#paths) {
      path.revive();
      if (path !== this.#current && this.#current?.optimized !== true) path.check();
    }
    const ready = this.#paths.filter((path) => path.ready);
    if (this.#current?.ready !== true || !this.#current.optimized) {
      this.#current =
        ready.find(({ optimized }) => optimized) ?? (this.#current?.ready === true ? this.#current : ready[0]);
    }
    return this.#current;
  }

  /** The next command goes another way, if there is one. */
  #avoid(path: Path): void {
    path.optimized = false;
    const others = this.#paths.filter((each) => each !== path && each.ready);
    this.#current = others.find(({ optimized }) => optimized) ?? others[0] ?? this.#current;
  }
}

/** An immediate NOP-Out that wants an answer (RFC 7143 §11.18). */
function ping(session: Initiator): void {
  const header = session.header(Opcode.nopOut | 0x40, 0x80);
  header.writeUInt32BE(session.itt++, 16);
  header.writeUInt32BE(RESERVED_TAG, 20);
  header.writeUInt32BE(session.cmdSN, 24);
  header.writeUInt32BE(session.expStatSN, 28);
  session.send(header);
}

/** TARGET PORT GROUP of the port that was asked (SPC-4 7.8.6.10: designator type 5h). */
function groupOf(page: Buffer): number {
  for (let at = 4; at + 8 <= page.length; at += 4 + page.readUInt8(at + 3)) {
    if ((page.readUInt8(at + 1) & 0x0f) === 5) return page.readUInt16BE(at + 6);
  }
  throw new Error('a port in no target port group');
}

/** ASYMMETRIC ACCESS STATE of a group (SPC-4 6.37). */
function stateOf(list: Buffer, group: number): number {
  for (let at = 4; at + 8 <= list.length; at += 8 + 4 * list.readUInt8(at + 7)) {
    if (list.readUInt16BE(at + 2) === group) return list.readUInt8(at) & 0x0f;
  }
  throw new Error(`target port group ${group} is not reported`);
}
