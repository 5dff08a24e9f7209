// Mode pages (SPC-4 7.5, SBC-3 6.4): their content, which bits MODE SELECT may change, and how a change takes effect.
import { Durability } from '../../volume/volume.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import { THRESHOLD_DESCRIPTOR_AT, resourcesOf } from '../provisioning.ts';
import { defaultModes } from '../mode-state.ts';
import type { ModeState } from '../mode-state.ts';

export interface ModePage {
  readonly code: number;
  /** Subpage code; a page in the sub_page format (SPC-4 7.5.7) with a header of four bytes. Absent: page_0 format, two. */
  readonly subpage?: number;
  /** False: this logical unit does not have the page. Absent: every one has it. */
  readonly offered?: (lu: LogicalUnit) => boolean;
  /** The whole page in the given state of the modes, from the page code on. */
  readonly content: (lu: LogicalUnit, modes: ModeState) => Buffer;
  /** Changeable bits, same length, with the header of the page; none when absent. The header is never changeable. */
  readonly changeable?: (lu: LogicalUnit) => Buffer;
  /** The first byte and bit whose new value is not valid although each of its bits may change. */
  readonly invalid?: (page: Buffer) => { byte: number; bit: number } | undefined;
  /** Takes over the changeable fields of a checked page. */
  readonly apply?: (page: Buffer, modes: ModeState, lu: LogicalUnit) => void;
}

/** A page of `length` bytes with its header. */
function blank(code: number, length: number): Buffer {
  const page = Buffer.alloc(length);
  page[0] = code;
  page[1] = length - 2;
  return page;
}

const LBPERE = 0x80;
const ENABLED = 0x80;

/**
 * 01h Read-Write Error Recovery (SBC-3 6.5.8): no reallocation, no retries of our own, nothing reported as recovered. Where
 * there is a threshold, LBPERE decides whether initiators are told of it.
 */
const errorRecovery: ModePage = {
  code: 0x01,
  content: (lu, modes) => {
    const page = blank(0x01, 12);
    if (resourcesOf(lu) !== undefined && modes.provisioningReports) page[7] = LBPERE;
    return page;
  },
  changeable: (lu) => {
    const mask = blank(0x01, 12);
    if (resourcesOf(lu) !== undefined) mask[7] = LBPERE;
    return mask;
  },
  apply: (page, modes, lu) => {
    if (resourcesOf(lu) !== undefined) modes.provisioningReports = (page.readUInt8(7) & LBPERE) !== 0;
  },
};

/** 02h Disconnect-Reconnect (SPC-4 7.5.10): no limits of its own; burst lengths are a matter of login keys. */
const disconnectReconnect: ModePage = { code: 0x02, content: () => blank(0x02, 16) };

/** 08h Caching (SBC-3 6.4.5). WCE tells how the volume acknowledges writes, which is not the initiator's to decide. */
const caching: ModePage = {
  code: 0x08,
  content: (lu) => {
    const page = blank(0x08, 20);
    if (lu.volume.info.durability !== Durability.durable) page[2] = 0x04; // WCE
    return page;
  },
};

const D_SENSE = 0x04;
const SWP = 0x08;
const TAS = 0x40;

/** 0Ah Control (SPC-4 7.5.8). */
const control: ModePage = {
  code: 0x0a,
  content: (_lu, modes) => {
    const page = blank(0x0a, 12);
    page[2] = 0x02 | (modes.descriptorSense ? D_SENSE : 0); // TST=0: one task set; GLTSD: log parameters are not saved
    page[3] = 0x10 | (modes.queueErrorManagement << 1); // QUEUE ALGORITHM MODIFIER 1: simple tasks in any order
    page[4] = modes.softwareWriteProtect ? SWP : 0;
    page[5] = modes.taskAbortedStatus ? TAS : 0;
    return page;
  },
  changeable: () => Buffer.from([0x0a, 0x0a, D_SENSE, 0x06, SWP, TAS, 0, 0, 0, 0, 0, 0]),
  // QERR 10b is reserved.
  invalid: (page) => (((page[3] ?? 0) & 0x06) === 0x04 ? { byte: 3, bit: 2 } : undefined),
  apply: (page, modes) => {
    modes.descriptorSense = (page.readUInt8(2) & D_SENSE) !== 0;
    modes.queueErrorManagement = (page.readUInt8(3) >> 1) & 0x03;
    modes.softwareWriteProtect = (page.readUInt8(4) & SWP) !== 0;
    modes.taskAbortedStatus = (page.readUInt8(5) & TAS) !== 0;
  },
};

