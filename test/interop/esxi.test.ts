// A host that leaves its copies to the storage as ESXi does (support/esxi-copy.ts), against the real daemon: a file system that
// mkfs has made is cloned, zeroed, given back, while a heartbeat goes on; and copied by the host when the storage will not.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { withDaemon } from '../support/daemon.ts';
import type { Daemon, Disk } from '../support/daemon.ts';
import { EsxiDisk, Heartbeat, Refused, clone, reasonNotToAsk } from '../support/esxi-copy.ts';
import { checkExt4, ext4Image, needsExt4 } from '../support/ext4-image.ts';

const MIB = 1_048_576;
const BLOCK = 512;
/** Of the file system. */
const IMAGE = 64 * MIB;
/** Behind it the host keeps its heartbeat and a counter. */
const SIZE = IMAGE + MIB;
const BLOCKS = IMAGE / BLOCK;
const HEARTBEAT = BLOCKS + 1;
const COUNTER = BLOCKS + 8;
const ESX = 'iqn.1998-01.com.vmware:esx1';
const OTHER = 'iqn.1998-01.com.vmware:esx2';
const skip = needsExt4();

interface Kind {
  readonly kind: string;
  readonly used: number;
  readonly refused: number;
  readonly sharedBytes: number;
  readonly copiedBytes: number;
}

interface Site {
  readonly daemon: Daemon;
  /** Bytes of the file system. */
  readonly image: Buffer;
  /** A disk mapped to both hosts. */
  create(name: string, args?: readonly string[], size?: number): Promise<Disk>;
  /** The disk as a host sees it. */
  attach(disk: Disk, initiator?: string): Promise<EsxiDisk>;
  /** A disk with the file system on it. */
  source(args?: readonly string[]): Promise<EsxiDisk>;
  meter(name: string, kind: string): Promise<Kind>;
}

async function site(body: (site: Site) => Promise<void>): Promise<void> {
  const attached: EsxiDisk[] = [];
  try {
    const image = await ext4Image(IMAGE);
    await withDaemon({}, async (daemon) => {
      await daemon.gemelJson(['pool', 'create', 'tank', '--size', '1G']);
      const [host = '', port] = (daemon.portals[0] ?? '').split(':');
      const made: Site = {
        daemon,
        image,
        create: (name, args = ['--pool', 'tank'], size = SIZE) =>
          daemon.createVolume(name, String(size), ['--map', ESX, '--map', OTHER, ...args]),
        attach: async ({ iqn, lun }, initiator = ESX) => {
          const opened = await EsxiDisk.open({ host, port: Number(port), iqn, lun, initiator, paths: 2 });
          attached.push(opened);
          return opened;
        },
        source: async (args) => {
          const disk = await made.attach(await made.create('source', args));
          for (let at = 0; at < IMAGE; at += MIB) await disk.write(at / BLOCK, image.subarray(at, at + MIB));
          return disk;
        },
        meter: async (name, kind) => {
          const [volume] = (await daemon.gemelJson(['offload', name])) as { hosts: { kinds: Kind[] }[] }[];
          const found = volume?.hosts[0]?.kinds.find((each) => each.kind === kind);
          assert.ok(found, `${name}: ${kind} was never asked for`);
          return found;
        },
      };
      await body(made);
    });
  } finally {
    for (const each of attached) each.close();
  }
}

const isZero = (bytes: Buffer): boolean => bytes.equals(Buffer.alloc(bytes.length));
const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** What the disk holds is the file system, and e2fsck thinks so too. */
async function holdsImage({ image }: Site, disk: EsxiDisk, from = 0): Promise<void> {
  const parts: Buffer[] = [];
  for (let at = 0; at < IMAGE; at += MIB) parts.push(await disk.read((from + at) / BLOCK, MIB / BLOCK));
  const bytes = Buffer.concat(parts);
  assert.equal(digest(bytes), digest(image), 'the copy');
  await checkExt4(bytes);
}

