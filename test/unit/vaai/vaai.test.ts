// WRITE SAME, UNMAP and COMPARE AND WRITE against SBC-3, through dispatch.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  MAX_COMPARE_AND_WRITE_BLOCKS,
  MAX_QUICK_WRITE_SAME,
  MAX_UNMAP_BLOCKS,
  MAX_UNMAP_DESCRIPTORS,
  MAX_WRITE_SAME,
  SMALL_ZERO_STEP,
  WRITE_SAME_ZERO_STEP,
} from '../../../core/base/limits.ts';
import { foreground } from '../../../core/base/pace.ts';
import type { Clock, Timer } from '../../../core/base/world.ts';
import { copyPace } from '../../../core/volume/copy-pace.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { ALL_COMMANDS, hastyClock, scsiFixture } from '../../support/scsi-fixture.ts';
import type { Initiator } from '../../support/scsi-fixture.ts';

const BLOCK = 512;

function disk(blocks = 2048, thin = true): { host: Initiator; volume: MemoryVolume } {
  const volume = new MemoryVolume(blocks * BLOCK, BLOCK, { thin });
  return { host: scsiFixture({ commands: ALL_COMMANDS, volume }).login(), volume };
}

const read = (host: Initiator, lba: number, blocks: number): Promise<Buffer> =>
  host.data([0x28, 0, 0, 0, lba >> 8, lba & 0xff, 0, blocks >> 8, blocks & 0xff, 0]);

const fill = async (host: Initiator, lba: number, blocks: number): Promise<void> => {
  const cdb = [0x2a, 0, 0, 0, lba >> 8, lba & 0xff, 0, blocks >> 8, blocks & 0xff, 0];
  assert.equal(await host.status(cdb, { data: Buffer.alloc(blocks * BLOCK, 0xee) }), 'GOOD');
};

describe('WRITE SAME', () => {
  const UNMAP = 0x08;
  const ten = (lba: number, blocks: number, flags = 0): number[] => [
    ...[0x41, flags, 0, 0, lba >> 8, lba & 0xff, 0, blocks >> 8, blocks & 0xff, 0],
  ];
  const sixteen = (lba: number, blocks: number, flags = 0): number[] => [
    ...[0x93, flags, 0, 0, 0, 0, 0, 0, lba >> 8, lba & 0xff],
    ...[0, (blocks >> 16) & 0xff, (blocks >> 8) & 0xff, blocks & 0xff, 0, 0],
  ];
  const one = Buffer.from(Array.from({ length: BLOCK }, (_, i) => i & 0xff));
  const zeros = Buffer.alloc(BLOCK);

  test('a block, zeros, and zeros that free space', async () => {
    for (const cdb of [ten, sixteen]) {
      const { host, volume } = disk();
      await fill(host, 0, 16);
      assert.equal(await host.status(cdb(4, 3), { data: one }), 'GOOD');
      assert.deepEqual(
        await read(host, 3, 5),
        Buffer.concat([Buffer.alloc(BLOCK, 0xee), one, one, one, Buffer.alloc(BLOCK, 0xee)]),
      );
      assert.equal(await host.status(cdb(4, 3), { data: zeros }), 'GOOD');
      assert.deepEqual(await read(host, 4, 3), Buffer.alloc(3 * BLOCK));
      assert.equal(volume.allocatedBytes(), 16 * BLOCK);
      assert.equal(await host.status(cdb(4, 3, UNMAP), { data: zeros }), 'GOOD');
      assert.equal(volume.allocatedBytes(), 13 * BLOCK);
    }
  });

  test('with UNMAP the blocks are given back whatever the block holds, and read as zeros', async () => {
    for (const cdb of [ten, sixteen]) {
      const { host, volume } = disk();
      await fill(host, 8, 2);
      assert.equal(await host.status(cdb(8, 2, UNMAP), { data: one }), 'GOOD');
      assert.deepEqual(await read(host, 8, 2), Buffer.alloc(2 * BLOCK));
      assert.equal(volume.allocatedBytes(), 0);
    }
  });

  test('NDOB takes zeros without data; a wrong amount of data is refused', async () => {
    const { host } = disk();
    await fill(host, 0, 4);
    assert.equal(await host.status(sixteen(1, 2, 0x01)), 'GOOD');
    assert.deepEqual(await read(host, 1, 2), Buffer.alloc(2 * BLOCK));
    assert.equal(await host.status(sixteen(1, 2, 0x01), { data: zeros }), '05/24/00 cdb 1 bit 0');
    assert.equal(await host.status(ten(1, 2, 0x01), { data: zeros }), '05/24/00 cdb 1 bit 0');
    for (const length of [0, 1, BLOCK - 1, BLOCK + 1, 2 * BLOCK]) {
      assert.ok((await host.status(ten(1, 2), { data: Buffer.alloc(length, 1) })).startsWith('05/24/00'), `${length}`);
    }
    assert.deepEqual(await read(host, 1, 2), Buffer.alloc(2 * BLOCK));
  });

  test('0 blocks reach to the end; limits and what is not offered', async () => {
    const most = MAX_WRITE_SAME / BLOCK;
    const { host } = disk(most + 100);
    assert.equal(await host.status(sixteen(100, 0), { data: one }), 'GOOD');
    assert.deepEqual(await read(host, most + 99, 1), one);
    assert.equal(await host.status(sixteen(99, 0), { data: one }), '05/24/00 cdb 10');
    assert.equal(await host.status(ten(99, 0), { data: one }), '05/24/00 cdb 7');
    assert.equal(await host.status(sixteen(0, most + 1), { data: one }), '05/24/00 cdb 10');
    assert.equal(await host.status(ten(most + 99, 2), { data: one }), `05/21/00 info ${most + 99}`);
    for (const [bit, flags] of [
      [4, 0x10], // ANCHOR
      [4, 0x18],
      [5, 0x20], // WRPROTECT
      [1, 0x02], // LBDATA, PBDATA: obsolete
      [2, 0x04],
    ] as const) {
      assert.equal(await host.status(sixteen(0, 1, flags), { data: one }), `05/24/00 cdb 1 bit ${bit}`);
    }
    const thick = disk(2048, false).host;
    assert.equal(await thick.status(sixteen(0, 1, UNMAP), { data: zeros }), '05/24/00 cdb 1 bit 3');
    assert.equal(await thick.status(sixteen(0, 1), { data: zeros }), 'GOOD');
  });
});

