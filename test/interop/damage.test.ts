// Bits that flip on the disk of a pool while the daemon is away: it says which volume and which block, serves nothing that
// is wrong, and goes on with everything else.
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { open } from 'lmdb';
import { withDaemon, type Daemon, type Disk } from '../support/daemon.ts';
import { Initiator } from '../support/initiator.ts';
import type { ScsiAnswer } from '../support/initiator.ts';

const ALICE = 'iqn.2026-01.example.host:alice';

interface Shown {
  state: string;
  problem: string | null;
  damagedMaps: string[];
  facts: { damagedBlocks: number } | null;
}

const folderOf = ({ dataFolder }: Daemon): string => {
  const pools = join(dataFolder, 'pools');
  return join(pools, readdirSync(pools).find((name) => /^[0-9a-f]{16}$/.test(name)) ?? '');
};

function flip(path: string, position: number): void {
  const byte = readFileSync(path)[position] as number;
  const fd = openSync(path, 'r+');
  writeSync(fd, Buffer.from([byte ^ 0x04]), 0, 1, position);
  closeSync(fd);
}

/** A disk over iSCSI, one command at a time. */
class Host {
  readonly #initiator: Initiator;

  private constructor(initiator: Initiator) {
    this.#initiator = initiator;
  }

  static async login(daemon: Daemon, disk: Disk): Promise<Host> {
    const [host = '', port = ''] = (daemon.portals[0] ?? '').split(':');
    const initiator = await Initiator.login(host, Number(port), { target: disk.iqn, initiator: ALICE });
    await initiator.scsi(Buffer.alloc(6));
    return new Host(initiator);
  }

  #cdb(opcode: number, lba: number, blocks: number): Buffer {
    const cdb = Buffer.alloc(10);
    cdb[0] = opcode;
    cdb.writeUInt32BE(lba, 2);
    cdb.writeUInt16BE(blocks, 7);
    return cdb;
  }

  read(lba: number, blocks: number): Promise<ScsiAnswer> {
    return this.#initiator.scsi(this.#cdb(0x28, lba, blocks), { read: blocks * 512 });
  }

  async write(lba: number, blocks: number, value: number): Promise<void> {
    const { senseCode } = await this.#initiator.scsi(this.#cdb(0x2a, lba, blocks), {
      write: Buffer.alloc(blocks * 512, value),
    });
    assert.equal(senseCode, '');
  }

  async holds(lba: number, blocks: number, value: number): Promise<void> {
    const { data, senseCode } = await this.read(lba, blocks);
    assert.equal(senseCode, '');
    assert.ok(data.equals(Buffer.alloc(blocks * 512, value)), `LBA ${String(lba)} is not all ${String(value)}`);
  }

  end(): void {
    this.#initiator.destroy();
  }
}

async function withDisks(body: (daemon: Daemon, disks: [Disk, Disk]) => Promise<void>): Promise<void> {
  await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
    await daemon.gemelJson(['pool', 'create', 'tank', '--size', '64M']);
    const disks: Disk[] = [];
    for (const [i, name] of ['victim', 'other'].entries()) {
      const disk = await daemon.createVolume(name, '32M', ['--map', ALICE]);
      disks.push(disk);
      const host = await Host.login(daemon, disk);
      await host.write(0, 128, 0xa1 + i);
      host.end();
    }
    await body(daemon, disks as [Disk, Disk]);
  });
}

const shown = async (daemon: Daemon): Promise<Shown> => (await daemon.gemelJson(['pool', 'show', 'tank'])) as Shown;

async function otherWorks(daemon: Daemon, disk: Disk): Promise<void> {
  const host = await Host.login(daemon, disk);
  await host.holds(0, 128, 0xa2);
  await host.write(8, 8, 0xb2);
  await host.holds(8, 8, 0xb2);
  host.end();
}