describe('a host that copies as ESXi does', { skip, concurrency: 1 }, () => {
  it('clones inside a pool in steps of 4 and of 16 MiB, while its heartbeat goes on', async () => {
    await site(async (all) => {
      const source = await all.source();
      for (const step of [4 * MIB, 16 * MIB]) {
        const name = `clone${String(step / MIB)}`;
        const target = await all.attach(await all.create(name));
        assert.equal(reasonNotToAsk(source, target, step), undefined);
        const heartbeats = [new Heartbeat(source, HEARTBEAT, 5), new Heartbeat(target, HEARTBEAT, 5)];
        const result = await clone(source, target, { step, blocks: BLOCKS });
        for (const each of heartbeats) await each.stop();
        assert.deepEqual(result, { offloaded: IMAGE, copied: 0, refusal: undefined });
        for (const each of heartbeats) assert.ok(each.beats > 0 && each.slowest < 8000, 'the heartbeat');
        await holdsImage(all, target);
        const meter = await all.meter(name, 'extended-copy');
        assert.deepEqual([meter.used, meter.refused, meter.copiedBytes], [IMAGE / step, 0, 0]);
      }
    });
  });

  it('clones between pools, and to and from a file, a thick disk, and askew', async () => {
    await site(async (all) => {
      await all.daemon.gemelJson(['pool', 'create', 'other', '--size', '1G']);
      await all.daemon.gemelJson(['copy-route', 'always']);
      let source = await all.source();
      const kinds = [
        ['pool', ['--pool', 'other']],
        ['file', ['--file']],
        ['thick', ['--pool', 'tank', '--thick']],
        ['thin', ['--pool', 'tank']],
      ] as const;
      // Each from the one before.
      for (const [name, args] of kinds) {
        const target = await all.attach(await all.create(name, args));
        const result = await clone(source, target, { blocks: BLOCKS });
        assert.deepEqual(result, { offloaded: IMAGE, copied: 0, refusal: undefined }, name);
        await holdsImage(all, target);
        const { copiedBytes } = await all.meter(name, 'extended-copy');
        assert.ok(copiedBytes > 0, `${name}: nothing was moved`);
        source = target;
      }
      const askew = await all.attach(await all.create('askew'));
      const result = await clone(source, askew, { blocks: BLOCKS, to: 8, step: 16 * MIB });
      assert.deepEqual(result, { offloaded: IMAGE, copied: 0, refusal: undefined });
      await holdsImage(all, askew, 4096);
    });
  });

  it('locks against another host (ATS) while both clone', async () => {
    await site(async (all) => {
      const source = await all.source();
      const [one, two] = [await all.create('one'), await all.create('two')];
      const hosts = [await all.attach(one), await all.attach(two, OTHER)];
      // The counter is on the disk of the first.
      const counters = [await all.attach(one), await all.attach(one, OTHER)];
      const ROUNDS = 20;
      let lost = 0;
      const count = async (disk: EsxiDisk): Promise<void> => {
        for (let done = 0; done < ROUNDS;) {
          const old = await disk.read(COUNTER, 1);
          const fresh = Buffer.from(old);
          fresh.writeUInt32BE(old.readUInt32BE(0) + 1, 0);
          if (await disk.testAndSet(COUNTER, old, fresh)) done++;
          else lost++;
        }
      };
      const counting = Promise.all(counters.map(count));
      const otherSource = await all.attach(await all.daemon.volume('source'), OTHER);
      const results = await Promise.all([
        clone(source, hosts[0] as EsxiDisk, { blocks: BLOCKS }),
        clone(otherSource, hosts[1] as EsxiDisk, { blocks: BLOCKS }),
      ]);
      await counting;
      for (const result of results) assert.deepEqual(result, { offloaded: IMAGE, copied: 0, refusal: undefined });
      const [counter] = counters;
      assert.equal((await counter?.read(COUNTER, 1))?.readUInt32BE(0), 2 * ROUNDS, `${String(lost)} miscompares`);
      for (const each of hosts) await holdsImage(all, each);
    });
  });

  it('zeroes what a new disk gets, and gives back what a deleted one had', async () => {
    await site(async (all) => {
      const disk = await all.source();
      // On both sides of the ends of what is zeroed: the file system may have holes there.
      const noise = Buffer.alloc(2 * MIB, 0x5e);
      for (const end of [8, 32]) await disk.write(((end - 1) * MIB) / BLOCK, noise);
      const before = await all.daemon.occupiedBytes('source');
      await disk.zero((8 * MIB) / BLOCK, (24 * MIB) / BLOCK);
      const first = Buffer.from(noise).fill(0, MIB);
      assert.equal(digest(await disk.read((7 * MIB) / BLOCK, (2 * MIB) / BLOCK)), digest(first));
      const last = Buffer.from(noise).fill(0, 0, MIB);
      assert.equal(digest(await disk.read((31 * MIB) / BLOCK, (2 * MIB) / BLOCK)), digest(last));
      const left = await all.daemon.occupiedBytes('source');
      assert.ok(left < before, `${String(left)} of ${String(before)} bytes are left`);
      await disk.unmap([
        [0, (8 * MIB) / BLOCK],
        [(32 * MIB) / BLOCK, (32 * MIB) / BLOCK],
      ]);
      assert.equal(await all.daemon.occupiedBytes('source'), 0);
      assert.equal(digest(await disk.read(0, MIB / BLOCK)), digest(Buffer.alloc(MIB)));
    });
  });

  it('copies by itself from where the storage refuses on, and what it has is right', async () => {
    await site(async (all) => {
      const source = await all.source();
      await all.daemon.gemelJson(['copy-route', 'never']);
      const refused = await all.attach(await all.create('refused'));
      const nothing = await clone(source, refused, { blocks: BLOCKS });
      assert.equal(nothing.copied, IMAGE);
      assert.match(nothing.refusal ?? '', /sense 05\/55\/03/);
      await holdsImage(all, refused);
      assert.ok((await all.meter('refused', 'extended-copy')).refused >= 1);

      await all.daemon.gemelJson(['copy-route', 'always']);
      const half = await all.attach(await all.create('half', ['--file']));
      const cloning = clone(source, half, { blocks: BLOCKS, step: MIB, depth: 1 });
      // Until what is there behind an eighth of the image has been copied.
      let at = BLOCKS / 8;
      while (isZero(all.image.subarray(at * BLOCK, (at + 1) * BLOCK))) at++;
      while (isZero(await half.read(at, 1))) await new Promise((resolve) => setTimeout(resolve, 1));
      await all.daemon.gemelJson(['copy-route', 'never']);
      const some = await cloning;
      assert.ok(some.offloaded > 0 && some.offloaded + some.copied === IMAGE, JSON.stringify(some));
      await holdsImage(all, half);
    });
  });

  it('goes on after a unit attention, and stops when the pool is full', async () => {
    await site(async (all) => {
      await all.daemon.gemelJson(['copy-route', 'always']);
      const source = await all.source();
      const target = await all.attach(await all.create('target', ['--file']));
      const cloning = clone(source, target, { blocks: BLOCKS, step: MIB, depth: 1 });
      await all.daemon.gemelJson(['volume', 'resize', 'target', '--size', String(SIZE + MIB)]);
      assert.deepEqual(await cloning, { offloaded: IMAGE, copied: 0, refusal: undefined });
      await target.read(0, 1);
      await target.read(0, 1);
      assert.ok(target.retries >= 3, 'a unit attention after each login, and one of the new size');
      await holdsImage(all, target);

      await all.daemon.gemelJson(['pool', 'create', 'small', '--size', '64M']);
      const full = await all.attach(await all.create('full', ['--pool', 'small'], 4 * IMAGE));
      const noise = Buffer.alloc(MIB);
      const fill = async (): Promise<void> => {
        for (let at = 0; ; at += MIB) {
          noise.fill(1 + ((at / MIB) % 255));
          await full.write((IMAGE + at) / BLOCK, noise);
        }
      };
      // VMs are stopped by this sense, and go on when there is room again.
      const noSpace = (error: unknown): boolean => error instanceof Refused && error.answer.senseCode === '07/27/07';
      await assert.rejects(fill, noSpace);
      await assert.rejects(clone(source, full, { blocks: BLOCKS }), noSpace);
    });
  });

  it('copies nothing that is not mapped to it, and does not ask between disks of unlike blocks', async () => {
    await site(async (all) => {
      const source = await all.source();
      const target = await all.attach(await all.create('target'), OTHER);
      await all.daemon.gemelJson(['unmap', 'source', OTHER]);
      const segment = { from: 0, to: 0, blocks: 8 };
      await assert.rejects(target.extendedCopy(source, target, [segment]), /sense 0a\/0d\/02/);
      assert.equal(digest(await target.read(0, 8)), digest(Buffer.alloc(8 * BLOCK)));
      const coarse = await all.attach(await all.create('coarse', ['--pool', 'tank', '--block-size', '4096']));
      assert.match(reasonNotToAsk(source, coarse, MIB) ?? '', /blocks/);
    });
  });
});
