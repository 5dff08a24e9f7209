// Copying by reference between open volumes of a pool, as the copy engine asks for it (Volume.shareFrom).
import assert from 'node:assert/strict';
import type { Pool } from '../../core/pool/pool.ts';
import { shareGrains } from '../../core/pool/share.ts';

/** Bytes [from, from+length) of volume `source` are [to, to+length) of `target` too; whole grains. */
export async function share(
  pool: Pool,
  source: number,
  from: number,
  target: number,
  to: number,
  length: number,
): Promise<void> {
  const [a, b] = [pool.entry(source).open, pool.entry(target).open];
  assert.ok(a !== undefined && b !== undefined);
  await shareGrains(pool, a, from, b, to, length);
}
