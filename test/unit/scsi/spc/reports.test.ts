// LOG SENSE, REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS, REPORT TARGET PORT GROUPS, the reference.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AluaState } from '../../../../core/scsi/alua.ts';
import { CommandTable } from '../../../../core/scsi/command-table.ts';
import { renderCommandReference } from '../../../docs/command-reference.ts';
import { SPC_COMMANDS } from '../../../../core/scsi/spc/index.ts';
import { ALL_COMMANDS, TARGET, scsiFixture } from '../../../support/scsi-fixture.ts';
import type { Initiator } from '../../../support/scsi-fixture.ts';

const host = (): Initiator => scsiFixture().login();

describe('LOG SENSE', () => {
  const log = (page: number, { pc = 1, subpage = 0, pointer = 0, length = 0xff } = {}): number[] => [
    0x4d,
    0,
    (pc << 6) | page,
    subpage,
    0,
    pointer >> 8,
    pointer & 0xff,
    length >> 8,
    length & 0xff,
    0,
  ];

  test('the lists of pages', async () => {
    const a = host();
    for (const pc of [0, 1, 2, 3]) {
      assert.equal((await a.data(log(0x00, { pc }))).toString('hex'), '00000004' + '0002032f');
    }
    assert.equal(
      (await a.data(log(0x00, { subpage: 0xff }))).toString('hex'),
      '40ff000a' + '0000' + '00ff' + '0200' + '0300' + '2f00',
    );
  });

  test('the counters are those of the logical unit', async () => {
    const fixture = scsiFixture();
    fixture.lu.counters.writtenBytes = 0x12_3456_7890;
    fixture.lu.counters.readBytes = 512;
    const a = fixture.login();
    const writes = '8200000c' + '00050208' + '0000001234567890';
    assert.equal((await a.data(log(0x02))).toString('hex'), writes);
    assert.equal((await a.data(log(0x03))).toString('hex'), '8300000c' + '00050208' + '0000000000000200');
    assert.equal((await a.data(log(0x2f))).toString('hex'), 'af000008' + '00000304' + '0000ffff');
    for (let length = 0; length <= 18; length++) {
      assert.equal((await a.data(log(0x02, { length }))).toString('hex'), writes.slice(0, 2 * length));
    }
  });

  test('the parameter pointer', async () => {
    const a = host();
    assert.equal((await a.data(log(0x02, { pointer: 5 }))).length, 16);
    assert.equal(await a.status(log(0x02, { pointer: 6 })), '05/24/00 cdb 5');
    assert.equal(await a.status(log(0x2f, { pointer: 1 })), '05/24/00 cdb 5');
    assert.equal(await a.status(log(0x00, { pointer: 1 })), '05/24/00 cdb 5');
  });

  test('what is not kept is refused', async () => {
    const a = host();
    assert.equal(await a.status(log(0x0d)), '05/24/00 cdb 2 bit 5');
    assert.equal(await a.status(log(0x02, { subpage: 1 })), '05/24/00 cdb 3');
    assert.equal(await a.status(log(0x00, { subpage: 1 })), '05/24/00 cdb 3');
    for (const pc of [0, 2, 3]) assert.equal(await a.status(log(0x02, { pc })), '05/24/00 cdb 2 bit 7');
    assert.equal(await a.status([0x4d, 1, 0x42, 0, 0, 0, 0, 0, 255, 0]), '05/24/00 cdb 1 bit 0'); // SP
  });
});

