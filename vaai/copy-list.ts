// The parameter list of EXTENDED COPY (SPC-4 6.4, 6.5): header, CSCD descriptors (who takes part), segment descriptors (what is
// copied). Bytes to objects; nothing is looked up here.
import { MAX_COPY_CSCDS, MAX_COPY_DESCRIPTORS, MAX_COPY_SEGMENT, MAX_COPY_SEGMENTS } from '../core/base/limits.ts';
import { load16, load24, load32 } from '../core/base/bytes-at.ts';
import { SENSE, ScsiError, badParameter } from '../core/scsi/sense.ts';

/** Width of the list identifier. */
export type ListForm = 'lid1' | 'lid4';

/** The descriptor types we know (SPC-4 6.4.4). */
export const Descriptor = { blockToBlock: 0x02, verify: 0x07, offsetToOffset: 0x0a, identification: 0xe4 } as const;

export const CSCD_LENGTH = 32;
/** Bytes: the length of a segment is a multiple of it (SPC-4 6.22). */
export const DATA_SEGMENT_GRANULARITY = 512;
/** The logical unit the command was sent to, instead of a CSCD descriptor (SPC-4 6.4.6). */
export const OWN_UNIT = 0xffff;

/** Identification Descriptor CSCD descriptor (SPC-4 6.4.5.6). */
export interface Cscd {
  /** A designation descriptor as VPD page 83h has them: code set, association and type, length, designator. */
  readonly designator: Buffer;
  /** DISK BLOCK LENGTH; 0: not told. */
  readonly blockSize: number;
  /** Where it begins in the list. */
  readonly at: number;
}

export interface Segment {
  readonly type: number;
  /** Numbers of CSCD descriptors. */
  readonly source: number;
  readonly target: number;
  readonly sourceLba: number;
  readonly targetLba: number;
  /** Bytes behind the beginning of the first block. */
  readonly sourceOffset: number;
  readonly targetOffset: number;
  readonly length: { readonly unit: 'source-blocks' | 'target-blocks' | 'bytes'; readonly count: number };
  /** Verify CSCD: also whether it is ready. */
  readonly testReady: boolean;
}

export interface CopyList {
  /** undefined: the operation is not to be asked about (LIST ID USAGE 11b). */
  readonly listId: number | undefined;
  /** LIST ID USAGE 10b: nobody is going to ask for what it held. */
  readonly discard: boolean;
  readonly immediate: boolean;
  /** G_SENSE: sense data are wanted with GOOD status, too. */
  readonly tells: boolean;
  readonly cscds: readonly Cscd[];
  /** CSCD DESCRIPTOR ID of the first of them. */
  readonly firstId: number;
  readonly segments: readonly Segment[];
}

interface Header extends Omit<CopyList, 'cscds' | 'firstId' | 'segments'> {
  readonly length: number;
  readonly cscdBytes: number;
  readonly segmentBytes: number;
  readonly inlineBytes: number;
  /** Where the lengths are, for the field pointer. */
  readonly cscdField: number;
  readonly segmentField: number;
  readonly inlineField: number;
}

/** What CSCD DESCRIPTOR ID 0 stands for begins here, each one behind it CSCD_LENGTH further on (SPC-4 table 148). */
const IDS_FROM = 16;
/** Bytes of the headers. */
export const HEADER: Readonly<Record<ListForm, number>> = { lid1: 16, lid4: 48 };

