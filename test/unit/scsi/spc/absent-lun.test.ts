import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ScsiError } from '../../../../core/scsi/sense.ts';
import { inquiryOfAbsentLun, runOnAbsentLun } from '../../../../core/scsi/spc/absent-lun.ts';
import type { TaskResult } from '../../../../core/scsi/task.ts';
import { scsiFixture } from '../../../support/scsi-fixture.ts';

const cdb = (...bytes: number[]): Buffer => Buffer.concat([Buffer.from(bytes), Buffer.alloc(16 - bytes.length)]);
const hex = (result: TaskResult): string => Buffer.concat(result.dataIn ?? []).toString('hex');
const senseIs =
  (key: number, asc: number, ascq: number, field?: number) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof ScsiError);
    assert.deepEqual(error.sense, { key, asc, ascq });
    assert.equal(error.detail.field, field);
    return true;
  };

describe('a LUN that is not there', () => {
  test('INQUIRY answers peripheral qualifier 011b and device type 1Fh', () => {
    const data = hex(inquiryOfAbsentLun(cdb(0x12, 0, 0, 0, 96)));
    assert.equal(data.slice(0, 16), '7f0006025b000002');
    assert.equal(data.length, 2 * 96);
    for (let length = 0; length <= 96; length++) {
      assert.equal(hex(inquiryOfAbsentLun(cdb(0x12, 0, 0, 0, length))), data.slice(0, 2 * length));
    }
  });

  test('INQUIRY has no VPD page but the list of pages', () => {
    assert.equal(hex(inquiryOfAbsentLun(cdb(0x12, 1, 0, 0, 255))), '7f00000100');
    assert.throws(() => inquiryOfAbsentLun(cdb(0x12, 1, 0x83, 0, 255)), senseIs(5, 0x24, 0, 2));
    assert.throws(() => inquiryOfAbsentLun(cdb(0x12, 0, 0x83, 0, 255)), senseIs(5, 0x24, 0, 2));
  });

  test('REPORT LUNS lists the others', () => {
    const { nexus } = scsiFixture({ lun: 5 }).login();
    const result = runOnAbsentLun(nexus, cdb(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 255));
    assert.equal(hex(result), '0000000800000000' + '0005000000000000');
  });

  test('REQUEST SENSE says so as data, in both formats', () => {
    const { nexus } = scsiFixture().login();
    const fixed = runOnAbsentLun(nexus, cdb(0x03, 0, 0, 0, 252));
    assert.equal(hex(fixed), '70000500000000' + '0a' + '00000000' + '2500' + '00000000');
    const descriptor = runOnAbsentLun(nexus, cdb(0x03, 1, 0, 0, 252));
    assert.equal(hex(descriptor), '7205250000000000');
  });

  test('everything else is 05/25/00', () => {
    const { nexus } = scsiFixture().login();
    for (const opcode of [0x00, 0x08, 0x1a, 0x25, 0x28, 0x2a, 0x5f, 0x88, 0x9e, 0xa3, 0xff]) {
      assert.throws(() => runOnAbsentLun(nexus, cdb(opcode)), senseIs(5, 0x25, 0));
    }
  });
});
