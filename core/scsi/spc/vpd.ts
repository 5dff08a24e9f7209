// Vital product data (SPC-4 7.8): the list of pages, and those pages that are about the device rather than its blocks.
import { Durability } from '../../volume/volume.ts';
import type { LunNexus } from '../lun-nexus.ts';
import { badCdb } from '../sense.ts';
import { blockCharacteristics, blockLimits, blockProvisioning } from './vpd-block.ts';
import { deviceIdentification } from './vpd-identification.ts';
import { hasCopyManager, thirdPartyCopy } from './vpd-third-party.ts';
import type { LogicalUnit } from '../logical-unit.ts';

/** One VPD page: its code and what follows the four header bytes. */
interface VpdPage {
  readonly code: number;
  readonly body: (nexus: LunNexus) => Buffer;
  /** Absent: every logical unit has it. */
  readonly offered?: (lu: LogicalUnit) => boolean;
}

/** In ascending order: Windows forgets all optional pages when page 00h is not sorted. */
const PAGES: readonly VpdPage[] = [
  { code: 0x00, body: supportedPages },
  { code: 0x80, body: unitSerialNumber },
  { code: 0x83, body: deviceIdentification },
  { code: 0x86, body: extendedInquiry },
  { code: 0x87, body: modePagePolicy },
  { code: 0x8f, body: thirdPartyCopy, offered: hasCopyManager },
  { code: 0xb0, body: blockLimits },
  { code: 0xb1, body: blockCharacteristics },
  { code: 0xb2, body: blockProvisioning },
];

const pagesOf = ({ lu }: LunNexus): readonly VpdPage[] => PAGES.filter((page) => page.offered?.(lu) !== false);

/** A VPD page with its header (SPC-4 7.8.1), whose first byte is `peripheral`. Throws 05/24/00 for a page we do not have. */
export function vitalProductData(nexus: LunNexus, code: number, peripheral: number): Buffer {
  const page = pagesOf(nexus).find((each) => each.code === code);
  if (page === undefined) throw badCdb(2);
  return withHeader(peripheral, code, page.body(nexus));
}

/** Page 00h of a LUN that is not there: the only page it has. */
export const absentSupportedPages = (peripheral: number): Buffer => withHeader(peripheral, 0x00, Buffer.from([0x00]));

function withHeader(peripheral: number, code: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([peripheral, code, body.length >> 8, body.length & 0xff]), body]);
}

/** 00h, SPC-4 7.8.15. */
function supportedPages(nexus: LunNexus): Buffer {
  return Buffer.from(pagesOf(nexus).map((page) => page.code));
}

/** 80h, SPC-4 7.8.16. */
function unitSerialNumber({ lu }: LunNexus): Buffer {
  return Buffer.from(lu.identity.serial, 'ascii');
}

/** 86h, SPC-4 7.8.7. Positions are those of the standard, less the header. */
function extendedInquiry({ lu }: LunNexus): Buffer {
  const page = Buffer.alloc(64);
  page[5] = 0x07; // HEADSUP, ORDSUP, SIMPSUP
  page[6] = lu.volume.info.durability === Durability.durable ? 0 : 0x01; // V_SUP: there is a volatile cache
  page[7] = 0x01; // LUICLR
  return page.subarray(4);
}

/** 87h, SPC-4 7.8.9: every mode page and subpage (3Fh/FFh) exists once, shared by all nexuses. */
function modePagePolicy(): Buffer {
  return Buffer.from([0x3f, 0xff, 0x00, 0x00]);
}
