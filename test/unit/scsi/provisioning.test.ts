// Thin provisioning as initiators see it: log page 0Ch, mode page 1Ch/02h, VPD B2, the unit attention of the threshold.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import type { SpaceResources, Volume } from '../../../core/volume/volume.ts';
import { ALL_COMMANDS, HOST_B, Initiator, scsiFixture } from '../../support/scsi-fixture.ts';
import type { Fixture } from '../../support/scsi-fixture.ts';

const ROOM: SpaceResources = { setBytes: 65_536, available: 0x01_0203, threshold: 0x0405, crossed: false };

/** 1 MiB with room of its own, or without any that can be counted. */
function disk(resources: SpaceResources | undefined, thin = true, blockSize = 512): Fixture {
  const memory = new MemoryVolume(1_048_576, blockSize, { thin });
  const volume: Volume = Object.assign(memory, { resources });
  return scsiFixture({ commands: ALL_COMMANDS, volume, blockSize });
}

const hex = async (host: Initiator, cdb: string): Promise<string> =>
  (await host.data(Buffer.from(cdb.replaceAll(' ', ''), 'hex'))).toString('hex');
const ends = (host: Initiator, cdb: string, data = ''): Promise<string> =>
  host.status(Buffer.from(cdb.replaceAll(' ', ''), 'hex'), { data: Buffer.from(data.replaceAll(' ', ''), 'hex') });

const LBP_PAGE = 'dc02'; // with PS, which is not set
const page = (first: string, enabled: string, count: string): string =>
  `${first}020014${'00'.repeat(12)}${enabled}010000${count}`;
const TUR = '00 00 00 00 00 00';
const SENSE_LBP = '1a 08 1c 02 ff 00';
const SELECT = (length: string): string => `15 10 00 00 ${length} 00`;