/** The whole list, all of its syntax checked. Throws ScsiError (ILLEGAL REQUEST). */
export function parseCopyList(list: Buffer, form: ListForm): CopyList {
  if (list.length < HEADER[form]) throw new ScsiError(SENSE.parameterListLength);
  const header = form === 'lid1' ? headerLid1(list) : headerLid4(list);
  const { length, cscdBytes, segmentBytes, inlineBytes } = header;
  // Before anything else about the descriptors: nothing of a list that is cut off means anything.
  if (
    length + cscdBytes + segmentBytes + inlineBytes > list.length ||
    cscdBytes + segmentBytes > MAX_COPY_DESCRIPTORS
  ) {
    throw new ScsiError(SENSE.parameterListLength);
  }
  if (inlineBytes > 0) throw new ScsiError(SENSE.inlineDataLength, { field: header.inlineField, inData: true });
  const cscds = parseCscds(list, header);
  const segments = parseSegments(list, length + cscdBytes, header);
  const { listId, discard, immediate, tells } = header;
  const firstId = (length - IDS_FROM) / CSCD_LENGTH;
  return { listId, discard, immediate, tells, cscds, firstId, segments };
}

/** SPC-4 6.5. */
function headerLid1(list: Buffer): Header {
  const { listId, discard } = usageOf(list, list[0] as number, 0);
  return {
    listId,
    discard,
    immediate: false,
    tells: false,
    length: HEADER.lid1,
    cscdBytes: load16(list, 2),
    segmentBytes: load32(list, 8),
    inlineBytes: load32(list, 12),
    cscdField: 2,
    segmentField: 8,
    inlineField: 12,
  };
}

/** SPC-4 6.4.2. */
function headerLid4(list: Buffer): Header {
  if (list[0] !== 0x01) throw badParameter(0); // PARAMETER LIST FORMAT
  if (load16(list, 2) !== 0x20) throw badParameter(2); // HEADER CSCD DESCRIPTOR LIST LENGTH
  const flags = list[15] as number;
  if (list[16] !== 0xff) throw badParameter(16); // HEADER CSCD DESCRIPTOR TYPE CODE
  const immediate = (flags & 0x01) !== 0;
  const tells = (flags & 0x02) !== 0;
  const { listId, discard } = usageOf(list, load32(list, 20), 20);
  // SPC-4 6.4.2: what goes on behind its answer must be there to be asked about, and has nothing to tell with it. INVALID
  // FIELD IN CDB is what the standard wants here; there is no field of the CDB to point to.
  if (immediate && (tells || listId === undefined)) throw new ScsiError(SENSE.invalidFieldInCdb);
  return {
    listId,
    discard,
    immediate,
    tells,
    length: HEADER.lid4,
    cscdBytes: load16(list, 42),
    segmentBytes: load16(list, 44),
    inlineBytes: load16(list, 46),
    cscdField: 42,
    segmentField: 44,
    inlineField: 46,
  };
}

/** LIST ID USAGE (SPC-4 6.4.3.2). PRIORITY and STR are advice about order, which a copy of blocks does not depend on. */
function usageOf(list: Buffer, listId: number, at: number): { listId: number | undefined; discard: boolean } {
  switch ((list[1] as number) & 0x18) {
    case 0x00:
      return { listId, discard: false };
    case 0x10:
      return { listId, discard: true };
    case 0x18:
      if (listId !== 0) throw badParameter(at);
      return { listId: undefined, discard: true };
    default:
      throw badParameter(1, 4);
  }
}

function parseCscds(list: Buffer, { length, cscdBytes, cscdField }: Header): Cscd[] {
  if (cscdBytes % CSCD_LENGTH !== 0) throw badParameter(cscdField);
  const count = cscdBytes / CSCD_LENGTH;
  if (count > MAX_COPY_CSCDS) throw new ScsiError(SENSE.tooManyCscds, { field: cscdField, inData: true });
  return Array.from({ length: count }, (_, n) => parseCscd(list, length + n * CSCD_LENGTH));
}

/**
 * SPC-4 6.4.5.6: LU ID TYPE is ignored; so is the relative initiator port (6.4.5.1) where the unit is of the same device as
 * the copy manager.
 */
