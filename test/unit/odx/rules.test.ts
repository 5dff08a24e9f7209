// What the token commands refuse, and what becomes of a copy that is ended by somebody; on volumes in memory.
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { MAX_TOKEN_TRANSFER } from '../../../core/base/limits.ts';
import { SENSE } from '../../../core/scsi/sense.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { RodLimit } from '../../../core/volume/rod.ts';
import { VolumeError, VolumeFault } from '../../../core/volume/volume.ts';
import { resetOdx, testRods } from '../../support/odx.ts';
import { ALL_COMMANDS, HOST_B, hastyClock, scsiFixture } from '../../support/scsi-fixture.ts';
import type { Fixture } from '../../support/scsi-fixture.ts';
import {
  discover,
  inCdb,
  newListId,
  offloadRead,
  populate,
  populateList,
  receive,
  writeList,
  writeUsing,
} from '../../support/windows-copy.ts';

const MIB = 1_048_576;
const disk = (volume = new MemoryVolume(8 * MIB)): Fixture =>
  scsiFixture({ commands: ALL_COMMANDS, volume, clock: hastyClock });

/** A volume whose writes wait until they are let go. */
function slow(): { volume: MemoryVolume; began: Promise<void>; go: () => void } {
  const volume = new MemoryVolume(8 * MIB, 512, { thin: false });
  let go = (): void => undefined;
  let begin = (): void => undefined;
  const began = new Promise<void>((resolve) => (begin = resolve));
  const gate = new Promise<void>((resolve) => (go = resolve));
  const write = volume.write.bind(volume);
  volume.write = async (...args) => {
    begin();
    await gate;
    return write(...args);
  };
  return {
    volume,
    began,
    go: () => {
      go();
    },
  };
}

