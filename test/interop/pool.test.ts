// Disks of a pool as initiators and administrators meet them: snapshots, clones and rollbacks between crashes, a pool that
// fills up, and what the command line says.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { withDaemon, type Daemon, type Disk } from '../support/daemon.ts';
import { Initiator } from '../support/initiator.ts';
import { describeRun, runOk } from '../support/process.ts';
import { needsQemuTools } from '../support/qemu.ts';

const MIB = 1024 * 1024;
const ALICE = 'iqn.2026-01.example.host:alice';
const TUR = Buffer.alloc(6);

/** Runs qemu-io commands on a disk over iscsi://; fails when one of them does, or when a pattern differs. */
async function qemuIo(disk: Disk, ...commands: string[]): Promise<void> {
  const args = ['-f', 'raw', '-t', 'none', ...commands.flatMap((command) => ['-c', command]), disk.url];
  const result = await runOk('qemu-io', args);
  assert.doesNotMatch(result.stdout, /verification failed|failed:/, describeRun(result));
}

interface Pool {
  facts: { capacityBytes: number; usedBytes: number; damagedBlocks: number };
  thresholdReached: boolean;
  deletions: unknown[];
  scrub: { state: string; damaged: unknown[] } | null;
}

const poolOf = async (daemon: Daemon): Promise<Pool> => (await daemon.gemelJson(['pool', 'show', 'tank'])) as Pool;

/** Nothing is wrong with the pool: neither its references nor its data. */
async function isSound(daemon: Daemon): Promise<void> {
  assert.deepEqual(((await daemon.gemelJson(['pool', 'check', 'tank'])) as { findings: string[] }).findings, []);
  const scrubbed = (await daemon.gemelJson(['pool', 'scrub', 'tank', '--rate', '10G', '--wait'])) as Pool;
  assert.equal(scrubbed.scrub?.state, 'done');
  assert.deepEqual(scrubbed.scrub.damaged, []);
}

async function crashAndStart(daemon: Daemon): Promise<void> {
  await daemon.crash();
  await daemon.start();
}

