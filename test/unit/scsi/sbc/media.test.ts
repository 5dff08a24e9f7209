// READ, WRITE, VERIFY and the other block commands against SBC-3, through dispatch.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MAX_ATOMIC, MAX_PREFETCH, MAX_TRANSFER } from '../../../../core/base/limits.ts';
import { TaskAttribute } from '../../../../core/scsi/task.ts';
import { MemoryVolume } from '../../../../core/volume/memory-volume.ts';
import { VolumeError, VolumeFault } from '../../../../core/volume/volume.ts';
import type { Volume } from '../../../../core/volume/volume.ts';
import { ALL_COMMANDS, hastyClock, scsiFixture } from '../../../support/scsi-fixture.ts';
import type { Fixture, FixtureOptions } from '../../../support/scsi-fixture.ts';

const fixture = (options: FixtureOptions = {}): Fixture =>
  scsiFixture({ commands: ALL_COMMANDS, clock: hastyClock, ...options });

/** A CDB of the usual shapes: opcode, byte 1, LBA, length. */
function cdb(opcode: number, lba: number, blocks: number, flags = 0): Buffer {
  const length = [6, 10, 10, 0, 16, 12][opcode >> 5] ?? 0;
  const out = Buffer.alloc(length);
  out[0] = opcode;
  if (length === 6) {
    out.writeUIntBE(lba, 1, 3);
    out[4] = blocks;
    return out;
  }
  out[1] = flags;
  if (length === 16) out.writeBigUInt64BE(BigInt(lba), 2);
  else out.writeUInt32BE(lba, 2);
  if (length === 10) out.writeUInt16BE(blocks, 7);
  else out.writeUInt32BE(blocks, length === 12 ? 6 : 10);
  return out;
}

const pattern = (blocks: number, seed = 1): Buffer =>
  Buffer.from(Array.from({ length: blocks * 512 }, (_, i) => (i * 31 + (i >> 9) * 7 + seed) & 0xff));

