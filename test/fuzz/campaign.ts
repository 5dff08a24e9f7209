// Rubbish of every kind against the real server over real sockets. Whatever is sent on one connection, another session goes
// on working, its data stays as it was, and memory stays bounded.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { LogicalUnit } from '../../core/scsi/logical-unit.ts';
import type { ReservationStore } from '../../core/scsi/reservations/store.ts';
import { SENSE } from '../../core/scsi/sense.ts';
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import { Initiator } from '../support/initiator.ts';
import type { LoginOptions } from '../support/initiator.ts';
import type { Initiator as Host } from '../support/scsi-fixture.ts';
import { describeSense, scsiFixture } from '../support/scsi-fixture.ts';
import { COMMANDS, IQN, startTarget } from '../support/target.ts';
import type { TestTarget } from '../support/target.ts';
import { COPY_VECTORS } from '../vectors/cdb-copy.ts';
import { ODX_VECTORS } from '../vectors/cdb-odx.ts';
import { RESERVATION_VECTORS } from '../vectors/cdb-reservations.ts';
import { SBC_VECTORS } from '../vectors/cdb-sbc.ts';
import { SPC_VECTORS } from '../vectors/cdb-spc.ts';

const HOST = '127.0.0.1';
const TUR = Buffer.alloc(6);
const GUARD_BLOCKS = 64;
const RUNS = 1_000_000;

/** APTPL is possible, and forgotten. */
const reservationStore: ReservationStore = { load: () => undefined, save: () => Promise.resolve() };

export interface Campaign {
  readonly seed: number;
  /** Milliseconds for each kind. */
  readonly time: number;
}

/** The target under attack, and a session on a LUN of its own that must not notice. */
export class Arena {
  readonly target: TestTarget;
  readonly #witness: Initiator;
  readonly #pattern = Buffer.from(Array.from({ length: GUARD_BLOCKS * 512 }, (_, i) => (i * 37) & 0xff));

  private constructor(target: TestTarget, witness: Initiator) {
    this.target = target;
    this.#witness = witness;
  }

