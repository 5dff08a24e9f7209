// The owner of a LUN changes, or cannot be reached, while initiators are at work at both nodes.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Initiator } from '../../../support/initiator.ts';
import { VolumeError, VolumeFault } from '../../../../core/volume/volume.ts';
import { TUR, pattern, read16, write16 } from '../../../support/cdb.ts';
import { cdb, login, reserve, until } from '../../../support/nodes-initiator.ts';
import { StallingVolume } from '../../../support/stalling-volume.ts';
import { IQN } from '../../../support/target.ts';
import { startTwoNodes } from '../../../support/two-nodes.ts';
import type { TwoNodes } from '../../../support/two-nodes.ts';

const BLOCK = Buffer.alloc(512, 0xee);
const REPORT_GROUPS = cdb(0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0);

/** Access state (and preference) of both groups, as hexadecimal digits. */
async function groups(initiator: Initiator): Promise<string> {
  const { data } = await initiator.scsi(REPORT_GROUPS, { read: 4096 });
  return [4, 16].map((at) => data.toString('hex', at, at + 1)).join(' ');
}

describe('the owner of a LUN', () => {
  let nodes: TwoNodes;
  let volume: StallingVolume;
  let atA: Initiator;
  let atB: Initiator;
  beforeEach(async () => {
    volume = new StallingVolume(16 * 1_048_576);
    nodes = await startTwoNodes({ volume });
    atA = await login(nodes, 'a');
    atB = await login(nodes, 'b', 'other');
  });
  afterEach(async () => {
    volume.goOn();
    atA.destroy();
    atB.destroy();
    await nodes.close();
  });

  it('changes in good order: everybody is told once, and everything goes on', async () => {
    assert.equal((await atA.scsi(write16(3, 1), { write: BLOCK })).status, 0);
    assert.equal(await groups(atB), '80 01');
    await nodes.handOver('b');
    for (const each of [atA, atB]) {
      assert.equal((await each.scsi(TUR)).senseCode, '06/2a/06');
      assert.equal((await each.scsi(TUR)).status, 0);
      assert.equal(await groups(each), '81 00');
      assert.ok((await each.scsi(read16(3, 1), { read: 512 })).data.equals(BLOCK));
    }
    assert.ok(nodes.b.lu.counters.reads >= 2);
    assert.equal(nodes.a.lu.nexuses.size, 1);
  });

  it('takes reservations, registrations and mode parameters along', async () => {
    assert.equal(await reserve(atA, 6, 0, 0, 0xa), 'GOOD');
    assert.equal(await reserve(atB, 6, 0, 0, 0xb), 'GOOD');
    assert.equal(await reserve(atB, 1, 1, 0xb), 'GOOD');
    // Unplanned, and without APTPL: the logical unit has not lost power.
    nodes.takeOver('b');
    await atA.closed;
    atA = await login(nodes, 'a', 'host', atA.isid);
    assert.equal((await atB.scsi(TUR)).senseCode, '06/2a/06');
    assert.equal((await atA.scsi(write16(0, 1), { write: BLOCK })).status, 0x18);
    assert.equal((await atB.scsi(write16(0, 1), { write: BLOCK })).status, 0);
    const keys = (await atA.scsi(cdb(0x5e, 0, 0, 0, 0, 0, 0, 0, 255, 0), { read: 255 })).data;
    assert.equal(keys.readUInt32BE(0), 2, 'the generation goes on');
    assert.equal(keys.readUInt32BE(4), 16);
    nodes.takeOver('a');
    await atB.closed;
    atB = await login(nodes, 'b', 'other', atB.isid);
    assert.equal((await atA.scsi(TUR)).senseCode, '06/2a/06');
    assert.equal((await atA.scsi(write16(0, 1), { write: BLOCK })).status, 0x18);
    assert.equal(await reserve(atB, 3, 0, 0xb), 'GOOD');
  });

  it('keeps RESERVE of an initiator that is still there', async () => {
    assert.equal((await atB.scsi(cdb(0x16, 0, 0, 0, 0, 0))).status, 0);
    await nodes.handOver('b');
    for (const each of [atA, atB]) assert.equal((await each.scsi(TUR)).senseCode, '06/2a/06');
    assert.equal((await atA.scsi(read16(0, 1), { read: 512 })).status, 0x18);
    assert.equal((await atB.scsi(read16(0, 1), { read: 512 })).status, 0);
    // Its holder leaves: nobody holds it any more, here or at any later owner.
    atB.destroy();
    await until(async () => (await atA.scsi(read16(0, 1), { read: 512 })).status === 0);
    await nodes.handOver('a');
    assert.equal((await atA.scsi(TUR)).senseCode, '06/2a/06');
    assert.equal((await atA.scsi(read16(0, 1), { read: 512 })).status, 0);
  });

  it('hands unit attentions over that it has not told yet', async () => {
    assert.equal(await reserve(atA, 6, 0, 0, 0xa), 'GOOD');
    assert.equal(await reserve(atB, 6, 0, 0, 0xb), 'GOOD');
    assert.equal(await reserve(atA, 4, 1, 0xa, 0xb), 'GOOD');
    await nodes.handOver('b');
    const told = [await atB.scsi(TUR), await atB.scsi(TUR)].map((each) => each.senseCode);
    assert.deepEqual(told.toSorted(), ['06/2a/05', '06/2a/06']);
    assert.equal((await atB.scsi(TUR)).status, 0);
  });

  it('does not change while a command cannot end; then it goes on', async () => {
    volume.stall();
    const write = atB.scsi(write16(1, 1), { write: BLOCK });
    await until(() => Promise.resolve(volume.waiting === 1));
    assert.equal(await nodes.a.lu.role.handOver(50), false);
    assert.ok(nodes.a.lu.role.here);
    volume.goOn();
    assert.equal((await write).status, 0);
    assert.equal((await atA.scsi(read16(1, 1), { read: 512 })).status, 0);
  });

  it('is waited for while it changes', async () => {
    // A hand-over has begun, or this node would lose its sessions with the unit.
    nodes.a.lu.role.change();
    nodes.a.ownership.set(undefined, 'a');
    nodes.b.ownership.set(undefined, 'a');
    const write = atA.scsi(write16(2, 1), { write: BLOCK });
    const read = atB.scsi(read16(7, 1), { read: 512 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    // So does who opens the disk now. What is about the port is answered at once.
    const opening = login(nodes, 'b', 'opening');
    const asking = await Initiator.login('127.0.0.1', nodes.b.port, { target: IQN });
    assert.equal((await asking.scsi(TUR)).senseCode, '06/29/00');
    assert.equal((await asking.scsi(cdb(0x12, 0, 0, 0, 96, 0), { read: 96 })).status, 0);
    assert.equal((await asking.scsi(cdb(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), { read: 256 })).status, 0);
    assert.equal(await groups(asking), '80 01');
    nodes.takeOver('b');
    assert.equal((await write).status, 0);
    assert.equal((await read).status, 0);
    assert.equal(nodes.b.lu.counters.writes, 1);
    for (const each of [asking, await opening]) each.destroy();
  });

  it('is not waited for longer than that', async () => {
    // A hand-over has begun, or this node would lose its sessions with the unit.
    nodes.a.lu.role.change();
    nodes.a.ownership.set(undefined, 'a');
    nodes.b.ownership.set(undefined, 'a');
    const begun = nodes.world.clock.now();
    const answers = await Promise.all([
      atA.scsi(write16(2, 1), { write: BLOCK }),
      atB.scsi(read16(7, 1), { read: 512 }),
    ]);
    assert.deepEqual(
      answers.map((each) => each.senseCode),
      ['02/04/0a', '02/04/0a'],
    );
    assert.ok(nodes.world.clock.now() - begun >= 4_900);
    assert.equal(await groups(atA), '8f 0f');
    const asked = nodes.world.clock.now();
    assert.equal((await atA.scsi(TUR)).senseCode, '02/04/0a');
    assert.ok(nodes.world.clock.now() - asked < 2_500, 'it is in transition by now');
    nodes.takeOver('a');
    for (const each of [atA, atB]) {
      assert.equal((await each.scsi(TUR)).senseCode, '06/2a/06');
      assert.equal((await each.scsi(write16(2, 1), { write: BLOCK })).status, 0);
    }
  });

  /** A write and, of another nexus, a read that hang at the owner. */
  async function underWay() {
    volume.stall();
    const write = atB.scsi(write16(9, 1), { write: BLOCK });
    const second = await login(nodes, 'b', 'second').catch(() => undefined);
    assert.ok(second);
    const read = second.scsi(read16(8, 1), { read: 512 });
    await until(() => Promise.resolve(volume.waiting === 2));
    return { write, read, second };
  }

  it('is cut off: reads are repeated, and writes are told to be', async () => {
    assert.equal((await atB.scsi(write16(8, 1), { write: BLOCK })).status, 0);
    const { write, read, second } = await underWay();
    nodes.link.cut();
    volume.goOn();
    // At the owner everything goes on; the nexuses of the other node are lost.
    assert.equal((await atA.scsi(read16(8, 1), { read: 512 })).status, 0);
    assert.equal(nodes.a.lu.nexuses.size, 1);
    nodes.link.heal();
    assert.ok((await read).data.equals(BLOCK));
    assert.equal((await write).senseCode, '06/29/07');
    for (const each of [atB, second]) {
      assert.equal((await each.scsi(TUR)).senseCode, '06/29/07');
      assert.equal((await each.scsi(TUR)).status, 0);
    }
    assert.equal((await atB.scsi(write16(9, 1), { write: pattern(512, 1) })).status, 0);
    second.destroy();
  });

  it('ceases to be one while it carries commands out: reads wait for the next one, and writes are told to be repeated', async () => {
    const { write, read, second } = await underWay();
    volume.goOn(new VolumeError(VolumeFault.moved, 'another node serves this volume'));
    assert.equal((await write).senseCode, '06/29/07');
    volume.goOn();
    nodes.takeOver('b');
    assert.equal((await read).status, 0);
    second.destroy();
  });

  it('is gone: the other one takes over, and nobody has to wait for what it had running', async () => {
    volume.stall();
    const write = atB.scsi(write16(9, 1), { write: BLOCK });
    await until(() => Promise.resolve(volume.waiting === 1));
    const begun = nodes.world.clock.now();
    nodes.link.cut();
    volume.goOn();
    const held = login(nodes, 'b', 'second');
    nodes.takeOver('b');
    assert.equal((await write).senseCode, '06/29/07');
    assert.ok(nodes.world.clock.now() - begun < 4_000);
    assert.equal((await atB.scsi(TUR)).senseCode, '06/29/07');
    assert.equal((await atB.scsi(TUR)).senseCode, '06/2a/06');
    assert.equal((await atB.scsi(write16(9, 1), { write: BLOCK })).status, 0);
    (await held).destroy();
  });

  it('changes under load at both nodes, and every answer is true', async () => {
    let stop = false;
    let written = 0;
    const work = async (initiator: Initiator, lba: number): Promise<void> => {
      let last: Buffer = Buffer.alloc(512);
      for (let round = 1; !stop; round++) {
        const data = pattern(512, round + lba);
        const { status, senseCode } = await initiator.scsi(write16(lba, 1), { write: data });
        if (status === 0) {
          last = data;
          written++;
        } else assert.match(senseCode, /^(06\/2a\/06|02\/04\/0a)$/);
        const back = await initiator.scsi(read16(lba, 1), { read: 512 });
        if (back.status === 0) assert.ok(back.data.equals(last) || status !== 0);
        else assert.match(back.senseCode, /^(06\/2a\/06|02\/04\/0a)$/);
      }
    };
    const more = await Promise.all([login(nodes, 'a', 'c'), login(nodes, 'b', 'd')]);
    const workers = [atA, atB, ...more].map((each, i) => work(each, 100 + i));
    for (let change = 0; change < 10; change++) {
      const before = written;
      await until(() => Promise.resolve(written > before + 40));
      await nodes.handOver(change % 2 === 0 ? 'b' : 'a');
    }
    stop = true;
    await Promise.all(workers);
    for (const each of more) each.destroy();
    assert.equal(nodes.a.lu.tasks.running + nodes.b.lu.tasks.running, 0);
  });
});
