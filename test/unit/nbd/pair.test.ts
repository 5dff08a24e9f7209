// Our client against our server.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { MAX_NBD_PAYLOAD } from '../../../core/base/nbd-limits.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import type { WriteNow } from '../../../core/volume/volume.ts';
import { VolumeError, VolumeFault } from '../../../core/volume/volume.ts';
import type { NbdVolume } from '../../../core/nbd/nbd-volume.ts';
import { encodeGreeting, encodeInfoRequest, encodeOption } from '../../../core/nbd/wire/options.ts';
import { encodeRequest } from '../../../core/nbd/wire/transmission.ts';
import { nbdFixture } from './fixture.ts';

/** A volume without room while a test wants it so. */
class FailingVolume extends MemoryVolume {
  failing: VolumeError | undefined;

  override writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    if (this.failing !== undefined) throw this.failing;
    return super.writeNow(position, source, at, length);
  }
}

const isFault =
  (fault: VolumeFault) =>
  (error: unknown): boolean =>
    error instanceof VolumeError && error.fault === fault;

async function contentOf(volume: NbdVolume, position: number, length: number): Promise<Buffer> {
  const into = Buffer.alloc(length + 100, 0xee);
  await volume.read(position, length, into, 100);
  assert.ok(into.subarray(0, 100).every((byte) => byte === 0xee));
  return into.subarray(100);
}

/** What a raw client hears until the server hangs up. */
function say(path: string, pieces: readonly Buffer[]): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const heard: Buffer[] = [];
    const socket = connect({ path }, () => {
      for (const each of pieces) socket.write(each);
    });
    socket.on('data', (data: Buffer) => heard.push(data));
    socket.on('error', reject);
    socket.on('close', () => {
      resolve(Buffer.concat(heard));
    });
  });
}

const FLAGS = Buffer.from([0, 0, 0, 3]);
const GO = encodeOption(7, encodeInfoRequest('disk', [3]));
const ofType = (type: number, position: number, length: number, flags = 0): Buffer =>
  encodeRequest({ flags, type, cookie: 77n, position, length });
const BYE = ofType(2, 0, 0);

