// The first piece of a frame of the links between nodes, as a test sends or damages it.
import { FRAME_HEAD, storeFrameHead } from '../../core/mirror/wire/frame.ts';

/** Head and header in memory of their own; `payload`: what the test sends behind them. */
export function frameHead(
  type: number,
  flags: number,
  id: number,
  number: number,
  header: Buffer,
  payload: readonly Buffer[],
): Buffer {
  const head = Buffer.allocUnsafe(FRAME_HEAD + header.length);
  storeFrameHead(head, 0, type, flags, id, number, header, payload);
  return head;
}
