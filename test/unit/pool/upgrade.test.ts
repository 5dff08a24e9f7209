// A pool that an earlier version of the product wrote, and that ended without being closed: version-1/pool.json.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { silentLog } from '../../../core/base/log.ts';
import { checkPool } from '../../../core/pool/check.ts';
import { FORMAT_VERSION, decodeSuperblock, encodeSuperblock } from '../../../core/pool/format.ts';
import { openPool } from '../../../core/pool/open.ts';
import type { PoolPlace } from '../../../core/pool/open.ts';
import { FolderFiles } from '../../../core/pool/pool-files.ts';
import { LmdbMeta } from '../../../core/pool/pool-meta.ts';
import type { MetaChange, PoolMeta } from '../../../core/pool/pool-meta.ts';
import type { Pool } from '../../../core/pool/pool.ts';
import { Durability } from '../../../core/volume/volume.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { projectFile } from '../../support/project.ts';

function unpack(folder: string): void {
  const image = readFileSync(projectFile('test', 'unit', 'pool', 'version-1', 'pool.json'), 'utf8');
  mkdirSync(join(folder, 'meta'));
  for (const [name, text] of Object.entries(JSON.parse(image) as Record<string, string>)) {
    writeFileSync(join(folder, name), gunzipSync(Buffer.from(text, 'base64')));
  }
}

async function withOldPool(body: (place: PoolPlace, folder: string) => Promise<void>): Promise<void> {
  const folder = temporaryFolder('upgrade');
  const world = await nodeWorld();
  try {
    unpack(folder.path);
    const files = new FolderFiles(world, folder.path);
    await body({ world, files, meta: () => new LmdbMeta(join(folder.path, 'meta')), log: silentLog }, folder.path);
  } finally {
    folder.remove();
  }
}

/** The version each copy of the superblock names. */
const versions = (folder: string): number[] =>
  [0, 4096].map(
    (at) => decodeSuperblock(readFileSync(join(folder, 'superblock')).subarray(at, at + 4096))?.version ?? 0,
  );

async function isWhatItWas(pool: Pool): Promise<void> {
  assert.deepEqual(checkPool(pool).findings, []);
  const expected: [number, number, number][] = [
    [0, 4096, 1],
    [4096, 4096, 2],
    [8192, 131_072 - 8192, 1],
    [131_072, 524_288 - 131_072, 0],
    [524_288, 512, 3],
  ];
  for (const { record } of [...pool.entries.values()]) {
    const isSnapshot = record.snapshotOf !== undefined;
    assert.equal(record.tag, (isSnapshot ? 'b' : 'a').repeat(32));
    const volume = pool.open(record.id, { blockSize: 512, durability: Durability.durable, readOnly: true });
    for (const [position, length, value] of expected) {
      const bytes = Buffer.alloc(length);
      await volume.read(position, length, bytes, 0);
      const was = isSnapshot ? (position < 131_072 ? 1 : 0) : value;
      assert.ok(
        bytes.equals(Buffer.alloc(length, was)),
        `${isSnapshot ? 'snapshot' : 'volume'} at ${String(position)}`,
      );
    }
    await volume.close();
  }
  assert.equal(pool.entries.size, 2);
}

describe('a pool of format version 1', () => {
  it('is upgraded when it is opened, with what its journal knows', async () => {
    await withOldPool(async (place, folder) => {
      assert.deepEqual(versions(folder), [1, 1]);
      for (let i = 0; i < 2; i++) {
        const { pool, recovery } = await openPool(place);
        assert.equal(recovery.unclean, i === 0);
        await isWhatItWas(pool);
        await pool.close();
        assert.deepEqual(versions(folder), [FORMAT_VERSION, FORMAT_VERSION]);
      }
    });
  });

  it('is upgraded by the next start when a crash interrupts it anywhere', async () => {
    for (const dies of ['before the commit', 'after the commit']) {
      await withOldPool(async (place, folder) => {
        class DyingMeta extends LmdbMeta {
          override async commit(change: MetaChange): Promise<void> {
            if (dies === 'after the commit') await super.commit(change);
            throw new Error('the power fails');
          }
        }
        const meta = (): PoolMeta => new DyingMeta(join(folder, 'meta'));
        await assert.rejects(openPool({ ...place, meta }), /the power fails/);
        assert.deepEqual(versions(folder), [1, 1], dies);
        const { pool } = await openPool(place);
        await isWhatItWas(pool);
        await pool.close();
      });
    }
  });

  it('and one of a version that nobody knows yet is refused with what to do', async () => {
    await withOldPool(async (place, folder) => {
      const path = join(folder, 'superblock');
      const both = readFileSync(path);
      const newer = decodeSuperblock(both.subarray(0, 4096));
      assert.ok(newer);
      encodeSuperblock({ ...newer, version: FORMAT_VERSION + 1, serial: 1000 }).copy(both, 0);
      writeFileSync(path, both);
      await assert.rejects(openPool(place), {
        code: 'newer-format',
        message: `the pool has format ${String(FORMAT_VERSION + 1)}, this program knows formats up to ${String(FORMAT_VERSION)}`,
      });
    });
  });
});
