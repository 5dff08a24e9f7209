// Rubbish of every kind against the real server over real sockets. Whatever is sent on one connection, another session goes
// on working, its data stays as it was, and memory stays bounded.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import { Initiator } from '../support/initiator.ts';
import { COMMANDS, IQN, startTarget } from '../support/target.ts';
import type { TestTarget } from '../support/target.ts';

const HOST = '127.0.0.1';
const TUR = Buffer.alloc(6);
const GUARD_BLOCKS = 64;
const RUNS = 1_000_000;

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
    const target = await startTarget({ volumes: [new MemoryVolume(8 * 1_048_576), new MemoryVolume(1_048_576)] });
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

  login(): Promise<Initiator> {
    return Initiator.login(HOST, this.target.port, { target: IQN, initiator: 'iqn.2026-11.org.example:fuzz' });
  }
}

function run<T>(
  { seed, time }: Campaign,
  arbitrary: fc.Arbitrary<T>,
  property: (value: T) => Promise<void>,
): Promise<void> {
  return fc.assert(fc.asyncProperty(arbitrary, property), {
    seed,
    numRuns: RUNS,
    interruptAfterTimeLimit: time,
    markInterruptAsFailure: false,
    endOnFailure: true,
  });
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
const STATUSES = [0x00, 0x02, 0x04, 0x08, 0x18, 0x28, 0x40];

/** Random commands with random data: every one is answered with a status of the standard. */
export async function fuzzCommands(arena: Arena, campaign: Campaign): Promise<void> {
  let initiator = await arena.login();
  let count = 0;
  const shape = fc.record({
    cdb: cdbs,
    read: fc.option(fc.integer({ min: 0, max: 70_000 }), { nil: undefined }),
    write: fc.option(bytes(0, 3000), { nil: undefined }),
    lun: fc.constantFrom(0, 0, 0, 3, 255),
    attribute: fc.integer({ min: 0, max: 7 }),
  });
  await run(campaign, shape, async ({ cdb, read, write, lun, attribute }) => {
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
    if (++count % 500 === 0) await arena.check();
  });
  initiator.destroy();
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

/** Parameter lists of every length from nothing to complete. */
export async function cutParameterLists(arena: Arena): Promise<void> {
  const lists: [Buffer, Buffer, number][] = [
    [
      Buffer.from([0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
      Buffer.from('0016001000000000000000000000000000000001000000000000', 'hex'),
      7,
    ],
    [Buffer.from([0x5f, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Buffer.alloc(24, 1), 7],
    [
      Buffer.from([0x55, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]),
      Buffer.from('00000000000000000a0a00000000000000000000', 'hex'),
      7,
    ],
    [Buffer.from([0x15, 0x10, 0, 0, 0, 0]), Buffer.from('000000000a0a00000000000000000000', 'hex'), 4],
  ];
  const initiator = await arena.login();
  await initiator.scsi(TUR);
  for (const [cdb, list, lengthAt] of lists) {
    for (let length = 0; length <= list.length; length++) {
      const command = Buffer.from(cdb);
      if (lengthAt === 4) command[4] = length;
      else command.writeUInt16BE(length, lengthAt);
      const answer = await initiator.scsi(command, { write: list.subarray(0, length) });
      assert.ok([0, 2, 0x18].includes(answer.status), `opcode ${String(cdb[0])}, ${String(length)} bytes`);
    }
  }
  initiator.destroy();
  await arena.check();
}