describe('a pool', { concurrency: 1 }, () => {
  it('keeps snapshots, clones and rollbacks through crashes', { skip: needsQemuTools() }, async () => {
    await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
      await daemon.gemelJson(['pool', 'create', 'tank', '--size', '256M']);
      const disk = await daemon.createVolume('disk', '1G');
      const other = await daemon.createVolume('other', '64M');
      await qemuIo(disk, 'write -P 1 0 16M', 'write -P 2 512M 4k', 'write -P 2 1023M 512');
      await qemuIo(other, 'write -P 3 0 1M');
      await daemon.gemelJson(['snapshot', 'create', 'disk,other', 'before']);
      await crashAndStart(daemon);

      await qemuIo(disk, 'read -P 1 0 16M', 'write -P 4 1M 8M', 'write -P 4 512M 512', 'discard 12M 4M');
      await qemuIo(other, 'write -P 5 0 64k');
      await crashAndStart(daemon);
      await qemuIo(disk, 'read -P 1 0 1M', 'read -P 4 1M 8M', 'read -P 1 9M 3M', 'read -P 0 12M 4M');
      await qemuIo(disk, 'read -P 4 512M 512', 'read -P 2 536871424 3584', 'read -P 2 1023M 512', 'read -P 0 600M 1M');

      const clone = (await daemon.gemelJson(['volume', 'clone', 'disk@before', 'clone', '--map', 'loopback'])) as Disk;
      assert.equal(clone.size, 1024 * MIB);
      await qemuIo(clone, 'read -P 1 0 16M', 'read -P 2 512M 4k', 'write -P 6 0 64k');
      await crashAndStart(daemon);
      await qemuIo(clone, 'read -P 6 0 64k', 'read -P 1 64k 16320k', 'read -P 2 1023M 512');
      await qemuIo(disk, 'read -P 1 0 1M', 'read -P 4 1M 8M');

      await daemon.gemelJson(['snapshot', 'rollback', 'disk@before']);
      await qemuIo(disk, 'read -P 1 0 16M', 'read -P 2 512M 4k');
      await crashAndStart(daemon);
      await qemuIo(disk, 'read -P 1 0 16M', 'read -P 2 512M 4k', 'read -P 2 1023M 512');
      await qemuIo(other, 'read -P 5 0 64k', 'read -P 3 64k 960k');
      await isSound(daemon);

      const refused = await daemon.gemel(['volume', 'delete', '--purge', 'disk']);
      assert.equal(refused.code, 5, describeRun(refused));
      assert.match(refused.stderr, /has snapshots \(before\)\. .*--with-snapshots/);
      await daemon.gemelJson(['volume', 'delete', '--purge', 'disk', '--with-snapshots']);
      await crashAndStart(daemon);
      await qemuIo(clone, 'read -P 6 0 64k', 'read -P 1 64k 16320k');
      await daemon.gemelJson(['volume', 'delete', '--purge', 'clone', '--wait']);
      await daemon.gemelJson(['volume', 'delete', '--purge', 'other', '--with-snapshots', '--wait']);
      while ((await poolOf(daemon)).deletions.length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal((await poolOf(daemon)).facts.usedBytes, 0);
      await isSound(daemon);
      await daemon.gemelJson(['pool', 'delete', 'tank']);
      await daemon.stop();
    });
  });

  it('tells its initiators that it fills up, and when it is full', async () => {
    await withDaemon({ args: ['--no-demo', '--cache-size', '0'] }, async (daemon) => {
      await daemon.gemelJson(['pool', 'create', 'tank', '--size', '16M']);
      const disk = await daemon.createVolume('disk', '64M', ['--map', ALICE]);
      const [host = '', port = ''] = (daemon.portals[0] ?? '').split(':');
      const initiator = await Initiator.login(host, Number(port), { target: disk.iqn, initiator: ALICE });
      const tur = async (): Promise<string> => (await initiator.scsi(TUR)).senseCode;
      /** Writes mebibyte `number`; the sense. */
      const write = async (number: number): Promise<string> => {
        const cdb = Buffer.alloc(10);
        cdb[0] = 0x2a;
        cdb.writeUInt32BE((number * MIB) / 512, 2);
        cdb.writeUInt16BE(MIB / 512, 7);
        return (await initiator.scsi(cdb, { write: Buffer.alloc(MIB, number + 1) })).senseCode;
      };
      assert.equal(await tur(), '06/29/00');
      for (let i = 0; i < 12; i++) assert.equal(await write(i), '', `mebibyte ${String(i)}`);
      assert.equal(await tur(), '', '75 %');
      assert.equal(await write(12), '');
      assert.equal(await tur(), '06/38/07', 'THIN PROVISIONING SOFT THRESHOLD REACHED');
      for (let i = 13; i < 16; i++) assert.equal(await write(i), '', `mebibyte ${String(i)}`);
      assert.equal(await tur(), '', 'told once');
      assert.equal(await write(16), '07/27/07', 'SPACE ALLOCATION FAILED WRITE PROTECT');
      assert.equal(await write(3), '', 'what has its place is written still');
      assert.equal((await poolOf(daemon)).thresholdReached, true);
      for (let i = 0; i < 1000 && !daemon.output.includes('pool is filling up'); i++) await sleep(20);
      assert.match(daemon.output, /pool is filling up/);

      await daemon.gemelJson(['pool', 'grow', 'tank', '--by', '16M']);
      assert.equal((await poolOf(daemon)).facts.capacityBytes, 32 * MIB);
      assert.equal(await tur(), '06/2a/01', 'MODE PARAMETERS CHANGED: the threshold is more sets of blocks now');
      assert.equal(await write(16), '', 'there is room again');
      const read = Buffer.from('28000000800000080000', 'hex');
      read.writeUInt32BE((16 * MIB) / 512, 2);
      read.writeUInt16BE(8, 7);
      const { data } = await initiator.scsi(read, { read: 4096 });
      assert.ok(data.equals(Buffer.alloc(4096, 17)));
      const inUse = await daemon.gemel(['volume', 'delete', '--purge', 'disk']);
      assert.equal(inUse.code, 5);
      initiator.destroy();
      await daemon.stop();
    });
  });
});
