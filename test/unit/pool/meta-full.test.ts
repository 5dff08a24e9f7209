// The store of the metadata on a file system that fills up while it writes: a disk that is full, not one that is broken.
import assert from 'node:assert/strict';
import { rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { isFull } from '../../../core/control/pool-plan.ts';
import { LmdbMeta } from '../../../core/pool/pool-meta.ts';
import type { MetaChange } from '../../../core/pool/pool-meta.ts';
import { fill, withFileSystem } from '../../support/file-system.ts';

const MIB = 1_048_576;
/** Leaves of one commit: more bytes than are free. */
const LEAVES = 100;

function change(seq: number, leaves: number): MetaChange {
  const state = { generation: 1, mark: { position: 0, seq }, nextLeaf: 1, nextVolume: 1, slabs: [] };
  const list = Array.from({ length: leaves }, (_, i): [number, Buffer] => [i + 1, Buffer.alloc(6144, seq)]);
  return { state, volumes: [], leaves: list };
}

it('the store of the metadata tells a full file system, and goes on when there is room', async (context) => {
  const ran = await withFileSystem(16 * MIB, async (root) => {
    const meta = new LmdbMeta(join(root, 'meta'), () => isFull(root));
    await meta.commit(change(1, 0));
    const other = join(root, 'other');
    fill(other);
    // Room for a part of it: the write is cut short, which LMDB calls EIO.
    truncateSync(other, statSync(other).size - 16 * 4096);
    await assert.rejects(meta.commit(change(2, LEAVES)), { code: 'ENOSPC' });
    assert.equal(meta.load()?.state.mark.seq, 1);
    rmSync(other);
    await meta.commit(change(3, LEAVES));
    assert.equal(meta.load()?.state.mark.seq, 3);
    await meta.close();
  });
  if (!ran) context.skip('needs root: a file system of its own');
});
