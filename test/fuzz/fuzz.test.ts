import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MAX_LOGINS_PENDING } from '../../core/base/limits.ts';
import { Initiator } from '../support/initiator.ts';
import { Arena, cutParameterLists, fuzzCommands, fuzzLogin, fuzzPdus } from './campaign.ts';

/** Printed, so that a failure can be repeated with GEMEL_FUZZ_SEED. */
const seed = Number(process.env.GEMEL_FUZZ_SEED ?? Date.now() % 2 ** 31);
const TIME = 8_000;

describe(`fuzz, seed ${String(seed)}`, () => {
  let arena: Arena;
  before(async () => {
    arena = await Arena.open();
  });
  after(() => arena.close());

  test(`commands (GEMEL_FUZZ_SEED=${String(seed)})`, () => fuzzCommands(arena, { seed, time: TIME }));
  test(`PDUs (GEMEL_FUZZ_SEED=${String(seed)})`, () => fuzzPdus(arena, { seed, time: TIME }));
  test(`logins (GEMEL_FUZZ_SEED=${String(seed)})`, () => fuzzLogin(arena, { seed, time: TIME }));
  test('parameter lists cut at every byte', () => cutParameterLists(arena));

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

  test('a peer that reads nothing is not answered without bound', async () => {
    const slow = await arena.login();
    await slow.scsi(Buffer.alloc(6));
    slow.socket.pause();
    const read = Buffer.from([0x28, 0, 0, 0, 0, 0, 0, 0x07, 0xff, 0]);
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 256; i++) slow.send(slow.command(read, { flags: 0xc1, length: 2047 * 512 }));
    for (let i = 0; i < 20; i++) await arena.check();
    assert.ok(process.memoryUsage().rss - before < 200 * 1_048_576, 'answers pile up in memory');
    slow.destroy();
    await slow.closed;
    await arena.check();
  });
});
