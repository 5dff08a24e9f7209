// Sense data: the catalogue of everything we can answer (SPC-4 4.5, annex F) and its two encodings.
import { VolumeError, VolumeFault } from '../volume/volume.ts';

/** Sense key, additional sense code, additional sense code qualifier (SPC-4 tables 48 and F.1). */
export interface SenseRow {
  readonly key: number;
  readonly asc: number;
  readonly ascq: number;
}

const row = (key: number, asc: number, ascq: number): SenseRow => ({ key, asc, ascq });

export const SENSE = {
  noSense: row(0x0, 0x00, 0x00),
  // 02h NOT READY
  becomingReady: row(0x2, 0x04, 0x01),
  initializingCommandRequired: row(0x2, 0x04, 0x02),
  asymmetricAccessTransition: row(0x2, 0x04, 0x0a),
  standby: row(0x2, 0x04, 0x0b),
  unavailable: row(0x2, 0x04, 0x0c),
  sanitizeInProgress: row(0x2, 0x04, 0x1b),
  mediumNotPresent: row(0x2, 0x3a, 0x00),
  // 03h MEDIUM ERROR
  writeError: row(0x3, 0x0c, 0x00),
  unrecoveredReadError: row(0x3, 0x11, 0x00),
  sanitizeFailed: row(0x3, 0x31, 0x03),
  // 04h HARDWARE ERROR
  selfTestFailed: row(0x4, 0x3e, 0x03),
  internalTargetFailure: row(0x4, 0x44, 0x00),
  // 05h ILLEGAL REQUEST
  operationInProgress: row(0x5, 0x00, 0x16),
  beyondToken: row(0x5, 0x0d, 0x04),
  tokenNotReportable: row(0x5, 0x23, 0x00),
  tokenTypeUnsupported: row(0x5, 0x23, 0x01),
  tokenUnknown: row(0x5, 0x23, 0x04),
  tokenCorrupt: row(0x5, 0x23, 0x05),
  tokenRevoked: row(0x5, 0x23, 0x06),
  tokenExpired: row(0x5, 0x23, 0x07),
  tokenDeleted: row(0x5, 0x23, 0x09),
  tokenLength: row(0x5, 0x23, 0x0a),
  parameterListLength: row(0x5, 0x1a, 0x00),
  invalidOpcode: row(0x5, 0x20, 0x00),
  lbaOutOfRange: row(0x5, 0x21, 0x00),
  invalidFieldInCdb: row(0x5, 0x24, 0x00),
  logicalUnitNotSupported: row(0x5, 0x25, 0x00),
  invalidFieldInParameterList: row(0x5, 0x26, 0x00),
  parameterNotSupported: row(0x5, 0x26, 0x01),
  parameterValueInvalid: row(0x5, 0x26, 0x02),
  invalidReleaseOfReservation: row(0x5, 0x26, 0x04),
  tooManyCscds: row(0x5, 0x26, 0x06),
  unsupportedCscdType: row(0x5, 0x26, 0x07),
  tooManySegments: row(0x5, 0x26, 0x08),
  unsupportedSegmentType: row(0x5, 0x26, 0x09),
  inlineDataLength: row(0x5, 0x26, 0x0b),
  invalidMessage: row(0x5, 0x49, 0x00),
  insufficientRegistrationResources: row(0x5, 0x55, 0x04),
  insufficientResources: row(0x5, 0x55, 0x03),
  mediumRemovalPrevented: row(0x5, 0x53, 0x02),
  savingParametersNotSupported: row(0x5, 0x39, 0x00),
  // 06h UNIT ATTENTION
  /** A new nexus: the general code, which every initiator knows to retry. */
  powerOn: row(0x6, 0x29, 0x00),
  busDeviceReset: row(0x6, 0x29, 0x03),
  nexusLoss: row(0x6, 0x29, 0x07),
  modeParametersChanged: row(0x6, 0x2a, 0x01),
  reservationsPreempted: row(0x6, 0x2a, 0x03),
  reservationsReleased: row(0x6, 0x2a, 0x04),
  registrationsPreempted: row(0x6, 0x2a, 0x05),
  asymmetricAccessChanged: row(0x6, 0x2a, 0x06),
  capacityChanged: row(0x6, 0x2a, 0x09),
  commandsClearedByOther: row(0x6, 0x2f, 0x00),
  inquiryDataChanged: row(0x6, 0x3f, 0x03),
  reportedLunsChanged: row(0x6, 0x3f, 0x0e),
  thinSoftThreshold: row(0x6, 0x38, 0x07),
  // 07h DATA PROTECT
  writeProtected: row(0x7, 0x27, 0x00),
  softwareWriteProtected: row(0x7, 0x27, 0x02),
  spaceAllocationFailed: row(0x7, 0x27, 0x07),
  // 0Ah COPY ABORTED
  /** COMMANDS CLEARED BY DEVICE SERVER: what a copy ends with that is aborted (SPC-4 5.17.4.7). */
  copyAborted: row(0xa, 0x2f, 0x02),
  unexpectedInexactSegment: row(0xa, 0x26, 0x0a),
  copySegmentGranularity: row(0xa, 0x26, 0x0d),
  copyListField: row(0xa, 0x26, 0x00),
  thirdPartyDeviceFailure: row(0xa, 0x0d, 0x01),
  copyTargetNotReachable: row(0xa, 0x0d, 0x02),
  /** COPY TARGET DEVICE DATA UNDERRUN: part of the transfer is done, INFORMATION says how much. */
  copyUnderrun: row(0xa, 0x0d, 0x04),
  // 0Bh ABORTED COMMAND
  insufficientCopyResources: row(0xb, 0x55, 0x03),
  noRodResources: row(0xb, 0x55, 0x0c),
  noTokenResources: row(0xb, 0x55, 0x0d),
  dataPhaseError: row(0xb, 0x4b, 0x00),
  initiatorResponseTimeout: row(0xb, 0x4b, 0x06),
  /** The initiator offered less or more data than it announced. RFC 7143 §11.4.7.2. */
  notEnoughUnsolicitedData: row(0xb, 0x0c, 0x0d),
  protocolServiceCrc: row(0xb, 0x47, 0x05),
  // 0Eh MISCOMPARE
  miscompare: row(0xe, 0x1d, 0x00),
  // 0Fh COMPLETED
  copyInformation: row(0xf, 0x00, 0x20),
} as const satisfies Record<string, SenseRow>;

