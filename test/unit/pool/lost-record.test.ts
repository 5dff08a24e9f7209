// One damaged record in the metadata of a pool takes one volume away, not all of them.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { open } from 'lmdb';
import { checkPool } from '../../../core/pool/check.ts';
import { LmdbMeta } from '../../../core/pool/pool-meta.ts';
import type { MetaChange, PoolState } from '../../../core/pool/pool-meta.ts';
import { Machine } from '../../crash/machine.ts';

const MIB = 1_048_576;

const STATE: PoolState = { generation: 3, mark: { position: 0, seq: 7 }, nextLeaf: 1, nextVolume: 3, slabs: [] };

/** A store with two volumes, after `damage` has flipped a bit of what has these keys. */
async function damaged(keys: readonly [number, number][], body: (meta: LmdbMeta) => void): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'gemel-meta-'));
  try {
    const volumes: MetaChange['volumes'] = [1, 2].map((id) => {
      const record = { id, size: MIB, thick: false, snapshotOf: undefined, fence: 1, deleting: false, created: 5 };
      return { id, record, leaves: [4] };
    });
    const meta = new LmdbMeta(path);
    await meta.commit({ state: STATE, volumes, leaves: [] });
    await meta.close();
    const raw = open<Buffer, [number, number]>({ path, encoding: 'binary' });
    for (const key of keys) {
      const bytes = Buffer.from(raw.get(key) ?? Buffer.alloc(0));
      bytes[3] = (bytes[3] ?? 0) ^ 1;
      await raw.put(key, bytes);
    }
    await raw.close();
    const again = new LmdbMeta(path);
    try {
      body(again);
    } finally {
      await again.close();
    }
  } finally {
    rmSync(path, { recursive: true });
  }
}

it('the store tells which record is damaged, and has the others', async () => {
  await damaged([[1, 1]], (meta) => {
    const volumes = meta.load()?.volumes ?? [];
    assert.deepEqual(
      volumes.map(({ record, leaves, recordLost }) => [record.id, record.size, leaves, recordLost]),
      [
        [1, 0, [4], true],
        [2, MIB, [4], undefined],
      ],
    );
  });
});

it('the store has a copy of the state, and does without it only when both are damaged', async () => {
  await damaged([[0, 0]], (meta) => {
    const { state, stateIsCopy } = meta.load() ?? {};
    assert.deepEqual(state, STATE);
    assert.equal(stateIsCopy, true);
  });
  await damaged(
    [
      [0, 0],
      [0, 1],
    ],
    (meta) => {
      assert.throws(() => meta.load(), { code: 'io-error' });
    },
  );
});

it('a pool serves the other volumes, keeps what the lost one had, and gives it back when that is deleted', async () => {
  const machine = new Machine(() => 0.5);
  await machine.create(4);
  const running = await machine.start();
  assert.ok(running);
  const ids: number[] = [];
  for (const byte of [1, 2]) {
    const id = await running.pool.create({ size: MIB, thick: false, created: 0, tag: `tag${String(byte)}` });
    ids.push(id);
    const volume = running.open(id);
    await volume.write(0, Buffer.alloc(MIB, byte), 0, MIB, false);
    await volume.close();
  }
  const [lost = 0, other = 0] = ids;
  await running.pool.close();
  machine.crash();
  machine.loseRecord(lost);
  const again = await machine.start();
  assert.ok(again);
  const { pool } = again;
  assert.throws(() => again.open(lost), { code: 'io-error', message: /the record of volume 1 .* damaged/ });
  assert.equal(pool.allocator.used, 32);
  assert.ok(pool.allocator.available > 0);
  const volume = again.open(other);
  const back = Buffer.alloc(MIB);
  await volume.read(0, MIB, back, 0);
  assert.ok(back.equals(Buffer.alloc(MIB, 2)));
  await volume.write(0, Buffer.alloc(4096, 3), 0, 4096, false);
  await volume.close();
  // A deletion that is refused must not make a record of what stands for it.
  again.disk.fault = (operation) =>
    operation === 'commit' ? Object.assign(new Error('no space left'), { code: 'ENOSPC' }) : undefined;
  await assert.rejects(pool.delete(lost), { fault: 'no-space' });
  again.disk.fault = () => undefined;
  await pool.checkpoint();
  assert.equal(machine.recordLost(lost), true);
  await pool.delete(lost);
  assert.equal(pool.allocator.used, 16);
  assert.deepEqual(checkPool(pool).findings, []);
  machine.crash();
  const last = await machine.start();
  assert.ok(last);
  assert.deepEqual([...last.pool.entries.keys()], [other]);
  machine.crash();
});
