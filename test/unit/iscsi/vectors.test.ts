import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NOP_INTERVAL } from '../../../core/base/limits.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import type { ReceiveMode } from '../../../core/world/node-net.ts';
import { Initiator } from '../../support/initiator.ts';
import { startTarget } from '../../support/target.ts';
import type { TestTarget } from '../../support/target.ts';
import { NO_DIGESTS, digest, split, withDigests } from '../../support/wire-decoder.ts';
import type { Digests } from '../../support/wire-decoder.ts';
import { wireSession, wireTarget } from '../../support/wire-session.ts';
import type { WireSocket } from '../../support/wire-session.ts';
import { CONVERSATIONS, LOGIN_IN_STAGES, REFUSED_LOGINS } from '../../vectors/conversations.ts';
import type { Conversation } from '../../vectors/conversations.ts';
import type { Exchange } from '../../vectors/hex.ts';
import { SESSION, login } from '../../vectors/session.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');

/** Header fields in groups of four bytes, so that a difference can be read. */
const words = (pdu: Buffer): string => (pdu.toString('hex').match(/.{1,8}/g) ?? []).join(' ');

const ALL: readonly Conversation[] = [{ name: 'one session', login, exchanges: SESSION }, ...CONVERSATIONS];
const BOTH: Digests = { header: true, data: true };
const DIGESTS: readonly (Digests & { name: string })[] = [
  { ...NO_DIGESTS, name: 'without digests' },
  { header: true, data: false, name: 'with header digest' },
  { header: false, data: true, name: 'with data digest' },
  { ...BOTH, name: 'with both digests' },
];

const offer = (on: boolean): 'CRC32C' | 'None' => (on ? 'CRC32C' : 'None');
const loginOf = (each: Conversation, { header, data }: Digests): Exchange => each.login(offer(header), offer(data));
const requestOf = ({ request }: Exchange, digests: Digests): Buffer => withDigests(bytes(request), digests);

/** Carries out one step; resolves with what the target sent. */
async function step(socket: WireSocket, exchange: Exchange, digests: Digests): Promise<Buffer> {
  const { clock, server } = socket.target;
  if (exchange.event === 'silence') clock.pass(NOP_INTERVAL + 1000);
  else if (exchange.event === 'shutdown') void server.shutdown();
  else socket.deliver(requestOf(exchange, digests));
  return socket.taken();
}

/** A new connection that has logged in and got as far as `upTo` steps. */
async function talk(each: Conversation, digests: Digests, upTo: number): Promise<WireSocket> {
  const socket = await wireSession();
  await step(socket, loginOf(each, digests), NO_DIGESTS);
  for (const exchange of each.exchanges.slice(0, upTo)) await step(socket, exchange, digests);
  return socket;
}

/** What was sent is what the golden bytes say, PDU by PDU. */
function same(sent: Buffer, { name, answer }: Exchange, digests: Digests): void {
  const golden = split(bytes(answer), NO_DIGESTS).map(words);
  assert.deepEqual(split(sent, digests).map(words), golden, name);
}

test('the digests of the standard: RFC 7143 appendix A.4', () => {
  const of = (hex: string): string => digest(bytes(hex)).toString('hex');
  const counting = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
  assert.equal(of('00'.repeat(32)), 'aa36918a');
  assert.equal(of('ff'.repeat(32)), '43aba862');
  assert.equal(of(counting.toString('hex')), '4e79dd46');
  assert.equal(of(Buffer.from(counting).reverse().toString('hex')), '5cdb3f11');
  const read10 =
    '01c0000000000000000000000000000014000000000004000000001400000018280000000000000002000000' + '00000000';
  assert.equal(of(read10), '563a96d9');
});

test('every PDU type is received and sent somewhere', () => {
  const seen = (pick: (each: Exchange) => string): Set<number> => {
    const steps = ALL.flatMap((each) => [loginOf(each, NO_DIGESTS), ...each.exchanges]);
    return new Set(steps.flatMap((each) => split(bytes(pick(each)), NO_DIGESTS)).map((pdu) => (pdu[0] ?? 0) & 0x3f));
  };
  // RFC 7143 §11.2.1.2.
  for (const opcode of [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10]) {
    assert.ok(seen(({ request }) => request).has(opcode), `received: ${opcode.toString(16)}`);
  }
  for (const opcode of [0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3f]) {
    assert.ok(seen(({ answer }) => answer).has(opcode), `sent: ${opcode.toString(16)}`);
  }
});