/** Why an offload command was refused: what the truth meter counts and `gemel doctor` explains. */
export type OffloadReason =
  | 'not-offered'
  | 'bad-command'
  | 'bad-list'
  | 'too-long'
  | 'out-of-range'
  /** A source or destination of the copy is no LUN of this host. */
  | 'not-mapped'
  | 'token-unknown'
  | 'token-forged'
  | 'token-expired'
  /** The token is for something else, or for somebody else. */
  | 'token-unusable'
  /** The copy-route policy: the host copies faster itself, or copies are switched off. */
  | 'slower'
  | 'policy'
  | 'busy'
  | 'no-space'
  | 'write-protected'
  | 'not-ready'
  | 'reserved'
  | 'miscompare'
  | 'storage-failed'
  | 'copy-failed'
  | 'aborted'
  | 'other';

/** Details some sense data carry. */
export interface SenseDetail {
  /** Not part of the sense data: why, when it is about an offload and the code alone does not tell. */
  readonly reason?: OffloadReason;
  /** INFORMATION: an LBA or a byte offset (SPC-4 4.5.2.2). */
  readonly information?: number;
  /** Byte of the CDB (or, with `inData`, of the parameter list) that was wrong (SPC-4 4.5.2.4.2). */
  readonly field?: number;
  /** Most significant wrong bit of that byte. */
  readonly bit?: number;
  readonly inData?: boolean;
  /** `field` counts from the beginning of the segment descriptor (SD=1, SPC-4 4.5.2.4.5). */
  readonly inSegment?: boolean;
  /** COPY ABORTED: the segment that was being processed, from 0 (SPC-4 5.17.7.4). */
  readonly segment?: number;
  /** COPY ABORTED: what the logical unit at one end answered (SPC-4 5.17.7.4, 4.5.2). */
  readonly forwarded?: Forwarded;
  /** COMMAND-SPECIFIC INFORMATION that is one number. */
  readonly specific?: number;
  /** PROGRESS INDICATION, 0 to 65535 (SPC-4 4.5.2.4.4). */
  readonly progress?: number;
}

