// Both nodes serve a LUN: what comes by the one that does not own it is carried out at the other.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Initiator } from '../../../support/initiator.ts';
import { TUR, pattern, read16, write16 } from '../../../support/cdb.ts';
import { cdb, login, reserve, reserveOut, until } from '../../../support/nodes-initiator.ts';
import { startTwoNodes } from '../../../support/two-nodes.ts';
import type { TwoNodes } from '../../../support/two-nodes.ts';

const inquiry = (page?: number): Buffer => cdb(0x12, page === undefined ? 0 : 1, page ?? 0, 0x10, 0, 0);
const REPORT_GROUPS = cdb(0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0);
const READ_CAPACITY_16 = cdb(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);

describe('a LUN served by two nodes', () => {
  let nodes: TwoNodes;
  let atOwner: Initiator;
  let elsewhere: Initiator;
  before(async () => {
    nodes = await startTwoNodes();
    atOwner = await login(nodes, 'a');
    elsewhere = await login(nodes, 'b', 'other');
  });
  after(async () => {
    atOwner.destroy();
    elsewhere.destroy();
    await nodes.close();
  });

  it('is the same disk through both', async () => {
    const [one, other] = await Promise.all(
      [atOwner, elsewhere].map((each) => each.scsi(inquiry(0x83), { read: 4096 })),
    );
    const unit = (page: Buffer): Buffer => page.subarray(4, 4 + 4 + 16);
    assert.deepEqual(unit(one?.data as Buffer), unit(other?.data as Buffer));
    // The relative port and the group differ: 0001h in group 1, 0101h in group 2.
    assert.ok((one?.data as Buffer).includes(Buffer.from('5194000400000001519500040000000' + '1', 'hex')));
    assert.ok((other?.data as Buffer).includes(Buffer.from('51940004000001015195000400000002', 'hex')));
  });

  it('tells of both nodes which is the better way, whichever is asked', async () => {
    for (const each of [atOwner, elsewhere]) {
      const { data } = await each.scsi(REPORT_GROUPS, { read: 4096 });
      assert.equal(
        data.toString('hex'),
        '00000018' + '808f0001000200010000' + '0001' + '018f000200020001' + '00000101',
      );
    }
  });

  it('reads at one what was written at the other, in pieces of all sizes', async () => {
    for (const [from, to, length, seed] of [
      [atOwner, elsewhere, 512, 1],
      [elsewhere, atOwner, 4096, 2],
      [elsewhere, elsewhere, 300 * 512, 3],
      [elsewhere, atOwner, 4 * 1_048_576, 4],
      [atOwner, elsewhere, 4 * 1_048_576, 5],
    ] as const) {
      const data = pattern(length, seed);
      assert.equal((await from.scsi(write16(seed, length / 512), { write: data })).status, 0);
      const back = await to.scsi(read16(seed, length / 512), { read: length });
      assert.equal(back.status, 0);
      assert.ok(back.data.equals(data), `${length} bytes`);
    }
  });

  it('says the same of what it cannot do', async () => {
    const beyond = nodes.a.lu.blocks;
    for (const each of [atOwner, elsewhere]) {
      assert.equal((await each.scsi(read16(beyond, 1), { read: 512 })).senseCode, '05/21/00');
      assert.equal((await each.scsi(cdb(0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0))).senseCode, '05/20/00');
      assert.equal((await each.scsi(cdb(0x9e, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))).senseCode, '05/24/00');
      const capacity = await each.scsi(READ_CAPACITY_16, { read: 32 });
      assert.equal(capacity.data.readBigUInt64BE(0), BigInt(beyond - 1));
      // Fewer bytes than the command moves, and more.
      assert.equal((await each.scsi(READ_CAPACITY_16, { read: 100 })).residual, -68);
      assert.equal((await each.scsi(read16(0, 2), { read: 512 })).residual, 512);
    }
  });

  it('compares and writes in one piece', async () => {
    const old = pattern(512, 9);
    assert.equal((await atOwner.scsi(write16(77, 1), { write: old })).status, 0);
    const swap = cdb(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 77, 0, 0, 0, 1, 0, 0);
    const next = pattern(512, 10);
    assert.equal((await elsewhere.scsi(swap, { write: Buffer.concat([old, next]) })).status, 0);
    assert.equal((await elsewhere.scsi(swap, { write: Buffer.concat([old, next]) })).senseCode, '0e/1d/00');
    assert.ok((await atOwner.scsi(read16(77, 1), { read: 512 })).data.equals(next));
  });

  it('keeps reservations for all nodes', async () => {
    assert.equal(await reserve(elsewhere, 6, 0, 0, 0xb), 'GOOD');
    assert.equal(await reserve(elsewhere, 1, 3, 0xb), 'GOOD');
    assert.equal((await atOwner.scsi(read16(0, 1), { read: 512 })).status, 0x18);
    assert.equal((await elsewhere.scsi(read16(0, 1), { read: 512 })).status, 0);
    assert.equal(await reserve(atOwner, 6, 0, 0, 0xa), 'GOOD');
    assert.equal(await reserve(atOwner, 4, 3, 0xa, 0xb), 'GOOD');
    // The one who lost it learns so, at his node, and is kept out.
    assert.equal((await elsewhere.scsi(TUR)).senseCode, '06/2a/05');
    assert.equal((await elsewhere.scsi(write16(0, 1), { write: Buffer.alloc(512) })).status, 0x18);
    assert.equal(await reserve(atOwner, 3, 0, 0xa), 'GOOD');
    assert.equal((await elsewhere.scsi(write16(0, 1), { write: Buffer.alloc(512) })).status, 0);
  });

  it('reserves for ports of the other node as well', async () => {
    // ALL_TG_PT: registered through the ports of both nodes.
    const { cdb: command, write } = reserveOut(6, 0, 0, 0xc);
    write[20] = 0x04;
    assert.equal((await elsewhere.scsi(command, { write })).status, 0);
    const status = (await atOwner.scsi(cdb(0x5e, 3, 0, 0, 0, 0, 0, 0x10, 0, 0), { read: 4096 })).data;
    assert.equal(status.readUInt32BE(4), status.length - 8);
    const ports = [18 + 8, 18 + 8 + 24 + status.readUInt32BE(8 + 20)].map((at) => status.readUInt16BE(at));
    assert.deepEqual(
      ports.toSorted((a, b) => a - b),
      [0x001, 0x101],
    );
    assert.equal(await reserve(elsewhere, 3, 0, 0xc), 'GOOD');
  });

  it('ends a reservation of old with the session, at whichever node', async () => {
    const short = await login(nodes, 'b', 'short');
    assert.equal((await short.scsi(cdb(0x16, 0, 0, 0, 0, 0))).status, 0);
    assert.equal((await atOwner.scsi(read16(0, 1), { read: 512 })).status, 0x18);
    assert.equal((await elsewhere.scsi(read16(0, 1), { read: 512 })).status, 0x18);
    short.destroy();
    await short.closed;
    await until(async () => (await atOwner.scsi(read16(0, 1), { read: 512 })).status === 0);
    assert.equal((await elsewhere.scsi(read16(0, 1), { read: 512 })).status, 0);
  });

  it('tells everybody of changed mode parameters, and of a new size, once', async () => {
    const swp = Buffer.from([0, 0, 0, 0, 0x0a, 0x0a, 0x02, 0, 0x08, 0, 0, 0, 0, 0, 0, 0]);
    const sense = await elsewhere.scsi(cdb(0x1a, 0x08, 0x0a, 0, 0xff, 0), { read: 255 });
    const page = Buffer.from(sense.data.subarray(4));
    page.copy(swp, 4);
    swp[4 + 0] = 0x0a;
    swp[4 + 4] = (swp[4 + 4] as number) | 0x08;
    assert.equal((await elsewhere.scsi(cdb(0x15, 0x10, 0, 0, 16, 0), { write: swp })).status, 0);
    assert.equal((await atOwner.scsi(TUR)).senseCode, '06/2a/01');
    assert.equal((await atOwner.scsi(write16(0, 1), { write: Buffer.alloc(512) })).senseCode, '07/27/02');
    swp[4 + 4] = (swp[4 + 4] as number) & ~0x08;
    assert.equal((await atOwner.scsi(cdb(0x15, 0x10, 0, 0, 16, 0), { write: swp })).status, 0);
    assert.equal((await elsewhere.scsi(TUR)).senseCode, '06/2a/01');
    nodes.a.lu.capacityChanged();
    nodes.b.lu.capacityChanged();
    for (const each of [atOwner, elsewhere]) {
      assert.equal((await each.scsi(TUR)).senseCode, '06/2a/09');
      assert.equal((await each.scsi(TUR)).status, 0);
    }
  });

  it('counts what it did where it was done', () => {
    assert.ok(nodes.a.lu.counters.reads > 0);
    assert.ok(nodes.a.lu.counters.writtenBytes > 4 * 1_048_576);
  });
});