describe('golden bytes', () => {
  for (const each of ALL) {
    for (const digests of DIGESTS) {
      test(`${each.name}, ${digests.name}`, async () => {
        const socket = await wireSession();
        const first = loginOf(each, digests);
        same(await step(socket, first, NO_DIGESTS), first, NO_DIGESTS);
        for (const exchange of each.exchanges) same(await step(socket, exchange, digests), exchange, digests);
        assert.ok(socket.closed, 'a logout ends the connection');
      });
    }
  }

  test('a login in stages, with a text cut between two PDUs', async () => {
    const socket = await wireSession();
    for (const exchange of LOGIN_IN_STAGES) same(await step(socket, exchange, NO_DIGESTS), exchange, NO_DIGESTS);
    assert.equal(socket.target.server.sessions().length, 1);
  });

  for (const exchange of REFUSED_LOGINS) {
    test(exchange.name, async () => {
      const socket = await wireSession();
      same(await step(socket, exchange, NO_DIGESTS), exchange, NO_DIGESTS);
      assert.ok(socket.closed, 'a refused login ends the connection');
    });
  }
});

/** Every byte of headers and of short data; of long data some. */
function* cutsOf(pdu: Buffer): Generator<number> {
  const coarse = Math.max(1, Math.floor(pdu.length / 64));
  for (let cut = 1; cut < pdu.length; cut += cut < 72 || pdu.length - cut < 8 ? 1 : coarse) yield cut;
}

describe('cut at every byte', () => {
  for (const each of ALL) {
    for (const digests of [NO_DIGESTS, BOTH]) {
      test(`${each.name}, ${digests === BOTH ? 'with digests' : 'without digests'}`, async () => {
        for (const [index, exchange] of [loginOf(each, digests), ...each.exchanges].entries()) {
          if (exchange.event !== undefined) continue;
          const own = index === 0 ? NO_DIGESTS : digests;
          const pdu = requestOf(exchange, own);
          for (const cut of cutsOf(pdu)) {
            // A PDU can only be cut in a conversation that has come so far; state changes with it: each cut is a new one.
            const socket = index === 0 ? await wireSession() : await talk(each, digests, index - 1);
            socket.deliver(pdu.subarray(0, cut));
            const early = await socket.taken();
            assert.equal(early.length, 0, `${exchange.name}: answered after ${String(cut)} bytes`);
            socket.deliver(pdu.subarray(cut));
            same(await socket.taken(), { ...exchange, name: `${exchange.name}, cut at ${String(cut)}` }, own);
          }
        }
      });
    }
  }

  test('a whole session in one read, and byte by byte', async () => {
    // The last four are answered in an order of their own when they arrive together: task management takes its time.
    const steps = [loginOf({ name: '', login, exchanges: [] }, NO_DIGESTS), ...SESSION.slice(0, -4)];
    const all = Buffer.concat(steps.map(({ request }) => bytes(request)));
    const pdus = steps.flatMap(({ answer }) => split(bytes(answer), NO_DIGESTS)).length;
    for (const size of [all.length, 1]) {
      const socket = await wireSession();
      for (let at = 0; at < all.length; at += size) socket.deliver(all.subarray(at, at + size));
      assert.equal(split(await socket.taken(), NO_DIGESTS).length, pdus, `in pieces of ${String(size)}`);
    }
  });
});

describe('a damaged byte', () => {
  for (const each of ALL) {
    test(`${each.name}: the header digest ends the connection, and nothing is done`, async () => {
      const digests = { header: true, data: false };
      for (const [index, exchange] of each.exchanges.entries()) {
        if (exchange.event !== undefined) continue;
        const pdu = requestOf(exchange, digests);
        // The lengths are left alone: damaged, they only let the target wait for more.
        for (const at of [0, 1, 2, 8, 16, 20, 24, 31, 32, 40, 47, 48 + 4 * pdu.readUInt8(4)]) {
          const socket = await talk(each, digests, index);
          const damaged = Buffer.from(pdu);
          damaged[at] = (damaged[at] ?? 0) ^ 0x10;
          const before = await contents(socket);
          socket.deliver(damaged);
          assert.equal((await socket.taken()).length, 0, `${exchange.name}, byte ${String(at)}`);
          assert.ok(socket.closed, `${exchange.name}, byte ${String(at)}: still open`);
          assert.deepEqual(await contents(socket), before);
        }
      }
    });

    test(`${each.name}: the data digest is answered with Reject, and nothing is done`, async () => {
      const digests = { header: false, data: true };
      for (const [index, exchange] of each.exchanges.entries()) {
        const length = exchange.request === '' ? 0 : bytes(exchange.request).readUIntBE(5, 3);
        if (length === 0) continue;
        const pdu = requestOf(exchange, digests);
        const dataAt = 48 + 4 * pdu.readUInt8(4);
        for (const at of [dataAt, dataAt + length - 1, pdu.length - 1]) {
          const socket = await talk(each, digests, index);
          const damaged = Buffer.from(pdu);
          damaged[at] = (damaged[at] ?? 0) ^ 0x01;
          const before = await contents(socket);
          socket.deliver(damaged);
          const [reject, response] = split(await socket.taken(), digests);
          assert.equal(reject?.toString('hex', 0, 4), '3f800200', `${exchange.name}: Reject, data digest error`);
          assert.deepEqual(reject.subarray(48, 96), pdu.subarray(0, 48), 'with the header of the damaged PDU');
          assert.deepEqual(await contents(socket), before, exchange.name);
          // RFC 7143 §7.8: of a task whose Data-Out was damaged the status tells; anything else is lost with the connection.
          if (((pdu[0] ?? 0) & 0x3f) !== 0x05) assert.ok(socket.closed, exchange.name);
          else assert.equal(response?.toString('hex', 0, 4), '21800002', exchange.name);
        }
      }
    });
  }
});

