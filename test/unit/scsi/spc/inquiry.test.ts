// Expected bytes are written out from SPC-4 6.6 and 7.8 and SBC-3 6.6, not taken from the implementation.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OK_ORDINARY } from '../../../../core/scsi/command-spec.ts';
import type { CommandSpec } from '../../../../core/scsi/command-spec.ts';
import { SPC_COMMANDS } from '../../../../core/scsi/spc/index.ts';
import { GOOD } from '../../../../core/scsi/task.ts';
import type { TargetPort } from '../../../../core/scsi/lun-nexus.ts';
import { TARGET, VOLUME_ID, scsiFixture } from '../../../support/scsi-fixture.ts';
import type { FixtureOptions } from '../../../support/scsi-fixture.ts';

const inquiry = (allocation: number, page?: number): number[] => [
  0x12,
  page === undefined ? 0 : 1,
  page ?? 0,
  allocation >> 8,
  allocation & 0xff,
  0,
];

/** A row that only claims its opcode. */
function row(opcode: number, serviceAction?: number): CommandSpec {
  const base: CommandSpec = {
    name: `TEST ${opcode}/${serviceAction ?? ''}`,
    opcode,
    cdbUsage: [opcode, 0, 0, 0, 0, 0],
    access: 'none',
    reserved: 'allowed',
    okWhen: OK_ORDINARY,
    order: 'free',
    clause: '',
    run: () => GOOD,
  };
  return serviceAction === undefined ? base : { ...base, serviceAction };
}

const withRows = (...rows: CommandSpec[]): readonly CommandSpec[] => [...SPC_COMMANDS, ...rows];

async function page(code: number, options: FixtureOptions = {}): Promise<Buffer> {
  return scsiFixture(options).login().data(inquiry(0xffff, code));
}

const ascii = (text: string): string => Buffer.from(text, 'ascii').toString('hex');

describe('standard INQUIRY data', () => {
  const expected =
    '00' + // connected, direct access block device
    '00' + // not removable
    '06' + // SPC-4
    '02' + // response data format 2
    '5b' + // 96 - 5
    '10' + // TPGS implicit, no third party copy
    '00' +
    '02' + // CMDQUE
    ascii('GEMEL   ') +
    ascii('SHARED DISK     ') +
    ascii('0001') +
    '00'.repeat(22) +
    '00a0' + // SAM-5
    '0960' + // iSCSI
    '0460' + // SPC-4
    '04c0' + // SBC-3
    '00'.repeat(30);

  test('every byte', async () => {
    const data = await scsiFixture().login().data(inquiry(0xffff));
    assert.equal(data.toString('hex'), expected);
  });

  test('every allocation length cuts, none is an error, and the length field stays', async () => {
    const host = scsiFixture().login();
    for (let length = 0; length <= 100; length++) {
      const data = await host.data(inquiry(length));
      assert.equal(data.toString('hex'), expected.slice(0, 2 * Math.min(length, 96)));
    }
  });

  test('third party copy and several ports are announced when they are there', async () => {
    const ports: TargetPort[] = [
      { name: TARGET, portalGroup: 1, relativeId: 1 },
      { name: TARGET, portalGroup: 2, relativeId: 2 },
    ];
    const fixture = scsiFixture({ commands: withRows(row(0x83, 0)), ports });
    for (const port of [0, 1]) {
      const data = await fixture.login(undefined, port).data(inquiry(96));
      assert.equal(data[5], 0x18);
      assert.equal(data[6], 0x10);
    }
  });

  test('a page code without EVPD, the obsolete CMDDT and reserved bits are refused', async () => {
    const host = scsiFixture().login();
    assert.equal(await host.status([0x12, 0, 0x83, 0, 96, 0]), '05/24/00 cdb 2');
    assert.equal(await host.status([0x12, 0x02, 0, 0, 96, 0]), '05/24/00 cdb 1 bit 1');
    assert.equal(await host.status([0x12, 0x80, 0, 0, 96, 0]), '05/24/00 cdb 1 bit 7');
    assert.equal(await host.status([0x12, 0, 0, 0, 96, 0x04]), '05/24/00 cdb 5 bit 2'); // NACA
  });

  test('is not held up by a unit attention and does not clear it', async () => {
    const host = scsiFixture().login();
    host.lunNexus.attention({ key: 6, asc: 0x2a, ascq: 0x09 });
    await host.data(inquiry(96));
    assert.equal(await host.status([0, 0, 0, 0, 0, 0]), '06/2A/09');
  });
});

