// qemu-img convert -C: QEMU has the copy made by EXTENDED COPY. It says nothing when it falls back to copying by itself, so the
// counters of the target decide.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { withDaemon, type Daemon, type Disk } from '../support/daemon.ts';
import { EsxiDisk } from '../support/esxi-copy.ts';
import { describeRun, run, runOk, type RunResult } from '../support/process.ts';
import { imageOptions, needsQemuTools } from '../support/qemu.ts';
import { withSourceImage } from './source-image.ts';

const MIB = 1024 * 1024;
/** Data of the source image. */
const DATA = 24 * MIB;
const skip = needsQemuTools();

interface Counters {
  readonly name: string;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly others: number;
  readonly errors: number;
}

async function countersOf(daemon: Daemon, volume: string): Promise<Counters> {
  const all = (await daemon.gemelJson(['stats'])) as { volumes: Counters[] } | Counters[];
  const found = (Array.isArray(all) ? all : all.volumes).find(({ name }) => name === volume);
  assert.ok(found, `no counters of ${volume}: ${JSON.stringify(all)}`);
  return found;
}

const SOURCE_HOST = 'iqn.2026-01.example.gemel:source';
const TARGET_HOST = 'iqn.2026-01.example.gemel:target';

interface Disks {
  readonly daemon: Daemon;
  /** qemu-img convert -C from the one to the other. */
  readonly convert: (more?: readonly string[]) => Promise<RunResult>;
  /** Takes the source away from the initiator that writes to the target, and the other way round. */
  readonly separate: () => Promise<void>;
}

/** The disk, from `offset` on, as QEMU opens it for this initiator. */
function imageOf(daemon: Daemon, { iqn, lun }: Disk, initiator: string, offset = 0): string {
  const options = imageOptions({ portal: daemon.portals[0] ?? '', iqn, lun, initiator });
  return `driver=raw,offset=${offset},file.${options.replaceAll(',', ',file.')}`;
}

/** Two disks of a pool, the source with data. QEMU is one initiator for the source and another for the target; both see both. */
async function twoDisks(body: (disks: Disks) => Promise<void>): Promise<void> {
  await withSourceImage(async (source) => {
    await withDaemon({}, async (daemon) => {
      await daemon.gemelJson(['pool', 'create', 'tank', '--size', '1G']);
      const maps = ['--map', SOURCE_HOST, '--map', TARGET_HOST];
      const from = await daemon.createVolume('from', String(source.bytes), maps);
      const to = await daemon.createVolume('to', String(source.bytes), maps);
      const [a, b] = [imageOf(daemon, from, SOURCE_HOST), imageOf(daemon, to, TARGET_HOST)];
      await runOk('qemu-img', ['convert', '-n', '-f', 'raw', '--target-image-opts', source.path, a]);
      await body({
        daemon,
        convert: (more = []) =>
          run('qemu-img', ['convert', '-n', '-C', ...more, '--image-opts', '--target-image-opts', a, b]),
        separate: async () => {
          await Promise.all([
            daemon.gemelJson(['unmap', 'from', TARGET_HOST]),
            daemon.gemelJson(['unmap', 'to', SOURCE_HOST]),
          ]);
        },
      });
      await runOk('qemu-img', ['compare', '--image-opts', a, b]);
    });
  });
}

