// A host that copies by tokens as Windows does (support/windows-copy.ts), against the real daemon: a file system that mkfs has
// made is copied inside a pool, to another one and to a file, and the daemon is restarted between the two commands.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { withDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { checkExt4, ext4Image, needsExt4 } from '../support/ext4-image.ts';
import { WireDisk } from '../support/wire-disk.ts';
import {
  copyFile,
  discover,
  newListId,
  offloadRead,
  offloadWrite,
  writeList,
  writeUsing,
} from '../support/windows-copy.ts';

const MIB = 1_048_576;
const BLOCK = 512;
const IMAGE = 64 * MIB;
const BLOCKS = IMAGE / BLOCK;
const HOST = 'iqn.1991-05.com.microsoft:host1';
const OTHER = 'iqn.1991-05.com.microsoft:host2';
/** Of a READ or WRITE. */
const PIECE = 32_768;
const clock = { now: () => performance.now() };
const skip = needsExt4();

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

function mediaCdb(opcode: number, at: number, length: number): Buffer {
  const cdb = Buffer.alloc(16);
  cdb[0] = opcode;
  cdb.writeBigUInt64BE(BigInt(at / BLOCK), 2);
  cdb.writeUInt32BE(length / BLOCK, 10);
  return cdb;
}

interface Site {
  readonly daemon: Daemon;
  readonly image: Buffer;
  readonly create: (name: string, args: readonly string[]) => Promise<void>;
  readonly attach: (name: string, initiator?: string) => Promise<WireDisk>;
}

async function site(body: (site: Site) => Promise<void>): Promise<void> {
  const image = await ext4Image(IMAGE);
  const attached: WireDisk[] = [];
  try {
    await withDaemon({}, async (daemon) => {
      for (const pool of ['tank', 'other']) await daemon.gemelJson(['pool', 'create', pool, '--size', '1G']);
      const attach = async (name: string, initiator = HOST): Promise<WireDisk> => {
        const isid = (attached.length + 1).toString(16).padStart(12, '0');
        const disk = await WireDisk.open(daemon.portals[0] ?? '', await daemon.volume(name), initiator, isid);
        attached.push(disk);
        return disk;
      };
      const create = async (name: string, args: readonly string[]): Promise<void> => {
        await daemon.createVolume(name, String(IMAGE), ['--map', HOST, ...args]);
      };
      await create('source', ['--pool', 'tank']);
      const source = await attach('source');
      for (let at = 0; at < IMAGE; at += PIECE) {
        const data = image.subarray(at, at + PIECE);
        assert.equal(await source.status(mediaCdb(0x8a, at, PIECE), { data }), 'GOOD');
      }
      await body({ daemon, image, create, attach });
    });
  } finally {
    for (const each of attached) each.close();
  }
}

async function content(disk: WireDisk): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let at = 0; at < IMAGE; at += PIECE) parts.push(await disk.data(mediaCdb(0x88, at, PIECE)));
  return Buffer.concat(parts);
}

describe('a host that copies as Windows does', { skip, concurrency: 1 }, () => {
  it('copies a disk inside a pool, to another pool, a thick disk and a file', async () => {
    await site(async ({ image, create, attach }) => {
      const kinds = [
        ['same', ['--pool', 'tank']],
        ['other', ['--pool', 'other']],
        ['thick', ['--pool', 'tank', '--thick']],
        ['file', ['--file']],
      ] as const;
      for (const [name, args] of kinds) {
        await create(name, args);
        const target = await attach(name);
        assert.equal(await copyFile(await attach('source'), target, BLOCK, [0, BLOCKS], 0, clock), 0, name);
        const bytes = await content(target);
        assert.equal(digest(bytes), digest(image), name);
        await checkExt4(bytes);
      }
    });
  });

  it('gets what was there when the token was made, also after a restart, and nobody else does', async () => {
    await site(async ({ daemon, image, create, attach }) => {
      const source = await attach('source');
      const { token, blocks } = await offloadRead(source, [[0, BLOCKS]]);
      assert.equal(blocks, BLOCKS);
      for (let at = 0; at < 8 * MIB; at += PIECE) {
        assert.equal(await source.status(mediaCdb(0x8a, at, PIECE), { data: Buffer.alloc(PIECE, 0x77) }), 'GOOD');
      }
      await create('target', ['--pool', 'tank', '--map', OTHER]);
      await daemon.crash();
      await daemon.start();
      const foreign = await attach('target', OTHER);
      const list = writeList(token, 0, [[0, 8]]);
      assert.equal(await writeUsing(foreign, newListId(), list), '05/23/00', 'a host that does not see the source');
      const target = await attach('target');
      const limits = await discover(target);
      assert.ok(limits);
      assert.equal(await offloadWrite(target, limits, BLOCK, token, [0, BLOCKS], clock), BLOCKS);
      const bytes = await content(target);
      assert.equal(digest(bytes), digest(image));
      await checkExt4(bytes);
      const forged = Buffer.from(token);
      forged[400] = (forged[400] ?? 0) ^ 1;
      assert.match(await writeUsing(target, newListId(), writeList(forged, 0, [[0, 8]])), /^05\/23\/0[45]$/);
    });
  });
});