/** The blocks the conversations write. */
async function contents(socket: WireSocket): Promise<Buffer> {
  const out = Buffer.alloc(64 * 512);
  await socket.target.volume.read(0, out.length, out, 0);
  return out;
}

test('lengths beyond what was negotiated end the connection before the data is waited for', async () => {
  const before = bytes(loginOf(ALL[0] as Conversation, NO_DIGESTS).request);
  for (const [field, text] of [
    ['040001', 'DataSegmentLength 262145'],
    ['ffffff', 'DataSegmentLength 16777215'],
  ] as const) {
    for (const loggedIn of [false, true]) {
      const target = await wireTarget();
      const socket = target.connect();
      if (loggedIn) {
        socket.deliver(before);
        await socket.taken();
      }
      const header = bytes(`01a10000` + `00${field}` + '00'.repeat(40));
      socket.deliver(header);
      await socket.taken();
      assert.ok(socket.closed, `${text} ${loggedIn ? 'after' : 'before'} the login`);
    }
  }
});

/** A raw client of a real socket: writes, and collects what comes. */
class RawClient {
  readonly initiator: Initiator;
  #sent: Buffer = Buffer.alloc(0);

  private constructor(initiator: Initiator) {
    this.initiator = initiator;
    initiator.socket.removeAllListeners('data');
    initiator.socket.on('data', (chunk: Buffer) => (this.#sent = Buffer.concat([this.#sent, chunk])));
  }

  static async connect(target: TestTarget): Promise<RawClient> {
    return new RawClient(await Initiator.connect('127.0.0.1', target.port));
  }

  /** Bytes written since the login. */
  written = 0;

  write(piece: Buffer): void {
    this.written += piece.length;
    this.initiator.raw(piece);
  }

  /** Resolves when the target has read all that was written: only then the next piece arrives as a piece. */
  async deliver(piece: Buffer, target: TestTarget): Promise<void> {
    this.write(piece);
    await until(() => heard(target) === this.written);
  }

  async taken(length: number): Promise<Buffer> {
    await until(() => this.#sent.length >= length);
    const out = this.#sent;
    this.#sent = Buffer.alloc(0);
    return out;
  }
}

const heard = (target: TestTarget): number =>
  target.server.sessions().reduce((sum, each) => sum + each.receivedBytes, 0);

async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    assert.ok(turns < 200_000, 'nothing happens');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** What does not depend on the address of the portal or on the passing of time. */
const asked = ({ request, answer }: Exchange): boolean =>
  request !== '' && !answer.includes(Buffer.from('TargetAddress').toString('hex'));

describe('cut at every byte over real sockets', () => {
  for (const receive of ['direct', 'copying'] satisfies ReceiveMode[]) {
    for (const each of ALL.filter(({ name }) => name !== 'discovery')) {
      test(`${receive}: ${each.name}`, async () => {
        // Each round cuts all PDUs of one session at the same distance from their beginning or end.
        for (const cut of [...Array.from({ length: 60 }, (_, i) => i + 1), -1, -2, -3, -4, -5]) {
          const target = await startTarget({ receive, volumes: [new MemoryVolume(1_048_576)] });
          try {
            await oneRound(target, each, cut);
          } finally {
            await target.close();
          }
        }
      });
    }
  }
});

async function oneRound(target: TestTarget, each: Conversation, cut: number): Promise<void> {
  const client = await RawClient.connect(target);
  const first = loginOf(each, BOTH);
  client.initiator.raw(bytes(first.request));
  await client.taken(bytes(first.answer).length);
  for (const exchange of each.exchanges.filter(asked)) {
    const wire = requestOf(exchange, BOTH);
    const at = cut > 0 ? Math.min(cut, wire.length - 1) : wire.length + cut;
    await client.deliver(wire.subarray(0, at), target);
    client.write(wire.subarray(at));
    const golden = split(bytes(exchange.answer), NO_DIGESTS);
    const sent = split(await client.taken(withDigests(bytes(exchange.answer), BOTH).length), BOTH);
    // StatSN depends on what was left out; everything else is golden.
    const name = `${exchange.name}, cut at ${String(cut)}`;
    assert.deepEqual(sent.map(withoutStatSN).map(words), golden.map(withoutStatSN).map(words), name);
    if (exchange.answer === '') await until(() => heard(target) === client.written);
  }
  await client.initiator.closed;
  assert.equal(target.server.sessions().length, 0);
}

function withoutStatSN(pdu: Buffer): Buffer {
  const out = Buffer.from(pdu);
  out.fill(0, 24, 28);
  return out;
}
