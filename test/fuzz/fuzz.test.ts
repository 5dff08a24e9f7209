import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { MAX_LOGINS_PENDING, SEND_QUEUE_HIGH } from '../../core/base/limits.ts';
import { Initiator } from '../support/initiator.ts';
import {
  Arena,
  cutParameterLists,
  fuzzCommands,
  fuzzDispatch,
  fuzzLogin,
  fuzzPdus,
  loginFlood,
  run,
} from './campaign.ts';
import { fuzzDigests, fuzzFields, fuzzLengths } from './wire-campaign.ts';

/** Printed, so that a failure can be repeated with GEMEL_FUZZ_SEED. */
const seed = Number(process.env.GEMEL_FUZZ_SEED ?? Date.now() % 2 ** 31);
const TIME = 6_000;
const SLOW_READERS = 8;

test('a campaign is over when its last property is, and fails with it', async () => {
  // The second property takes longer than there is time; one has to be complete, or fast-check complains.
  const campaign = async (end: () => void): Promise<void> => {
    let count = 0;
    await run({ seed, time: 1000 }, fc.nat(), async () => {
      if (count++ === 0) return;
      await new Promise((resolve) => setTimeout(resolve, 1500));
      end();
    });
  };
  let ended = false;
  await campaign(() => (ended = true));
  assert.ok(ended);
  await assert.rejects(
    campaign(() => assert.fail('late')),
    /late/,
  );
});

describe(`fuzz, seed ${String(seed)}`, () => {
  let arena: Arena;
  before(async () => {
    arena = await Arena.open();
  });
  after(() => arena.close());

  test(`commands (GEMEL_FUZZ_SEED=${String(seed)})`, () => fuzzCommands(arena, { seed, time: TIME }));
  test(`PDUs (GEMEL_FUZZ_SEED=${String(seed)})`, () => fuzzPdus(arena, { seed, time: TIME }));
  test(`logins (GEMEL_FUZZ_SEED=${String(seed)})`, () => fuzzLogin(arena, { seed, time: TIME }));
  test(`fields out of range (GEMEL_FUZZ_SEED=${String(seed)})`, () => fuzzFields({ seed, time: TIME }));
  test(`wrong digests (GEMEL_FUZZ_SEED=${String(seed)})`, () => fuzzDigests({ seed, time: TIME / 2 }));
  test(`wrong lengths (GEMEL_FUZZ_SEED=${String(seed)})`, () => fuzzLengths({ seed, time: TIME / 2 }));
  test(`10,000 CDBs (GEMEL_FUZZ_SEED=${String(seed)})`, () => fuzzDispatch(seed));
  test('parameter lists cut at every byte', () => cutParameterLists(arena));
  test(`a flood of logins (GEMEL_FUZZ_SEED=${String(seed)})`, () => loginFlood(arena, seed));

  test('a flood of half-open connections does not keep anybody from working', async () => {
    const flood: Initiator[] = [];
    for (let i = 0; i < MAX_LOGINS_PENDING + 50; i++) {
      flood.push(await Initiator.connect('127.0.0.1', arena.target.port));
    }
    await arena.check();
    const open = [...arena.target.server.connections].filter((each) => each.session === undefined).length;
    assert.ok(open <= MAX_LOGINS_PENDING, `${String(open)} logins pending`);
    for (const each of flood) each.destroy();
    await Promise.all(flood.map((each) => each.closed));
    await arena.check();
  });

  test('peers that read nothing are not answered without bound', async () => {
    // With digests every answer is a copy: what piles up is ours.
    const keys = { HeaderDigest: 'CRC32C', DataDigest: 'CRC32C' };
    const slow: Initiator[] = [];
    await arena.restore();
    const before = process.memoryUsage().rss;
    const read = Buffer.from([0x28, 0, 0, 0, 0, 0, 0, 0x07, 0xff, 0]);
    for (let i = 0; i < SLOW_READERS; i++) {
      const each = await arena.login({ isid: `80000000010${String(i)}`, keys });
      await each.scsi(Buffer.alloc(6));
      each.socket.pause();
      for (let n = 0; n < 128; n++) each.send(each.command(read, { flags: 0xc1, length: 2047 * 512 }));
      slow.push(each);
    }
    for (let i = 0; i < 20; i++) await arena.check();
    const waiting = [...arena.target.server.connections].map((each) => each.send.waiting);
    // The answer that crosses the mark is still completed.
    for (const each of waiting) assert.ok(each <= SEND_QUEUE_HIGH + 2 * 1_048_576, `${String(each)} bytes wait`);
    assert.ok(
      waiting.some((each) => each > SEND_QUEUE_HIGH / 2),
      'nothing waits: the test does not test',
    );
    const growth = process.memoryUsage().rss - before;
    assert.ok(growth < SLOW_READERS * 2 * SEND_QUEUE_HIGH, `${String(growth)} bytes more`);
    for (const each of slow) each.destroy();
    await Promise.all(slow.map((each) => each.closed));
    await arena.check();
  });
});
