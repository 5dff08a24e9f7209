// Third-party Copy VPD page (8Fh, SPC-4 7.8.17): what the copy manager of a logical unit can do. Windows looks at the first
// 255 bytes of it, and at nothing when the first descriptor is another than the block device ROD token limits.
import {
  MAX_COPY_CSCDS,
  MAX_COPY_DESCRIPTORS,
  MAX_COPY_OPERATIONS,
  MAX_COPY_SEGMENT,
  MAX_COPY_SEGMENTS,
  MAX_ODX_RANGES,
  MAX_TOKEN_LIFETIME,
  MAX_TOKEN_TIMEOUT,
  MAX_TOKEN_TRANSFER,
  OPTIMAL_TOKEN_TRANSFER,
  TOKEN_TIMEOUT,
} from '../../base/limits.ts';
import { GRAIN } from '../../volume/grain.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import type { LunNexus } from '../lun-nexus.ts';
import { rowsOf, supports } from './usage.ts';

/** THIRD-PARTY COPY OUT and IN, and the service actions that tokens are about. */
const OUT = 0x83;
const IN = 0x84;
const EXTENDED_COPY_LID4 = 0x01;
const POPULATE_TOKEN = 0x10;
const WRITE_USING_TOKEN = 0x11;

/** Descriptor types (SPC-4 table "third-party copy descriptor types"). */
const Type = {
  blockLimits: 0x0000,
  commands: 0x0001,
  parameterData: 0x0004,
  descriptors: 0x0008,
  cscdIds: 0x000c,
  rodFeatures: 0x0106,
  rodTypes: 0x0108,
  general: 0x8001,
} as const;

/** Segment descriptors block to block (with and without offsets) and verify, and the identification CSCD descriptor. */
const DESCRIPTORS = [0x02, 0x07, 0x0a, 0xe4];
/** CSCD ID of the logical unit the command was sent to (SPC-4 6.4.5.1). */
const OWN_UNIT = 0xffff;

/** ROD TYPE, TOKEN_OUT and TOKEN_IN, PREFERENCE INDICATOR. */
const ROD_TYPES = [
  { type: 0x0080_0000, takes: true, makes: true, preference: 1 },
  // What to ask for, not what a token is.
  { type: 0x0080_ffff, takes: false, makes: true, preference: 2 },
  { type: 0xffff_0001, takes: true, makes: false, preference: 0 },
];

/** True when the logical unit has a copy manager, and with it the page (INQUIRY 3PC). */
export const hasCopyManager = (lu: LogicalUnit): boolean => rowsOf(lu, OUT).length > 0;

export function thirdPartyCopy({ lu }: LunNexus): Buffer {
  const tokens = supports(lu, OUT, WRITE_USING_TOKEN);
  return Buffer.concat([
    ...(tokens ? [blockDeviceLimits(lu)] : []),
    supportedCommands(lu),
    ...(supports(lu, OUT, EXTENDED_COPY_LID4) ? [parameterData(), supportedDescriptors(), supportedCscdIds()] : []),
    ...(tokens ? [rodTokenFeatures(lu), supportedRodTypes(lu)] : []),
    generalCopyOperations(),
  ]);
}

/** Type, length, and the body padded to a multiple of four bytes. */
function descriptor(type: number, body: Buffer): Buffer {
  const length = (body.length + 3) & ~3;
  const out = Buffer.alloc(4 + length);
  out.writeUInt16BE(type, 0);
  out.writeUInt16BE(length, 2);
  body.copy(out, 4);
  return out;
}

/** SBC-3 6.6.6.3; lengths are blocks. */
function blockDeviceLimits(lu: LogicalUnit): Buffer {
  const body = Buffer.alloc(32);
  body.writeUInt16BE(MAX_ODX_RANGES, 6);
  body.writeUInt32BE(MAX_TOKEN_TIMEOUT, 8);
  body.writeUInt32BE(TOKEN_TIMEOUT, 12);
  body.writeBigUInt64BE(BigInt(MAX_TOKEN_TRANSFER / lu.blockSize), 16);
  body.writeBigUInt64BE(BigInt(OPTIMAL_TOKEN_TRANSFER / lu.blockSize), 24);
  return descriptor(Type.blockLimits, body);
}

