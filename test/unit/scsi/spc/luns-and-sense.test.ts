import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SENSE, ScsiError } from '../../../../core/scsi/sense.ts';
import type { CommandSpec } from '../../../../core/scsi/command-spec.ts';
import { SPC_COMMANDS } from '../../../../core/scsi/spc/index.ts';
import { VolumeError, VolumeFault } from '../../../../core/volume/volume.ts';
import { RESERVE_RELEASE } from '../../../../core/scsi/reservations/reserve-release.ts';
import { HOST_A, HOST_B, scsiFixture } from '../../../support/scsi-fixture.ts';

const reportLuns = (select: number, allocation: number): number[] => [
  0xa0,
  0,
  select,
  0,
  0,
  0,
  0,
  0,
  allocation >> 8,
  allocation & 0xff,
  0,
  0,
];
const TEST_UNIT_READY = [0, 0, 0, 0, 0, 0];
const START = [0x1b, 0, 0, 0, 0x01, 0];
const STOP = [0x1b, 0, 0, 0, 0x00, 0];

describe('REPORT LUNS', () => {
  test('lists the visible LUNs, each in eight bytes', async () => {
    const fixture = scsiFixture({ lun: 0 });
    fixture.device.setLun(255, { lun: 255, lu: fixture.lu, visibility: () => 'read-only' });
    fixture.device.setLun(7, {
      lun: 7,
      lu: fixture.lu,
      visibility: ({ initiator }) => (initiator.name === HOST_B ? 'read-write' : 'hidden'),
    });
    const ofA = '0000001000000000' + '0000000000000000' + '00ff000000000000';
    const ofB = '0000001800000000' + '0000000000000000' + '0007000000000000' + '00ff000000000000';
    const a = fixture.login(HOST_A);
    for (const select of [0, 2]) {
      assert.equal((await a.data(reportLuns(select, 0xffff))).toString('hex'), ofA);
    }
    assert.equal((await fixture.login(HOST_B).data(reportLuns(0, 0xffff))).toString('hex'), ofB);
    for (let length = 0; length <= 26; length++) {
      assert.equal((await a.data(reportLuns(0, length))).toString('hex'), ofA.slice(0, 2 * length));
    }
  });

  test('there are no well known logical units, and other selections are refused', async () => {
    const host = scsiFixture().login();
    assert.equal((await host.data(reportLuns(1, 64))).toString('hex'), '00'.repeat(8));
    for (const select of [0x03, 0x10, 0x11, 0x12, 0xff]) {
      assert.equal(await host.status(reportLuns(select, 64)), '05/24/00 cdb 2');
    }
  });

  test('ends the unit attention about the inventory on every LUN of the nexus, and only that one', async () => {
    const fixture = scsiFixture();
    const host = fixture.login();
    const other = fixture.login(HOST_B);
    fixture.device.setLun(3, { lun: 3, lu: fixture.lu, visibility: () => 'read-write' });
    host.lunNexus.attention(SENSE.capacityChanged);
    await host.data(reportLuns(0, 64));
    assert.equal(await host.status(TEST_UNIT_READY), '06/2A/09');
    assert.equal(await host.status(TEST_UNIT_READY), 'GOOD');
    assert.equal(await other.status(TEST_UNIT_READY), '06/3F/0E');
    assert.equal(await other.status(TEST_UNIT_READY), 'GOOD');
  });

  test('the inventory attention is reported once per nexus, whatever its LUN (LUICLR)', async () => {
    const fixture = scsiFixture();
    fixture.device.setLun(1, { lun: 1, lu: fixture.lu, visibility: () => 'read-write' });
    const host = fixture.login();
    const second = host.nexus.luns[1];
    assert.ok(second);
    second.attentions.clear();
    fixture.device.setLun(2, { lun: 2, lu: fixture.lu, visibility: () => 'read-write' });
    assert.ok(second.attentions.any);
    assert.equal(await host.status(TEST_UNIT_READY), '06/3F/0E');
    assert.equal(second.attentions.any, false);
    assert.equal(second.readOk, true);
  });
});

