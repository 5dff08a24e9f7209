import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { OWNER_UNFIT } from '../../../core/base/limits.ts';
import { recordKey } from '../../../core/mirror/config-record.ts';
import type { MirrorRecord } from '../../../core/mirror/config-record.ts';
import { FileVolume } from '../../../core/volume/file-volume.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { Durability, VolumeError, VolumeFault, WriteNow } from '../../../core/volume/volume.ts';
import type { Volume } from '../../../core/volume/volume.ts';
import { block } from '../../support/mirror-cluster.ts';
import type { MirrorCluster } from '../../support/mirror-cluster.ts';
import { BLOCK, assertSame, get, put, withCluster } from '../../support/mirror-use.ts';
import { until } from '../../support/until.ts';

/** A copy that can fail, or take long, and says how much was flushed. */
class TestCopy extends MemoryVolume {
  writeDelay = 0;
  failWrites: VolumeFault | undefined;
  failReads = false;
  flushes = 0;
  written = 0;
  /** Only through write(). */
  isBusy = false;

  override writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    if (this.isBusy || this.failWrites !== undefined) return WriteNow.refused;
    this.written += length;
    return super.writeNow(position, source, at, length);
  }
  override async write(position: number, source: Buffer, at: number, length: number): Promise<void> {
    if (this.writeDelay > 0) await new Promise((resolve) => setTimeout(resolve, this.writeDelay));
    if (this.failWrites !== undefined) throw new VolumeError(this.failWrites, 'a test');
    super.writeNow(position, source, at, length);
    this.written += length;
  }
  override read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    if (this.failReads) return Promise.reject(new VolumeError(VolumeFault.readError, 'a test'));
    return super.read(position, length, target, at);
  }
  override readNow(position: number, length: number, target: Buffer, at: number): boolean {
    return !this.failReads && super.readNow(position, length, target, at);
  }
  override flush(): Promise<void> {
    this.flushes++;
    return super.flush();
  }
}

/** A copy that can share blocks with others of its kind. */
class SharingCopy extends TestCopy {
  shared = 0;
  sharesWith(source: Volume): boolean {
    return source instanceof SharingCopy;
  }
  async shareFrom(source: Volume, from: number, to: number, length: number): Promise<boolean> {
    const data = Buffer.alloc(length);
    await source.read(from, length, data, 0);
    super.writeNow(to, data, 0, length);
    this.written -= length;
    this.shared += length;
    return true;
  }
}

const stable = (volume: Volume): Promise<void> =>
  new Promise((resolve, reject) => {
    volume.whenStable({
      stable: (error) => {
        if (error === undefined) resolve();
        else reject(error);
      },
    });
  });

