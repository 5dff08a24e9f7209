// A pool that is made where there is no room for it: it is said so, and nothing is held that would go on taking room.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../../core/base/log.ts';
import { MIN_JOURNAL } from '../../../core/base/limits.ts';
import type { DiskFile, World } from '../../../core/base/world.ts';
import { createPool } from '../../../core/pool/open.ts';
import { FolderFiles } from '../../../core/pool/pool-files.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

const MIB = 1_048_576;

for (const victim of ['journal', 'slab-00000', 'superblock']) {
  test(`a pool without room for its ${victim} is refused, and holds no file open`, async () => {
    const folder = temporaryFolder('create-full');
    const world = await nodeWorld();
    const open = new Set<string>();
    /** As its disk is, but `victim` finds no room. */
    const watched = (name: string, file: DiskFile): DiskFile =>
      new Proxy(file, {
        get: (target, key) => {
          if (key === 'write' && name.endsWith(victim)) {
            return () => Promise.reject(Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' }));
          }
          if (key === 'close') open.delete(name);
          const found: unknown = Reflect.get(target, key, target);
          return typeof found === 'function' ? (found.bind(target) as unknown) : found;
        },
      });
    const disk: World['disk'] = {
      ...world.disk,
      open: async (name, options) => {
        const file = await world.disk.open(name, options);
        open.add(name);
        return watched(name, file);
      },
    };
    const files = new FolderFiles({ ...world, disk }, `${folder.path}/pool`);
    const none = { commit: () => Promise.resolve(), close: () => Promise.resolve() };
    const place = { world, files, log: silentLog, meta: () => none as never };
    try {
      await assert.rejects(createPool(place, { size: 16 * MIB, journalBytes: MIN_JOURNAL, slabSize: 16 * MIB }), {
        code: 'no-space',
        message: /no room for a pool in .*its journal/,
      });
      assert.deepEqual([...open], []);
    } finally {
      folder.remove();
    }
  });
}
