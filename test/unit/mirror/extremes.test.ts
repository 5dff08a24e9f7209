// Messages as large as no frame carries, copies of different sizes, and what fails in the middle of something.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { HOT_REGIONS, MAX_PEER_PAYLOAD, REGION_BYTES } from '../../../core/base/limits.ts';
import { PeerRefusal } from '../../../core/mirror/link/peer-link.ts';
import { Operation, json } from '../../../core/mirror/messages.ts';
import type { OperationHeader } from '../../../core/mirror/messages.ts';
import { RegionLog } from '../../../core/mirror/region-log.ts';
import { Replica } from '../../../core/mirror/replica.ts';
import { copyRange } from '../../../core/volume/copy.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { Durability, VolumeError, VolumeFault, WriteNow } from '../../../core/volume/volume.ts';
import type { Volume } from '../../../core/volume/volume.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { block, content } from '../../support/mirror-cluster.ts';
import type { MirrorCluster } from '../../support/mirror-cluster.ts';
import { BLOCK, assertSame, get, put, withCluster } from '../../support/mirror-use.ts';
import { peerPair } from '../../support/peer-pair.ts';
import { until } from '../../support/until.ts';

const MIB = 1_048_576;
const EMPTY = Buffer.alloc(0);

/** A copy that can refuse writes, and fail reads. */
class TestCopy extends MemoryVolume {
  refuses = false;
  failReads = false;
  failResizes = false;
  /** Writes read their source when it resolves. */
  held: Promise<void> | undefined;
  waiting = 0;

  override writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    return this.refuses || this.held !== undefined ? WriteNow.refused : super.writeNow(position, source, at, length);
  }
  override async write(position: number, source: Buffer, at: number, length: number): Promise<void> {
    this.waiting++;
    await this.held;
    this.waiting--;
    if (this.refuses) throw new VolumeError(VolumeFault.notReady, 'a test');
    super.writeNow(position, source, at, length);
  }
  override read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    if (this.failReads) return Promise.reject(new VolumeError(VolumeFault.readError, 'a test'));
    return super.read(position, length, target, at);
  }
  override resize(size: number): Promise<void> {
    return this.failResizes ? Promise.reject(new VolumeError(VolumeFault.noSpace, 'a test')) : super.resize(size);
  }
}

const copies =
  (size: number) =>
  (c: MirrorCluster): void => {
    c.size = size;
    c.makeCopy = () => new TestCopy(size);
  };