describe('a NBD volume on our own server', () => {
  test('reads, writes, clears and tells what is mapped', async () => {
    const f = await nbdFixture();
    const volume = await f.open();
    assert.equal(volume.info.size, 8_388_608);
    assert.equal(volume.info.thin, true);
    const data = randomBytes(1_500_160);
    await volume.write(1024, data, 0, data.length, false);
    assert.ok((await contentOf(volume, 1024, data.length)).equals(data));
    await volume.unmap(4096, 65_536);
    await volume.zero(4096 + 65_536, 512);
    const cleared = await contentOf(volume, 1024, data.length);
    data.fill(0, 3072, 3072 + 65_536 + 512);
    assert.ok(cleared.equals(data));
    await volume.flush();
    assert.deepEqual(await volume.extents(0, 4096 + 65_536 + 512, 10), [
      { position: 0, length: 1024, mapped: false },
      { position: 1024, length: 3072, mapped: true },
      { position: 4096, length: 65_536, mapped: false },
      { position: 4096 + 65_536, length: 512, mapped: true },
    ]);
    assert.deepEqual(await volume.extents(0, 4096, 1), [{ position: 0, length: 1024, mapped: false }]);
    assert.equal(f.served.users, 4);
    await volume.close();
    await f.end();
    assert.equal(f.served.users, 0);
  });

  test('many requests at a time leave what an array would', async () => {
    const f = await nbdFixture();
    const volume = await f.open();
    const model = Buffer.alloc(8_388_608);
    // Every worker has a part of its own: what happens first among them does not matter.
    const part = model.length / 16;
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return seed % below;
    };
    const worker = async (index: number): Promise<void> => {
      for (let round = 0; round < 40; round++) {
        const length = 512 * (1 + random(random(4) === 0 ? 900 : 16));
        const position = index * part + 512 * random((part - length) / 512);
        if (random(5) === 0) {
          await volume.unmap(position, length);
          model.fill(0, position, position + length);
        } else {
          const data = Buffer.alloc(length, 1 + random(255));
          await volume.write(position, data, 0, length, random(2) === 0);
          data.copy(model, position);
        }
        const from = index * part + 512 * random((part - length) / 512);
        const found = await contentOf(volume, from, length);
        assert.ok(found.equals(model.subarray(from, from + length)), `${String(from)}+${String(length)}`);
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, index) => worker(index)));
    assert.ok((await contentOf(volume, 0, model.length)).equals(model));
    await volume.close();
    await f.end();
  });

  test('a server that goes and comes back is nothing but a pause', async () => {
    const f = await nbdFixture();
    const volume = await f.open();
    const model = Buffer.alloc(1_048_576);
    let over = false;
    const writer = async (index: number): Promise<void> => {
      for (let round = 1; !over; round++) {
        const data = Buffer.alloc(4096, round & 0xff);
        await volume.write(index * 4096, data, 0, 4096, false);
        data.copy(model, index * 4096);
      }
    };
    const writers = Array.from({ length: 32 }, (_, index) => writer(index));
    for (let round = 0; round < 3; round++) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      await f.stop();
      await f.restart();
    }
    await new Promise((resolve) => setTimeout(resolve, 30));
    over = true;
    await Promise.all(writers);
    assert.ok((await contentOf(volume, 0, 32 * 4096)).equals(model.subarray(0, 32 * 4096)));
    assert.ok(f.noted.some(({ message }) => message.includes('is back')));
    await volume.close();
    await f.end();
  });

  test('one that stays away fails what waits, with the fault of a unit that is not ready', async () => {
    const f = await nbdFixture();
    const volume = await f.open({ patience: 300 });
    await f.stop();
    await assert.rejects(volume.read(0, 512, Buffer.alloc(512), 0), isFault(VolumeFault.notReady));
    await f.restart();
    assert.equal((await contentOf(volume, 0, 512)).length, 512);
    await volume.close();
    await f.end();
  });

  test('one that drops every connection does not keep a request for ever', async () => {
    const f = await nbdFixture();
    const volume = await f.open({ patience: 300 });
    f.served.dropping = f.served.gone = true;
    await assert.rejects(volume.read(0, 512, Buffer.alloc(512), 0), /again and again|away for too long/);
    f.served.dropping = f.served.gone = false;
    assert.equal((await contentOf(volume, 0, 512)).length, 512);
    await volume.close();
    await f.end();
  });

  test('one that comes back with another size is not used', async () => {
    const f = await nbdFixture();
    const volume = await f.open({ patience: 5000 });
    await f.stop();
    f.shelf.add('disk', new MemoryVolume(4_194_304));
    await f.restart();
    await assert.rejects(volume.read(0, 512, Buffer.alloc(512), 0), /another export.*4194304 bytes/s);
    assert.ok(f.noted.some(({ level, message }) => level === 'error' && message.includes('has changed')));
    await volume.close().catch(() => undefined);
    await f.end();
  });

  test('writes that were not stable when the server went are not flushed into success', async () => {
    const f = await nbdFixture();
    const volume = await f.open({ durability: 'volatile' });
    await volume.write(0, Buffer.alloc(512, 1), 0, 512, false);
    await volume.flush();
    await volume.write(0, Buffer.alloc(512, 2), 0, 512, false);
    await f.stop();
    await f.restart();
    await assert.rejects(volume.flush(), isFault(VolumeFault.writeError));
    await assert.rejects(volume.write(0, Buffer.alloc(512), 0, 512, false), isFault(VolumeFault.writeError));
    await assert.rejects(volume.close(), isFault(VolumeFault.writeError));
    await f.end();
  });

  test('an error of the volume fails its request, and no other', async () => {
    const failing = new FailingVolume(8_388_608);
    const f = await nbdFixture(failing);
    const volume = await f.open();
    failing.failing = new VolumeError(VolumeFault.noSpace, 'no room', 4096);
    await assert.rejects(volume.write(4096, Buffer.alloc(512), 0, 512, false), isFault(VolumeFault.noSpace));
    failing.failing = undefined;
    await volume.write(4096, Buffer.alloc(512, 1), 0, 512, false);
    assert.equal((await contentOf(volume, 4096, 512))[0], 1);
    await volume.close();
    await f.end();
  });
});