describe('REQUEST SENSE', () => {
  const requestSense = (desc: number, allocation = 252): number[] => [0x03, desc, 0, 0, allocation, 0];
  const fixed = (key: string, code: string): string => `70000${key}00000000` + '0a' + '00000000' + code + '00000000';

  test('nothing to tell', async () => {
    const host = scsiFixture().login();
    const data = fixed('0', '0000');
    assert.equal((await host.data(requestSense(0))).toString('hex'), data);
    assert.equal((await host.data(requestSense(1))).toString('hex'), '7200000000000000');
    for (let length = 0; length <= 20; length++) {
      assert.equal((await host.data(requestSense(0, length))).toString('hex'), data.slice(0, 2 * length));
    }
  });

  test('a pending unit attention is returned as data and is over', async () => {
    const host = scsiFixture().login();
    host.lunNexus.attention(SENSE.capacityChanged);
    host.lunNexus.attention(SENSE.modeParametersChanged);
    assert.equal(host.lunNexus.readOk, false);
    assert.equal((await host.data(requestSense(0))).toString('hex'), fixed('6', '2a09'));
    assert.equal((await host.data(requestSense(1))).toString('hex'), '72062a0100000000');
    assert.equal(host.lunNexus.readOk, true);
    assert.equal(await host.status(TEST_UNIT_READY), 'GOOD');
  });

  test('why the unit is not ready, with progress', async () => {
    const fixture = scsiFixture();
    const host = fixture.login();
    fixture.lu.setNotReady(new ScsiError(SENSE.sanitizeInProgress, { progress: 0x1234 }));
    const expected = '70000200000000' + '0a' + '00000000' + '041b' + '00' + '801234';
    assert.equal((await host.data(requestSense(0))).toString('hex'), expected);
  });

  test('the format is DESC alone, not D_SENSE', async () => {
    const fixture = scsiFixture();
    const host = fixture.login();
    fixture.lu.modes.descriptorSense = true;
    assert.equal((await host.data(requestSense(0)))[0], 0x70);
    assert.equal((await host.data(requestSense(1)))[0], 0x72);
  });
});

