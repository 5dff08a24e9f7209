// Reading and comparing in bounded pieces, for the commands that look at the medium without sending it.
import { SENSE, ScsiError } from '../sense.ts';
import type { LogicalUnit } from '../logical-unit.ts';

/** Bytes read at a time. */
const PIECE = 1_048_576;

/** Reads the range, in bytes; `look` sees each piece with its offset. Rejects with a VolumeError when it is unreadable. */
export async function scan(
  lu: LogicalUnit,
  position: number,
  length: number,
  look: (piece: Buffer, offset: number) => void,
): Promise<void> {
  const buffer = Buffer.allocUnsafe(Math.min(PIECE, length));
  for (let done = 0; done < length;) {
    const size = Math.min(PIECE, length - done);
    if (!lu.volume.readNow(position + done, size, buffer, 0)) await lu.volume.read(position + done, size, buffer, 0);
    look(buffer.subarray(0, size), done);
    done += size;
  }
}

/** Throws 0E/1D/00 with the offset of the first differing byte (SBC-3 4.7.2: INFORMATION). Equal: returns. */
export function compare(found: Buffer, expected: Buffer, offset: number): void {
  if (found.equals(expected)) return;
  let at = 0;
  while (found[at] === expected[at]) at++;
  throw new ScsiError(SENSE.miscompare, { information: offset + at });
}