describe('extremes of the mirror', { timeout: 120_000 }, () => {
  test('what no frame carries is told to who asks, and to who answers, and the link goes on', async () => {
    const pair = await peerPair(await nodeWorld());
    const { first, second } = pair;
    try {
      const huge = Buffer.alloc(MAX_PEER_PAYLOAD + 1);
      second.handle(0x50, (header) => ({ header }));
      second.handle(0x51, () => Promise.resolve({ header: EMPTY, pieces: [huge] }));
      second.handle(0x52, () => (tell) => {
        tell({ header: EMPTY, pieces: [huge] });
      });
      const failed: Error[] = [];
      first.ask(0x50, EMPTY, [huge], 60_000, {
        answered: () => assert.fail('answered'),
        failed: (error) => failed.push(error),
      });
      assert.match(failed[0]?.message ?? '', /too large/);
      for (const type of [0x51, 0x52]) await assert.rejects(first.request(type, EMPTY, [], 60_000), PeerRefusal);
      assert.equal((await first.request(0x50, Buffer.from('on'), [], 60_000)).header.toString(), 'on');
      assert.equal(failed.length, 1);
    } finally {
      await pair.close();
    }
  });

  test('writes and reads larger than a message reach all copies before they are acknowledged', async () => {
    const length = 32 * MIB;
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b']);
        const volume = c.volume('a');
        const isSame = async (): Promise<boolean> => {
          const [here, there] = ['a', 'b'].map((node) => c.node(node).copies.get('v') as TestCopy);
          return (await content(here as TestCopy)).equals(await content(there as TestCopy));
        };
        await volume.write(0, Buffer.alloc(length, 1), 0, length, false);
        assert.ok(await isSame());
        // All of it is noted, and could be taken at once.
        const { regions } = volume.steward.options;
        await regions.heat(0, length);
        const data = Buffer.alloc(length, 2);
        if (volume.writeNow(0, data, 0, length) === WriteNow.refused) await volume.write(0, data, 0, length, false);
        assert.ok(await isSame());
        (c.node('a').copies.get('v') as TestCopy).failReads = true;
        const read = Buffer.alloc(length);
        await volume.read(0, length, read, 0);
        assert.ok(read.equals(data));
        assert.deepEqual(volume.ownership.inSync, ['a', 'b']);
      },
      copies(length),
    );
  });

  test('a replica that was away while the volume became smaller and larger again has nothing left of what was cut off', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      for (let n = 0; n < c.size / BLOCK; n += 7) await put(c, 'a', n, n + 1);
      await c.kill('b');
      const volume = c.volume('a');
      await volume.resize(c.size / 2 - 5 * BLOCK);
      await volume.resize(c.size);
      await c.boot('b');
      await c.inSync(['a', 'b']);
      await assertSame(c, 'a', 'b');
      assert.equal(c.node('a').mirror.replicas('v')[0]?.lacks, 0);
      // With both there it is done at both, and nothing is left to be copied.
      await volume.resize(c.size / 4);
      await volume.resize(c.size);
      await assertSame(c, 'a', 'b');
      assert.equal(c.node('a').mirror.replicas('v')[0]?.lacks, 0);
    });
  });

  test('an owner that dies while it makes the volume smaller gets back what it had cut off', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      const last = c.size / BLOCK - 1;
      await put(c, 'a', 3, 7);
      await put(c, 'a', last, 8);
      c.relay('a', 'b').isDeaf = true;
      const cut = c.volume('a').resize(c.size / 2);
      cut.catch(() => undefined);
      await until(() => c.node('a').copies.get('v')?.info.size === c.size / 2);
      await c.kill('a');
      assert.equal(await c.owner(), 'b');
      assert.equal(await get(c, 'b', last), 8);
      // What the relay has not swallowed yet must not reach the other one.
      c.relay('a', 'b').heal();
      await c.boot('a');
      await c.inSync(['a', 'b']);
      await assertSame(c, 'a', 'b');
    });
  });

  test('a size the owner cannot have nobody gets', async () => {
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b']);
        const last = c.size / BLOCK - 1;
        await put(c, 'a', last, 8);
        const here = c.node('a').copies.get('v') as TestCopy;
        here.failResizes = true;
        for (const size of [c.size / 2, c.size * 2]) await assert.rejects(c.volume('a').resize(size), VolumeError);
        await c.volume('a').flush();
        await put(c, 'a', 1, 2);
        await assertSame(c, 'a', 'b');
        assert.equal(c.node('a').mirror.replicas('v')[0]?.lacks, 0);
        // Nor is it taken for something who is away lacks.
        await c.kill('b');
        await until(() => c.node('a').mirror.replicas('v')[0]?.state === 'out');
        const lacks = (): number => c.node('a').mirror.replicas('v')[0]?.lacks ?? -1;
        await put(c, 'a', last, 9);
        const before = lacks();
        await assert.rejects(c.volume('a').resize(c.size / 2), VolumeError);
        assert.equal(lacks(), before);
        assert.ok(before > 0);
        await c.boot('b');
        await c.inSync(['a', 'b']);
        await assertSame(c, 'a', 'b');
        here.failResizes = false;
        await c.volume('a').resize(c.size * 2);
        await assertSame(c, 'a', 'b');
      },
      copies(4 * MIB),
    );
  });

  test('the memory of a copy that has failed is not used for another one while a volume may still read it', async () => {
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b']);
        const here = c.node('a').copies.get('v') as TestCopy;
        const copy = (byte: number, target: Volume) => {
          const source = new MemoryVolume(MIB);
          source.writeNow(0, Buffer.alloc(MIB, byte), 0, MIB);
          const none = { sourceLocks: undefined, targetLocks: undefined, isAborted: () => false };
          return copyRange({ ...none, source, from: 0, target, to: 0, length: MIB, clock: c.world.clock });
        };
        let go: () => void = () => undefined;
        here.held = new Promise((resolve) => (go = resolve));
        const failing = copy(1, c.volume('a'));
        await until(() => here.waiting > 0);
        c.volume('a').steward.term?.depose('a test');
        await assert.rejects(failing);
        await copy(2, new MemoryVolume(MIB));
        go();
        await until(() => here.waiting === 0);
        assert.equal((await content(here)).includes(2), false);
      },
      copies(4 * MIB),
    );
  });

  test('when it cannot be found out what the others have to be given back, the replica goes on, and nothing stays locked', async () => {
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b']);
        await put(c, 'a', 1, 1);
        const here = c.node('a').copies.get('v') as TestCopy;
        here.refuses = here.failReads = true;
        await assert.rejects(put(c, 'a', 1, 2), VolumeError);
        assert.equal(await c.owner('v', 'a'), 'b');
        here.refuses = here.failReads = false;
        await put(c, 'b', 1, 3);
        await c.inSync(['a', 'b']);
        await assertSame(c, 'a', 'b');
      },
      copies(4 * MIB),
    );
  });

  test('nothing begins after a writer has been closed, whatever it waited for', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      const { term, writer } = c.volume('a').steward;
      assert.ok(term !== undefined && writer !== undefined);
      let isCongested = true;
      Object.defineProperty(term, 'isCongested', { get: () => isCongested });
      let begun = 0;
      const local = (): Promise<void> => {
        begun++;
        return Promise.resolve();
      };
      const order = { operation: Operation.flush, fua: true, position: 0, length: 0 };
      const operations = [writer.everywhere(order, local), writer.write(0, block(1), 0, BLOCK, false)];
      const reopen = await writer.close();
      isCongested = false;
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.deepEqual([begun, writer.running], [0, 0]);
      reopen();
      await Promise.all(operations);
      assert.equal(begun, 1);
    });
  });

  test('the source of a copy is free again when the term of its target has ended meanwhile', async () => {
    class SharingCopy extends TestCopy {
      sharing = 0;
      sharesWith(source: Volume): boolean {
        return source instanceof SharingCopy;
      }
      async shareFrom(): Promise<boolean> {
        this.sharing++;
        await this.held;
        return true;
      }
    }
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b'], 'v');
        await c.inSync(['a', 'b'], 'w');
        const here = c.node('a').copies.get('w') as SharingCopy;
        let go: () => void = () => undefined;
        here.held = new Promise((resolve) => (go = resolve));
        const copy = c.volume('a', 'w').shareFrom(c.volume('a', 'v'), 0, 0, 65_536);
        await until(() => here.sharing > 0);
        c.volume('a', 'w').steward.term?.depose('a test');
        await assert.rejects(copy, VolumeError);
        // It is still being read.
        assert.equal(c.volume('a', 'v').steward.term?.locks.idle, false);
        go();
        await put(c, 'a', 0, 1, 'v');
      },
      (c) => {
        c.volumes = ['v', 'w'];
        c.makeCopy = () => new SharingCopy(c.size);
      },
    );
  });

  test('what is sent to a replica that has failed meanwhile is noted as lacking, and waits for nobody', async () => {
    await withCluster(['a', 'b'], async (c) => {
      await c.inSync(['a', 'b']);
      const { term, options } = c.volume('a').steward;
      const member = term?.members.get('b');
      assert.ok(term !== undefined && member !== undefined);
      const write = (n: number) => {
        const data = block(n);
        const order = { operation: Operation.write, fua: false, position: n * REGION_BYTES, length: BLOCK, data };
        return term.send(member, order);
      };
      const gone = term.eject(member, 'a test');
      const early = write(3);
      await Promise.all([gone, early]);
      await write(5);
      const lacks = [3, 4, 5].map((n) => options.regions.isDirty('b', n * REGION_BYTES, BLOCK));
      assert.deepEqual(lacks, [true, false, true]);
      await c.inSync(['a', 'b']);
      await assertSame(c, 'a', 'b');
    });
  });

  test('what a replica cannot take at once it keeps, while more is received', async () => {
    await withCluster(
      ['a', 'b'],
      async (c) => {
        await c.inSync(['a', 'b']);
        const there = c.node('b').copies.get('v') as TestCopy;
        let go: () => void = () => undefined;
        there.held = new Promise((resolve) => (go = resolve));
        const early = Array.from({ length: 8 }, (_, n) => put(c, 'a', n, n + 1));
        await until(() => there.waiting === 8);
        // Into the memory in which those came.
        const late = Array.from({ length: 8 }, (_, n) => put(c, 'a', n + 8, n + 101));
        await until(() => there.waiting === 16);
        go();
        await Promise.all([...early, ...late]);
        await assertSame(c, 'a', 'b');
      },
      copies(MIB),
    );
  });

  test('of three copies, one that is admitted keeps noted what may not have come to the third yet', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gemel-replica-'));
    const size = 64 * REGION_BYTES;
    const regions = await RegionLog.open(await nodeWorld(), join(folder, 'v'), size, true);
    try {
      const replica = new Replica({
        ...{ node: 'b', backing: new MemoryVolume(size), regions, durability: Durability.durable },
        ...{ replicas: () => 3, sourceOf: () => undefined, points: undefined, lostMemory: false },
        isOver: () => Promise.resolve(false),
        drainOwner: () => Promise.resolve(),
      });
      await regions.heat(9 * REGION_BYTES, BLOCK);
      const about = { volume: 'v', epoch: 1, session: 1 };
      const promised = await replica.promise('a', json({ ...about, member: false, size, inSync: ['a', 'c'] }));
      assert.deepEqual(JSON.parse(String(promised.pieces?.[0])), [[9 * REGION_BYTES, REGION_BYTES]]);
      const header: OperationHeader = {
        ...{ ...about, sequence: 1, operation: Operation.write, fua: true, position: 5 * REGION_BYTES, length: BLOCK },
      };
      await replica.operation('a', header, block(1));
      await replica.admit('a', json({ ...about, stamp: '1.1' }));
      assert.deepEqual(regions.intents(size), [[5 * REGION_BYTES, REGION_BYTES]]);
    } finally {
      await regions.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test('of three copies, a replica remembers where it was written to last', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gemel-replica-'));
    const size = (HOT_REGIONS + 64) * REGION_BYTES;
    const regions = await RegionLog.open(await nodeWorld(), join(folder, 'v'), size, true);
    try {
      const replica = new Replica({
        ...{ node: 'b', backing: new MemoryVolume(size), regions, durability: Durability.durable },
        ...{ replicas: () => 3, sourceOf: () => undefined, points: undefined, lostMemory: false },
        isOver: () => Promise.resolve(false),
        drainOwner: () => Promise.resolve(),
      });
      await replica.promise(
        'a',
        json({ volume: 'v', epoch: 1, session: 1, member: true, size, inSync: ['a', 'b', 'c'] }),
      );
      await regions.heat(0, HOT_REGIONS * REGION_BYTES);
      let sequence = 0;
      const write = (position: number, fua: boolean) => {
        const header: OperationHeader = {
          ...{ volume: 'v', epoch: 1, session: 1, sequence: ++sequence },
          ...{ operation: Operation.write, fua, position, length: BLOCK },
        };
        return replica.operation('a', header, block(sequence));
      };
      await write(3 * REGION_BYTES, false);
      await write(5 * REGION_BYTES, true);
      // Another one takes the place of the least lately used.
      await write(HOT_REGIONS * REGION_BYTES, false);
      const isHot = [3, 4, 5].map((region) => regions.isHot(region * REGION_BYTES, BLOCK));
      assert.deepEqual(isHot, [true, false, true]);
    } finally {
      await regions.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
