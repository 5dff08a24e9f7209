// The storage gateway: unmodified virsh in front of a real libvirtd with real QEMUs and a real daemon.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { describe, test } from 'node:test';
import { withGateway } from '../support/gateway.ts';
import type { Gateway } from '../support/gateway.ts';
import { CHAP_SECRET, HOST_IQN, withKvmHost } from '../support/kvm-host.ts';
import { needsLibvirtd } from '../support/libvirtd.ts';
import { describeRun, run } from '../support/process.ts';

const MIB = 1_048_576;
const skip = needsLibvirtd();

/** Runs virsh, which has to succeed; what it printed. */
async function ok({ virsh }: Gateway, ...args: string[]): Promise<string> {
  const result = await virsh(...args);
  assert.equal(result.code, 0, describeRun(result));
  return result.stdout;
}

async function refused({ virsh }: Gateway, why: RegExp, ...args: string[]): Promise<void> {
  const result = await virsh(...args);
  assert.notEqual(result.code, 0, describeRun(result));
  assert.match(result.stderr, why);
}

describe('the storage gateway', { skip }, () => {
  test('shows the storage as a pool: volumes are created, cloned, grown, attached and deleted', async () => {
    await withKvmHost({ chap: true }, async (host) => {
      const { daemon, libvirtd } = host;
      await daemon.createVolume('of-others', '16M');
      await host.context.storage.knowHost('kvm1', HOST_IQN, { user: 'kvm1', secret: CHAP_SECRET });
      const machine = await host.machine('vm1');
      await withGateway(host, async (gateway) => {
        assert.equal(statSync(gateway.socket).mode & 0o777, 0o600);
        assert.match(await ok(gateway, 'pool-list', '--all'), /^ ?gemel +active +yes/m);
        assert.match(await ok(gateway, 'pool-list', '--type', 'logical'), /gemel/);
        assert.doesNotMatch(await ok(gateway, 'pool-list', '--type', 'dir'), /gemel/);
        assert.doesNotMatch(await ok(gateway, 'pool-list', '--inactive'), /gemel/);
        assert.match(await ok(gateway, 'pool-info', 'gemel'), /State: +running[^]*Capacity: +\d/);
        assert.match(await ok(gateway, 'pool-dumpxml', 'gemel'), /<pool type="logical">/);
        await refused(gateway, /is the storage of Gemel/, 'pool-destroy', 'gemel');
        assert.equal((await ok(gateway, 'vol-list', 'gemel')).trim(), '', "nobody else's disks are shown");

        await ok(gateway, 'vol-create-as', 'gemel', 'disk-1', '64M');
        const made = await host.context.storage.volume('disk-1');
        assert.deepEqual([made.size, made.maps.map(({ initiator }) => initiator)], [64 * MIB, [HOST_IQN]]);
        assert.match(await ok(gateway, 'vol-list', 'gemel'), /disk-1 +\/dev\/gemel\/disk-1/);
        assert.match(await ok(gateway, 'vol-dumpxml', '/dev/gemel/disk-1'), /<capacity unit="bytes">67108864</);
        await refused(gateway, /already/, 'vol-create-as', 'gemel', 'disk-1', '64M');
        await refused(gateway, /of-others/, 'vol-delete', 'of-others', '--pool', 'gemel');
        await ok(gateway, 'vol-resize', 'disk-1', '96M', '--pool', 'gemel');
        await refused(gateway, /only grow/, 'vol-resize', 'disk-1', '32M', '--pool', 'gemel', '--shrink');
        await ok(gateway, 'vol-clone', 'disk-1', 'disk-2', '--pool', 'gemel');
        assert.equal((await host.context.storage.volume('disk-2')).size, 96 * MIB);

        await ok(gateway, 'attach-disk', 'vm1', '/dev/gemel/disk-1', 'sda', '--targetbus', 'scsi', '--live');
        const real = await run('virsh', ['-c', libvirtd.uri, 'dumpxml', 'vm1']);
        assert.match(real.stdout, new RegExp(`protocol='iscsi' name='${made.iqn}/0'`), 'what libvirtd has');
        assert.match(real.stdout, new RegExp(HOST_IQN));
        assert.match(await ok(gateway, 'domblklist', 'vm1'), /sda +\/dev\/gemel\/disk-1/, 'what clients see');
        assert.equal((await host.context.storage.volume('disk-1')).sessions, 1);
        const again = ['attach-disk', 'vm1', '/dev/gemel/disk-1', 'sdb', '--targetbus', 'scsi', '--live'];
        await refused(gateway, /disk-1' is a disk of vm1/, ...again);
        await refused(gateway, /disk-1' is a disk of vm1/, 'vol-delete', 'disk-1', '--pool', 'gemel');
        await refused(gateway, /no-such/, 'attach-disk', 'vm1', '/dev/gemel/no-such', 'sdb', '--targetbus', 'scsi');
        await ok(gateway, 'destroy', 'vm1');
        assert.equal(machine.name, 'vm1');
        await ok(gateway, 'vol-delete', 'disk-2', '--pool', 'gemel');
        await ok(gateway, 'vol-delete', 'disk-1', '--pool', 'gemel');
        assert.equal((await ok(gateway, 'vol-list', 'gemel')).trim(), '');

        // All else is libvirtd's own.
        assert.equal(
          await ok(gateway, 'capabilities'),
          (await run('virsh', ['-q', '-c', libvirtd.uri, 'capabilities'])).stdout,
        );
        await ok(gateway, 'pool-define-as', 'local', 'dir', '--target', host.libvirtd.folder);
        assert.match(await ok(gateway, 'pool-list', '--all'), /gemel[^]*local|local[^]*gemel/);
        await ok(gateway, 'pool-undefine', 'local');
      });
    });
  });
});
