// The storage gateway: unmodified virsh in front of a real libvirtd with real QEMUs and a real daemon.
import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { poolByTarget, poolCount, poolNames } from '../../plugins/kvm/gateway/answers.ts';
import { Libvirt } from '../../plugins/kvm/libvirt.ts';
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
        assert.match((await host.context.storage.volume('disk-1')).lease?.holder ?? '', /^kvm:kvm1:/);
        await refused(gateway, /no-such/, 'attach-disk', 'vm1', '/dev/gemel/no-such', 'sdb', '--targetbus', 'scsi');
        // What libvirtd refuses is not taken: there is a disk of that name.
        await refused(
          gateway,
          /sda/,
          'attach-disk',
          'vm1',
          '/dev/gemel/disk-2',
          'sda',
          '--targetbus',
          'scsi',
          '--live',
        );
        for (let i = 0; i < 600 && (await host.context.storage.volume('disk-2')).lease !== null; i++) await sleep(50);
        assert.equal((await host.context.storage.volume('disk-2')).lease, null);
        const leaseOf = async (volume: string): Promise<string | undefined> =>
          (await host.context.storage.volume(volume)).lease?.holder;
        const leaseBecomes = async (volume: string, holder: string | undefined): Promise<void> => {
          for (let i = 0; i < 600 && (await leaseOf(volume)) !== holder; i++) await sleep(50);
          assert.equal(await leaseOf(volume), holder);
        };
        // Detached with and without flags, which are two procedures.
        await ok(gateway, 'detach-disk', 'vm1', 'sda', '--live');
        await leaseBecomes('disk-1', undefined);
        await ok(gateway, 'attach-disk', 'vm1', '/dev/gemel/disk-1', 'sda', '--targetbus', 'scsi');
        await leaseBecomes('disk-1', `kvm:kvm1:${machine.uuid}`);
        await ok(gateway, 'detach-disk', 'vm1', 'sda');
        await leaseBecomes('disk-1', undefined);
        // And by its alias, which is another one.
        await ok(gateway, 'attach-disk', 'vm1', '/dev/gemel/disk-1', 'sda', '--targetbus', 'scsi', '--live');
        await leaseBecomes('disk-1', `kvm:kvm1:${machine.uuid}`);
        const alias = /<alias name='(scsi[^']*)'\/>\s*<address type='drive'/.exec(
          (await run('virsh', ['-c', libvirtd.uri, 'dumpxml', 'vm1'])).stdout,
        )?.[1];
        await ok(gateway, 'detach-device-alias', 'vm1', alias ?? '', '--live');
        await leaseBecomes('disk-1', undefined);
        assert.doesNotMatch(await ok(gateway, 'domblklist', 'vm1'), /disk-1/);
        for (const [verb, what] of [
          ['upload', 'uploading'],
          ['download', 'downloading'],
        ] as const) {
          const file = verb === 'upload' ? host.settingsFile : join(host.libvirtd.folder, 'out');
          await refused(gateway, new RegExp(`does not support ${what}`), `vol-${verb}`, '/dev/gemel/disk-1', file);
        }
        await refused(gateway, /does not support wiping/, 'vol-wipe', '/dev/gemel/disk-1', '--algorithm', 'random');
        await ok(gateway, 'destroy', 'vm1');

        // A machine that is defined with a disk takes it, and gives it back when it has it no longer.
        const definition = join(host.libvirtd.folder, 'vm2.xml');
        const define = async (name: string, ...volumes: string[]): Promise<void> => {
          const devices = volumes.map(
            (volume, i) =>
              `<disk type='block' device='disk'><source dev='/dev/gemel/${volume}'/><target dev='sd${'ab'.charAt(i)}' bus='scsi'/></disk>`,
          );
          const uuid = /<uuid>.*<\/uuid>/.exec((await gateway.virsh('dumpxml', '--inactive', name)).stdout)?.[0] ?? '';
          writeFileSync(
            definition,
            `<domain type='qemu'><name>${name}</name>${uuid}<memory unit='MiB'>32</memory><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>${devices.join('')}<controller type='scsi' model='virtio-scsi'/></devices></domain>`,
          );
          await ok(gateway, 'define', definition);
        };
        await define('vm2', 'disk-1');
        const holder = `kvm:kvm1:${(await ok(gateway, 'domuuid', 'vm2')).trim()}`;
        assert.equal(await leaseOf('disk-1'), holder);
        await assert.rejects(define('vm3', 'disk-2', 'disk-1'), /disk-1' is a disk of vm2/);
        assert.equal(await leaseOf('disk-2'), undefined);
        await define('vm2', 'disk-2', 'disk-1');
        assert.equal(await leaseOf('disk-2'), holder);
        await define('vm2', 'disk-2');
        await leaseBecomes('disk-1', undefined);
        // Its only disk changes its settings, and then becomes the other one.
        const changed = join(host.libvirtd.folder, 'disk.xml');
        for (const volume of ['disk-2', 'disk-1', 'disk-2']) {
          const source = `<driver name='qemu' type='raw' cache='none'/><source dev='/dev/gemel/${volume}'/>`;
          writeFileSync(changed, `<disk type='block' device='disk'>${source}<target dev='sda' bus='scsi'/></disk>`);
          await ok(gateway, 'update-device', 'vm2', changed, '--config');
          await leaseBecomes(volume, holder);
          await leaseBecomes(volume === 'disk-1' ? 'disk-2' : 'disk-1', undefined);
          assert.match(await ok(gateway, 'domblklist', 'vm2'), new RegExp(`sda +/dev/gemel/${volume}`));
        }
        await ok(gateway, 'start', 'vm2');
        await ok(gateway, 'destroy', 'vm2');
        assert.equal(await leaseOf('disk-2'), holder, 'it is still defined');
        await ok(gateway, 'undefine', 'vm2');
        await leaseBecomes('disk-2', undefined);
        // One that only runs. What it leaves when it ends by itself is nobody's.
        await define('vm2', 'disk-1');
        await ok(gateway, 'undefine', 'vm2');
        await ok(gateway, 'create', definition);
        await leaseBecomes('disk-1', `kvm:kvm1:${(await ok(gateway, 'domuuid', 'vm2')).trim()}`);
        await ok(gateway, 'destroy', 'vm2');
        await leaseBecomes('disk-1', undefined);
        await host.context.storage.lease('disk-1', 'kvm:kvm1:00000000-0000-4000-8000-000000000000');
        await define('vm2', 'disk-1');
        await ok(gateway, 'undefine', 'vm2');

        // Clients older than list_all_storage_pools.
        const old = new Libvirt({ kind: 'unix', path: gateway.socket });
        try {
          const { count } = await old.call(poolCount, {});
          const { names } = await old.call(poolNames, { most: 10 });
          assert.deepEqual([count, names], [1, ['gemel']]);
          assert.equal((await old.call(poolByTarget, { path: '/dev/gemel' })).pool.name, 'gemel');
          await assert.rejects(old.call(poolByTarget, { path: '/dev' }));
        } finally {
          old.close();
        }
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
