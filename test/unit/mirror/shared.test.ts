// One storage, several nodes: who owns the volume has it for itself, and whoever lost it changes nothing any more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import type { SharedStorage } from '../../../core/mirror/shared.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { VolumeError, VolumeFault } from '../../../core/volume/volume.ts';
import { MirrorCluster } from '../../support/mirror-cluster.ts';
import { get, put } from '../../support/mirror-use.ts';
import { until } from '../../support/until.ts';

const SIZE = 4_194_304;

/** Storage in memory that knows whose turn it is: a write of anybody else fails, as Ceph's do of who is on its block list. */
class Storage {
  readonly data = new MemoryVolume(SIZE, 512);
  holder = '';
  acquired = 0;
  refuses = false;
}

function reach(storage: Storage, node: string): SharedStorage {
  const { data } = storage;
  const check = (): void => {
    if (storage.holder !== node) throw new VolumeError(VolumeFault.notReady, `${node} is shut out`);
  };
  const own = {
    acquire: async (mine: () => Promise<boolean>): Promise<void> => {
      if (storage.refuses || !(await mine())) throw new ServiceError('io-error', 'not now');
      storage.holder = node;
      storage.acquired++;
    },
    release: (): Promise<void> => {
      if (storage.holder === node) storage.holder = '';
      return Promise.resolve();
    },
    close: (): Promise<void> => Promise.resolve(),
    readNow: () => false,
    viewNow: () => false,
    writeNow: () => 0 as const,
    read: async (...args: Parameters<typeof data.read>) => {
      check();
      await data.read(...args);
    },
    write: async (...args: Parameters<typeof data.write>) => {
      check();
      await data.write(...args);
    },
  };
  return new Proxy(data, {
    has: (target, key) => key in own || key in target,
    get: (target, key) => {
      if (key in own) return own[key as keyof typeof own];
      const value = Reflect.get(target, key, target) as unknown;
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  }) as unknown as SharedStorage;
}

async function withShared(body: (c: MirrorCluster, storage: Storage) => Promise<void>): Promise<void> {
  const storage = new Storage();
  const c = await MirrorCluster.make(['a', 'b'], (cluster) => {
    cluster.size = SIZE;
    cluster.makeCopy = (node) => reach(storage, node);
  });
  try {
    await body(c, storage);
  } finally {
    await c.close();
  }
}

test('shared storage: one node has it; it is handed over, and taken over, with nothing copied', async () => {
  await withShared(async (c, storage) => {
    await c.inSync(['a', 'b']);
    assert.equal(storage.holder, 'a');
    await put(c, 'a', 1, 11);
    await assert.rejects(
      put(c, 'b', 1, 12),
      (error: unknown) => error instanceof VolumeError && error.fault === 'moved',
    );
    await c.node('a').mirror.handOver('v', 'b');
    assert.equal(await c.owner(), 'b');
    assert.equal(storage.holder, 'b');
    await c.inSync(['a', 'b']);
    assert.equal(await get(c, 'b', 1), 11);
    await put(c, 'b', 2, 22);
    await c.kill('b');
    // As when the machine stands still: nobody has released anything.
    storage.holder = 'b';
    assert.equal(await c.owner('v', 'b'), 'a');
    assert.equal(storage.holder, 'a');
    assert.equal(await get(c, 'a', 2), 22);
    await put(c, 'a', 2, 23);
    await c.boot('b');
    await c.inSync(['a', 'b']);
    const [replica] = c.node('a').mirror.replicas('v');
    assert.equal(replica?.lacks, 0);
    assert.equal(await get(c, 'a', 2), 23);
    await assert.rejects(c.node('a').mirror.verify('v', { repair: false }), /in one place for all nodes/);
  });
});

test('shared storage: an owner that is cut off is shut out before the next one serves', async () => {
  await withShared(async (c, storage) => {
    await c.inSync(['a', 'b']);
    await put(c, 'a', 1, 1);
    const [old, before] = [c.volume('a'), storage.acquired];
    c.node('a').store.trouble = { before: () => Promise.reject(new ServiceError('cluster-unavailable', 'cut off')) };
    c.cut('a', 'b');
    await until(() => storage.holder === 'b');
    assert.equal(storage.acquired, before + 1);
    await put(c, 'b', 1, 2);
    await assert.rejects(old.write(4096, Buffer.alloc(4096), 0, 4096, false), VolumeError);
    assert.equal(await get(c, 'b', 1), 2, 'what the old one sent is not there');
    c.node('a').store.trouble = undefined;
    c.heal('a', 'b');
    await c.inSync(['a', 'b']);
    assert.equal(c.volume('a').ownership.role, 'replica');
  });
});

test('shared storage: a node that cannot get it serves nothing, and tries again', async () => {
  await withShared(async (c, storage) => {
    await c.inSync(['a', 'b']);
    storage.refuses = true;
    await c.kill('a');
    await until(() => /cannot be opened/.test(c.volume('b').ownership.why));
    await assert.rejects(get(c, 'b', 1), VolumeError);
    storage.refuses = false;
    assert.equal(await c.owner('v', 'a'), 'b');
    await put(c, 'b', 1, 5);
  });
});