describe('WRITE SAME in steps', () => {
  const GIB = 2 ** 30;
  const sixteen = (lba: number, blocks: number, flags = 0): number[] => {
    const cdb = Buffer.alloc(16);
    cdb[0] = 0x93;
    cdb[1] = flags;
    cdb.writeBigUInt64BE(BigInt(lba), 2);
    cdb.writeUInt32BE(blocks, 10);
    return [...cdb];
  };

  /** A volume of 64 GiB that notes what is asked of it; where zeros are quick. */
  function large(clock?: Clock): { host: Initiator; asked: string[]; during: { act: () => void } } {
    const asked: string[] = [];
    const during = { act: (): void => undefined };
    const volume = new MemoryVolume(MAX_UNMAP_BLOCKS, BLOCK, { thin: true });
    volume.info = { ...volume.info, size: 64 * GIB, quickZero: true };
    const note =
      (name: string) =>
      (position: number, length: number): Promise<void> => {
        asked.push(`${name} ${String(position)} ${String(length)}`);
        during.act();
        return Promise.resolve();
      };
    volume.zero = note('zero');
    volume.unmap = note('unmap');
    const options = { commands: ALL_COMMANDS, volume };
    return { host: scsiFixture(clock === undefined ? options : { ...options, clock }).login(), asked, during };
  }

  test('VPD B0 announces what a volume takes that need not write zeros; 10 GiB are one command', async () => {
    const { host, asked } = large();
    const limits = await host.data([0x12, 1, 0xb0, 0, 0x40, 0]);
    assert.equal(Number(limits.readBigUInt64BE(36)), MAX_QUICK_WRITE_SAME / BLOCK);
    assert.equal(await host.status(sixteen(1, (10 * GIB) / BLOCK, 0x01)), 'GOOD');
    assert.equal(asked[0], `zero 512 ${String(WRITE_SAME_ZERO_STEP - 512)}`, 'up to a whole step');
    assert.equal(asked[1], `zero ${String(WRITE_SAME_ZERO_STEP)} ${String(WRITE_SAME_ZERO_STEP)}`);
    assert.equal(asked.at(-1), `zero ${String(10 * GIB)} 512`);
    const bytes = asked.map((each) => Number(each.split(' ')[2])).reduce((sum, each) => sum + each, 0);
    assert.equal(bytes, 10 * GIB);
    assert.equal(await host.status(sixteen(0, MAX_QUICK_WRITE_SAME / BLOCK + 1, 0x01)), '05/24/00 cdb 10');
  });

  test('while hosts are being served the pieces are small, and wait for the share of the loop they may have', async () => {
    let now = 1e6;
    const clock = {
      ...hastyClock,
      now: () => now,
      after: (ms: number, fn: () => void): Timer => {
        now += ms;
        return hastyClock.after(ms, fn);
      },
    };
    const { host, asked, during } = large(clock);
    during.act = () => {
      foreground.add(100, now);
    };
    foreground.add(100, now);
    const waits = copyPace.waits;
    assert.equal(await host.status(sixteen(1, GIB / BLOCK, 0x01)), 'GOOD');
    assert.equal(asked[0], `zero 512 ${String(SMALL_ZERO_STEP - 512)}`);
    assert.equal(asked.length, GIB / SMALL_ZERO_STEP + 1);
    assert.ok(copyPace.waits > waits);
    const list = Buffer.alloc(24);
    list.writeUInt16BE(22, 0);
    list.writeUInt16BE(16, 2);
    list.writeUInt32BE(MAX_UNMAP_BLOCKS, 16);
    asked.length = 0;
    assert.equal(await host.status([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], { data: list }), 'GOOD');
    assert.equal(asked.length, (MAX_UNMAP_BLOCKS * BLOCK) / SMALL_ZERO_STEP);
    // Alone again: all at once.
    now += 1e6;
    during.act = () => undefined;
    asked.length = 0;
    assert.equal(await host.status(sixteen(0, WRITE_SAME_ZERO_STEP / BLOCK, 0x01)), 'GOOD');
    assert.equal(asked.length, 1);
  });

  test('others reach the rest of the range between the steps; an abort ends it after one', async () => {
    const { host, asked, during } = large();
    const { lu } = host.lunNexus;
    during.act = () => {
      const at = Number(asked.at(-1)?.split(' ')[1]);
      assert.equal(lu.locks.blocks(at, BLOCK, false), true, 'the piece is locked');
      assert.equal(lu.locks.blocks(at + WRITE_SAME_ZERO_STEP, BLOCK, true), false, 'the next one is not');
      if (asked.length === 3) lu.tasks.abort(() => true);
    };
    await host.run(sixteen(0, (10 * GIB) / BLOCK, 0x09));
    assert.equal(asked.length, 3);
    assert.equal(lu.locks.idle, true);
    const meter = lu.offload.hosts.get(host.nexus.visitor.initiator.name)?.kinds.get('write-same');
    assert.deepEqual([meter?.used, meter?.last?.reason], [0, 'aborted']);
  });
});

