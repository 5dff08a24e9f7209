// Reading and comparing in bounded pieces, for the commands that look at the medium without sending it.
import { SENSE, ScsiError } from '../sense.ts';
import type { ScsiTask } from '../task.ts';

/** Bytes read at a time. */
const PIECE = 1_048_576;

/**
 * Reads the range, in bytes; `look` sees each piece with its offset. Rejects with a VolumeError when it is unreadable.
 * Others get their turn between the pieces, and a task that is aborted meanwhile stops.
 */
export async function scan(
  task: Pick<ScsiTask, 'lu' | 'aborted'>,
  position: number,
  length: number,
  look: (piece: Buffer, offset: number) => void,
): Promise<void> {
  const { lu } = task;
  const buffer = Buffer.allocUnsafe(Math.min(PIECE, length));
  for (let done = 0; done < length && !task.aborted;) {
    const size = Math.min(PIECE, length - done);
    if (!lu.volume.readNow(position + done, size, buffer, 0)) await lu.volume.read(position + done, size, buffer, 0);
    look(buffer.subarray(0, size), done);
    done += size;
    // Data in memory is read without waiting for anybody: a whole disk of it would keep the event loop for seconds.
    if (done < length)
      await new Promise<void>((go) => {
        lu.clock.soon(go);
      });
  }
}

/** Throws 0E/1D/00 with the offset of the first differing byte (SBC-3 4.7.2: INFORMATION). Equal: returns. */
export function compare(found: Buffer, expected: Buffer, offset: number): void {
  if (found.equals(expected)) return;
  let at = 0;
  while (found[at] === expected[at]) at++;
  throw new ScsiError(SENSE.miscompare, { information: offset + at });
}