/** Status and sense data (of a CHECK CONDITION) of the source or the destination of a copy. */
export interface Forwarded {
  readonly side: 'source' | 'target';
  readonly status: number;
  readonly error?: ScsiError | undefined;
}

/** A command ends with CHECK CONDITION and this sense. Thrown by command functions, caught by dispatch. */
export class ScsiError extends Error {
  readonly sense: SenseRow;
  readonly detail: SenseDetail;
  /** The command table or a row did not take the CDB: its opcode and service action. Set by the command table. */
  cdb: { readonly opcode: number; readonly serviceAction: number } | undefined;

  constructor(sense: SenseRow, detail: SenseDetail = {}) {
    super(`sense ${senseText(sense)}`);
    this.name = 'ScsiError';
    this.sense = sense;
    this.detail = detail;
  }
}

/** `05/24/00`. */
export const senseText = ({ key, asc, ascq }: SenseRow): string => `${hex(key)}/${hex(asc)}/${hex(ascq)}`;

function hex(value: number): string {
  return value.toString(16).padStart(2, '0').toUpperCase();
}

/** Byte `field` (bit `bit`, when given) of the CDB is not acceptable: 05/24/00 with the field pointer. */
export function badCdb(field: number, bit?: number): ScsiError {
  return new ScsiError(SENSE.invalidFieldInCdb, bit === undefined ? { field } : { field, bit });
}

/** Byte `field` of the parameter list is not acceptable: 05/26/00. */
export function badParameter(field: number, bit?: number): ScsiError {
  return new ScsiError(
    SENSE.invalidFieldInParameterList,
    bit === undefined ? { field, inData: true } : { field, bit, inData: true },
  );
}

/** Sense of a backend failure; `blockSize` turns the byte position into an LBA. Anything unknown is a target failure. */
export function senseOf(error: unknown, blockSize: number): ScsiError {
  if (error instanceof ScsiError) return error;
  if (!(error instanceof VolumeError)) return new ScsiError(SENSE.internalTargetFailure);
  const detail: SenseDetail =
    error.position === undefined ? {} : { information: Math.floor(error.position / blockSize) };
  switch (error.fault) {
    case VolumeFault.readError:
      return new ScsiError(SENSE.unrecoveredReadError, detail);
    case VolumeFault.writeError:
      return new ScsiError(SENSE.writeError, detail);
    case VolumeFault.noSpace:
      return new ScsiError(SENSE.spaceAllocationFailed, detail);
    case VolumeFault.readOnly:
      return new ScsiError(SENSE.writeProtected);
    case VolumeFault.notReady:
      return new ScsiError(SENSE.becomingReady);
    case VolumeFault.moved:
      return new ScsiError(SENSE.asymmetricAccessTransition);
  }
}

/** Whether these sense bytes, of either format, are of this row. */
export function isSense(sense: Buffer, { key, asc, ascq }: SenseRow): boolean {
  const at = (sense[0] ?? 0) & 2 ? [1, 2, 3] : [2, 12, 13];
  return [key, asc, ascq].every((wanted, i) => ((sense[at[i] ?? 0] ?? 0) & (i === 0 ? 0x0f : 0xff)) === wanted);
}

/** Sense bytes: fixed format (70h), or descriptor format (72h) where D_SENSE or DESC asks for it. */
export function encodeSense(error: ScsiError, descriptorFormat: boolean): Buffer {
  return descriptorFormat ? descriptor(error) : fixed(error);
}

