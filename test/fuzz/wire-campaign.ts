// Damaged PDUs in the middle of correct conversations, on a fake World: every field of every PDU type out of range, wrong
// digests, lying lengths. Whatever the target answers must be PDUs; a session beside it goes on as if nothing happened.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { split, withDigests } from '../support/wire-decoder.ts';
import type { Digests } from '../support/wire-decoder.ts';
import { WITNESS, wireTarget } from '../support/wire-session.ts';
import type { WireSocket, WireTarget } from '../support/wire-session.ts';
import { CONVERSATIONS } from '../vectors/conversations.ts';
import type { Conversation } from '../vectors/conversations.ts';
import { h, length, padded, text } from '../vectors/hex.ts';
import type { Exchange } from '../vectors/hex.ts';
import { SESSION, login } from '../vectors/session.ts';
import { run } from './campaign.ts';
import type { Campaign } from './campaign.ts';

const NONE: Digests = { header: false, data: false };
const ALL: readonly Conversation[] = [{ name: 'one session', login, exchanges: SESSION }, ...CONVERSATIONS];
const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');
/** What targets send (RFC 7143 §11.2.1.2). */
const TARGET_OPCODES = new Set([0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3f]);
/** Begin and size of the header fields of all PDU types (RFC 7143 §11); lengths have a test of their own. */
const FIELDS: readonly (readonly [at: number, size: number])[] = [
  ...[0, 1, 2, 3, 36, 37].map((at) => [at, 1] as const),
  ...[8, 10, 12, 14, 32, 34, 38, 40, 42, 44, 46].map((at) => [at, 2] as const),
  ...[8, 12, 16, 20, 24, 28, 32, 36, 40, 44].map((at) => [at, 4] as const),
];

/** A session on LUN 1, which nobody else sees; NOP-Out and READ (10) have to go on as before. */
class Witness {
  readonly #target: WireTarget;
  #socket: WireSocket | undefined;
  #next = 5;

  constructor(target: WireTarget) {
    this.#target = target;
    target.witnessVolume.writeNow(0, Buffer.alloc(512, 0x77), 0, 512);
  }

