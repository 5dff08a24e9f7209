// Commands to a LUN where this nexus sees no logical unit (SAM-5 5.11).
import type { Nexus } from '../device.ts';
import { SENSE, ScsiError, badCdb } from '../sense.ts';
import { goodData } from '../task.ts';
import type { TaskResult } from '../task.ts';
import { ABSENT_PERIPHERAL, absentInquiry, parseInquiry } from './inquiry.ts';
import { reportLuns } from './report-luns.ts';
import { senseAsData } from './request-sense.ts';
import { absentSupportedPages } from './vpd.ts';

/** INQUIRY to an absent LUN: peripheral qualifier 011b, device type 1Fh. Of the VPD pages only 00h exists. */
export function inquiryOfAbsentLun(cdb: Buffer): TaskResult {
  const { page, allocation } = parseInquiry(cdb);
  if (page !== undefined && page !== 0) throw badCdb(2);
  return goodData(page === undefined ? absentInquiry() : absentSupportedPages(ABSENT_PERIPHERAL), allocation);
}

/**
 * What a LUN that is not there answers: INQUIRY, REPORT LUNS (so that an initiator which starts with LUN 0 finds the
 * others) and REQUEST SENSE. Throws ScsiError: 05/25/00 for every other command. `cdb`: at least 16 bytes.
 */
export function runOnAbsentLun(nexus: Nexus, cdb: Buffer): TaskResult {
  const absent = new ScsiError(SENSE.logicalUnitNotSupported);
  switch (cdb[0]) {
    case 0x12:
      return inquiryOfAbsentLun(cdb);
    case 0xa0:
      return reportLuns(nexus, cdb);
    case 0x03:
      return senseAsData(absent, cdb);
    default:
      throw absent;
  }
}