describe('REPORT SUPPORTED OPERATION CODES', () => {
  const report = (option: number, opcode = 0, action = 0, length = 0xffff): number[] => [
    0xa3,
    0x0c,
    option,
    opcode,
    action >> 8,
    action & 0xff,
    0,
    0,
    length >> 8,
    length & 0xff,
    0,
    0,
  ];
  const NO_TIMES = '000a' + '00'.repeat(10);

  test('all commands', async () => {
    const a = host();
    const data = await a.data(report(0));
    assert.equal(data.readUInt32BE(0), 8 * SPC_COMMANDS.length);
    const descriptors: string[] = data.subarray(4).toString('hex').match(/.{16}/g) ?? [];
    assert.equal(descriptors.length, SPC_COMMANDS.length);
    assert.equal(new Set(descriptors).size, descriptors.length);
    for (const expected of [
      '0000000000000006', // TEST UNIT READY
      '1200000000000006', // INQUIRY
      'a00000000000000c', // REPORT LUNS
      'a300000a0001000c', // REPORT TARGET PORT GROUPS: SERVACTV
      'a300000c0001000c',
      'a300000d0001000c',
      '5a0000000000000a', // MODE SENSE (10)
    ]) {
      assert.ok(descriptors.includes(expected), expected);
    }
    const timed = await a.data(report(0x80));
    assert.equal(timed.readUInt32BE(0), 20 * SPC_COMMANDS.length);
    for (const [index, each] of (timed.subarray(4).toString('hex').match(/.{40}/g) ?? []).entries()) {
      const plain = descriptors[index] ?? '';
      const flags = (parseInt(plain.slice(10, 12), 16) | 0x02).toString(16).padStart(2, '0'); // CTDP
      assert.equal(each, plain.slice(0, 10) + flags + plain.slice(12) + NO_TIMES);
    }
    for (let length = 0; length <= 40; length++) {
      assert.deepEqual(await a.data(report(0, 0, 0, length)), data.subarray(0, length));
    }
  });

  test('one command', async () => {
    const a = host();
    const inquiry = '00030006' + '1201ffffff00';
    const groups = '0003000c' + 'a3ea00000000ffffffff0000';
    const cases: [number[], string][] = [
      [report(1, 0x12), inquiry],
      [report(3, 0x12), inquiry],
      [report(0x81, 0x12), '00830006' + '1201ffffff00' + NO_TIMES],
      [report(2, 0xa3, 0x0a), groups],
      [report(3, 0xa3, 0x0a), groups],
      [report(1, 0xff), '00010000'], // no such opcode
      [report(2, 0xff, 1), '00010000'],
      [report(0x82, 0xa3, 0x1f), '00010000'], // no such service action
      [report(3, 0xa3, 0x1f), '00010000'],
      [report(3, 0x12, 1), '00010000'], // INQUIRY has no service actions
      [report(1, 0x41), '00010000'],
    ];
    for (const [cdb, expected] of cases) assert.equal((await a.data(cdb)).toString('hex'), expected, cdb.join(' '));
    for (let length = 0; length <= 10; length++) {
      assert.equal((await a.data(report(1, 0x12, 0, length))).toString('hex'), inquiry.slice(0, 2 * length));
    }
  });

  test('options that do not suit the opcode', async () => {
    const a = host();
    assert.equal(await a.status(report(1, 0xa3, 0x0a)), '05/24/00 cdb 2 bit 2');
    assert.equal(await a.status(report(2, 0x12)), '05/24/00 cdb 2 bit 2');
    for (const option of [4, 5, 6, 7]) assert.equal(await a.status(report(option)), '05/24/00 cdb 2 bit 2');
    assert.equal(await a.status(report(0x08)), '05/24/00 cdb 2 bit 3');
  });

  test('every row can be asked for, and its usage data begins with its opcode', async () => {
    const a = scsiFixture({ commands: ALL_COMMANDS }).login();
    for (const spec of ALL_COMMANDS) {
      const data = await a.data(report(spec.serviceAction === undefined ? 1 : 2, spec.opcode, spec.serviceAction));
      assert.equal(data[1], 0x03, spec.name);
      assert.equal(data.readUInt16BE(2), data.length - 4);
      assert.equal(data[4], spec.opcode);
      assert.equal(data.length - 4, [6, 10, 10, 0, 16, 12][spec.opcode >> 5], spec.name); // SAM-5 5.2: group code
      if (spec.serviceAction !== undefined) assert.equal((data[5] ?? 0) & 0x1f, spec.serviceAction, spec.name);
    }
  });

  test('a disk that is not thin has no UNMAP', async () => {
    for (const thin of [true, false]) {
      const a = scsiFixture({ commands: ALL_COMMANDS, info: { thin } }).login();
      assert.equal((await a.data(report(1, 0x42)))[1], thin ? 0x03 : 0x01);
      const all: string[] = (await a.data(report(0))).subarray(4).toString('hex').match(/.{16}/g) ?? [];
      assert.equal(all.includes('420000000000000a'), thin);
      assert.equal(await a.status([0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0]), thin ? 'GOOD' : '05/20/00 cdb 0');
    }
  });
});