  static async open(): Promise<Arena> {
    const volumes = [new MemoryVolume(8 * 1_048_576), new MemoryVolume(1_048_576)];
    const target = await startTarget({ volumes, reservationStore });
    const witness = await Initiator.login(HOST, target.port, {
      target: IQN,
      initiator: 'iqn.2026-11.org.example:witness',
    });
    const arena = new Arena(target, witness);
    await witness.scsi(TUR, { lun: 1 });
    await witness.scsi(Buffer.from([0x2a, 0, 0, 0, 0, 0, 0, 0, GUARD_BLOCKS, 0]), { lun: 1, write: arena.#pattern });
    return arena;
  }

  async close(): Promise<void> {
    this.#witness.destroy();
    await this.target.close();
  }

  /** The witness reads its data; unit attentions that the attack may cause are expected. */
  async check(): Promise<void> {
    const cdb = Buffer.from([0x28, 0, 0, 0, 0, 0, 0, 0, GUARD_BLOCKS, 0]);
    for (let tries = 0; tries < 8; tries++) {
      const answer = await this.#witness.scsi(cdb, { lun: 1, read: this.#pattern.length });
      if (answer.senseCode.startsWith('06/')) continue;
      assert.equal(answer.status, 0);
      assert.ok(answer.data.equals(this.#pattern), 'the data of another session has changed');
      return;
    }
    assert.fail('the witness gets nothing but unit attentions');
  }

  /** Undoes what random commands leave behind on LUN 0: a stopped unit, write protection, reservations. */
  async restore(): Promise<void> {
    const lu = this.target.units[0];
    assert.ok(lu !== undefined);
    lu.setNotReady(undefined);
    lu.reset(SENSE.busDeviceReset);
    await lu.reservations.change(() => {
      lu.reservations.setPersistent(false);
      lu.reservations.setReservation(undefined);
      for (const { nexus } of lu.reservations.registrations) lu.reservations.unregister(nexus);
    });
  }

  login(options: Partial<LoginOptions> = {}): Promise<Initiator> {
    const names = { target: IQN, initiator: 'iqn.2026-11.org.example:fuzz' };
    return Initiator.login(HOST, this.target.port, { ...names, ...options });
  }
}

/**
 * Runs a property for the time of the campaign, from its seed. When time is up fast-check no longer waits for the one that
 * runs, but its sessions are still in use: so it is waited for here, and has to hold too.
 */
export async function run<T>(
  { seed, time }: Campaign,
  arbitrary: fc.Arbitrary<T>,
  property: (value: T) => Promise<void>,
): Promise<void> {
  let last = Promise.resolve();
  await fc.assert(
    fc.asyncProperty(arbitrary, (value) => (last = property(value))),
    {
      seed,
      numRuns: RUNS,
      interruptAfterTimeLimit: time,
      markInterruptAsFailure: false,
      endOnFailure: true,
    },
  );
  await last;
}

const bytes = (minLength: number, maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength, maxLength }).map((each) => Buffer.from(each));

/** CDBs: known opcodes with random fields, and pure rubbish. SANITIZE is left out: it would lock the LUN for seconds. */
const opcodes = COMMANDS.specs.map((spec) => spec.opcode).filter((opcode) => opcode !== 0x48);
const cdbs = fc.oneof(
  fc
    .tuple(fc.constantFrom(...opcodes), bytes(15, 15))
    .map(([opcode, rest]) => Buffer.concat([Buffer.from([opcode]), rest])),
  fc
    .tuple(fc.constantFrom(...COMMANDS.specs.filter((spec) => spec.opcode !== 0x48)), bytes(16, 16))
    .map(([spec, noise]) => {
      const cdb = Buffer.alloc(16);
      spec.cdbUsage.forEach((mask, i) => (cdb[i] = (noise[i] ?? 0) & mask & (i > 1 && i < 9 ? 0x0f : 0xff)));
      cdb[0] = spec.opcode;
      if (spec.serviceAction !== undefined) cdb[1] = ((cdb[1] ?? 0) & 0xe0) | spec.serviceAction;
      return cdb;
    }),
  bytes(16, 16).filter((cdb) => cdb[0] !== 0x48),
);
/** Golden CDBs with their data, of which a few bytes are changed: they get further than noise does. */
const VECTORS = [...SPC_VECTORS, ...SBC_VECTORS, ...RESERVATION_VECTORS, ...COPY_VECTORS, ...ODX_VECTORS].flatMap(
  ({ row, vectors }) => vectors.map((vector) => ({ row, ...vector })),
);
const hexOf = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const changes = fc.array(fc.tuple(fc.nat({ max: 4096 }), fc.integer({ min: 0, max: 255 })), { maxLength: 3 });
const changed = (bytesOf: Buffer, list: readonly (readonly [number, number])[]): Buffer => {
  for (const [at, value] of list) if (bytesOf.length > 0) bytesOf[at % bytesOf.length] = value;
  return bytesOf;
};
const nearly = fc
  .tuple(fc.constantFrom(...VECTORS.filter(({ cdb }) => !cdb.startsWith('48'))), changes, changes)
  .map(([{ cdb, data }, inCdb, inData]) => ({
    cdb: changed(Buffer.concat([hexOf(cdb), Buffer.alloc(16)]).subarray(0, 16), inCdb),
    data: data === undefined ? undefined : changed(hexOf(data), inData),
  }))
  .filter(({ cdb }) => cdb[0] !== 0x48);
const noise = fc.record({ cdb: cdbs, data: fc.option(bytes(0, 2048), { nil: undefined }) });

const STATUSES = [0x00, 0x02, 0x04, 0x08, 0x18, 0x28, 0x40];

/** Random commands with random data: every one is answered with a status of the standard. */
export async function fuzzCommands(arena: Arena, campaign: Campaign): Promise<void> {
  let initiator = await arena.login();
  let count = 0;
  const shape = fc.record({
    command: fc.oneof(noise, nearly),
    read: fc.option(fc.integer({ min: 0, max: 70_000 }), { nil: undefined }),
    lun: fc.constantFrom(0, 0, 0, 3, 255),
    attribute: fc.integer({ min: 0, max: 7 }),
  });
  await run(campaign, shape, async ({ command, read, lun, attribute }) => {
    const { cdb, data: write } = command;
    if (initiator.isClosed) initiator = await arena.login();
    const options = {
      lun,
      attribute,
      // One direction at a time: with both, the one length of the header would contradict one of them.
      ...(read === undefined || write !== undefined ? {} : { read }),
      ...(write === undefined ? {} : { write }),
    };
    const answer = await initiator.scsi(cdb, options);
    assert.ok(STATUSES.includes(answer.status), `status ${String(answer.status)}`);
    assert.notEqual(answer.senseCode, '04/44/00', `an internal failure: ${cdb.toString('hex')}`);
    if (++count % 50 === 0) await arena.restore();
    if (count % 500 === 0) await arena.check();
  });
  initiator.destroy();
  await arena.restore();
  await arena.check();
}

/** PDUs with damaged headers, wrong lengths, cut short, or made of noise. The connection may end; nothing else may. */
export async function fuzzPdus(arena: Arena, campaign: Campaign): Promise<void> {
  const damage = fc.record({
    loggedIn: fc.boolean(),
    opcode: fc.integer({ min: 0, max: 255 }),
    flips: fc.array(fc.tuple(fc.integer({ min: 0, max: 47 }), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
    data: bytes(0, 200),
    lie: fc.option(fc.integer({ min: 0, max: 0xff_ffff }), { nil: undefined }),
    cut: fc.option(fc.integer({ min: 1, max: 60 }), { nil: undefined }),
  });
  let count = 0;
  await run(campaign, damage, async ({ loggedIn, opcode, flips, data, lie, cut }) => {
    const initiator = loggedIn ? await arena.login() : await Initiator.connect(HOST, arena.target.port);
    try {
      const header = initiator.command(TUR, { flags: 0xa1, length: data.length });
      header[0] = opcode;
      for (const [at, value] of flips) header[at] = value;
      const pdu = initiator.pdu(header, data);
      // TARGET COLD RESET ends all sessions of the target, as it should (RFC 7143 §11.5.1): see wire-campaign.ts.
      if (((pdu[0] ?? 0) & 0x3f) === 0x02 && ((pdu[1] ?? 0) & 0x7f) === 0x07) return;
      if (lie !== undefined) pdu.writeUIntBE(lie, 5, 3);
      initiator.raw(cut === undefined ? pdu : pdu.subarray(0, cut));
      initiator.socket.end();
      await initiator.closed;
    } finally {
      initiator.destroy();
    }
    if (++count % 20 === 0) await arena.check();
  });
  await arena.check();
}

/** Login text of every kind: each request is answered or ends the connection, quickly. */
export async function fuzzLogin(arena: Arena, campaign: Campaign): Promise<void> {
  const key = fc.constantFrom(
    ...[
      'InitiatorName',
      'TargetName',
      'SessionType',
      'AuthMethod',
      'HeaderDigest',
      'MaxBurstLength',
      'CHAP_A',
      'CHAP_R',
      'X',
    ],
  );
  const text = fc.oneof(
    fc
      .array(fc.tuple(key, fc.string({ maxLength: 30 })), { maxLength: 8 })
      .map((pairs) => Buffer.from(pairs.map(([k, v]) => `${k}=${v}\0`).join(''))),
    bytes(0, 300),
  );
  const request = fc.record({
    flags: fc.integer({ min: 0, max: 255 }),
    text,
    tsih: fc.constantFrom(0, 0, 0, 1, 65_535),
  });
  let count = 0;
  await run(campaign, fc.array(request, { minLength: 1, maxLength: 6 }), async (requests) => {
    const initiator = await Initiator.connect(HOST, arena.target.port);
    for (const { flags, text: data, tsih } of requests) initiator.send(initiator.loginHeader(flags, tsih), data);
    initiator.socket.end();
    await initiator.closed;
    initiator.destroy();
    if (++count % 50 === 0) await arena.check();
  });
  await arena.check();
}

/** Copies in the background are told to end, and do. */
async function copiesEnd({ copies, locks, tasks }: LogicalUnit): Promise<void> {
  copies.abortAll();
  // One turn at least: a copy in the background may not have begun.
  for (let turn = 0; turn === 0 || (turn < 50 && !(locks.idle && tasks.running === 0)); turn++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** CDBs of one session; at least so many whatever the time. */
const MANY = 10_000;

/** 10,000 random CDBs without a network between: each has a status, correct sense or data within what was asked for. */
export async function fuzzDispatch(seed: number): Promise<void> {
  const shape = fc.record({ command: fc.oneof(noise, nearly), attribute: fc.integer({ min: 0, max: 4 }) });
  const fixture = scsiFixture({ commands: COMMANDS.specs, physicalBlockSize: 4096, reservationStore });
  let host: Host = fixture.login();
  let count = 0;
  const check = async (each: { command: { cdb: Buffer; data: Buffer | undefined }; attribute: number }) => {
    const { cdb, data } = each.command;
    const { attribute } = each;
    const result = await host.run(cdb, data === undefined ? { attribute } : { data, attribute });
    assert.ok(STATUSES.includes(result.status), `status ${String(result.status)}`);
    // With GOOD only COMPLETED, which G_SENSE of EXTENDED COPY asks for.
    const completed = result.status === 0x00 && describeSense(result.sense ?? Buffer.alloc(18)).startsWith('0F/00/20');
    assert.equal(result.sense !== undefined, result.status === 0x02 || completed, 'sense with CHECK CONDITION only');
    if (result.sense !== undefined) {
      // An internal failure would be a defect: nothing here can break.
      assert.notEqual(result.sense[(result.sense[0] ?? 0) & 2 ? 2 : 12], 0x44, result.sense.toString('hex'));
      assert.equal(result.sense[7], result.sense.length - 8, 'ADDITIONAL SENSE LENGTH');
    }
    await copiesEnd(fixture.lu);
    assert.equal(fixture.lu.locks.idle, true, 'a range lock is left');
    assert.equal(fixture.lu.tasks.running, 0, 'a task is left');
    // What is left behind (a stopped unit, a reservation) must not hide the rest.
    if (++count % 50 !== 0) return;
    fixture.lu.setNotReady(undefined);
    fixture.lu.reset(SENSE.busDeviceReset);
    fixture.logout(host);
    host = fixture.login();
  };
  await fc.assert(fc.asyncProperty(shape, check), { seed, numRuns: MANY, endOnFailure: true });
  assert.ok(count >= MANY);
}

/** Data-out of every length up to complete, for every vector that must have all of it: never GOOD. */
export async function cutParameterLists(arena: Arena): Promise<void> {
  await arena.restore();
  const initiator = await arena.login();
  await initiator.scsi(TUR);
  const vectors = VECTORS.filter(({ whole }) => whole === true);
  assert.ok(vectors.length > 10);
  for (const { row, cdb, data } of vectors) {
    const list = hexOf(data ?? '');
    for (let length = 0; length < list.length; length++) {
      const answer = await initiator.scsi(hexOf(cdb), { write: list.subarray(0, length) });
      // RESERVATION CONFLICT: not registered, which is looked at first.
      const refused = answer.status === 0x18 || answer.senseCode.startsWith('05/');
      assert.ok(refused, `${row}, ${String(length)} bytes: ${String(answer.status)} ${answer.senseCode}`);
    }
  }
  initiator.destroy();
  await arena.check();
}

/** Logins of all kinds at once: good ones, wrong ones, broken off ones, and the same initiator port again and again. */
export async function loginFlood(arena: Arena, seed: number, count = 400): Promise<void> {
  const kinds = fc.sample(fc.constantFrom('good', 'same', 'wrong', 'cut', 'silent'), { seed, numRuns: count });
  const open: Initiator[] = [];
  const one = async (kind: string, number: number): Promise<void> => {
    const initiator = await Initiator.connect(HOST, arena.target.port);
    open.push(initiator);
    const isid = kind === 'same' ? '800000000001' : number.toString(16).padStart(12, '0');
    const name = `iqn.2026-11.org.example:flood`;
    if (kind === 'silent') return;
    if (kind === 'cut') {
      initiator.raw(initiator.pdu(initiator.loginHeader(0x87), Buffer.alloc(100, 'A')).subarray(0, 60));
      return;
    }
    const target = kind === 'wrong' ? `${IQN}-none` : IQN;
    // Refused, or ended by the next login of the same port: both are answers.
    await initiator.login({ target, initiator: name, isid }).catch(() => undefined);
  };
  await Promise.all(kinds.map(one));
  await arena.check();
  const sessions = arena.target.server.sessions().filter(({ initiator }) => initiator.endsWith(':flood'));
  const expected = kinds.filter((kind) => kind === 'good').length + (kinds.includes('same') ? 1 : 0);
  assert.ok(sessions.length <= expected, `${String(sessions.length)} sessions of ${String(expected)}`);
  for (const each of open) each.destroy();
  await Promise.all(open.map((each) => each.closed));
  await arena.check();
}