function parseCscd(list: Buffer, at: number): Cscd {
  if (list[at] !== Descriptor.identification) {
    throw new ScsiError(SENSE.unsupportedCscdType, { field: at, inData: true });
  }
  const flags = list[at + 1] as number;
  if ((flags & 0x20) !== 0) throw badParameter(at + 1, 5); // NUL of SPC-3, obsolete in SPC-4 6.4.5.1
  if ((flags & 0x1f) !== 0) throw badParameter(at + 1, 4); // we have block devices only
  const length = list[at + 7] as number;
  if (length === 0 || length > 20) throw badParameter(at + 7);
  // As in VPD page 83h, but without the protocol and PIV.
  const head = [(list[at + 4] as number) & 0x0f, (list[at + 5] as number) & 0x3f, 0, length];
  const designator = Buffer.concat([Buffer.from(head), list.subarray(at + 8, at + 8 + length)]);
  return { designator, blockSize: load24(list, at + 29), at };
}

function parseSegments(list: Buffer, begin: number, { segmentBytes, segmentField }: Header): Segment[] {
  const segments: Segment[] = [];
  for (let at = begin, left = segmentBytes; left > 0;) {
    if (left < 4) throw badParameter(segmentField);
    if (segments.length === MAX_COPY_SEGMENTS) {
      throw new ScsiError(SENSE.tooManySegments, { field: segmentField, inData: true });
    }
    const shape = SHAPES.get(list[at] as number);
    if (shape === undefined) throw new ScsiError(SENSE.unsupportedSegmentType, { field: at, inData: true });
    if (load16(list, at + 2) !== shape.length - 4) throw badParameter(at + 2);
    if (shape.length > left) throw badParameter(segmentField);
    segments.push(shape.parse(list, at));
    at += shape.length;
    left -= shape.length;
  }
  return segments;
}

const load64 = (list: Buffer, at: number): number => load32(list, at) * 4_294_967_296 + load32(list, at + 4);

/** SPC-4 6.4.6.4 (02h). DC: the number of blocks is of the destination. CAT is about blocks of unlike size. */
function blockToBlock(list: Buffer, at: number): Segment {
  const unit = ((list[at + 1] as number) & 0x02) === 0 ? 'source-blocks' : 'target-blocks';
  return {
    type: Descriptor.blockToBlock,
    source: load16(list, at + 4),
    target: load16(list, at + 6),
    sourceLba: load64(list, at + 12),
    targetLba: load64(list, at + 20),
    sourceOffset: 0,
    targetOffset: 0,
    length: { unit, count: load16(list, at + 10) },
    testReady: false,
  };
}

/** SPC-4 6.4.6.12 (0Ah). */
function offsetToOffset(list: Buffer, at: number): Segment {
  const bytes = load32(list, at + 8);
  if (bytes > MAX_COPY_SEGMENT) throw badParameter(at + 8);
  return {
    type: Descriptor.offsetToOffset,
    source: load16(list, at + 4),
    target: load16(list, at + 6),
    sourceLba: load64(list, at + 12),
    targetLba: load64(list, at + 20),
    sourceOffset: load16(list, at + 28),
    targetOffset: load16(list, at + 30),
    length: { unit: 'bytes', count: bytes },
    testReady: false,
  };
}

/** SPC-4 6.4.6.9 (07h). */
function verify(list: Buffer, at: number): Segment {
  const source = load16(list, at + 4);
  return {
    type: Descriptor.verify,
    source,
    target: source,
    sourceLba: 0,
    targetLba: 0,
    sourceOffset: 0,
    targetOffset: 0,
    length: { unit: 'bytes', count: 0 },
    testReady: ((list[at + 8] as number) & 0x01) !== 0,
  };
}

/** By type: bytes of the whole descriptor, and what it says. */
const SHAPES: ReadonlyMap<number, { length: number; parse: (list: Buffer, at: number) => Segment }> = new Map([
  [Descriptor.blockToBlock, { length: 28, parse: blockToBlock }],
  [Descriptor.verify, { length: 12, parse: verify }],
  [Descriptor.offsetToOffset, { length: 32, parse: offsetToOffset }],
]);