describe('UNMAP', () => {
  const list = (...ranges: (readonly [number, number])[]): Buffer => {
    const out = Buffer.alloc(8 + 16 * ranges.length);
    out.writeUInt16BE(out.length - 2, 0);
    out.writeUInt16BE(out.length - 8, 2);
    ranges.forEach(([lba, blocks], i) => {
      out.writeBigUInt64BE(BigInt(lba), 8 + 16 * i);
      out.writeUInt32BE(blocks, 16 + 16 * i);
    });
    return out;
  };
  const send = (host: Initiator, data: Buffer, flags = 0): Promise<string> =>
    host.status([0x42, flags, 0, 0, 0, 0, 0, data.length >> 8, data.length & 0xff, 0], { data });

  test('frees the ranges and nothing else', async () => {
    const { host, volume } = disk();
    await fill(host, 0, 16);
    assert.equal(await send(host, list([2, 3], [8, 0], [10, 2], [2048, 0])), 'GOOD');
    assert.equal(volume.allocatedBytes(), 11 * BLOCK);
    assert.deepEqual(await read(host, 2, 3), Buffer.alloc(3 * BLOCK));
    assert.deepEqual(await read(host, 5, 5), Buffer.alloc(5 * BLOCK, 0xee));
    assert.equal(await send(host, Buffer.alloc(0)), 'GOOD');
    assert.equal(await send(host, list()), 'GOOD');
    assert.equal(await send(host, list([0, 1]), 0x01), '05/24/00 cdb 1 bit 0'); // ANCHOR
  });

  test('one wrong range, and none is freed', async () => {
    const { host, volume } = disk();
    await fill(host, 0, 16);
    for (const wrong of [
      [2048, 1],
      [2047, 2],
      [2 ** 40, 1],
      [0, 0xffff_ffff],
    ] as const) {
      assert.equal(await send(host, list([0, 4], wrong)), '05/21/00');
    }
    const tooMany = Array.from({ length: MAX_UNMAP_DESCRIPTORS + 1 }, () => [0, 0] as const);
    assert.equal(await send(host, list(...tooMany)), '05/26/00 data 2');
    assert.equal(await send(host, list(...tooMany.slice(1))), 'GOOD');
    assert.equal(volume.allocatedBytes(), 16 * BLOCK);
    const large = disk(MAX_UNMAP_BLOCKS + 1).host;
    assert.equal(await send(large, list([0, MAX_UNMAP_BLOCKS])), 'GOOD');
    assert.equal(await send(large, list([0, MAX_UNMAP_BLOCKS], [5, 1])), '05/26/00 data 32');
  });

  test('a list cut at every byte', async () => {
    const whole = list([0, 4], [8, 4]);
    for (let cut = 1; cut < whole.length; cut++) {
      const { host, volume } = disk();
      await fill(host, 0, 16);
      const status = await send(host, whole.subarray(0, cut));
      assert.equal(status, cut < 8 ? '05/1A/00' : 'GOOD', `cut at ${cut}`);
      // An incomplete descriptor is ignored.
      assert.equal(volume.allocatedBytes(), (cut < 24 ? 16 : 12) * BLOCK);
      // Less arrived than the CDB announced.
      const announced = [0x42, 0, 0, 0, 0, 0, 0, 0, whole.length, 0];
      assert.equal(await host.status(announced, { data: whole.subarray(0, cut) }), '05/1A/00');
    }
  });
});