describe('a flipped bit', { concurrency: 1 }, () => {
  it('in data is MEDIUM ERROR with the LBA, a line of the log and a number', async () => {
    await withDisks(async (daemon, [victim, other]) => {
      await daemon.stop();
      const slab = join(folderOf(daemon), 'slab-00000');
      const first = readFileSync(slab).indexOf(Buffer.alloc(4096, 0xa1));
      assert.ok(first > 0);
      // Blocks 40 to 47 of 512 bytes.
      flip(slab, first + 5 * 4096 + 123);
      await daemon.start();
      const host = await Host.login(daemon, victim);
      const bad = await host.read(32, 32);
      assert.match(bad.senseCode, /^03\/11\//);
      assert.equal(bad.data.length, 0, 'nothing of it is served');
      // Fixed format: VALID, and INFORMATION in bytes 3 to 6 (SPC-4 4.5.3); else the information descriptor.
      const fixed = ((bad.sense[0] as number) & 0x7f) === 0x70;
      const lba = fixed ? bad.sense.readUInt32BE(3) : Number(bad.sense.readBigUInt64BE(12));
      assert.equal(lba, 40);
      await host.holds(0, 40, 0xa1);
      await host.holds(48, 80, 0xa1);
      assert.ok(((await shown(daemon)).facts?.damagedBlocks ?? 0) >= 1);
      const lines = daemon.output.split('\n').filter((line) => line.includes('does not match its checksum'));
      assert.ok(
        lines.some((line) => line.includes('"volume":"victim"') && line.includes('"lba":40')),
        lines.join('\n'),
      );
      await host.write(40, 8, 0xc1);
      await host.holds(0, 40, 0xa1);
      await host.holds(40, 8, 0xc1);
      host.end();
      await otherWorks(daemon, other);
      await daemon.stop();
    });
  });

  it('in a map is the trouble of its volume', async () => {
    await withDisks(async (daemon, [, other]) => {
      await daemon.stop();
      const db = open<Buffer, [number, number]>({ path: join(folderOf(daemon), 'meta'), encoding: 'binary' });
      // The first volume made the first leaf.
      const leaf = Buffer.from(db.get([3, 1]) as Buffer);
      leaf[2] = (leaf[2] as number) ^ 1;
      await db.put([3, 1], leaf);
      await db.close();
      await daemon.start();
      const volumes = (await daemon.gemelJson(['volume', 'list'])) as { name: string; problem: string | null }[];
      const problemOf = (name: string): string | null => volumes.find((each) => each.name === name)?.problem ?? null;
      assert.match(problemOf('victim') ?? '', /damaged \(bytes 0 to 67108864\)/);
      assert.equal(problemOf('other'), null);
      assert.deepEqual((await shown(daemon)).damagedMaps, ['victim: bytes 0 to 67108864']);
      const check = await daemon.gemel(['pool', 'check', 'tank']);
      assert.notEqual(check.code, 0);
      assert.match(check.stdout, /the map of volume victim is damaged/);
      // The log has a pipe of its own, which may come after the line that says ready.
      const told = /the map of a volume is damaged; it is not served/;
      for (let i = 0; i < 1000 && !told.test(daemon.output); i++) await sleep(20);
      assert.match(daemon.output, told);
      await otherWorks(daemon, other);
      await daemon.gemelJson(['volume', 'delete', '--purge', 'victim', '--wait']);
      assert.deepEqual((await shown(daemon)).damagedMaps, []);
      await daemon.gemelJson(['pool', 'check', 'tank']);
      await daemon.stop();
    });
  });

  it('in a superblock is mended, in both it is told', async () => {
    await withDisks(async (daemon, [, other]) => {
      const superblock = join(folderOf(daemon), 'superblock');
      for (const at of [30, 4096 + 30]) {
        await daemon.stop();
        flip(superblock, at);
        await daemon.start();
        assert.equal((await shown(daemon)).state, 'online');
      }
      await otherWorks(daemon, other);
      await daemon.stop();
      flip(superblock, 30);
      flip(superblock, 4096 + 30);
      await daemon.start();
      const { state, problem } = await shown(daemon);
      assert.equal(state, 'failed');
      assert.match(problem ?? '', /both superblocks/);
      await daemon.stop();
    });
  });

  it('in data in the journal is MEDIUM ERROR with the LBA; everything else that was acknowledged is there', async () => {
    await withDisks(async (daemon, [victim, other]) => {
      await crashWith(daemon, victim);
      const journal = join(folderOf(daemon), 'journal');
      flip(journal, dataIn(journal) + 77);
      await daemon.start();
      const host = await Host.login(daemon, victim);
      for (let i = 0; i < 8; i++) if (i !== 2) await host.holds(1024 + i * 8, 8, 0x30 + i);
      assert.match((await host.read(1040, 8)).senseCode, /^03\/11\//);
      const { state, facts } = await shown(daemon);
      assert.equal(state, 'online');
      assert.ok((facts?.damagedBlocks ?? 0) >= 1);
      const lines = daemon.output.split('\n').filter((line) => line.includes('damaged in the journal'));
      assert.ok(
        lines.some((line) => line.includes('"volume":"victim"') && line.includes('"lba":1040')),
        lines.join('\n'),
      );
      await host.write(1040, 8, 0x99);
      await host.holds(1040, 8, 0x99);
      host.end();
      await otherWorks(daemon, other);
      await daemon.stop();
    });
  });

  it('in a header of the journal is told, and nothing that was acknowledged is dropped silently', async () => {
    await withDisks(async (daemon, [victim]) => {
      await crashWith(daemon, victim);
      const journal = join(folderOf(daemon), 'journal');
      flip(journal, dataIn(journal) - 4096 + 20);
      await daemon.start();
      const { state, problem } = await shown(daemon);
      assert.equal(state, 'failed');
      assert.match(problem ?? '', /damaged at byte \d+ \(batch \d+, about volume victim LBA 1040 to 1047\)/);
      await daemon.stop();
    });
  });
});

/** Eight writes from LBA 1024 on, 0x30 to 0x37, and a kill. */
async function crashWith(daemon: Daemon, disk: Disk): Promise<void> {
  const host = await Host.login(daemon, disk);
  for (let i = 0; i < 8; i++) await host.write(1024 + i * 8, 8, 0x30 + i);
  host.end();
  await daemon.crash();
}

/** Where the third of these writes is; its header lies in front of it. */
function dataIn(journal: string): number {
  const at = readFileSync(journal).lastIndexOf(Buffer.alloc(4096, 0x32));
  assert.ok(at > 0);
  return at;
}
