// MODE SELECT (6) and (10) (SPC-4 6.11, 6.12). The whole parameter list is checked before anything of it takes effect.
import { OK_ORDINARY, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import type { ModeState } from '../mode-state.ts';
import { SENSE, ScsiError, badCdb, badParameter } from '../sense.ts';
import { GOOD } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { headerLength, modePagesOf } from './mode-pages.ts';
import type { ModePage } from './mode-pages.ts';

/** Where the header of the 6 or 10 byte form keeps its fields (SPC-4 7.5.5). */
interface HeaderForm {
  readonly length: number;
  readonly mediumType: number;
  /** Byte with LONGLBA, in the long form. */
  readonly longLba?: number;
  readonly descriptorLength: number;
}

const SHORT: HeaderForm = { length: 4, mediumType: 1, descriptorLength: 3 };
const LONG: HeaderForm = { length: 8, mediumType: 2, longLba: 4, descriptorLength: 7 };

/** PARAMETER LIST LENGTH ERROR: the list ends inside a header, a descriptor or a page (SPC-4 6.11). */
const truncated = (): ScsiError => new ScsiError(SENSE.parameterListLength);

/**
 * Checks header and block descriptor; returns where the pages begin. The device-specific byte and the mode data length
 * mean nothing in MODE SELECT, and initiators send back what they have read.
 */
function checkHeader(list: Buffer, form: HeaderForm, lu: LogicalUnit): number {
  if (list.length < form.length) throw truncated();
  if (list[form.mediumType] !== 0) throw badParameter(form.mediumType);
  const long = form.longLba !== undefined && ((list[form.longLba] ?? 0) & 0x01) !== 0;
  const size = form.longLba === undefined ? list.readUInt8(3) : list.readUInt16BE(6);
  if (size === 0) return form.length;
  // One descriptor for the whole medium is all there is.
  if (size !== (long ? 16 : 8)) throw badParameter(form.descriptorLength);
  if (list.length < form.length + size) throw truncated();
  checkDescriptor(list, form.length, long, lu);
  return form.length + size;
}

/** SBC-3 6.4.2: a descriptor may only repeat the capacity, or say "as it is" (0) or "all there is" (all ones). */
function checkDescriptor(list: Buffer, at: number, long: boolean, lu: LogicalUnit): void {
  const blocks = long ? list.readBigUInt64BE(at) : BigInt(list.readUInt32BE(at));
  const most = long ? 0xffff_ffff_ffff_ffffn : 0xffff_ffffn;
  if (blocks !== 0n && blocks !== most && blocks !== BigInt(lu.blocks)) throw badParameter(at);
  const blockSize = long ? list.readUInt32BE(at + 12) : list.readUIntBE(at + 5, 3);
  if (blockSize !== lu.blockSize) throw badParameter(long ? at + 12 : at + 5);
}

/** Checks the page at `at` against what is in effect now, and takes it over into `next`. Returns where it ends. */
function takePage(list: Buffer, at: number, lu: LogicalUnit, next: ModeState): number {
  const first = list.readUInt8(at);
  const pages = modePagesOf(lu).filter((each) => each.code === (first & 0x3f));
  if (pages.length === 0) throw badParameter(at);
  // PS (bit 7) is reserved here; SPF (bit 6) introduces a subpage.
  const isSubpage = (first & 0x40) !== 0;
  if (list.length < at + (isSubpage ? 4 : 2)) throw truncated();
  const page = pages.find((each) => each.subpage === (isSubpage ? list[at + 1] : undefined));
  if (page === undefined) throw badParameter(at);
  const now = page.content(lu, next);
  const lengthAt = isSubpage ? 2 : 1;
  const length = isSubpage ? list.readUInt16BE(at + 2) : list.readUInt8(at + 1);
  if (length !== now.length - headerLength(page)) throw badParameter(at + lengthAt);
  if (list.length < at + now.length) throw truncated();
  checkPage(page, list.subarray(at, at + now.length), now, at, lu);
  page.apply?.(list.subarray(at, at + now.length), next, lu);
  return at + now.length;
}

/** SPC-4 6.11: a page that would change what cannot change is refused, with the first such bit. */
function checkPage(page: ModePage, wanted: Buffer, now: Buffer, at: number, lu: LogicalUnit): void {
  const mask = page.changeable?.(lu);
  for (let i = headerLength(page); i < now.length; i++) {
    const fixed = ((wanted[i] ?? 0) ^ (now[i] ?? 0)) & ~(mask?.[i] ?? 0) & 0xff;
    if (fixed !== 0) throw badParameter(at + i, 31 - Math.clz32(fixed));
  }
  const invalid = page.invalid?.(wanted);
  if (invalid !== undefined) throw badParameter(at + invalid.byte, invalid.bit);
}

async function modeSelect(task: ScsiTask, form: HeaderForm, listLength: number): Promise<TaskResult> {
  const { lu, nexus, cdb, data } = task;
  if (listLength === 0) return GOOD; // SPC-4 6.11: not an error
  // PF=0: pages in the vendor's own format, and we have none.
  if ((cdb.readUInt8(1) & 0x10) === 0) throw badCdb(1, 4);
  if (data.length < listLength) throw truncated();
  const list = data.subarray(0, listLength);
  const next: ModeState = { ...lu.modes };
  for (let at = checkHeader(list, form, lu); at < list.length;) at = takePage(list, at, lu, next);
  if (modePagesOf(lu).every((page) => page.content(lu, next).equals(page.content(lu, lu.modes)))) return GOOD;
  await lu.reservations.selectModes(next);
  lu.refreshAll(); // SWP decides about the fast path
  lu.attentionAll(SENSE.modeParametersChanged, nexus);
  return GOOD;
}

const list6 = (cdb: Buffer): number => cdb.readUInt8(4);
const list10 = (cdb: Buffer): number => cdb.readUInt16BE(7);

/** Allowed in standby: SPC-4 5.15.2.4.4. */
const OK = { ...OK_ORDINARY, standby: true } as const;
const base = { access: 'manage', reserved: Reserved.conflict, okWhen: OK, order: 'free' } as const;

export const MODE_SELECT: readonly CommandSpec[] = [
  {
    ...base,
    name: 'MODE SELECT (6)',
    opcode: 0x15,
    // SP is not offered: nothing is saved over a reset.
    cdbUsage: [0x15, 0x10, 0, 0, 0xff, 0],
    dataOut: list6,
    clause: 'SPC-4 6.11',
    run: (task) => modeSelect(task, SHORT, list6(task.cdb)),
  },
  {
    ...base,
    name: 'MODE SELECT (10)',
    opcode: 0x55,
    cdbUsage: [0x55, 0x10, 0, 0, 0, 0, 0, 0xff, 0xff, 0],
    dataOut: list10,
    clause: 'SPC-4 6.12',
    run: (task) => modeSelect(task, LONG, list10(task.cdb)),
  },
];