describe('VPD pages', () => {
  test('00h lists the pages in ascending order, and each of them can be read', async () => {
    const host = scsiFixture().login();
    const list = await host.data(inquiry(255, 0x00));
    assert.equal(list.toString('hex'), '00000008' + '0080838687b0b1b2');
    for (const code of list.subarray(4)) {
      const data = await host.data(inquiry(0xffff, code));
      assert.equal(data[0], 0);
      assert.equal(data[1], code);
      assert.equal(data.readUInt16BE(2), data.length - 4);
      for (let length = 0; length <= data.length + 2; length++) {
        assert.deepEqual(await host.data(inquiry(length, code)), data.subarray(0, length));
      }
    }
  });

  test('a page we do not have', async () => {
    const host = scsiFixture().login();
    for (const code of [0x01, 0x81, 0x84, 0x85, 0x88, 0x8f, 0xb3, 0xc0, 0xff]) {
      assert.equal(await host.status(inquiry(255, code)), '05/24/00 cdb 2');
    }
  });

  test('80h is the serial number', async () => {
    assert.equal((await page(0x80)).toString('hex'), '00800020' + ascii(VOLUME_ID));
  });

  test('83h: every byte', async () => {
    const port = ascii(`${TARGET},t,0x0001`); // 24 + 9 = 33 characters
    const device = ascii(TARGET); // 24 characters
    assert.equal(TARGET.length, 24);
    assert.equal(
      (await page(0x83)).toString('hex'),
      '0083' +
        '0098' + // 20 + 44 + 8 + 8 + 40 + 32 = 152
        '01030010' + // binary, logical unit, NAA
        '6' + // IEEE registered extended
        '02474d' +
        VOLUME_ID.slice(0, 25) +
        '02010028' + // ASCII, logical unit, T10 vendor id
        ascii('GEMEL   ' + VOLUME_ID) +
        '5194000400000001' + // iSCSI, binary, PIV, port, relative target port 1
        '5195000400000001' + // target port group 1
        '53980024' + // UTF-8, port, SCSI name, 36 bytes
        port +
        '000000' +
        '53a8001c' + // UTF-8, device, SCSI name, 28 bytes
        device +
        '00000000',
    );
  });

  test('83h through two ports differs in port and group only', async () => {
    const ports: TargetPort[] = [
      { name: TARGET, portalGroup: 1, relativeId: 1 },
      { name: TARGET, portalGroup: 0xabc, relativeId: 0x102, group: 7 },
    ];
    const fixture = scsiFixture({ ports });
    const [a, b] = await Promise.all([0, 1].map((port) => fixture.login(undefined, port).data(inquiry(255, 0x83))));
    assert.ok(a !== undefined && b !== undefined);
    const expected = a
      .toString('hex')
      .replace('5194000400000001', '5194000400000102')
      .replace('5195000400000001', '5195000400000007')
      .replace(ascii(',t,0x0001'), ascii(',t,0x0abc'));
    assert.notEqual(expected, a.toString('hex'));
    assert.equal(b.toString('hex'), expected);
  });

  test('a SCSI name that fills its last four bytes still ends with NUL', async () => {
    const name = `${TARGET}xyz`; // 27 characters
    const ports = [{ name, portalGroup: 1, relativeId: 1 }]; // port name 36 characters
    const data = await scsiFixture({ ports }).login().data(inquiry(255, 0x83));
    assert.ok(data.toString('hex').includes('53980028' + ascii(`${name},t,0x0001`) + '00000000' + '53a8'));
  });

  test('86h: every byte', async () => {
    const durable = await page(0x86, { info: { durability: 'durable' } });
    // Byte 5 HEADSUP ORDSUP SIMPSUP, byte 6 V_SUP, byte 7 LUICLR.
    assert.equal(durable.toString('hex'), '0086003c' + '00070001' + '00'.repeat(56));
    const cached = await page(0x86, { info: { durability: 'volatile' } });
    assert.equal(cached.toString('hex'), '0086003c' + '00070101' + '00'.repeat(56));
  });

  test('87h: one policy, shared, for all mode pages', async () => {
    assert.equal((await page(0x87)).toString('hex'), '00870004' + '3fff0000');
  });

  test('B0h without offload commands announces none', async () => {
    assert.equal(
      (await page(0xb0, { physicalBlockSize: 4096 })).toString('hex'),
      '00b0003c' +
        '00' + // WSNZ
        '00' + // COMPARE AND WRITE
        '0008' + // granularity: 4096 / 512
        '00008000' + // 16 MiB
        '00002000' + // 4 MiB
        '00000000' + // prefetch
        '00000000' + // UNMAP LBA count
        '00000000' + // UNMAP descriptors
        '00000000' +
        '00000000' +
        '0000000000000000' + // WRITE SAME
        '00'.repeat(20),
    );
  });

  test('B0h with every offload command', async () => {
    const commands = withRows(...[0x41, 0x42, 0x89, 0x93, 0x9c].map((opcode) => row(opcode)));
    const limits = await page(0xb0, {
      commands,
      physicalBlockSize: 4096,
      info: { thin: true, unmapGranularity: 65536 },
    });
    assert.equal(
      limits.toString('hex'),
      '00b0003c' +
        '00' +
        '80' + // 128 blocks
        '0008' +
        '00008000' +
        '00002000' +
        '00000000' +
        '00100000' + // 2^20 blocks
        '00000100' + // 256 descriptors
        '00000080' + // 64 KiB
        '80000000' + // UGAVALID, aligned at 0
        '0000000000008000' + // 16 MiB
        '00000800' + // atomic: 1 MiB
        '00'.repeat(16),
    );
  });

  test('B0h counts blocks of 4096 bytes', async () => {
    const commands = withRows(row(0x42), row(0x93), row(0x9c));
    const limits = await page(0xb0, { commands, blockSize: 4096, info: { unmapGranularity: 512 } });
    assert.equal(limits.readUInt16BE(6), 1);
    assert.equal(limits.readUInt32BE(8), 4096);
    assert.equal(limits.readUInt32BE(12), 1024);
    assert.equal(limits.readUInt32BE(28), 1); // never less than a block
    assert.equal(limits.readBigUInt64BE(36), 4096n);
    assert.equal(limits.readUInt32BE(44), 256);
  });

  test('B0h keeps silent about UNMAP when the volume is not thin', async () => {
    const limits = await page(0xb0, { commands: withRows(row(0x42), row(0x93)), info: { thin: false } });
    assert.equal(limits.subarray(20, 36).toString('hex'), '00'.repeat(16));
    assert.equal(limits.readBigUInt64BE(36), 32_768n);
  });

  test('B1h: solid state, and what SANITIZE leaves readable', async () => {
    const plain = '00b1003c' + '0001' + '00' + '00' + '03' + '00'.repeat(55);
    assert.equal((await page(0xb1)).toString('hex'), plain);
    const both = await page(0xb1, { commands: withRows(row(0x48, 2), row(0x48, 3)) });
    assert.equal(both[7], 0x50); // WABEREQ=01b, WACEREQ=01b
    assert.equal((await page(0xb1, { commands: withRows(row(0x48, 2)) }))[7], 0x40);
    assert.equal((await page(0xb1, { commands: withRows(row(0x48, 1)) }))[7], 0x00);
  });

  test('B2h follows the command table and the volume', async () => {
    const all = withRows(row(0x41), row(0x42), row(0x93));
    assert.equal((await page(0xb2, { commands: all })).toString('hex'), '00b20004' + '00e40200');
    assert.equal((await page(0xb2, { commands: withRows(row(0x42)) })).toString('hex'), '00b20004' + '00840200');
    assert.equal((await page(0xb2)).toString('hex'), '00b20004' + '00040200');
    const thick = await page(0xb2, { commands: all, info: { thin: false } });
    assert.equal(thick.toString('hex'), '00b20004' + '00000000');
  });
});