/**
 * SPC-4 4.5.3. 18 bytes, and what is forwarded behind them. INFORMATION that needs more than 32 bits is left out (VALID=0):
 * half of it would be wrong.
 */
function fixed({ sense, detail }: ScsiError): Buffer {
  const behind = detail.forwarded === undefined ? Buffer.alloc(0) : forwardedBytes(detail.forwarded, false);
  const out = Buffer.alloc(18 + behind.length);
  out[0] = 0x70;
  out[2] = sense.key;
  out[7] = out.length - 8;
  out[12] = sense.asc;
  out[13] = sense.ascq;
  if (detail.information !== undefined && detail.information <= 0xffff_ffff) {
    out[0] = 0xf0;
    out.writeUInt32BE(detail.information, 3);
  }
  // COMMAND-SPECIFIC INFORMATION (SPC-4 5.17.7.4): where the status of the source is, that of the destination, the segment.
  if (detail.forwarded !== undefined) out[detail.forwarded.side === 'source' ? 8 : 9] = 18;
  if (detail.segment !== undefined) out.writeUInt16BE(detail.segment, 10);
  if (detail.specific !== undefined) out.writeUInt32BE(detail.specific, 8);
  keySpecific(out, 15, detail);
  behind.copy(out, 18);
  return out;
}

/** The status, and the sense data in the same format. */
function forwardedBytes({ status, error }: Forwarded, descriptorFormat: boolean): Buffer {
  return Buffer.concat([
    Buffer.from([status]),
    error === undefined ? Buffer.alloc(0) : encodeSense(error, descriptorFormat),
  ]);
}

/** SPC-4 4.5.2. 8 bytes and its descriptors. */
function descriptor({ sense, detail }: ScsiError): Buffer {
  const parts: Buffer[] = [];
  if (detail.information !== undefined) {
    const d = Buffer.alloc(12); // SPC-4 4.5.2.2
    d[1] = 0x0a;
    d[2] = 0x80;
    d.writeBigUInt64BE(BigInt(detail.information), 4);
    parts.push(d);
  }
  if (detail.segment !== undefined || detail.specific !== undefined) {
    const d = Buffer.alloc(12); // SPC-4 4.5.2.3 command specific information
    d[0] = 0x01;
    d[1] = 0x0a;
    d.writeUInt16BE(detail.segment ?? 0, 6);
    if (detail.specific !== undefined) d.writeBigUInt64BE(BigInt(detail.specific), 4);
    parts.push(d);
  }
  if (detail.field !== undefined || detail.progress !== undefined) {
    const d = Buffer.alloc(8); // SPC-4 4.5.2.4
    d[0] = 0x02;
    d[1] = 0x06;
    keySpecific(d, 4, detail);
    parts.push(d);
  }
  if (detail.forwarded !== undefined) {
    const answer = forwardedBytes(detail.forwarded, true);
    // SPC-4 4.5.2 forwarded sense data; SENSE DATA SOURCE 1h and 2h are source and destination of EXTENDED COPY.
    const head = Buffer.from([0x0c, 1 + answer.length, detail.forwarded.side === 'source' ? 1 : 2]);
    parts.push(Buffer.concat([head, answer]));
  }
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([Buffer.from([0x72, sense.key, sense.asc, sense.ascq, 0, 0, 0, length]), ...parts]);
}

/** The three sense-key-specific bytes (SPC-4 4.5.2.4.2 field pointer, 4.5.2.4.4 progress, 4.5.2.4.5 segment pointer). */
function keySpecific(out: Buffer, at: number, { field, bit, inData, inSegment, progress }: SenseDetail): void {
  if (field !== undefined) {
    const where = inSegment === true ? 0x20 : inData === true ? 0 : 0x40;
    out[at] = 0x80 | where | (bit === undefined ? 0 : 0x08 | bit);
    out.writeUInt16BE(field, at + 1);
  } else if (progress !== undefined) {
    out[at] = 0x80;
    out.writeUInt16BE(progress, at + 1);
  }
}
