// INQUIRY (SPC-4 6.6): standard data here, vital product data in vpd.ts.
import { AluaState, groupIdOf } from '../alua.ts';
import { OK_ALWAYS, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { PRODUCT, REVISION, VENDOR } from '../identity.ts';
import type { LunNexus } from '../lun-nexus.ts';
import { badCdb } from '../sense.ts';
import { goodData } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { supports } from './usage.ts';
import { vitalProductData } from './vpd.ts';

/** Length of our standard INQUIRY data: up to and including the reserved bytes behind the version descriptors. */
const STANDARD_LENGTH = 96;

/**
 * VERSION DESCRIPTORs without a claimed revision (SPC-4 6.6.2): SAM-5, iSCSI, SPC-4, SBC-3, in the order that
 * clause recommends: architecture, transport, primary commands, device type.
 */
const VERSION_DESCRIPTORS = [0x00a0, 0x0960, 0x0460, 0x04c0];

/** PERIPHERAL QUALIFIER 011b and PERIPHERAL DEVICE TYPE 1Fh: no logical unit can be here (SPC-4 6.6.2). */
export const ABSENT_PERIPHERAL = 0x7f;

/**
 * PERIPHERAL QUALIFIER and PERIPHERAL DEVICE TYPE of a logical unit: a direct access block device, connected (000b), or,
 * through a port in the unavailable state, not connected (001b, SPC-4 5.15.2.4.5).
 */
export function peripheralOf({ lu, target }: LunNexus): number {
  return lu.alua.stateOf(groupIdOf(target)) === AluaState.unavailable ? 0x20 : 0x00;
}

/** What both kinds of standard data have in common (SPC-4 6.6.2). */
function standardFrame(peripheral: number): Buffer {
  const data = Buffer.alloc(STANDARD_LENGTH);
  data[0] = peripheral;
  data[2] = 0x06; // VERSION: SPC-4
  data[3] = 0x02; // RESPONSE DATA FORMAT 2; NORMACA=0, HISUP=0
  data[4] = STANDARD_LENGTH - 5;
  data[7] = 0x02; // CMDQUE
  data.write(VENDOR + PRODUCT + REVISION, 8, 'ascii');
  VERSION_DESCRIPTORS.forEach((descriptor, index) => data.writeUInt16BE(descriptor, 58 + 2 * index));
  return data;
}

/** Standard INQUIRY data of a logical unit. */
export function standardInquiry(nexus: LunNexus): Buffer {
  const data = standardFrame(peripheralOf(nexus));
  const thirdPartyCopy = supports(nexus.lu, 0x83) ? 0x08 : 0;
  data[5] = 0x10 | thirdPartyCopy; // TPGS=01b: implicit ALUA only
  data[6] = nexus.owner.device.ports.length > 1 ? 0x10 : 0; // MULTIP
  return data;
}

/** Standard INQUIRY data of a LUN that is not there. */
export const absentInquiry = (): Buffer => standardFrame(ABSENT_PERIPHERAL);

/** The fields of an INQUIRY CDB. Throws 05/24/00 for a page code without EVPD. */
export function parseInquiry(cdb: Buffer): { page: number | undefined; allocation: number } {
  const evpd = (cdb.readUInt8(1) & 0x01) !== 0;
  const page = cdb.readUInt8(2);
  if (!evpd && page !== 0) throw badCdb(2); // SPC-4 6.6.1
  return { page: evpd ? page : undefined, allocation: cdb.readUInt16BE(3) };
}

function inquiry({ nexus, cdb }: ScsiTask): TaskResult {
  const { page, allocation } = parseInquiry(cdb);
  return goodData(
    page === undefined ? standardInquiry(nexus) : vitalProductData(nexus, page, peripheralOf(nexus)),
    allocation,
  );
}

export const INQUIRY: readonly CommandSpec[] = [
  {
    name: 'INQUIRY',
    opcode: 0x12,
    cdbUsage: [0x12, 0x01, 0xff, 0xff, 0xff, 0x00],
    access: 'none',
    reserved: Reserved.allowed,
    everywhere: 'always',
    okWhen: OK_ALWAYS,
    order: 'free',
    clause: 'SPC-4 6.6',
    run: inquiry,
  },
];
