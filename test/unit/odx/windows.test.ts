// Copies as Windows makes them, over a pool: what was there when the token was made is what is copied, whatever happens then.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import type { OffloadKind } from '../../../core/scsi/offload-meter.ts';
import { GRAIN } from '../../../core/volume/grain.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { stopAll } from '../../crash/machine.ts';
import { OdxNode } from '../../support/odx-node.ts';
import { HOST_A, HOST_B } from '../../support/scsi-fixture.ts';
import {
  copyFile,
  discover,
  newListId,
  offloadRead,
  offloadWrite,
  populate,
  populateList,
  receive,
  writeList,
  writeUsing,
} from '../../support/windows-copy.ts';

const MIB = 1_048_576;
const BLOCK = 512;
const BLOCKS = (16 * MIB) / BLOCK;

/** Bytes that differ everywhere. */
function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i += 4) bytes.writeUInt32LE((Math.imul(i + seed, 2_654_435_761) ^ seed) >>> 0, i);
  return bytes;
}

const fill = (node: OdxNode, disk: number, position: number, bytes: Buffer): Promise<void> =>
  node.volumes[disk]!.write(position, bytes, 0, bytes.length, false);

async function content(node: OdxNode, disk: number, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  await node.units[disk]!.volume.read(position, length, bytes, 0);
  return bytes;
}

const LIMITS = { maxRanges: 64, maxTokenBlocks: 2_097_152, optimalBlocks: 524_288 };