describe('token commands', () => {
  beforeEach(() => {
    resetOdx();
    testRods.refusal = undefined;
  });

  it('QERR is reported as 0, or set so by the host', async () => {
    const fixture = disk();
    const host = fixture.login();
    fixture.lu.modes.queueErrorManagement = 1;
    assert.ok(await discover(host));
    assert.equal(fixture.lu.modes.queueErrorManagement, 0);
  });

  it('a token stands for no more than is announced', async () => {
    const volume = new MemoryVolume(2 * MAX_TOKEN_TRANSFER);
    const host = scsiFixture({ commands: ALL_COMMANDS, volume }).login();
    const blocks = MAX_TOKEN_TRANSFER / 512;
    assert.equal(await populate(host, newListId(), populateList([[0, blocks + 1]])), '05/26/00 data 24');
    const two = populateList([
      [0, blocks],
      [blocks, 1],
    ]);
    assert.equal(await populate(host, newListId(), two), '05/26/00 data 40');
  });

  it('no room for a ROD, or for a token, is told apart from a full disk', async () => {
    const host = disk().login();
    for (const [refusal, sense] of [
      [new RodLimit('space', 'x'), '0B/55/0C'],
      [new RodLimit('number', 'x'), '0B/55/0D'],
      [new VolumeError(VolumeFault.readError, 'x', 512), '03/11/00 info 1'],
    ] as const) {
      testRods.refusal = refusal;
      const listId = newListId();
      assert.equal(await populate(host, listId, populateList([[0, 8]])), sense);
      const { status, token } = await receive(host, listId);
      assert.deepEqual({ status, token }, { status: 0x02, token: undefined });
    }
  });

  it('a list identifier in use is refused, and belongs to its nexus', async () => {
    const { volume, began, go } = slow();
    const fixture = disk(volume);
    const [a, b] = [fixture.login(), fixture.login(HOST_B)];
    const { token } = await offloadRead(a, [[0, 2048]]);
    const list = writeList(token, 0, [[4096, 2048]]);
    const first = writeUsing(a, 700, list);
    await began;
    assert.equal(await writeUsing(a, 700, list), '05/00/16');
    assert.equal((await receive(a, 700)).status, 0x11);
    assert.equal(await b.status(inCdb(0x07, 700, 1024)), '05/24/00 cdb 2');
    assert.equal(await b.status([0x83, 0x1c, 0, 0, 0x02, 0xbc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), '05/24/00 cdb 2');
    go();
    assert.equal(await first, 'GOOD');
    assert.deepEqual([...testRods.used.values()], [0]);
  });

  for (const [name, background] of [
    ['in the foreground', false],
    ['in the background', true],
  ] as const) {
    it(`COPY OPERATION ABORT ends a copy ${name}`, async () => {
      const { volume, began, go } = slow();
      const host = disk(volume).login();
      const { token } = await offloadRead(host, [[0, 8192]]);
      const list = writeList(token, 0, [[8192, 8192]], background ? 0x01 : 0);
      const copy = writeUsing(host, 700, list);
      await began;
      assert.equal((await receive(host, 700)).status, background ? 0x12 : 0x11);
      const abort = host.status([0x83, 0x1c, 0, 0, 0x02, 0xbc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
      go();
      assert.equal(await abort, 'GOOD');
      assert.equal(await copy, background ? 'GOOD' : '0A/2F/02');
      const { status, blocks } = await receive(host, 700);
      assert.equal(status, 0x60);
      assert.ok(blocks < 8192);
      assert.deepEqual([...testRods.used.values()], [0]);
    });
  }

  it('LOGICAL UNIT RESET ends a copy in the background', async () => {
    const { volume, began, go } = slow();
    const fixture = disk(volume);
    const host = fixture.login();
    const { token } = await offloadRead(host, [[0, 8192]]);
    assert.equal(await writeUsing(host, 700, writeList(token, 0, [[8192, 8192]], 0x01)), 'GOOD');
    await began;
    fixture.lu.reset(SENSE.busDeviceReset);
    host.clearAttentions();
    go();
    await fixture.lu.copies.find(host.lunNexus, 700)?.over;
    assert.equal((await receive(host, 700)).status, 0x60);
  });

  it('a copy in the background that fails tells who asks', async () => {
    const volume = new MemoryVolume(8 * MIB, 512, { thin: false });
    const fixture = disk(volume);
    const host = fixture.login();
    const { token } = await offloadRead(host, [[0, 8]]);
    const full = (): Promise<void> => Promise.reject(new VolumeError(VolumeFault.noSpace, 'full'));
    Object.assign(volume, { write: full, unmap: full, zero: full });
    assert.equal(await writeUsing(host, 700, writeList(token, 0, [[64, 8]], 0x01)), 'GOOD');
    await fixture.lu.copies.find(host.lunNexus, 700)?.over;
    const data = await host.data(inCdb(0x07, 700, 1024));
    assert.deepEqual([data[5], data[12], data[13], data[34], data[44], data[45]], [0x02, 0x02, 18, 0x07, 0x27, 0x07]);
  });

  it('blocks of another size: the offset counts those of the disk that is written, the last one ends with zeros', async () => {
    const small = disk();
    const source = Buffer.from(Array.from({ length: 21 * 512 }, (_, i) => (i >> 4) & 0xff));
    await small.volume.write(100 * 512, source, 0, source.length, false);
    const { token } = await offloadRead(small.login(), [
      [100, 13],
      [113, 8],
    ]);
    const large = scsiFixture({ commands: ALL_COMMANDS, volume: new MemoryVolume(8 * MIB, 4096), blockSize: 4096 });
    const answer = await writeUsing(large.login(), 700, writeList(token, 1, [[5, 4]]));
    // 21 blocks less 8 are 13 of 512 bytes: two of 4096, of which the second one is not full.
    assert.equal(answer, '05/0D/04 info 2');
    const found = Buffer.alloc(4 * 4096);
    await large.volume.read(5 * 4096, found.length, found, 0);
    assert.ok(found.equals(Buffer.concat([source.subarray(4096), Buffer.alloc(4 * 4096 - 13 * 512)])));
  });
});