describe('qemu-img convert -C', { skip, concurrency: 1 }, () => {
  it('copies inside the target: nothing is read or written by the host', async () => {
    await twoDisks(async ({ daemon, convert }) => {
      const before = await countersOf(daemon, 'to');
      const source = await countersOf(daemon, 'from');
      const result = await convert();
      assert.equal(result.code, 0, describeRun(result));
      const after = await countersOf(daemon, 'to');
      const read = (await countersOf(daemon, 'from')).readBytes - source.readBytes;
      assert.ok(after.writtenBytes === before.writtenBytes, `${after.writtenBytes} bytes were written by the host`);
      assert.ok(read < MIB, `${read} bytes were read by the host`);
      assert.equal(after.errors, before.errors, 'an error on the target');
    });
  });

  it('falls back to copying by itself when the source is not mapped to who asks', async () => {
    await twoDisks(async ({ daemon, convert, separate }) => {
      await separate();
      const before = await countersOf(daemon, 'to');
      const result = await convert();
      assert.equal(result.code, 0, describeRun(result));
      const after = await countersOf(daemon, 'to');
      assert.ok(after.writtenBytes - before.writtenBytes >= DATA, 'the host has not written');
    });
  });

  it('and when that is so only from the middle of the copy on', async () => {
    await twoDisks(async ({ daemon, convert, separate }) => {
      const converting = convert(['-r', '4M', '-m', '1']);
      while ((await daemon.occupiedBytes('to')) === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      await separate();
      const result = await converting;
      assert.equal(result.code, 0, describeRun(result));
      const { writtenBytes } = await countersOf(daemon, 'to');
      assert.ok(writtenBytes > 0 && writtenBytes < DATA, `${writtenBytes} bytes were written by the host`);
    });
  });

  // QEMU asks for the state of at most 2 GiB, and goes on behind it at a multiple of OPTIMAL UNMAP GRANULARITY. Where that is less
  // than a grain, no copy behind the first 2 GiB is of whole grains.
  it('shares all of a disk that has more than 2 GiB of data in one piece', async () => {
    await withDaemon({}, async (daemon) => {
      await daemon.gemelJson(['pool', 'create', 'tank', '--size', '1G']);
      const maps = ['--pool', 'tank', '--map', SOURCE_HOST];
      const from = await daemon.createVolume('from', `${LONG / MIB}M`, maps);
      const to = await daemon.createVolume('to', `${LONG / MIB}M`, maps);
      await fillByCopies(daemon, from);
      const images = (offset = 0): string[] => [from, to].map((disk) => imageOf(daemon, disk, SOURCE_HOST, offset));
      await runOk('qemu-img', ['convert', '-n', '-C', '-W', '--image-opts', '--target-image-opts', ...images()]);
      const copies = await copiesTo(daemon, 'to');
      assert.deepEqual({ shared: copies.sharedBytes, copied: copies.copiedBytes }, { shared: LONG, copied: 0 });
      await runOk('qemu-img', ['compare', '--image-opts', ...images(LONG - 192 * MIB)]);
    });
  });
});

/** Bytes of a disk that QEMU does not ask about at once. */
const LONG = 2176 * MIB;

/** All of the disk holds data, which takes little time and room: what has been written is copied again and again. */
async function fillByCopies(daemon: Daemon, { iqn, lun }: Disk): Promise<void> {
  const [host = '', port] = (daemon.portals[0] ?? '').split(':');
  const disk = await EsxiDisk.open({ host, port: Number(port), iqn, lun, initiator: SOURCE_HOST });
  try {
    const blocks = LONG / disk.blockSize;
    let done = (4 * MIB) / disk.blockSize;
    for (let at = 0; at < done; at += MIB / disk.blockSize) await disk.write(at, randomBytes(MIB));
    while (done < blocks) {
      // The most that one segment of type 02h can name, in whole grains.
      const count = Math.min(done, blocks - done, (31 * MIB) / disk.blockSize);
      await disk.extendedCopy(disk, disk, [{ from: 0, to: done, blocks: count }]);
      done += count;
    }
  } finally {
    disk.close();
  }
}

interface CopyCounters {
  readonly kind: string;
  readonly sharedBytes: number;
  readonly copiedBytes: number;
}

/** What the truth meter says of the EXTENDED COPYs of its one host to the volume. */
async function copiesTo(daemon: Daemon, name: string): Promise<CopyCounters> {
  const [volume] = (await daemon.gemelJson(['offload', name])) as { hosts: { kinds: CopyCounters[] }[] }[];
  const counters = volume?.hosts[0]?.kinds.find(({ kind }) => kind === 'extended-copy');
  assert.ok(counters, 'no EXTENDED COPY was counted');
  return counters;
}