describe('the NBD server', () => {
  const greeting = encodeGreeting(3);

  test('hangs up on rubbish, says so once, and serves the others', async () => {
    const f = await nbdFixture();
    const volume = await f.open();
    const heard = await say(f.path, [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')]);
    assert.ok(heard.equals(greeting));
    assert.equal(f.noted.filter(({ level }) => level === 'warn').length, 1);
    await say(f.path, [FLAGS, randomBytes(4096)]);
    await say(f.path, [FLAGS, GO, randomBytes(4096)]);
    await say(f.path, [FLAGS, encodeOption(7, Buffer.alloc(100_000))]);
    await say(f.path, [FLAGS, GO, ofType(1, 0, MAX_NBD_PAYLOAD + 1)]);
    assert.equal((await contentOf(volume, 0, 512)).length, 512);
    await volume.close();
    await f.end();
  });

  test('refuses what is out of range, unaligned, unknown, or not negotiated', async () => {
    const f = await nbdFixture();
    const cases: [Buffer, number][] = [
      [ofType(0, 8_388_608, 512), 22],
      [ofType(3, 0, 0), 0],
      [ofType(0, 0, 0), 22],
      [ofType(0, 1, 512), 22],
      [ofType(0, Number.MAX_SAFE_INTEGER - 511, 512), 22],
      [ofType(4, 0, 0xffff_ffff), 22],
      [ofType(7, 0, 512), 22],
      [ofType(99, 0, 512), 22],
      [ofType(0, 0, 512, 0x8000), 22],
      [ofType(0, 0, MAX_NBD_PAYLOAD + 512), 22],
      [Buffer.concat([ofType(1, 8_388_608, 512), Buffer.alloc(512)]), 28],
    ];
    for (const [request, error] of cases) {
      const heard = await say(f.path, [FLAGS, GO, request, BYE]);
      const reply = heard.subarray(heard.length - 16);
      assert.equal(reply.readUInt32BE(0), 0x67446698);
      assert.equal(reply.readUInt32BE(4), error, request.toString('hex', 0, 28));
      assert.equal(reply.readBigUInt64BE(8), 77n);
    }
    await f.end();
  });

  test('takes bytes at any position from a client that does not know the block size', async () => {
    const f = await nbdFixture();
    const go = encodeOption(7, encodeInfoRequest('disk', []));
    const write = Buffer.concat([ofType(1, 1000, 30), Buffer.alloc(30, 0xab)]);
    // Both are in the server's memory before it has done the first: the second waits for the lock of the first.
    const heard = await say(f.path, [FLAGS, go, write, ofType(0, 990, 50), ofType(3, 0, 0), BYE]);
    const found = heard.indexOf(Buffer.alloc(30, 0xab));
    assert.ok(found > 0);
    assert.equal(heard[found - 1], 0);
    assert.equal(heard[found + 30], 0);
    await f.end();
  });

  test('a read-only export takes no writes', async () => {
    const f = await nbdFixture();
    f.shelf.add('fixed', new MemoryVolume(1_048_576), true);
    const volume = await f.open({ exportName: 'fixed' });
    assert.equal(volume.info.readOnly, true);
    await assert.rejects(volume.write(0, Buffer.alloc(512), 0, 512, false), isFault(VolumeFault.readOnly));
    const go = encodeOption(7, encodeInfoRequest('fixed', []));
    const heard = await say(f.path, [FLAGS, go, Buffer.concat([ofType(1, 0, 512), Buffer.alloc(512)]), BYE]);
    assert.equal(heard.readUInt32BE(heard.length - 12), 1);
    await volume.close();
    await f.end();
  });

  test('a volume that goes away ends its connections; an unknown export is named', async () => {
    const f = await nbdFixture();
    const volume = await f.open({ patience: 200 });
    f.served.gone = true;
    f.server.disconnect(f.served);
    await assert.rejects(volume.read(0, 512, Buffer.alloc(512), 0), isFault(VolumeFault.notReady));
    await assert.rejects(f.open({ exportName: 'other' }), /there is no such export/);
    await volume.close().catch(() => undefined);
    await f.end();
  });

  test('a socket left behind is replaced, one in use is not', async () => {
    const f = await nbdFixture();
    await assert.rejects(f.restart(), /somebody listens/);
    await f.end();
  });
});