describe('READ and WRITE', () => {
  const reads = [0x08, 0x28, 0xa8, 0x88];
  const writes = [0x0a, 0x2a, 0xaa, 0x8a];

  test('what any form wrote, every form reads', async () => {
    const host = fixture().login();
    for (const [index, write] of writes.entries()) {
      const data = pattern(3, index);
      assert.equal(await host.status(cdb(write, 5, 3), { data }), 'GOOD');
      for (const read of reads) assert.deepEqual(await host.data(cdb(read, 5, 3)), data);
    }
  });

  test('length 0 is 256 blocks in the 6-byte forms and nothing in the others', async () => {
    const host = fixture().login();
    const data = pattern(256);
    assert.equal(await host.status(cdb(0x0a, 1, 0), { data }), 'GOOD');
    assert.deepEqual(await host.data(cdb(0x08, 1, 0)), data);
    for (const read of reads.slice(1)) assert.equal((await host.data(cdb(read, 2047, 0))).length, 0);
  });

  test('the end of the disk, the transfer limit and protection bits', async () => {
    const blocks = MAX_TRANSFER / 512;
    const host = fixture({ blocks: 4 * blocks }).login();
    for (const opcode of [...reads, ...writes]) {
      if (opcode > 0x20) assert.equal(await host.status(cdb(opcode, 4 * blocks, 0)), 'GOOD');
      assert.equal(await host.status(cdb(opcode, 4 * blocks, 1)), `05/21/00 info ${4 * blocks}`);
      assert.equal(await host.status(cdb(opcode, 4 * blocks - 1, 2)), `05/21/00 info ${4 * blocks - 1}`);
      if (opcode > 0x20) assert.equal(await host.status(cdb(opcode, 0, 1, 0x20)), '05/24/00 cdb 1 bit 5');
    }
    for (const opcode of [0x28, 0xa8, 0x88]) {
      const lengthAt = { 0x28: 7, 0xa8: 6, 0x88: 10 }[opcode];
      assert.equal((await host.data(cdb(opcode, 0, blocks))).length, MAX_TRANSFER);
      assert.equal(await host.status(cdb(opcode, 0, blocks + 1)), `05/24/00 cdb ${lengthAt}`);
    }
  });

  test('an LBA of more than 32 bits is told in descriptor format only', async () => {
    const disk = fixture();
    const host = disk.login();
    const far = cdb(0x88, 0x1_2345_6789, 1);
    assert.equal(await host.status(far), '05/21/00');
    disk.lu.modes.descriptorSense = true;
    assert.equal(await host.status(far), `05/21/00 info 4886718345`);
  });

  test('FUA makes data stable', async () => {
    const volume: Volume = new MemoryVolume(1_048_576);
    const seen: string[] = [];
    const write = volume.write.bind(volume);
    volume.write = (position, source, at, length, fua) => {
      seen.push(`write ${fua}`);
      return write(position, source, at, length, fua);
    };
    volume.flush = () => {
      seen.push('flush');
      return Promise.resolve();
    };
    const host = fixture({ volume }).login();
    await host.status(cdb(0x2a, 0, 1), { data: pattern(1) });
    await host.status(cdb(0x2a, 0, 1, 0x08), { data: pattern(1) });
    await host.data(cdb(0x28, 0, 1));
    await host.data(cdb(0x28, 0, 1, 0x08));
    assert.deepEqual(seen, ['write false', 'write true', 'flush']);
  });

  test('a medium error names the block', async () => {
    const volume = new MemoryVolume(1_048_576);
    volume.readNow = () => false;
    volume.read = () => Promise.reject(new VolumeError(VolumeFault.readError, 'bad', 7 * 512));
    const host = fixture({ volume }).login();
    assert.equal(await host.status(cdb(0x28, 5, 8)), '03/11/00 info 7');
  });

  test('no task can come under an ACA condition', async () => {
    const host = fixture().login();
    for (const attribute of [TaskAttribute.simple, TaskAttribute.ordered, TaskAttribute.headOfQueue]) {
      assert.equal(await host.status(cdb(0x28, 0, 1), { attribute }), 'GOOD');
    }
    assert.equal(await host.status(cdb(0x28, 0, 1), { attribute: TaskAttribute.aca }), '05/49/00');
  });

  test('write protection of every kind stops every command that writes', async () => {
    const writing = ALL_COMMANDS.filter((spec) => spec.access === 'write');
    assert.equal(writing.length, 18);
    for (const spec of writing) {
      const command = Buffer.alloc(16);
      command[0] = spec.opcode;
      if (spec.serviceAction !== undefined) command[1] = spec.serviceAction;
      assert.equal(
        await fixture({ info: { readOnly: true } })
          .login()
          .status(command),
        '07/27/00',
        spec.name,
      );
      assert.equal(await fixture({ visibility: 'read-only' }).login().status(command), '07/27/00', spec.name);
      const disk = fixture();
      disk.lu.modes.softwareWriteProtect = true;
      assert.equal(await disk.login().status(command), '07/27/02', spec.name);
    }
  });
});

