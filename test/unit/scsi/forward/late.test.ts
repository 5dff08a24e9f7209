// What comes too late: a write that the network, or a node that stood still, brings when its host has long gone another way; and
// how long a host waits at a node that cannot reach the owner.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  FORWARD_BEGIN,
  FORWARD_HOLD,
  FORWARD_SLACK,
  FORWARD_STALL,
  FORWARD_STRANDED,
} from '../../../../core/base/limits.ts';
import { TUR, pattern, read16, write16 } from '../../../support/cdb.ts';
import type { Initiator, ScsiAnswer } from '../../../support/initiator.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { cdb, login, until } from '../../../support/nodes-initiator.ts';
import { StallingVolume } from '../../../support/stalling-volume.ts';
import { startTwoNodes } from '../../../support/two-nodes.ts';
import type { TwoNodes } from '../../../support/two-nodes.ts';

const OLD = pattern(512, 1);
const NEW = pattern(512, 2);
const REPORT_GROUPS = cdb(0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0);

describe('what comes late', () => {
  let clock: ManualClock;
  let volume: StallingVolume;
  let nodes: TwoNodes;
  let atA: Initiator;
  let atB: Initiator;
  beforeEach(async () => {
    clock = new ManualClock();
    volume = new StallingVolume(16 * 1_048_576);
    nodes = await startTwoNodes({ volume, clock });
    atA = await login(nodes, 'a');
    atB = await login(nodes, 'b', 'other');
  });
  afterEach(async () => {
    volume.goOn();
    atA.destroy();
    atB.destroy();
    const closing = nodes.close();
    await clock.during(closing);
  });

  /**
   * Sends a WRITE of one block whose last bytes are still in the network; the function returned brings them, and resolves when the
   * session is over, or the write answered.
   */
  function heldWrite(initiator: Initiator, lba: number, data: Buffer): () => Promise<unknown> {
    const header = initiator.command(write16(lba, 1), { flags: 0xa1, length: 512 });
    header.writeUIntBE(512, 5, 3);
    initiator.socket.write(Buffer.concat([header, data.subarray(0, 500)]));
    return () => {
      initiator.socket.write(data.subarray(500));
      return Promise.race([initiator.closed, initiator.answer(header).catch(() => undefined)]);
    };
  }

  const content = async (lba: number): Promise<Buffer> => (await atB.scsi(read16(lba, 1), { read: 512 })).data;

  it('is not carried out by a node that has lost the unit meanwhile', async () => {
    const release = heldWrite(atA, 5, OLD);
    await until(() => Promise.resolve(nodes.a.server.sessions().length === 1));
    nodes.takeOver('b');
    // The host repeats it by the other path, and writes something newer there.
    assert.equal((await atB.scsi(TUR)).senseCode, '06/2a/06');
    assert.equal((await atB.scsi(write16(5, 1), { write: OLD })).status, 0);
    assert.equal((await atB.scsi(write16(5, 1), { write: NEW })).status, 0);
    await release();
    assert.ok((await content(5)).equals(NEW), 'the newer write is gone');
    assert.ok(atA.isClosed);
    // It logs in again, and is served.
    const again = await login(nodes, 'a');
    assert.equal((await again.scsi(write16(5, 1), { write: OLD })).status, 0);
    again.destroy();
  });

  it('keeps the sessions of a node that has handed the unit over', async () => {
    await nodes.handOver('b');
    assert.equal((await atA.scsi(TUR)).senseCode, '06/2a/06');
    assert.equal((await atA.scsi(write16(5, 1), { write: OLD })).status, 0);
  });

  it('is not forwarded by a node that stood still', async () => {
    let ranAt = clock.now();
    nodes.b.lu.role.runsAt = () => ranAt;
    assert.equal((await atB.scsi(write16(5, 1), { write: OLD })).status, 0);
    clock.advance(FORWARD_STALL + 1);
    assert.equal((await atB.scsi(write16(5, 1), { write: NEW })).senseCode, '02/04/0a');
    ranAt = clock.now();
    assert.ok((await content(5)).equals(OLD));
    // What waits for the owner while it happens is not forwarded afterwards either.
    nodes.b.ownership.set(undefined, 'a');
    const waiting = atB.scsi(write16(5, 1), { write: NEW });
    await until(() => Promise.resolve(nodes.b.server.sessions().some((each) => each.activeTasks === 1)));
    clock.advance(FORWARD_STALL + 1);
    nodes.b.ownership.set('a', 'a');
    assert.equal((await waiting).senseCode, '02/04/0a');
    ranAt = clock.now();
    assert.ok((await content(5)).equals(OLD));
  });

  it('ends with the sessions of a node that stood still', async () => {
    const release = heldWrite(atB, 5, OLD);
    await until(() => Promise.resolve(nodes.b.server.sessions().length === 1));
    nodes.b.lu.endSessions('this node stood still');
    await release();
    atB = await login(nodes, 'b', 'other');
    assert.ok((await content(5)).equals(Buffer.alloc(512)));
  });

  /** Milliseconds until a command is answered, and the answer. */
  async function timed(command: Promise<ScsiAnswer>): Promise<{ ms: number; senseCode: string }> {
    const start = clock.now();
    const { senseCode } = await clock.during(command);
    return { ms: clock.now() - start, senseCode };
  }
  /** Access state (and preference) of both groups, as hexadecimal digits. */
  async function groups(): Promise<string> {
    for (;;) {
      const { status, senseCode, data } = await atB.scsi(REPORT_GROUPS, { read: 4096 });
      if (status === 0) return [4, 16].map((at) => data.toString('hex', at, at + 1)).join(' ');
      assert.equal(senseCode, '06/2a/06');
    }
  }

  it('a node that neither reaches the owner nor can become it says so soon', async () => {
    nodes.link.cut();
    assert.equal((await atB.scsi(TUR)).senseCode, '06/29/07');
    const write = atB.scsi(write16(5, 1), { write: OLD });
    await until(() => Promise.resolve(nodes.b.server.sessions().some((each) => each.activeTasks === 1)));
    // It waits: for all that is known this node takes over. Then the record says that it is not in sync.
    nodes.b.ownership.set('a', 'a', false);
    const { ms, senseCode } = await timed(write);
    assert.equal(senseCode, '02/04/0c');
    assert.ok(ms <= FORWARD_STRANDED + 40, `after ${ms} ms`);
    assert.ok((await timed(atB.scsi(TUR))).ms <= FORWARD_STRANDED / 2, 'the next one does not wait');
    assert.equal(await groups(), '80 03', 'its ports are unavailable');
    nodes.link.heal();
    assert.equal(await groups(), '80 01');
    assert.equal((await atB.scsi(write16(5, 1), { write: OLD })).status, 0);
  });

  it('a write on a link that breaks is given up when nothing can come of it any more', async () => {
    volume.stall();
    const write = atB.scsi(write16(9, 1), { write: OLD });
    await until(() => Promise.resolve(volume.waiting === 1));
    nodes.link.cut();
    const { ms, senseCode } = await timed(write);
    assert.equal(senseCode, '06/29/07');
    assert.ok(ms <= FORWARD_BEGIN + FORWARD_SLACK + 40, `after ${ms} ms`);
  });

  it('a read is not waited for longer because its link broke on the way', async () => {
    volume.stall();
    const start = clock.now();
    const read = atB.scsi(read16(9, 1), { read: 512 });
    await until(() => Promise.resolve(volume.waiting === 1));
    clock.advance(1_750);
    nodes.link.cut();
    assert.equal((await timed(read)).senseCode, '02/04/0a');
    assert.ok(clock.now() - start <= FORWARD_HOLD + 40, `after ${clock.now() - start} ms`);
  });
});
