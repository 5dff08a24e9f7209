// iSCSI TransportID (SPC-4 7.6.4.6): how an initiator port is named in persistent reservation data.
import { SENSE, ScsiError, badParameter } from '../sense.ts';

const ISCSI = 0x05;
/** Format 01b: name, separator and ISID. */
const WITH_ISID = 0x40;
/** The additional length of an iSCSI TransportID is at least 20. */
const MIN_ADDITIONAL = 20;
const MAX_NAME = 223 + 5 + 12;

/** TransportID of `name,i,0xISID`. A multiple of four bytes, NUL terminated. */
export function encodeTransportId(initiatorPort: string): Buffer {
  const length = Math.max(MIN_ADDITIONAL, (Buffer.byteLength(initiatorPort) + 4) & ~3);
  const out = Buffer.alloc(4 + length);
  out[0] = WITH_ISID | ISCSI;
  out.writeUInt16BE(length, 2);
  out.write(initiatorPort, 4, 'utf8');
  return out;
}

/**
 * The initiator port named at `at` of a parameter list, and the bytes it takes. Throws ScsiError for other protocols,
 * names without ISID (they would mean all ports of an initiator), and lengths that do not fit.
 */
export function decodeTransportId(list: Buffer, at: number): { port: string; length: number } {
  if (at + 4 > list.length) throw new ScsiError(SENSE.parameterListLength);
  const first = list[at] ?? 0;
  if (first !== (WITH_ISID | ISCSI)) throw badParameter(at);
  const additional = list.readUInt16BE(at + 2);
  if (additional < MIN_ADDITIONAL || additional % 4 !== 0) throw badParameter(at + 2);
  if (at + 4 + additional > list.length) throw new ScsiError(SENSE.parameterListLength);
  const text = list.subarray(at + 4, at + 4 + additional);
  const end = text.indexOf(0);
  const port = text
    .subarray(0, end < 0 ? additional : end)
    .toString('utf8')
    .toLowerCase();
  if (port.length > MAX_NAME || !/^[^,]+,i,0x[0-9a-f]{12}$/.test(port)) throw badParameter(at + 4);
  return { port, length: 4 + additional };
}