describe('thin provisioning', () => {
  test('VPD B2 THRESHOLD EXPONENT: a set has 2^n blocks', async () => {
    assert.equal(await hex(disk(ROOM).login(), '12 01 b2 00ff 00'), '00b2000407e40200');
    assert.equal(await hex(disk(ROOM, true, 4096).login(), '12 01 b2 00ff 00'), '00b2000404e40200');
    assert.equal(await hex(disk(undefined).login(), '12 01 b2 00ff 00'), '00b2000400e40200');
    assert.equal(await hex(disk(ROOM, false).login(), '12 01 b2 00ff 00'), '00b2000400000000');
  });

  test('log page 0Ch: what is left for all, and what this volume uses', async () => {
    const fixture = disk(ROOM);
    const host = fixture.login();
    await fixture.volume.write(0, Buffer.alloc(70_000 - (70_000 % 512), 1), 0, 69_632, false);
    const used = Math.ceil(fixture.volume.allocatedBytes() / 65_536);
    assert.equal(used, 2);
    assert.equal(
      await hex(host, '4d 00 4c 00 00 0000 00ff 00'),
      `8c000018${'0001 03 08 00010203 02000000'.replaceAll(' ', '')}${'0002 03 08 00000002 01000000'.replaceAll(' ', '')}`,
    );
    assert.equal(await hex(host, '4d 00 4c 00 00 0002 00ff 00'), '8c00000c0002030800000002 01000000'.replace(' ', ''));
    assert.equal(await hex(host, '4d 00 40 00 00 0000 00ff 00'), '0000000500' + '02030c2f');
    assert.match(await hex(host, '4d 00 40 ff 00 0000 00ff 00'), /0c00/);
    assert.equal(await ends(host, '4d 00 4c 01 00 0000 00ff 00'), '05/24/00 cdb 3');
    for (const without of [disk(undefined), disk(ROOM, false)]) {
      assert.equal(await hex(without.login(), '4d 00 40 00 00 0000 00ff 00'), '0000000400' + '02032f');
      assert.equal(await ends(without.login(), '4d 00 4c 00 00 0000 00ff 00'), '05/24/00 cdb 2 bit 5');
    }
  });

  test('mode page 1Ch/02h: the threshold, and what can be changed of it', async () => {
    const host = disk(ROOM).login();
    const header = '1b001000'; // DPOFUA, no descriptor
    assert.equal(await hex(host, SENSE_LBP), header + page('5c', '80', '00000405'));
    assert.equal(await hex(host, '1a 08 5c 02 ff 00'), header + page('5c', '80', '00000000').replace('8001', '8000'));
    assert.equal(await hex(host, '1a 08 9c 02 ff 00'), header + page('5c', '80', '00000405'));
    assert.equal(await ends(host, '1a 08 dc 02 ff 00'), '05/39/00');
    // One page code: page alone, all of its subpages, one we do not have.
    assert.equal((await host.data([0x1a, 8, 0x1c, 0, 0xff, 0])).length, 4 + 12);
    assert.equal((await host.data([0x1a, 8, 0x1c, 0xff, 0xff, 0])).length, 4 + 12 + 24);
    assert.equal(await ends(host, '1a 08 1c 01 ff 00'), '05/24/00 cdb 3');
    assert.equal(await ends(host, '1a 08 3f 02 ff 00'), '05/24/00 cdb 3');
    const all = await host.data([0x1a, 8, 0x3f, 0xff, 0xff, 0]);
    assert.equal(all.subarray(-24).toString('hex'), page('5c', '80', '00000405'));
    assert.equal((await host.data([0x1a, 8, 0x3f, 0, 0xff, 0])).length, all.length - 24);
    assert.equal(await ends(disk(undefined).login(), SENSE_LBP), '05/24/00 cdb 3');
    assert.equal(await ends(disk(ROOM, false).login(), SENSE_LBP), '05/24/00 cdb 3');
  });

  test('MODE SELECT: ENABLED, and nothing else', async () => {
    const fixture = disk(ROOM);
    const host = fixture.login();
    const other = fixture.login(HOST_B);
    const select = (text: string): Promise<string> => ends(host, SELECT('1c'), `00000000${text}`);
    assert.equal(LBP_PAGE.slice(2), '02');
    assert.equal(await select(page('5c', '00', '00000406')), '05/26/00 data 27 bit 1'); // the amount belongs to the pool
    assert.equal(await select(page('5c', '81', '00000405')), '05/26/00 data 20 bit 0'); // THRESHOLD ARMING
    assert.equal(await select(page('5c', '80', '00000405').replace('8001', '8002')), '05/26/00 data 21 bit 1');
    assert.equal(await select(page('5c', '00', '00000405').replace('5c020014', '5c020013')), '05/26/00 data 6');
    assert.equal(await select(page('5c', '00', '00000405').replace('5c02', '5c03')), '05/26/00 data 4');
    assert.equal(await ends(host, SELECT('07'), '00000000 5c0200'), '05/1A/00');
    assert.equal(await ends(host, SELECT('1b'), `00000000${page('5c', '00', '00000405').slice(0, -2)}`), '05/1A/00');
    assert.equal(await select(page('dc', '00', '00000405')), 'GOOD');
    assert.equal(await ends(other, '00 00 00 00 00 00'), '06/2A/01');
    assert.equal(await hex(host, SENSE_LBP), '1b001000' + page('5c', '00', '00000405'));
    fixture.lu.thresholdReached();
    assert.equal(await ends(host, '00 00 00 00 00 00'), 'GOOD', 'switched off');
    fixture.lu.reset({ key: 6, asc: 0x29, ascq: 3 });
    for (const each of [host, other]) each.clearAttentions();
    fixture.lu.thresholdReached();
    assert.equal(await ends(host, '00 00 00 00 00 00'), '06/38/07 info 16');
  });

  test('LBPERE in the Read-Write Error Recovery page switches the notification', async () => {
    const fixture = disk(ROOM);
    const host = fixture.login();
    assert.equal(await hex(host, '1a 08 01 00 ff 00'), '0f001000' + '010a00000000008000000000');
    assert.equal(await hex(host, '1a 08 41 00 ff 00'), '0f001000' + '010a00000000008000000000');
    assert.equal(await ends(host, SELECT('10'), '00000000 010a00000000000000000000'), 'GOOD');
    fixture.lu.thresholdReached();
    assert.equal(await ends(host, '00 00 00 00 00 00'), 'GOOD');
    assert.equal(await hex(disk(undefined).login(), '1a 08 01 00 ff 00'), '0f001000' + '010a' + '00'.repeat(10));
    assert.equal(
      await ends(disk(undefined).login(), SELECT('10'), '00000000 010a00000000008000000000'),
      '05/26/00 data 11 bit 7',
    );
  });

  test('a host that comes when the threshold has been reached is told, and all are again after a reset', async () => {
    const room = { ...ROOM, crossed: true };
    const fixture = disk(room);
    const late = (name?: string): Promise<string[]> => {
      const { visitor, target } = fixture.login(name).nexus;
      const nexus = fixture.device.attach(
        { ...visitor, initiator: { name: visitor.initiator.name, isid: 'abc' } },
        target,
      );
      const host = new Initiator(nexus, 0);
      return Promise.all([ends(host, TUR), ends(host, TUR), ends(host, TUR)]);
    };
    assert.deepEqual(await late(), ['06/29/00', '06/38/07 info 16', 'GOOD']);
    room.crossed = false;
    const host = fixture.login();
    assert.deepEqual(await late(HOST_B), ['06/29/00', 'GOOD', 'GOOD']);
    room.crossed = true;
    fixture.lu.reset({ key: 6, asc: 0x29, ascq: 3 });
    assert.equal(await ends(host, TUR), '06/29/03');
    assert.equal(await ends(host, TUR), '06/38/07 info 16');
    assert.equal(await ends(host, SELECT('10'), '00000000 010a00000000000000000000'), 'GOOD');
    assert.deepEqual(await late(), ['06/29/00', 'GOOD', 'GOOD'], 'LBPERE switched off');
  });

  test('the unit attention names the descriptor, in both formats, once for each host', async () => {
    const fixture = disk(ROOM);
    const hosts = [fixture.login(), fixture.login(HOST_B)];
    fixture.lu.thresholdReached();
    fixture.lu.thresholdReached();
    for (const host of hosts) {
      assert.equal(await ends(host, '28 00 00000000 00 0001 00'), '06/38/07 info 16');
      assert.equal(await ends(host, '00 00 00 00 00 00'), 'GOOD');
    }
    fixture.lu.thresholdReached();
    // REQUEST SENSE, descriptor format: INFORMATION descriptor.
    assert.equal(
      await hex(hosts[0] as Initiator, '03 01 00 00 ff 00'),
      '720638070000000c' + '000a80000000000000000010',
    );
  });
});
