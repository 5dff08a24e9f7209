// QERR and TAS of the control mode page (SPC-4 7.5.8): what a CHECK CONDITION does to the tasks beside it.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ALL_COMMANDS, HOST_A, HOST_B, hastyClock, scsiFixture } from '../../support/scsi-fixture.ts';

const WRITE = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const BAD = [0x28, 0xe0, 0, 0, 0, 0, 0, 0, 1, 0];
const TUR = [0, 0, 0, 0, 0, 0];
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Both hosts have a write under way when a command of host A fails. How the writes end, and what the hosts are told. */
async function outcome(qerr: number, tas: number): Promise<string[]> {
  const disk = scsiFixture({ commands: ALL_COMMANDS, clock: hastyClock });
  const { lu } = disk;
  const [a, b] = [disk.login(HOST_A), disk.login(HOST_B)];
  const page = [0x0a, 0x0a, 0x02, 0x10 | (qerr << 1), 0, tas << 6, 0, 0, 0, 0, 0, 0];
  const list = Buffer.from([0, 0, 0, 0, ...page]);
  assert.equal(await a.status([0x15, 0x10, 0, 0, list.length, 0], { data: list }), 'GOOD');
  b.clearAttentions();
  const lock = await lu.locks.acquire(0, 512, true);
  const writes = [a, b].map((host) => host.status(WRITE, { data: Buffer.alloc(512) }));
  await turn();
  assert.equal(await a.status(BAD), '05/24/00 cdb 1 bit 7');
  lock.release();
  const ends = await Promise.all(writes);
  return [...ends, await a.status(TUR), await b.status(TUR)];
}

describe('QERR', () => {
  test('00b: the others go on', async () => {
    assert.deepEqual(await outcome(0, 0), ['GOOD', 'GOOD', 'GOOD', 'GOOD']);
  });

  test('01b: all are aborted, and the other host learns it by unit attention or by status', async () => {
    assert.deepEqual(await outcome(1, 0), ['status 40', 'status 40', 'GOOD', '06/2F/00']);
    assert.deepEqual(await outcome(1, 1), ['status 40', 'status 40', 'GOOD', 'GOOD']);
  });

  test('11b: those of the same host are aborted', async () => {
    assert.deepEqual(await outcome(3, 0), ['status 40', 'GOOD', 'GOOD', 'GOOD']);
  });
});