describe('START STOP UNIT', () => {
  test('a stopped unit wants START, for everybody', async () => {
    const fixture = scsiFixture();
    const host = fixture.login();
    const second = fixture.login(); // another session of the same host
    assert.equal(await host.status(STOP), 'GOOD');
    assert.equal(await second.status(TEST_UNIT_READY), '02/04/02');
    assert.equal(host.lunNexus.readOk, false);
    assert.equal(await second.status(STOP), 'GOOD'); // stopping a stopped unit
    assert.equal((await host.data([0x12, 0, 0, 0, 5, 0])).length, 5);
    assert.equal((await host.data([0x03, 0, 0, 0, 18, 0])).subarray(12, 14).toString('hex'), '0402');
    assert.equal(await second.status(START), 'GOOD');
    assert.equal(await host.status(TEST_UNIT_READY), 'GOOD');
    assert.equal(host.lunNexus.readOk, true);
  });

  test('a host cannot take the disk from another one', async () => {
    const fixture = scsiFixture();
    const host = fixture.login(HOST_A);
    const other = fixture.login(HOST_B);
    assert.equal(await host.status(STOP), 'GOOD');
    assert.equal(await other.status(TEST_UNIT_READY), 'GOOD');
    fixture.logout(other);
    assert.equal(await host.status(STOP), 'GOOD');
    assert.equal(await host.status(TEST_UNIT_READY), '02/04/02');
  });

  test('stopping makes data stable first, unless NO_FLUSH', async () => {
    const fixture = scsiFixture();
    let flushes = 0;
    fixture.volume.flush = () => {
      flushes++;
      return Promise.resolve();
    };
    const host = fixture.login();
    assert.equal(await host.status([0x1b, 0, 0, 0, 0x04, 0]), 'GOOD');
    assert.equal(flushes, 0);
    assert.equal(await host.status(START), 'GOOD');
    assert.equal(await host.status([0x1b, 1, 0, 0, 0x02, 0]), 'GOOD'); // IMMED, LOEJ
    assert.equal(flushes, 1);
  });

  test('a flush that fails leaves the unit running', async () => {
    const fixture = scsiFixture();
    fixture.volume.flush = () => Promise.reject(new VolumeError(VolumeFault.writeError, 'test'));
    const host = fixture.login();
    assert.equal(await host.status(STOP), '03/0C/00');
    assert.equal(await host.status(TEST_UNIT_READY), 'GOOD');
  });

  test('power conditions are refused', async () => {
    const host = scsiFixture().login();
    for (let condition = 1; condition < 16; condition++) {
      const highest = 4 + Math.floor(Math.log2(condition));
      assert.equal(await host.status([0x1b, 0, 0, 0, condition << 4, 0]), `05/24/00 cdb 4 bit ${highest}`);
    }
    assert.equal(await host.status([0x1b, 0, 0, 0x01, 0x01, 0]), '05/24/00 cdb 3 bit 0');
  });

  test('cannot end a sanitize operation', async () => {
    const fixture = scsiFixture();
    const host = fixture.login();
    fixture.lu.setNotReady(new ScsiError(SENSE.sanitizeInProgress, { progress: 9 }));
    for (const cdb of [START, STOP, TEST_UNIT_READY]) assert.equal(await host.status(cdb), '02/04/1B progress 9');
    assert.equal(fixture.lu.notReady?.sense, SENSE.sanitizeInProgress);
  });

  test('against a reservation only starting is allowed; likewise only allowing removal', async () => {
    const commands: readonly CommandSpec[] = [...SPC_COMMANDS, ...RESERVE_RELEASE];
    const fixture = scsiFixture({ commands });
    const host = fixture.login(HOST_A);
    const other = fixture.login(HOST_B);
    assert.equal(await host.status([0x16, 0, 0, 0, 0, 0]), 'GOOD');
    assert.equal(await other.status(STOP), 'status 18');
    assert.equal(await other.status(START), 'GOOD');
    assert.equal(await other.status([0x1e, 0, 0, 0, 1, 0]), 'status 18');
    assert.equal(other.lunNexus.preventsRemoval, false);
    assert.equal(await other.status([0x1e, 0, 0, 0, 0, 0]), 'GOOD');
    assert.equal(await host.status([0x1e, 0, 0, 0, 1, 0]), 'GOOD');
    assert.equal(host.lunNexus.preventsRemoval, true);
    assert.equal(await host.status([0x1e, 0, 0, 0, 2, 0]), '05/24/00 cdb 4 bit 1');
  });
});

describe('SEND DIAGNOSTIC', () => {
  test('the default self-test reads both ends', async () => {
    const fixture = scsiFixture({ blocks: 100 });
    const read: number[] = [];
    const readVolume = fixture.volume.read.bind(fixture.volume);
    fixture.volume.read = (position, length, target, at) => {
      read.push(position, length);
      return readVolume(position, length, target, at);
    };
    assert.equal(await fixture.login().status([0x1d, 0x04, 0, 0, 0, 0]), 'GOOD');
    assert.deepEqual(read, [0, 512, 99 * 512, 512]);
  });

  test('a volume that cannot be read fails it', async () => {
    const fixture = scsiFixture();
    fixture.volume.read = () => Promise.reject(new VolumeError(VolumeFault.readError, 'test', 0));
    assert.equal(await fixture.login().status([0x1d, 0x04, 0, 0, 0, 0]), '04/3E/03');
  });

  test('other self-tests and diagnostic pages are refused', async () => {
    const host = scsiFixture().login();
    for (let code = 1; code < 8; code++) {
      assert.equal(await host.status([0x1d, code << 5, 0, 0, 0, 0]), '05/24/00 cdb 1 bit 7');
    }
    assert.equal(await host.status([0x1d, 0x10, 0, 0, 4, 0]), '05/24/00 cdb 3');
    assert.equal(await host.status([0x1d, 0x10, 0, 0, 0, 0]), 'GOOD');
  });
});