describe('operations of a mirrored volume', { timeout: 120_000 }, () => {
  test('writes that are taken at once are stable when both have them', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      const volume = c.volume('a');
      await put(c, 'a', 0, 1);
      const results: WriteNow[] = [];
      for (let i = 0; i < 16; i++) results.push(volume.writeNow(i * BLOCK, block(i + 10), 0, BLOCK));
      // The first write has noted the region: nothing has to be waited for.
      assert.ok(results.every((each) => each === WriteNow.placed));
      // What is under way cannot be read yet: it might never become true.
      assert.equal(volume.readNow(0, BLOCK, Buffer.alloc(BLOCK), 0), false);
      assert.equal(volume.writeNow(0, block(99), 0, BLOCK), WriteNow.refused);
      await stable(volume);
      await assertSame(c, 'a', 'b');
      const data = Buffer.alloc(BLOCK);
      assert.ok(volume.readNow(BLOCK, BLOCK, data, 0));
      assert.equal(data.readUInt32BE(0), 11);
      await stable(volume);
    });
  });

  test('zero, unmap, resize and the state of the SCSI side are on both; a replica that was away gets them', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      for (let i = 0; i < 64; i++) await put(c, 'a', i, i + 1);
      const volume = c.volume('a');
      await volume.zero(8 * BLOCK, 8 * BLOCK);
      await volume.unmap(32 * BLOCK, 32 * BLOCK);
      await volume.setUnitState(Buffer.from('reserved by x'));
      await assertSame(c, 'a', 'b');
      assert.equal(c.volume('b').unitState()?.toString(), 'reserved by x');
      await c.kill('b');
      await volume.unmap(0, 4 * BLOCK);
      await volume.resize(c.size * 2);
      await volume.write(c.size, block(5), 0, BLOCK, false);
      await volume.setUnitState(undefined);
      await c.boot('b');
      await c.inSync(['a', 'b']);
      await assertSame(c, 'a', 'b');
      assert.equal(c.volume('b').unitState(), undefined);
      assert.equal(c.volume('b').info.size, c.size * 2);
    });
  });

  test('an offloaded copy crosses as one operation, behind the writes to its source', async () => {
    const prepare = (c: MirrorCluster): void => {
      c.volumes = ['v', 'w'];
      c.makeCopy = () => new SharingCopy(c.size);
    };
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b'], 'v');
        await c.inSync(['a', 'b'], 'w');
        const [from, to] = [c.volume('a', 'v'), c.volume('a', 'w')];
        const writes = Array.from({ length: 32 }, (_, i) => put(c, 'a', i, i + 1));
        assert.ok(to.sharesWith(from));
        assert.ok(await to.shareFrom(from, 0, 65_536, 65_536));
        await Promise.all(writes);
        await assertSame(c, 'a', 'b', 'w');
        const there = c.node('b').copies.get('w') as SharingCopy;
        assert.deepEqual([there.shared, there.written], [65_536, 0]);
        // Within one volume, and where a replica does not follow.
        assert.ok(await to.shareFrom(to, 65_536, 262_144, 65_536));
        await assertSame(c, 'a', 'b', 'w');
        await c.kill('b');
        await put(c, 'a', 1, 77);
        assert.ok(await to.shareFrom(from, 0, 65_536, 65_536));
        await c.boot('b');
        await c.inSync(['a', 'b'], 'w');
        await c.inSync(['a', 'b'], 'v');
        await assertSame(c, 'a', 'b', 'w');
      },
      prepare,
    );
  });

  test('a replica without room is left out; an owner without room leaves the volume to the replica that has some', async () => {
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b']);
        const [here, there] = [c.node('a').copies.get('v') as TestCopy, c.node('b').copies.get('v') as TestCopy];
        await put(c, 'a', 1, 1);
        there.failWrites = VolumeFault.noSpace;
        await put(c, 'a', 1, 3);
        await c.inSync(['a']);
        assert.match(c.node('a').mirror.replicas('v')[0]?.why ?? '', /a test/);
        // Alone without room: the write fails, and nothing has changed.
        here.failWrites = VolumeFault.noSpace;
        await assert.rejects(
          put(c, 'a', 1, 2),
          (error: unknown) => error instanceof VolumeError && error.fault === VolumeFault.noSpace,
        );
        here.failWrites = undefined;
        assert.equal(await get(c, 'a', 1), 3);
        there.failWrites = undefined;
        await c.inSync(['a', 'b']);
        await assertSame(c, 'a', 'b');
        // The host is told to repeat it (02/04/0A), and does so where there is room.
        here.failWrites = VolumeFault.noSpace;
        await assert.rejects(
          put(c, 'a', 1, 4),
          (error: unknown) => error instanceof VolumeError && error.fault === VolumeFault.moved,
        );
        assert.equal(await c.owner('v', 'a'), 'b');
        await put(c, 'b', 1, 4);
        here.failWrites = undefined;
        await c.inSync(['a', 'b']);
        await assertSame(c, 'a', 'b');
      },
      (c) => (c.makeCopy = () => new TestCopy(c.size)),
    );
  });

  test('an owner that cannot note where it is about to write leaves the volume to the replica', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      const { regions } = c.volume('a').steward.options;
      const heat = regions.heat.bind(regions);
      regions.heat = () => Promise.reject(new Error('ENOSPC: no space left on device'));
      await assert.rejects(
        put(c, 'a', 1, 2),
        (error: unknown) => error instanceof VolumeError && error.fault === VolumeFault.moved,
      );
      regions.heat = heat;
      assert.equal(await c.owner('v', 'a'), 'b');
      await put(c, 'b', 1, 3);
      await c.inSync(['a', 'b']);
      await assertSame(c, 'a', 'b');
    });
  });

  test('an owner whose disk fails a write leaves the volume to the replica; what cannot be read is read there', async () => {
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b']);
        const here = c.node('a').copies.get('v') as TestCopy;
        await put(c, 'a', 1, 1);
        here.failReads = true;
        assert.equal(await get(c, 'a', 1), 1);
        here.failReads = false;
        here.failWrites = VolumeFault.writeError;
        await assert.rejects(
          put(c, 'a', 1, 2),
          (error: unknown) => error instanceof VolumeError && error.fault === VolumeFault.moved,
        );
        assert.equal(await c.owner('v', 'a'), 'b');
        assert.ok([1, 2].includes(await get(c, 'b', 1)));
        await put(c, 'b', 1, 3);
        here.failWrites = undefined;
        await c.inSync(['a', 'b']);
        await assertSame(c, 'a', 'b');
        // Nobody else is left: it goes on at once, however short a while ago its disk failed.
        await c.kill('b');
        const began = performance.now();
        assert.equal(await c.owner('v', 'b'), 'a');
        assert.ok(performance.now() - began < OWNER_UNFIT / 2, 'it waits for nobody who is gone');
        assert.equal(await get(c, 'a', 1), 3);
      },
      (c) => (c.makeCopy = () => new TestCopy(c.size)),
    );
  });

  test('a replica that takes long for every write is left out, one that hangs after its time', async () => {
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b']);
        const there = c.node('b').copies.get('v') as TestCopy;
        await put(c, 'a', 0, 1);
        there.isBusy = true;
        there.writeDelay = 700;
        await Promise.all(Array.from({ length: 16 }, (_, i) => put(c, 'a', i, 2)));
        await until(() => c.node('a').mirror.replicas('v')[0]?.inSync === false);
        assert.match(c.node('a').mirror.replicas('v')[0]?.why ?? '', /slow/);
        await c.inSync(['a']);
        there.writeDelay = 0;
        await c.inSync(['a', 'b']);
        there.writeDelay = 20_000;
        const start = performance.now();
        await put(c, 'a', 3, 3);
        assert.ok(performance.now() - start >= 1_000);
        await c.inSync(['a']);
      },
      (c) => (c.makeCopy = () => new TestCopy(c.size)),
    );
  });

  test('mirrored-ram: a flush reaches both; who is left alone flushes, and writes through', async () => {
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b']);
        const [here, there] = [c.node('a').copies.get('v') as TestCopy, c.node('b').copies.get('v') as TestCopy];
        assert.equal(c.volume('a').info.durability, Durability.mirroredRam);
        await put(c, 'a', 1, 1);
        const before = [here.flushes, there.flushes] as const;
        await c.volume('a').flush();
        assert.deepEqual([here.flushes, there.flushes], [before[0] + 1, before[1] + 1]);
        await c.kill('b');
        await put(c, 'a', 1, 2);
        await c.inSync(['a']);
        assert.equal(here.flushes, before[0] + 2);
        // Whoever is alone takes nothing at once.
        assert.equal(c.volume('a').writeNow(BLOCK, block(3), 0, BLOCK), WriteNow.refused);
        await c.boot('b');
        await c.inSync(['a', 'b']);
        await assertSame(c, 'a', 'b');
        // A node that comes back has lost what was in its memory: the other one goes on.
        await c.kill('a');
        await c.boot('a');
        await c.inSync(['a', 'b']);
        assert.equal(await c.owner(), 'b');
        await assertSame(c, 'a', 'b');
        // Whoever cannot make it stable leaves nobody out: the other one may be back.
        const last = c.node('a').copies.get('v') as TestCopy;
        const flush = last.flush.bind(last);
        let tries = 0;
        last.flush = () => Promise.reject(new Error(`the disk fails: ${String(++tries)}`));
        await c.kill('b');
        await until(() => tries > 1);
        const record = (await c.node('a').store.get(recordKey('v')))?.value as unknown as MirrorRecord;
        assert.deepEqual([record.owner, [...record.inSync].sort()], ['b', ['a', 'b']]);
        last.flush = flush;
        await c.inSync(['a']);
        assert.equal(await c.owner(), 'a');
      },
      (c) => {
        c.durability = Durability.mirroredRam;
        c.makeCopy = () => new TestCopy(c.size);
      },
    );
  });

  test('copies are compared while hosts write; what is different is named, and put right', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      for (let i = 0; i < 64; i++) await put(c, 'a', i * 10, i + 1);
      const { mirror } = c.node('a');
      const clean = await mirror.verify('v', { repair: false });
      assert.deepEqual([clean.differentBytes, clean.replicas, clean.bytes], [0, 1, c.size]);
      c.node('b')
        .copies.get('v')
        ?.writeNow(20 * BLOCK, block(666), 0, BLOCK);
      c.node('b')
        .copies.get('v')
        ?.writeNow(900 * BLOCK, block(667), 0, BLOCK);
      const writes = Promise.all(Array.from({ length: 100 }, (_, i) => put(c, 'a', (i * 7) % 640, i + 1000)));
      const found = await mirror.verify('v', { repair: true });
      await writes;
      assert.ok(
        found.different.some(
          ({ node, position }) => node === 'b' && position === Math.floor((900 * BLOCK) / 65_536) * 65_536,
        ),
      );
      assert.equal(found.repairedBytes, found.differentBytes);
      await assertSame(c, 'a', 'b');
      await assert.rejects(async () => c.node('b').mirror.verify('v', { repair: true }), /another node/);
    });
  });

  test('what a replica cannot read counts as different, and is written there anew', async () => {
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b']);
        await put(c, 'a', 3, 3);
        const there = c.node('b').copies.get('v') as TestCopy;
        const read = there.read.bind(there);
        const written = there.written;
        // As of a sector that is bad until it is written to.
        there.read = (position, length, target, at) =>
          position <= 3 * BLOCK && position + length > 3 * BLOCK && there.written === written
            ? Promise.reject(new VolumeError(VolumeFault.readError, 'bad'))
            : read(position, length, target, at);
        const { mirror } = c.node('a');
        const found = await mirror.verify('v', { repair: true });
        assert.deepEqual(found.different, [{ node: 'b', position: 0, length: 65_536 }]);
        assert.equal(found.repairedBytes, 65_536);
        assert.equal((await mirror.verify('v', { repair: false })).differentBytes, 0);
        await assertSame(c, 'a', 'b');
      },
      (c) => (c.makeCopy = () => new TestCopy(c.size)),
    );
  });

  test('a resync copies what changed, and not what is the same already', async () => {
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b']);
        const there = c.node('b').copies.get('v') as TestCopy;
        for (let i = 0; i < 512; i++) await put(c, 'a', i * 16, 1);
        await c.kill('b');
        for (let i = 0; i < 32; i++) await put(c, 'a', i * 16, 2);
        there.written = 0;
        await c.boot('b');
        await c.inSync(['a', 'b']);
        await assertSame(c, 'a', 'b');
        assert.equal(there.written, 32 * 65_536);
        // The owner loses power: where writes may have been under way is compared, not copied.
        await c.kill('a');
        assert.equal(await c.owner(), 'b');
        const here = c.node('a').copies.get('v') as TestCopy;
        here.written = 0;
        await c.boot('a');
        await c.inSync(['a', 'b']);
        assert.equal(here.written, 0);
      },
      (c) => {
        c.size = 64 * 1_048_576;
        c.makeCopy = () => new TestCopy(c.size, 512, { thin: false });
      },
    );
  });

  test('on files, over an orderly end of both', async () => {
    const options = (path: string) => ({
      path,
      blockSize: 512,
      durability: Durability.durable,
      readOnly: false,
      thin: true,
    });
    await withCluster(['a', 'b'], async (c) => {
      const path = (node: string): string => join(c.folder, `${node}.img`);
      for (const node of ['a', 'b']) {
        await c.kill(node);
        c.node(node).copies.set('v', await FileVolume.create(c.world.disk, options(path(node)), c.size));
      }
      await c.boot('a');
      await c.boot('b');
      await c.inSync(['a', 'b']);
      const first = await c.owner();
      await Promise.all(Array.from({ length: 64 }, (_, i) => put(c, first, i, i + 1)));
      // The first one hands over, the second one has nobody to hand over to.
      for (const node of [first, first === 'a' ? 'b' : 'a']) {
        await c.node(node).mirror.stop();
        c.node(node).isUp = false;
      }
      for (const node of ['a', 'b']) {
        c.node(node).copies.set('v', await FileVolume.open(c.world.disk, options(path(node))));
      }
      await c.boot('b');
      await c.boot('a');
      await c.inSync(['a', 'b']);
      assert.equal(await get(c, await c.owner(), 63), 64);
      await assertSame(c, 'a', 'b');
      for (const node of ['a', 'b']) await c.node(node).mirror.close('v');
    });
  });
});
