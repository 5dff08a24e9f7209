// LOG SENSE (SPC-4 6.8) with the log pages we have true numbers for.
import { OK_WITHOUT_MEDIUM, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import { resourcesOf } from '../provisioning.ts';
import { badCdb } from '../sense.ts';
import { goodData } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';

interface LogParameter {
  readonly code: number;
  /** FORMAT AND LINKING (SPC-4 7.3.2.2.2). */
  readonly format: number;
  readonly value: Buffer;
}

interface LogPage {
  readonly code: number;
  /** False: this logical unit does not have the page. Absent: every one has it. */
  readonly offered?: (lu: LogicalUnit) => boolean;
  readonly parameters: (lu: LogicalUnit) => readonly LogParameter[];
}

const ALL_SUBPAGES = 0xff;
/** PC: cumulative values (SPC-4 6.8). Thresholds are not kept. */
const CUMULATIVE = 1;
const Format = { unboundedCounter: 0x02, binaryList: 0x03 } as const;

/** 02h, 03h: TOTAL BYTES PROCESSED, the one counter of these pages we keep (SPC-4 7.3.6). */
function bytesProcessed(count: number): LogParameter[] {
  const value = Buffer.alloc(8);
  value.writeBigUInt64BE(BigInt(count));
  return [{ code: 0x0005, format: Format.unboundedCounter, value }];
}

/** 2Fh (SPC-4 7.3.9): no exception; no temperature and no limit for it (FFh). */
const noException = (): LogParameter[] => [
  { code: 0x0000, format: Format.binaryList, value: Buffer.from([0x00, 0x00, 0xff, 0xff]) },
];

/** SCOPE of a resource count (SBC-3 table 187). */
const Scope = { thisUnit: 0x01, shared: 0x02 } as const;

/** 0Ch Logical Block Provisioning (SBC-3 6.4.5): room that is left, which others use too, and what this volume uses of it. */
function provisioning(lu: LogicalUnit): LogParameter[] {
  const resources = resourcesOf(lu);
  if (resources === undefined) return [];
  const count = (code: number, sets: number, scope: number): LogParameter => {
    const value = Buffer.alloc(8);
    value.writeUInt32BE(Math.min(sets, 0xffff_ffff), 0);
    value[4] = scope;
    return { code, format: Format.binaryList, value };
  };
  return [
    count(0x0001, resources.available, Scope.shared),
    count(0x0002, Math.ceil(lu.volume.allocatedBytes() / resources.setBytes), Scope.thisUnit),
  ];
}

const PAGES: readonly LogPage[] = [
  { code: 0x02, parameters: (lu) => bytesProcessed(lu.counters.writtenBytes) },
  { code: 0x03, parameters: (lu) => bytesProcessed(lu.counters.readBytes) },
  { code: 0x0c, offered: (lu) => resourcesOf(lu) !== undefined, parameters: provisioning },
  { code: 0x2f, parameters: noException },
];

const pagesOf = (lu: LogicalUnit): LogPage[] => PAGES.filter((page) => page.offered?.(lu) !== false);

/** Page 00h: page codes; 00h/FFh: pairs of page and subpage codes (SPC-4 7.3.17, 7.3.18). */
function supportedPages(lu: LogicalUnit, subpage: number): Buffer {
  const codes = [0x00, ...pagesOf(lu).map((each) => each.code)];
  if (subpage === 0) return page(0x00, 0x00, Buffer.from(codes));
  const pairs = codes.flatMap((code) => (code === 0 ? [0, 0, 0, ALL_SUBPAGES] : [code, 0]));
  return page(0x40, ALL_SUBPAGES, Buffer.from(pairs)); // SPF
}

/** A log page with its header (SPC-4 7.3.2). `first`: DS, SPF and the page code. */
function page(first: number, subpage: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([first, subpage, body.length >> 8, body.length & 0xff]), body]);
}

/** Parameters with codes from `pointer` on (SPC-4 6.8.1). */
function parameterPage(found: LogPage, lu: LogicalUnit, pointer: number): Buffer {
  const parameters = found.parameters(lu);
  const chosen = parameters.filter((each) => each.code >= pointer);
  if (chosen.length === 0) throw badCdb(5);
  const parts = chosen.map(({ code, format, value }) =>
    Buffer.concat([Buffer.from([code >> 8, code & 0xff, format, value.length]), value]),
  );
  return page(0x80 | found.code, 0x00, Buffer.concat(parts)); // DS: these parameters are not saved
}

function logSense({ lu, cdb }: ScsiTask): TaskResult {
  const pageControl = cdb.readUInt8(2) >> 6;
  const code = cdb.readUInt8(2) & 0x3f;
  const subpage = cdb.readUInt8(3);
  const pointer = cdb.readUInt16BE(5);
  const allocation = cdb.readUInt16BE(7);
  if (code === 0x00) {
    if (subpage !== 0 && subpage !== ALL_SUBPAGES) throw badCdb(3);
    if (pointer !== 0) throw badCdb(5);
    return goodData(supportedPages(lu, subpage), allocation);
  }
  const found = pagesOf(lu).find((each) => each.code === code);
  if (found === undefined) throw badCdb(2, 5);
  if (subpage !== 0) throw badCdb(3);
  if (pageControl !== CUMULATIVE) throw badCdb(2, 7);
  return goodData(parameterPage(found, lu, pointer), allocation);
}

export const LOG_SENSE: readonly CommandSpec[] = [
  {
    name: 'LOG SENSE',
    opcode: 0x4d,
    // SP is not offered: nothing is saved.
    cdbUsage: [0x4d, 0, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0],
    access: 'none',
    reserved: Reserved.allowed,
    okWhen: OK_WITHOUT_MEDIUM,
    order: 'free',
    clause: 'SPC-4 6.8',
    run: logSense,
  },
];