test('REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS', async () => {
  const a = host();
  const report = (flags: number, length: number): number[] => [0xa3, 0x0d, flags, 0, 0, 0, 0, 0, 0, length, 0, 0];
  // ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET.
  const basic = 'd8000000';
  const extended = 'd800000c' + '00'.repeat(12);
  for (let length = 0; length <= 18; length++) {
    assert.equal((await a.data(report(0, length))).toString('hex'), basic.slice(0, 2 * length));
    assert.equal((await a.data(report(0x80, length))).toString('hex'), extended.slice(0, 2 * length));
  }
});

describe('REPORT TARGET PORT GROUPS', () => {
  const report = (format: number, length = 255): number[] => [
    0xa3,
    (format << 5) | 0x0a,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    length,
    0,
    0,
  ];
  const fixture = () =>
    scsiFixture({
      ports: [
        { name: TARGET, portalGroup: 1, relativeId: 1 },
        { name: TARGET, portalGroup: 2, relativeId: 2 },
        { name: TARGET, portalGroup: 3, relativeId: 0x103, group: 0x202 },
      ],
    });
  const first = '008f0001' + '00000002' + '00000001' + '00000002';
  const second = '008f0202' + '00000001' + '00000103';

  test('both header formats, through every port the same', async () => {
    const disk = fixture();
    for (const port of [0, 1, 2]) {
      const a = disk.login(undefined, port);
      assert.equal((await a.data(report(0))).toString('hex'), '0000001c' + first + second);
      assert.equal((await a.data(report(1))).toString('hex'), '00000020' + '10000000' + first + second);
    }
    const a = disk.login();
    for (let length = 0; length <= 36; length++) {
      const expected = ('00000020' + '10000000' + first + second).slice(0, 2 * length);
      assert.equal((await a.data(report(1, length))).toString('hex'), expected);
    }
  });

  test('states are told as they are', async () => {
    const { lu, ...disk } = fixture();
    const a = disk.login();
    lu.setAccessState(0x202, AluaState.activeNonOptimized);
    lu.setAccessState(1, AluaState.activeOptimized, true);
    a.clearAttentions();
    assert.equal(
      (await a.data(report(0))).toString('hex'),
      '0000001c' + '808f0001' + '00020002' + '00000001' + '00000002' + '018f0202' + '00020001' + '00000103',
    );
  });

  test('unknown formats, and SET TARGET PORT GROUPS', async () => {
    const a = host();
    for (let format = 2; format < 8; format++) assert.equal(await a.status(report(format)), '05/24/00 cdb 1 bit 7');
    assert.equal(await a.status([0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]), '05/20/00 cdb 0');
    assert.equal(await a.status([0xa3, 0x05, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]), '05/24/00 cdb 1 bit 4');
  });
});

describe('the command reference', () => {
  test('has one row per command, sorted, with what the row says', () => {
    const lines = renderCommandReference(new CommandTable([...SPC_COMMANDS].reverse())).split('\n');
    const rows = lines.filter((line) => /^\| [0-9A-F]{2}h /.test(line));
    assert.equal(rows.length, SPC_COMMANDS.length);
    assert.deepEqual(rows, [...rows].sort());
    assert.ok(
      rows.includes(
        '| 12h | – | INQUIRY | 6 | none | carried out | unit attention, not ready, standby, unavailable | SPC-4 6.6 |',
      ),
    );
    assert.ok(rows.includes('| 15h | – | MODE SELECT (6) | 6 | manage | conflict | standby | SPC-4 6.11 |'));
    assert.ok(
      rows.includes(
        '| A3h | 0Ah | REPORT TARGET PORT GROUPS | 12 | none | carried out | not ready, standby, unavailable | SPC-4 6.37 |',
      ),
    );
    assert.equal(lines.at(-1), '');
  });
});