/**
 * 1Ch Informational Exceptions Control (SPC-4 7.5.12). Initiators may choose how exceptions are to be reported (EWASC,
 * DEXCPT, MRIE, interval, count); TEST is not offered, so that nobody acts on an exception that never was.
 */
const informationalExceptions: ModePage = {
  code: 0x1c,
  content: (_lu, modes) => {
    const page = blank(0x1c, 12);
    modes.informationalExceptions.copy(page, 2);
    return page;
  },
  changeable: () => Buffer.from([0x1c, 0x0a, 0x18, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
  // MRIE 1 is obsolete, 7 to Bh reserved, Ch to Fh vendor specific.
  invalid: (page) => {
    const mrie = (page[3] ?? 0) & 0x0f;
    return mrie === 1 || mrie > 6 ? { byte: 3, bit: 3 } : undefined;
  },
  apply: (page, modes) => {
    modes.informationalExceptions = Buffer.from(page.subarray(2, 12));
  },
};

/** A page of `length` bytes with the header of the sub_page format. */
function blankSubpage(code: number, subpage: number, length: number): Buffer {
  const page = Buffer.alloc(length);
  page[0] = 0x40 | code; // SPF
  page[1] = subpage;
  page.writeUInt16BE(length - 4, 2);
  return page;
}

/**
 * 1Ch/02h Logical Block Provisioning (SBC-3 6.5.7): the threshold of the room this volume takes its space from. How much is
 * the matter of who runs the storage: it holds for the volumes of all hosts. Whether the hosts of this logical unit are told
 * of it (ENABLED) can be selected. SITUA=0: all of them are.
 */
const blockProvisioning: ModePage = {
  code: 0x1c,
  subpage: 0x02,
  offered: (lu) => resourcesOf(lu) !== undefined,
  content: (lu, modes) => {
    const page = blankSubpage(0x1c, 0x02, THRESHOLD_DESCRIPTOR_AT + 8);
    // THRESHOLD TYPE 000b: a number of threshold sets; THRESHOLD ARMING 000b: when the resource decreases to it.
    page[THRESHOLD_DESCRIPTOR_AT] = modes.thresholdEnabled ? ENABLED : 0;
    page[THRESHOLD_DESCRIPTOR_AT + 1] = 0x01; // THRESHOLD RESOURCE: available, as parameter 0001h of log page 0Ch
    page.writeUInt32BE(resourcesOf(lu)?.threshold ?? 0, THRESHOLD_DESCRIPTOR_AT + 4);
    return page;
  },
  changeable: () => {
    const mask = blankSubpage(0x1c, 0x02, THRESHOLD_DESCRIPTOR_AT + 8);
    mask[THRESHOLD_DESCRIPTOR_AT] = ENABLED;
    return mask;
  },
  apply: (page, modes) => {
    modes.thresholdEnabled = (page.readUInt8(THRESHOLD_DESCRIPTOR_AT) & ENABLED) !== 0;
  },
};

/** In ascending order, as MODE SENSE returns all of them (SPC-4 6.13). */
const MODE_PAGES: readonly ModePage[] = [
  errorRecovery,
  disconnectReconnect,
  caching,
  control,
  informationalExceptions,
  blockProvisioning,
];

/** PAGE CONTROL (SPC-4 6.13). */
export const PageControl = { current: 0, changeable: 1, default: 2, saved: 3 } as const;

/** A page as MODE SENSE returns it for this page control. */
export function modePage(page: ModePage, lu: LogicalUnit, pageControl: number): Buffer {
  if (pageControl === PageControl.default) return page.content(lu, defaultModes());
  const current = page.content(lu, lu.modes);
  if (pageControl !== PageControl.changeable) return current;
  return page.changeable?.(lu) ?? blank(page.code, current.length);
}

/** The pages of this logical unit. */
export function modePagesOf(lu: LogicalUnit): ModePage[] {
  return MODE_PAGES.filter((page) => page.offered?.(lu) !== false);
}

/** Bytes of the header of a page: page_0 or sub_page format. */
export const headerLength = (page: ModePage): number => (page.subpage === undefined ? 2 : 4);