/** SPC-4 7.8.17.4: opcode, number of service actions, the service actions. */
function supportedCommands(lu: LogicalUnit): Buffer {
  const list = [OUT, IN].flatMap((opcode) => {
    const actions = rowsOf(lu, opcode).map((row) => row.serviceAction ?? 0);
    return actions.length === 0 ? [] : [opcode, actions.length, ...actions.sort((a, b) => a - b)];
  });
  return descriptor(Type.commands, Buffer.from([list.length, ...list]));
}

/** SPC-4 7.8.17.5: of EXTENDED COPY parameter lists. */
function parameterData(): Buffer {
  const body = Buffer.alloc(28);
  body.writeUInt16BE(MAX_COPY_CSCDS, 4);
  body.writeUInt16BE(MAX_COPY_SEGMENTS, 6);
  body.writeUInt32BE(MAX_COPY_DESCRIPTORS, 8);
  return descriptor(Type.parameterData, body); // MAXIMUM INLINE DATA LENGTH 0
}

/** SPC-4 7.8.17.6 and 7.8.17.7. */
const supportedDescriptors = (): Buffer =>
  descriptor(Type.descriptors, Buffer.from([DESCRIPTORS.length, ...DESCRIPTORS]));
const supportedCscdIds = (): Buffer => descriptor(Type.cscdIds, Buffer.from([0, 2, OWN_UNIT >> 8, OWN_UNIT & 0xff]));

/** SPC-4 7.8.17.8, with the block ROD device type specific features (SBC-3 6.6.6.4). Bytes and seconds. */
function rodTokenFeatures(lu: LogicalUnit): Buffer {
  const device = Buffer.alloc(48);
  device.writeUInt16BE(44, 2);
  device.writeUInt16BE(Math.min(GRAIN / lu.blockSize, 0xffff), 6); // OPTIMAL BLOCK ROD LENGTH GRANULARITY, blocks
  device.writeBigUInt64BE(BigInt(MAX_TOKEN_TRANSFER), 8); // MAXIMUM BYTES IN BLOCK ROD
  device.writeBigUInt64BE(BigInt(OPTIMAL_TOKEN_TRANSFER), 16); // OPTIMAL BYTES IN BLOCK ROD TRANSFER
  device.writeBigUInt64BE(BigInt(OPTIMAL_TOKEN_TRANSFER), 24); // OPTIMAL BYTES TO TOKEN PER SEGMENT
  device.writeBigUInt64BE(BigInt(OPTIMAL_TOKEN_TRANSFER), 32); // OPTIMAL BYTES FROM TOKEN PER SEGMENT
  const head = Buffer.alloc(44); // REMOTE TOKENS 0: tokens of this copy manager only
  head.writeUInt32BE(0, 12); // MINIMUM TOKEN LIFETIME
  head.writeUInt32BE(MAX_TOKEN_LIFETIME, 16);
  head.writeUInt32BE(MAX_TOKEN_TIMEOUT, 20);
  head.writeUInt16BE(device.length, 42);
  return descriptor(Type.rodFeatures, Buffer.concat([head, device]));
}

/** SPC-4 7.8.17.9. */
function supportedRodTypes(lu: LogicalUnit): Buffer {
  const canMake = supports(lu, OUT, POPULATE_TOKEN);
  const types = ROD_TYPES.map(({ type, takes, makes, preference }) => {
    const out = Buffer.alloc(64);
    out.writeUInt32BE(type, 0);
    // TOKEN_IN: such tokens are taken; TOKEN_OUT: they are made.
    out[4] = (takes ? 0x02 : 0) | (makes && canMake ? 0x01 : 0);
    out.writeUInt16BE(preference, 6);
    return out;
  });
  const head = Buffer.alloc(4);
  head.writeUInt16BE(types.length * 64, 2);
  return descriptor(Type.rodTypes, Buffer.concat([head, ...types]));
}

/** SPC-4 7.8.17.12. */
function generalCopyOperations(): Buffer {
  const body = Buffer.alloc(32);
  body.writeUInt32BE(MAX_COPY_OPERATIONS, 0); // TOTAL CONCURRENT COPIES
  body.writeUInt32BE(MAX_COPY_OPERATIONS, 4); // MAXIMUM IDENTIFIED CONCURRENT COPIES
  body.writeUInt32BE(MAX_COPY_SEGMENT, 8); // MAXIMUM SEGMENT LENGTH, bytes
  body[12] = 9; // DATA SEGMENT GRANULARITY, log2 bytes
  return descriptor(Type.general, body);
}