describe('COMPARE AND WRITE', () => {
  const caw = (lba: number, blocks: number, flags = 0): number[] => [
    ...[0x89, flags, 0, 0, 0, 0, 0, 0, lba >> 8, lba & 0xff, 0, 0, 0, blocks, 0, 0],
  ];

  test('writes when all is equal, else says where not', async () => {
    const { host } = disk();
    await fill(host, 0, 4);
    const before = Buffer.alloc(2 * BLOCK, 0xee);
    const after = Buffer.alloc(2 * BLOCK, 0x11);
    const other = Buffer.from(before);
    other[700] = 0;
    assert.equal(await host.status(caw(1, 2), { data: Buffer.concat([other, after]) }), '0E/1D/00 info 700');
    assert.deepEqual(await read(host, 1, 2), before);
    assert.equal(await host.status(caw(1, 2, 0x18), { data: Buffer.concat([before, after]) }), 'GOOD');
    assert.deepEqual(await read(host, 1, 2), after);
    assert.equal(await host.status(caw(1, 0)), 'GOOD');
  });

  test('limits and amounts', async () => {
    const { host } = disk();
    const most = MAX_COMPARE_AND_WRITE_BLOCKS;
    const data = Buffer.alloc(2 * most * BLOCK);
    assert.equal(await host.status(caw(0, most), { data }), 'GOOD');
    assert.equal(await host.status(caw(2047, 2), { data: data.subarray(0, 4 * BLOCK) }), '05/21/00 info 2047');
    for (const blocks of [1, 3]) {
      assert.equal(await host.status(caw(0, blocks), { data: data.subarray(0, 4 * BLOCK) }), '05/24/00 cdb 13');
    }
    assert.equal(await host.status(caw(0, 1, 0x20), { data: data.subarray(0, 2 * BLOCK) }), '05/24/00 cdb 1 bit 5');
  });
});
