// MODE SENSE (6) and (10) (SPC-4 6.13, 6.14; block descriptors: SBC-3 6.4.2).
import { OK_WITHOUT_MEDIUM, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import { SENSE, ScsiError, badCdb } from '../sense.ts';
import { goodData } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { PageControl, modePage, modePagesOf } from './mode-pages.ts';

const ALL_PAGES = 0x3f;
const ALL_SUBPAGES = 0xff;

/** The pages the CDB names. Throws 05/39/00 for saved values, 05/24/00 for a page or subpage we do not have. */
function selectPages(lu: LogicalUnit, cdb: Buffer): Buffer[] {
  const pageControl = cdb.readUInt8(2) >> 6;
  const code = cdb.readUInt8(2) & 0x3f;
  const subpage = cdb.readUInt8(3);
  if (pageControl === PageControl.saved) throw new ScsiError(SENSE.savingParametersNotSupported);
  const pages = modePagesOf(lu).filter((page) => code === ALL_PAGES || page.code === code);
  if (pages.length === 0) throw badCdb(2, 5);
  // All pages with one subpage code is a reserved combination (SPC-4 table 149).
  if (code === ALL_PAGES && subpage !== 0 && subpage !== ALL_SUBPAGES) throw badCdb(3);
  const chosen = pages.filter((page) => subpage === ALL_SUBPAGES || (page.subpage ?? 0) === subpage);
  if (chosen.length === 0) throw badCdb(3);
  return chosen.map((page) => modePage(page, lu, pageControl));
}

/** Short (8 bytes) or long (16 bytes) LBA block descriptor. */
function blockDescriptor(lu: LogicalUnit, long: boolean): Buffer {
  if (!long) {
    const out = Buffer.alloc(8);
    out.writeUInt32BE(Math.min(lu.blocks, 0xffff_ffff), 0);
    out.writeUInt32BE(lu.blockSize, 4); // byte 4 is reserved, a block has less than 2^24 bytes
    return out;
  }
  const out = Buffer.alloc(16);
  out.writeBigUInt64BE(BigInt(lu.blocks), 0);
  out.writeUInt32BE(lu.blockSize, 12);
  return out;
}

/** WP and DPOFUA (SBC-3 6.4.1). */
function deviceSpecific({ lu, nexus }: ScsiTask): number {
  return (lu.writeProtection(nexus) === undefined ? 0 : 0x80) | 0x10;
}

function modeSense6(task: ScsiTask): TaskResult {
  const { lu, cdb } = task;
  const pages = selectPages(lu, cdb);
  const descriptor = (cdb.readUInt8(1) & 0x08) !== 0 ? Buffer.alloc(0) : blockDescriptor(lu, false);
  const data = Buffer.concat([Buffer.from([0, 0, deviceSpecific(task), descriptor.length]), descriptor, ...pages]);
  data[0] = data.length - 1;
  return goodData(data, cdb.readUInt8(4));
}

function modeSense10(task: ScsiTask): TaskResult {
  const { lu, cdb } = task;
  const pages = selectPages(lu, cdb);
  const withDescriptor = (cdb.readUInt8(1) & 0x08) === 0;
  const long = withDescriptor && (cdb.readUInt8(1) & 0x10) !== 0; // LLBAA
  const descriptor = withDescriptor ? blockDescriptor(lu, long) : Buffer.alloc(0);
  const header = Buffer.from([0, 0, 0, deviceSpecific(task), long ? 1 : 0, 0, 0, descriptor.length]);
  const data = Buffer.concat([header, descriptor, ...pages]);
  data.writeUInt16BE(data.length - 2, 0);
  return goodData(data, cdb.readUInt16BE(7));
}

const base = {
  access: 'none',
  reserved: Reserved.unlessExclusive,
  okWhen: OK_WITHOUT_MEDIUM,
  order: 'free',
} as const;

export const MODE_SENSE: readonly CommandSpec[] = [
  {
    ...base,
    name: 'MODE SENSE (6)',
    opcode: 0x1a,
    cdbUsage: [0x1a, 0x08, 0xff, 0xff, 0xff, 0],
    clause: 'SPC-4 6.13',
    run: modeSense6,
  },
  {
    ...base,
    name: 'MODE SENSE (10)',
    opcode: 0x5a,
    cdbUsage: [0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0],
    clause: 'SPC-4 6.14',
    run: modeSense10,
  },
];