describe('a Windows host', () => {
  after(stopAll);

  it('finds what it looks for, and copies a disk', async () => {
    const node = await OdxNode.start();
    const image = pattern(16 * MIB, 1);
    await fill(node, 0, 0, image);
    const [a, b] = [node.login(0), node.login(1)];
    assert.deepEqual(await discover(a), LIMITS);
    const used = node.running.pool.allocator.used;
    assert.equal(await copyFile(a, b, BLOCK, [0, BLOCKS], 0, node.clock), 0);
    assert.ok((await content(node, 1, 0, 16 * MIB)).equals(image));
    // The table of tokens has one grain; nothing was copied.
    assert.equal(node.running.pool.allocator.used, used + 1);
    for (const [disk, kind] of ['populate-token', 'write-using-token'].entries()) {
      const meter = node.units[disk]?.offload.hosts.get(HOST_A)?.kinds.get(kind as OffloadKind);
      assert.deepEqual([meter?.refused, meter?.sharedBytes, meter?.copiedBytes], [0, 16 * MIB, 0], kind);
    }
    node.check();
    node.stop();
  });

  it('takes a shorter token when the storage has not the time for more, and goes on from there', async () => {
    const size = 320 * MIB;
    const node = await OdxNode.start({ size });
    const [a, b] = [node.login(0), node.login(1)];
    const at = [0, 70 * MIB, 190 * MIB, 319 * MIB];
    for (const [i, position] of at.entries()) await fill(node, 0, position, pattern(MIB, 20 + i));
    // Each look at the clock takes 300 ms: of the pieces of 64 MiB there is time for three, or four.
    let now = 0;
    node.clock.now = () => (now += 300);
    const blocks = size / BLOCK;
    const first = await offloadRead(a, [[8, blocks - 8]]);
    assert.ok(first.blocks > 0 && first.blocks < blocks - 8, `${String(first.blocks)} blocks`);
    const still = { now: () => 0 };
    assert.equal(await offloadWrite(b, LIMITS, BLOCK, first.token, [8, first.blocks], still), first.blocks);
    // There is no more in the token than it says.
    const behind = writeList(first.token, first.blocks - 1, [[8, 2]]);
    assert.equal(await writeUsing(b, newListId(), behind), '05/0D/04 info 1');
    await fill(node, 1, 8 * BLOCK, Buffer.alloc(MIB));
    assert.equal(await copyFile(a, b, BLOCK, [0, blocks], 0, still), 0);
    for (const [i, position] of at.entries()) {
      assert.ok((await content(node, 1, position, MIB)).equals(pattern(MIB, 20 + i)), String(position));
    }
    node.check();
    node.stop();
  });

  it('gets what was there when the token was made, although it is overwritten, unmapped, or still in the cache', async () => {
    const node = await OdxNode.start();
    const image = pattern(4 * MIB, 2);
    const [a, b] = [node.login(0), node.login(1)];
    await fill(node, 0, 12_288, image);
    const { token, blocks } = await offloadRead(a, [[24, image.length / BLOCK]]);
    await fill(node, 0, 12_288, pattern(MIB, 3));
    await fill(node, 0, 12_288 + MIB, pattern(512, 3));
    await node.volumes[0]!.unmap(12_288 + 2 * MIB, MIB);
    await node.running.pool.checkpoint();
    assert.equal(await offloadWrite(b, LIMITS, BLOCK, token, [24, blocks], node.clock), blocks);
    assert.ok((await content(node, 1, 12_288, image.length)).equals(image));
    // What is beside the range is not.
    assert.ok((await content(node, 1, 0, 12_288)).equals(Buffer.alloc(12_288)));
    node.check();
    node.stop();
  });

  it('copies where nothing lies alike: other offsets, and several ranges', async () => {
    const node = await OdxNode.start();
    const image = pattern(8 * MIB, 4);
    await fill(node, 0, 0, image);
    const [a, b] = [node.login(0), node.login(1)];
    const ranges = [
      [1000, 333],
      [7, 100],
      [9000, 2048],
    ] as const;
    const { token, blocks } = await offloadRead(a, ranges);
    assert.equal(blocks, 2481);
    const expected = Buffer.concat(ranges.map(([lba, count]) => image.subarray(lba * BLOCK, (lba + count) * BLOCK)));
    assert.equal(await offloadWrite(b, LIMITS, BLOCK, token, [333, blocks], node.clock), blocks);
    assert.ok((await content(node, 1, 333 * BLOCK, expected.length)).equals(expected));
    // From an offset, to two ranges.
    const list = writeList(token, 300, [
      [20_000, 50],
      [10_000, 1000],
    ]);
    assert.equal(await writeUsing(b, newListId(), list), 'GOOD');
    assert.ok((await content(node, 1, 20_000 * BLOCK, 50 * BLOCK)).equals(expected.subarray(300 * BLOCK, 350 * BLOCK)));
    assert.ok(
      (await content(node, 1, 10_000 * BLOCK, 1000 * BLOCK)).equals(expected.subarray(350 * BLOCK, 1350 * BLOCK)),
    );
    node.check();
    node.stop();
  });

  it('may use a token after the power failed between the two commands, and not what was only half made', async () => {
    const node = await OdxNode.start();
    const image = pattern(2 * MIB, 5);
    await fill(node, 0, 0, image);
    const { token } = await offloadRead(node.login(0), [[0, 4096]]);
    await fill(node, 0, 0, pattern(2 * MIB, 6));
    await node.powerCycle();
    assert.equal(node.store.facts.count, 1);
    assert.equal(await offloadWrite(node.login(1), LIMITS, BLOCK, token, [128, 4096], node.clock), 4096);
    assert.ok((await content(node, 1, 128 * BLOCK, image.length)).equals(image));
    assert.ok((await content(node, 0, 0, image.length)).equals(pattern(2 * MIB, 6)));
    node.check();
    // It expires all the same, and gives back what it pinned.
    await node.pass(61_000);
    assert.deepEqual(node.store.facts, { count: 0, bytes: 0 });
    assert.equal(await writeUsing(node.login(1), newListId(), writeList(token, 0, [[0, 1]])), '05/23/07');
    node.check();
    node.stop();
  });

  it('is told how far it came when the time for one command is over, and goes on from there', async () => {
    // Outside the pool nothing can be shared, and every look at the clock takes long.
    const target = new MemoryVolume(16 * MIB);
    const node = await OdxNode.start({ extra: [target] });
    const image = pattern(16 * MIB, 7);
    await fill(node, 0, 0, image);
    const { token } = await offloadRead(node.login(0), [[0, BLOCKS]]);
    const write = target.write.bind(target);
    target.write = (...args) => {
      node.clock.advance(300);
      return write(...args);
    };
    const host = node.login(2);
    const list = writeList(token, 0, [[0, BLOCKS]]);
    const listId = newListId();
    const answer = await writeUsing(host, listId, list);
    const done = Number(/^0A\/0D\/04 info (\d+)$/.exec(answer)?.[1]);
    assert.ok(done > 0 && done < BLOCKS, answer);
    const { status, blocks } = await receive(host, listId);
    assert.deepEqual({ status, blocks }, { status: 0x03, blocks: done });
    target.write = write;
    const rest = writeList(token, done, [[done, BLOCKS - done]]);
    assert.equal(await writeUsing(host, newListId(), rest), 'GOOD');
    assert.ok((await content(node, 2, 0, image.length)).equals(image));
    node.stop();
  });

  it('copies to a disk outside the pool, and cannot make a token there', async () => {
    const node = await OdxNode.start({ extra: [new MemoryVolume(16 * MIB)] });
    const image = pattern(MIB, 8);
    await fill(node, 0, 0, image);
    const { token } = await offloadRead(node.login(0), [[0, 2048]]);
    const host = node.login(2);
    assert.equal(await offloadWrite(host, LIMITS, BLOCK, token, [5, 2048], node.clock), 2048);
    assert.ok((await content(node, 2, 5 * BLOCK, MIB)).equals(image));
    assert.equal(await populate(host, newListId(), populateList([[0, 8]])), '05/20/00 cdb 0');
    node.stop();
  });

  it('writes zeros with the token for them', async () => {
    const node = await OdxNode.start();
    await fill(node, 1, 0, pattern(MIB, 9));
    const zero = Buffer.alloc(512);
    zero.writeUInt32BE(0xffff_0001, 0);
    zero.writeUInt16BE(0x01f8, 6);
    const host = node.login(1);
    assert.equal(await writeUsing(host, newListId(), writeList(zero, 77, [[8, 1024]])), 'GOOD');
    const expected = pattern(MIB, 9).fill(0, 8 * BLOCK, 1032 * BLOCK);
    assert.ok((await content(node, 1, 0, MIB)).equals(expected));
    node.stop();
  });
});