describe('VERIFY and WRITE AND VERIFY', () => {
  const verifies = [0x2f, 0xaf, 0x8f];
  const bytchk = (value: number): number => value << 1;

  test('BYTCHK 0 reads, 1 compares all of it, 3 compares each block with one, 2 does not exist', async () => {
    const host = fixture().login();
    const data = pattern(4);
    await host.status(cdb(0x2a, 0, 4), { data });
    const other = Buffer.from(data);
    other[1000] = (other[1000] ?? 0) ^ 1;
    const one = pattern(1);
    await host.status(cdb(0x41, 8, 4), { data: one });
    for (const opcode of verifies) {
      assert.equal(await host.status(cdb(opcode, 0, 4)), 'GOOD');
      assert.equal(await host.status(cdb(opcode, 0, 4, bytchk(1)), { data }), 'GOOD');
      assert.equal(await host.status(cdb(opcode, 0, 4, bytchk(1)), { data: other }), '0E/1D/00 info 1000');
      assert.equal(await host.status(cdb(opcode, 8, 4, bytchk(3)), { data: one }), 'GOOD');
      assert.equal(await host.status(cdb(opcode, 8, 5, bytchk(3)), { data: one }), '0E/1D/00 info 2048');
      assert.equal(await host.status(cdb(opcode, 8, 0, bytchk(3))), 'GOOD');
      assert.equal(await host.status(cdb(opcode, 2047, 2)), '05/21/00 info 2047');
      assert.equal(await host.status(cdb(opcode, 0, 1, 0x20)), '05/24/00 cdb 1 bit 5');
    }
  });

  test('what was written is compared with what is read back', async () => {
    const volume = new MemoryVolume(1_048_576);
    const host = fixture({ volume }).login();
    const data = pattern(2);
    for (const opcode of [0x2e, 0xae, 0x8e]) {
      for (const value of [0, 1]) assert.equal(await host.status(cdb(opcode, 3, 2, bytchk(value)), { data }), 'GOOD');
      assert.deepEqual(await host.data(cdb(0x28, 3, 2)), data);
    }
    volume.write = () => Promise.resolve(); // a disk that loses writes
    assert.equal(await host.status(cdb(0x2e, 3, 2, bytchk(1)), { data: pattern(2, 9) }), '0E/1D/00 info 0');
    assert.equal(await host.status(cdb(0x2e, 3, 2, bytchk(0)), { data: pattern(2, 9) }), 'GOOD');
  });

  test('a long verification gives way to others and ends when it is aborted', async () => {
    const volume = new MemoryVolume(64 * 1_048_576);
    let pieces = 0;
    const readNow = volume.readNow.bind(volume);
    volume.readNow = (...args) => {
      pieces++;
      return readNow(...args);
    };
    const disk = fixture({ volume });
    const host = disk.login();
    const running = host.status(cdb(0x8f, 0, 131_072));
    for (let turns = 0; turns < 4; turns++) await new Promise((resolve) => setImmediate(resolve));
    const seen = pieces;
    assert.ok(seen > 0 && seen < 10, `${seen} pieces in four turns`);
    disk.lu.tasks.abort(() => true);
    await running;
    assert.ok(pieces <= seen + 1, `${pieces} pieces`);
  });
});

describe('PRE-FETCH and SYNCHRONIZE CACHE', () => {
  test('CONDITION MET when all of it is in memory, GOOD when it is too much', async () => {
    const blocks = 2 * (MAX_PREFETCH / 512);
    const host = fixture({ blocks }).login();
    for (const opcode of [0x34, 0x90]) {
      for (const immed of [0, 0x02]) {
        assert.equal(await host.status(cdb(opcode, 0, 8, immed)), 'status 04');
        assert.equal(await host.status(cdb(opcode, blocks - 8, 0, immed)), 'status 04');
        assert.equal(await host.status(cdb(opcode, 0, 0, immed)), 'GOOD');
      }
      assert.equal(await host.status(cdb(opcode, blocks - 1, 2)), `05/21/00 info ${blocks - 1}`);
    }
  });

  test('flushes; a failure is told unless IMMED', async () => {
    const volume = new MemoryVolume(1_048_576);
    let flushes = 0;
    volume.flush = () => {
      flushes++;
      return flushes > 2 ? Promise.reject(new VolumeError(VolumeFault.writeError, 'bad')) : Promise.resolve();
    };
    const host = fixture({ volume }).login();
    for (const opcode of [0x35, 0x91]) assert.equal(await host.status(cdb(opcode, 0, 0)), 'GOOD');
    assert.equal(await host.status(cdb(0x35, 0, 0, 0x02)), 'GOOD');
    assert.equal(await host.status(cdb(0x35, 0, 0)), '03/0C/00');
    assert.equal(flushes, 4);
    assert.equal(await host.status(cdb(0x91, 2047, 2)), '05/21/00 info 2047');
  });
});