  async check(): Promise<void> {
    for (let tries = 0; tries < 6; tries++) {
      const socket = await this.#loggedIn();
      socket.deliver(bytes(this.#read()));
      const [answer] = split(await socket.taken(), NONE);
      // A reset of the target is told by unit attention, or ends the session; both are what was asked for.
      if (answer === undefined || (answer[3] ?? 0) === 0x02) continue;
      assert.equal(answer.toString('hex', 0, 2), '2581');
      assert.ok(answer.subarray(48).equals(Buffer.alloc(512, 0x77)), 'the data of another session has changed');
      assert.equal(this.#target.witnessVolume.allocatedBytes(), 512);
      return;
    }
    assert.fail('the witness gets no data');
  }

  #read(): string {
    const number = (this.#next++).toString(16).padStart(8, '0');
    return h(
      '01 c1 0000 00 000000 0001000000000000',
      number,
      '00000200',
      number,
      '00000000',
      '28 00 00000000 00 0001 00',
      '00'.repeat(6),
    );
  }

  async #loggedIn(): Promise<WireSocket> {
    if (this.#socket !== undefined && !this.#socket.closed) return this.#socket;
    const keys = text([`InitiatorName=${WITNESS}`, 'TargetName=iqn.2026-11.org.example:unit']);
    const socket = this.#target.connect();
    this.#next = 5;
    socket.deliver(
      bytes(
        h(
          '43 87 0000 00',
          length(keys),
          '800000000009 0000 00000001 00010000 00000005 00000003',
          '00'.repeat(16),
          padded(keys),
        ),
      ),
    );
    assert.equal((await socket.taken()).toString('hex', 36, 38), '0000', 'the witness cannot log in');
    this.#socket = socket;
    return socket;
  }
}

interface Place {
  readonly target: WireTarget;
  readonly socket: WireSocket;
  readonly witness: Witness;
  readonly pdu: Buffer;
}

/** A conversation that has come to step `index` (0: the login), and the PDU that would come now. */
async function arrive(each: Conversation, index: number, digests: Digests): Promise<Place | undefined> {
  const first = each.login(digests.header ? 'CRC32C' : 'None', digests.data ? 'CRC32C' : 'None');
  const steps: readonly Exchange[] = [first, ...each.exchanges];
  const next = steps[index % steps.length];
  if (next === undefined || next.request === '') return undefined;
  const target = await wireTarget();
  const witness = new Witness(target);
  await witness.check();
  const socket = target.connect();
  for (const [i, { request }] of steps.slice(0, index % steps.length).entries()) {
    socket.deliver(withDigests(bytes(request), i === 0 ? NONE : digests));
    await socket.taken();
  }
  return { target, socket, witness, pdu: bytes(next.request) };
}

/** Everything the target sends can be read, and nothing else has suffered. */
async function aftermath({ socket, witness }: Place, digests: Digests): Promise<void> {
  for (const pdu of split(await socket.taken(), digests)) {
    assert.ok(TARGET_OPCODES.has((pdu[0] ?? 0) & 0x3f), `opcode ${String(pdu[0])}`);
  }
  await witness.check();
}

const place = {
  conversation: fc.constantFrom(...ALL),
  index: fc.nat({ max: 40 }),
  header: fc.boolean(),
  data: fc.boolean(),
};
const extremes = fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff);

/** One or two fields with extreme values; the digests are right, so the fields are believed. */
export function fuzzFields(campaign: Campaign): Promise<void> {
  const change = fc.tuple(fc.constantFrom(...FIELDS), fc.oneof(extremes, fc.nat({ max: 0xffff_ffff })));
  const shape = fc.record({ ...place, changes: fc.array(change, { minLength: 1, maxLength: 2 }) });
  return run(campaign, shape, async ({ conversation, index, header, data, changes }) => {
    const digests = { header, data };
    const here = await arrive(conversation, index, digests);
    if (here === undefined) return;
    for (const [[at, size], value] of changes) here.pdu.writeUIntBE(value % 2 ** (8 * size), at, size);
    const isLogin = here.socket.target.server.sessions().length < 2;
    here.socket.deliver(withDigests(here.pdu, isLogin ? NONE : digests));
    await aftermath(here, isLogin ? NONE : digests);
  });
}

/** One to three bits of a PDU with both digests: nothing of it may be done, whatever they were. */
export function fuzzDigests(campaign: Campaign): Promise<void> {
  const digests: Digests = { header: true, data: true };
  const shape = fc.record({
    conversation: place.conversation,
    index: fc.integer({ min: 1, max: 40 }),
    flips: fc.uniqueArray(fc.nat({ max: 1_000_000 }), { minLength: 1, maxLength: 3 }),
  });
  return run(campaign, shape, async ({ conversation, index, flips }) => {
    if (index % (conversation.exchanges.length + 1) === 0) return;
    const here = await arrive(conversation, index, digests);
    if (here === undefined) return;
    const wire = withDigests(here.pdu, digests);
    const bits = new Set(flips.map((flip) => flip % (wire.length * 8)));
    for (const bit of bits) wire[bit >> 3] = (wire[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const before = contents(here);
    here.socket.deliver(wire);
    await aftermath(here, digests);
    assert.ok(contents(here).equals(before), 'damaged data was written');
  });
}

function contents({ target }: Place): Buffer {
  const out = Buffer.alloc(1_048_576);
  target.volume.readNow(0, out.length, out, 0);
  return out;
}

/** TotalAHSLength and DataSegmentLength that do not fit what follows, more bytes, fewer bytes. */
export function fuzzLengths(campaign: Campaign): Promise<void> {
  const shape = fc.record({
    ...place,
    ahs: fc.option(fc.integer({ min: 0, max: 255 }), { nil: undefined }),
    segment: fc.option(fc.oneof(fc.nat({ max: 2000 }), fc.nat({ max: 0xff_ffff })), { nil: undefined }),
    cut: fc.nat({ max: 100 }),
    more: fc.nat({ max: 2000 }),
  });
  return run(campaign, shape, async ({ conversation, index, header, data, ahs, segment, cut, more }) => {
    const digests = { header, data };
    const here = await arrive(conversation, index, digests);
    if (here === undefined) return;
    const isLogin = here.socket.target.server.sessions().length < 2;
    const own = isLogin ? NONE : digests;
    const wire = withDigests(here.pdu, own);
    if (ahs !== undefined) wire[4] = ahs;
    if (segment !== undefined) wire.writeUIntBE(segment, 5, 3);
    here.socket.deliver(Buffer.concat([wire.subarray(0, Math.max(1, wire.length - cut)), Buffer.alloc(more, 0x01)]));
    await aftermath(here, own);
  });
}