describe('a token', () => {
  after(stopAll);

  async function made(options?: Parameters<typeof OdxNode.start>[0]): Promise<{ node: OdxNode; token: Buffer }> {
    const node = await OdxNode.start(options);
    await fill(node, 0, 0, pattern(GRAIN, 10));
    const { token } = await offloadRead(node.login(0), [[0, 128]]);
    return { node, token };
  }
  const use = (node: OdxNode, token: Buffer, flags = 0): Promise<string> =>
    writeUsing(node.login(1), newListId(), writeList(token, 0, [[0, 128]], flags));

  it('is not taken when it is forged anywhere, cut, of another node, or of a type nobody knows', async () => {
    const { node, token } = await made();
    for (const [at, sense] of [
      [0, '05/23/01'], // ROD TYPE
      [7, '05/23/0A'], // ROD TOKEN LENGTH
      [8, '05/23/05'],
      [63, '05/23/05'], // bytes represented
      [99, '05/23/05'],
      [256, '05/23/04'], // the node
      [272, '05/23/05'], // the store
      [288, '05/23/05'], // the ROD
      [304, '05/23/05'],
      [511, '05/23/05'],
    ] as const) {
      const forged = Buffer.from(token);
      forged[at] = (forged[at] as number) ^ 0x01;
      assert.equal(await use(node, forged), sense, `byte ${at}`);
    }
    assert.equal(await use(node, Buffer.concat([token.subarray(0, 480), Buffer.alloc(32)])), '05/23/05');
    const other = await made({ key: 2 });
    assert.equal(await use(node, other.token), '05/23/04');
    assert.ok((await content(node, 1, 0, GRAIN)).equals(Buffer.alloc(GRAIN)), 'nothing was written');
    assert.equal(await use(node, token), 'GOOD');
    other.node.stop();
    node.stop();
  });

  it('is for whoever may read its source; when that is gone, for its maker', async () => {
    const { node, token } = await made();
    const asB = (): Promise<string> => writeUsing(node.login(1, HOST_B), newListId(), writeList(token, 0, [[0, 128]]));
    assert.equal(await asB(), 'GOOD');
    node.standing = 'may-not';
    assert.equal(await use(node, token), '05/23/00');
    node.standing = 'gone';
    assert.equal(await use(node, token), 'GOOD');
    assert.equal(await asB(), '05/23/00');
    node.stop();
  });

  it('lives as long as it is used, and no longer; DEL_TKN ends it', async () => {
    const { node, token } = await made();
    await node.pass(50_000);
    assert.equal(await use(node, token), 'GOOD');
    await node.pass(50_000);
    assert.equal(await use(node, token, 0x02), 'GOOD');
    assert.equal(await use(node, token), '05/23/09');
    assert.equal(node.store.facts.count, 0);
    const { token: second } = await offloadRead(node.login(0), [[0, 128]]);
    await node.pass(61_000);
    assert.equal(await use(node, second), '05/23/07');
    node.check();
    node.stop();
  });

  it('outlives the disk it was made from', async () => {
    const { node, token } = await made();
    await node.volumes[0]!.close();
    await node.running.pool.delete(1);
    node.standing = 'gone';
    assert.equal(await use(node, token), 'GOOD');
    assert.ok((await content(node, 1, 0, GRAIN)).equals(pattern(GRAIN, 10)));
    node.check();
    node.stop();
  });

  it('is revoked when the pool runs short of space, and its space comes back', async () => {
    const { node, token } = await made({ slabs: 1, size: 16 * MIB });
    await fill(node, 0, 0, pattern(15.5 * MIB, 11));
    await node.running.pool.checkpoint();
    await node.pass(10_000);
    assert.equal(await use(node, token), '05/23/06');
    node.check();
    node.stop();
  });
});
