// What an administrator does to a disk while an initiator uses it, what the initiator sees, and what the counters say.
import assert from 'node:assert/strict';
import process from 'node:process';
import { describe, it } from 'node:test';
import { Opcode } from '../../core/iscsi/wire/constants.ts';
import { withDaemon, type Daemon, type Disk } from '../support/daemon.ts';
import { Initiator, type ScsiAnswer } from '../support/initiator.ts';
import { describeRun } from '../support/process.ts';

const MIB = 1024 * 1024;
const ALICE = 'iqn.2026-01.example.host:alice';
const TUR = Buffer.alloc(6);
const READ_CAPACITY_16 = Buffer.from('9e100000000000000000000000200000', 'hex');

function write10(lba: number, blocks: number): Buffer {
  const cdb = Buffer.alloc(10);
  cdb[0] = 0x2a;
  cdb.writeUInt32BE(lba, 2);
  cdb.writeUInt16BE(blocks, 7);
  return cdb;
}
function read10(lba: number, blocks: number): Buffer {
  const cdb = write10(lba, blocks);
  cdb[0] = 0x28;
  return cdb;
}

function connect(daemon: Daemon, disk: Disk, isid = '800000000001'): Promise<Initiator> {
  const [host = '', port = ''] = (daemon.portals[0] ?? '').split(':');
  return Initiator.login(host, Number(port), { target: disk.iqn, initiator: ALICE, isid });
}

/** The sense of a TEST UNIT READY; empty when there is nothing to say. */
async function tur(initiator: Initiator, lun = 0): Promise<string> {
  return (await initiator.scsi(TUR, { lun })).senseCode;
}

async function blocksOf(initiator: Initiator, lun = 0): Promise<number> {
  const { data } = await initiator.scsi(READ_CAPACITY_16, { lun, read: 32 });
  return Number(data.readBigUInt64BE(0)) + 1;
}

describe('a disk in use', { concurrency: 1 }, () => {
  it('grows, is mapped, unmapped and deleted under its initiator, which is told', async () => {
    await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
      const disk = await daemon.createVolume('one', '64M', ['--map', ALICE, '--target', 't']);
      const initiator = await connect(daemon, disk);
      assert.equal(await tur(initiator), '06/29/00');
      assert.equal(await tur(initiator), '');

      await daemon.gemelJson(['volume', 'resize', 'one', '--size', '96M']);
      assert.equal(await tur(initiator), '06/2a/09', 'CAPACITY DATA HAS CHANGED');
      assert.equal(await tur(initiator), '');
      assert.equal(await blocksOf(initiator), (96 * MIB) / 512);
      const data = Buffer.alloc(4096, 0x5a);
      assert.equal((await initiator.scsi(write10((95 * MIB) / 512, 8), { write: data })).status, 0);
      const shrink = await daemon.gemel(['volume', 'resize', 'one', '--size', '64M']);
      assert.equal(shrink.code, 5, describeRun(shrink));

      await daemon.createVolume('two', '16M', ['--map', ALICE, '--target', 't']);
      assert.equal(await tur(initiator), '06/3f/0e', 'REPORTED LUNS DATA HAS CHANGED');
      assert.equal(await tur(initiator, 1), '06/29/00');
      assert.equal(await blocksOf(initiator, 1), (16 * MIB) / 512);

      await daemon.gemelJson(['unmap', 'two', ALICE]);
      assert.equal(await tur(initiator, 1), '05/25/00', 'LOGICAL UNIT NOT SUPPORTED');
      assert.equal(await tur(initiator), '06/3f/0e');
      await daemon.gemelJson(['map', 'two', ALICE, '--read-only']);
      assert.equal(await tur(initiator), '06/3f/0e');
      assert.equal(await tur(initiator, 1), '06/29/00');
      const refused: ScsiAnswer = await initiator.scsi(write10(0, 8), { lun: 1, write: data });
      assert.equal(refused.senseCode, '07/27/00', 'WRITE PROTECTED');

      const inUse = await daemon.gemel(['volume', 'delete', '--purge', 'one']);
      assert.equal(inUse.code, 5);
      assert.match(inUse.stderr, new RegExp(`is in use by ${ALICE}`));
      assert.equal(await tur(initiator), '');
      await daemon.gemelJson(['volume', 'delete', '--purge', 'one', '--force']);
      assert.equal(await tur(initiator), '05/25/00');
      assert.equal(await initiator.logout(), 0);
      await daemon.gemelJson(['volume', 'delete', '--purge', 'two']);
      assert.deepEqual(await daemon.listVolumes(), []);
    });
  });

  it('shows in sessions and stats, and keeps every answered write when Ctrl-C stops the daemon', async () => {
    await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
      const disk = await daemon.createVolume('disk', '64M', ['--map', ALICE]);
      const initiator = await connect(daemon, disk);
      await tur(initiator);
      const data = Buffer.alloc(4096, 1);
      for (let i = 0; i < 8; i++) await initiator.scsi(write10(i * 8, 8), { write: data });
      await initiator.scsi(read10(0, 8), { read: 4096 });
      const [session] = (await daemon.gemelJson(['sessions'])) as Record<string, unknown>[];
      assert.ok(session);
      const { initiator: name, target, writtenBytes, readBytes, commands } = session;
      assert.deepEqual([name, target, writtenBytes, readBytes, commands], [ALICE, disk.iqn, 32_768, 4096, 10]);
      const [stats] = (await daemon.gemelJson(['stats'])) as Record<string, unknown>[];
      assert.deepEqual([stats?.['name'], stats?.['writes'], stats?.['reads']], ['disk', 8, 1]);

      // Eight writes are always under way; each answered one is counted.
      const answered = new Set<number>();
      const waiting = new Map<number, number>();
      let asked = false;
      let next = 0;
      const issue = (): void => {
        const block = next++;
        const command = initiator.command(write10(block * 8, 8), { flags: 0xa1, length: 4096 });
        waiting.set(command.readUInt32BE(16), block);
        initiator.send(command, Buffer.alloc(4096, (block % 255) + 1));
      };
      for (let i = 0; i < 8; i++) issue();
      let stopped: Promise<void> | undefined;
      while (!initiator.isClosed) {
        const pdu = await initiator.receive(30_000).catch(() => undefined);
        if (pdu === undefined) break;
        if (pdu.opcode === Opcode.asyncMessage) {
          asked = true;
          break;
        }
        if (pdu.opcode !== Opcode.scsiResponse) continue;
        const block = waiting.get(pdu.header.readUInt32BE(16));
        if (block === undefined || pdu.header[3] !== 0) continue;
        answered.add(block);
        initiator.expStatSN = (pdu.header.readUInt32BE(24) + 1) >>> 0;
        if (next < 8000) issue();
        if (answered.size === 100) stopped = daemon.stop('SIGINT');
      }
      assert.ok(asked, 'the initiator is asked to log out (RFC 7143 §11.9)');
      await initiator.logout().catch(() => undefined);
      await stopped;
      assert.ok(answered.size >= 100);

      await daemon.start();
      const again = await connect(daemon, disk);
      await tur(again);
      for (const block of answered) {
        const { data: back } = await again.scsi(read10(block * 8, 8), { read: 4096 });
        assert.ok(back.equals(Buffer.alloc(4096, (block % 255) + 1)), `block ${String(block)}`);
      }
      again.destroy();
      assert.ok(process.kill(daemon.ready.pid, 0));
    });
  });
});