describe('commands that change blocks in one step', () => {
  test('ORWRITE sets bits', async () => {
    const host = fixture().login();
    await host.status(cdb(0x2a, 4, 1), { data: Buffer.alloc(512, 0x21) });
    assert.equal(await host.status(cdb(0x8b, 4, 2), { data: Buffer.alloc(1024, 0x42) }), 'GOOD');
    assert.deepEqual(
      await host.data(cdb(0x28, 4, 2)),
      Buffer.concat([Buffer.alloc(512, 0x63), Buffer.alloc(512, 0x42)]),
    );
    assert.equal(await host.status(cdb(0x8b, 2047, 2)), '05/21/00 info 2047');
    assert.equal(await host.status(cdb(0x8b, 4, 1, 0x20)), '05/24/00 cdb 1 bit 5');
  });

  test('WRITE ATOMIC: all or nothing, within its limit, no boundaries', async () => {
    const host = fixture({ blocks: 8192 }).login();
    const most = MAX_ATOMIC / 512;
    const atomic = (lba: number, blocks: number, boundary = 0): number[] => {
      const out = [0x9c, 0, 0, 0, 0, 0, 0, 0, lba >> 8, lba & 0xff, 0, boundary, blocks >> 8, blocks & 0xff, 0, 0];
      return out;
    };
    const data = pattern(most);
    assert.equal(await host.status(atomic(3, most), { data }), 'GOOD');
    assert.deepEqual(await host.data(cdb(0x28, 3, most)), data);
    assert.equal(await host.status(atomic(3, 2), { data: pattern(1, 9) }), '05/24/00 cdb 12');
    assert.deepEqual(await host.data(cdb(0x28, 3, 1)), data.subarray(0, 512));
    assert.equal(await host.status(atomic(0, most + 1), { data: pattern(most + 1) }), '05/24/00 cdb 12');
    assert.equal(await host.status(atomic(0, 1, 1), { data }), '05/24/00 cdb 10');
    assert.equal(await host.status(atomic(8191, 2), { data }), '05/21/00 info 8191');
    assert.equal(await host.status(atomic(0, 0)), 'GOOD');
  });
});

describe('what a disk says of itself', () => {
  test('READ CAPACITY: every byte', async () => {
    const host = fixture({ physicalBlockSize: 4096 }).login();
    assert.equal((await host.data(cdb(0x25, 0, 0))).toString('hex'), '000007ff' + '00000200');
    const long = [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0];
    const expected = '00000000000007ff' + '00000200' + '00' + '03' + 'c000' + '00'.repeat(16);
    assert.equal((await host.data(long)).toString('hex'), expected);
    const big = fixture({ blockSize: 4096, info: { thin: false } });
    big.lu.blocks = 0x1_0000_0001;
    assert.equal((await big.login().data(cdb(0x25, 0, 0))).toString('hex'), 'ffffffff' + '00001000');
    const other = await big.login().data(long);
    assert.equal(other.toString('hex'), '0000000100000000' + '00001000' + '00000000' + '00'.repeat(16));
  });

  test('READ DEFECT DATA: no defects, in the format asked for', async () => {
    const host = fixture().login();
    const ten = await host.data([0x37, 0, 0x1d, 0, 0, 0, 0, 0, 255, 0]);
    assert.equal(ten.toString('hex'), '001d0000');
    const twelve = await host.data([0xb7, 0x1d, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]);
    assert.equal(twelve.toString('hex'), '001d000000000000');
  });

  test('GET LBA STATUS begins at the block asked for', async () => {
    const host = fixture().login();
    const status = (lba: number, length = 255): number[] => [
      ...[0x9e, 0x12, 0, 0, 0, 0, 0, 0, lba >> 8, lba & 0xff],
      ...[0, 0, 0, length, 0, 0],
    ];
    await host.status(cdb(0x2a, 8, 8), { data: pattern(8) });
    const extent = (lba: number, blocks: number, state: number): string =>
      lba.toString(16).padStart(16, '0') + blocks.toString(16).padStart(8, '0') + `0${state}000000`;
    const from9 = extent(9, 7, 0) + extent(16, 2032, 1);
    assert.equal((await host.data(status(9))).toString('hex'), '00000024' + '00000000' + from9);
    assert.equal(
      (await host.data(status(2))).toString('hex'),
      '00000034' + '00000000' + extent(2, 6, 1) + extent(8, 8, 0) + extent(16, 2032, 1),
    );
    assert.equal((await host.data(status(9, 24))).toString('hex'), '00000014' + '00000000' + extent(9, 7, 0));
    assert.equal((await host.data(status(9, 4))).toString('hex'), '00000014');
    assert.equal(await host.status(status(2048)), '05/21/00 info 2048');
  });
});
