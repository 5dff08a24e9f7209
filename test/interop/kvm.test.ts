// Disks for the virtual machines of a KVM host: a real libvirtd with real QEMUs, a real daemon.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import { runAgent } from '../../plugins/kvm/agent/agent.ts';
import { examineHost } from '../../plugins/kvm/doctor.ts';
import { poolIdentity } from '../../plugins/kvm/identity.ts';
import { attachDisk, detachDisk } from '../../plugins/kvm/ops/attach.ts';
import { cloneDomain } from '../../plugins/kvm/ops/clone.ts';
import { disksIn, domainNamed } from '../../plugins/kvm/ops/context.ts';
import { growDisk } from '../../plugins/kvm/ops/grow.ts';
import { exportDisk, importDisk } from '../../plugins/kvm/ops/move.ts';
import { rollBackDomain, snapshotDomain } from '../../plugins/kvm/ops/snapshot.ts';
import { provisionDisk, withdrawDisk } from '../../plugins/kvm/provisioning.ts';
import {
  blockInfo,
  deviceAttach,
  domainDestroy,
  domainUndefine,
  listAllPools,
  poolActive,
  poolByName,
  poolDestroy,
  volumeByName,
} from '../../plugins/kvm/rpc/procedures.ts';
import { Reports, leftFolder } from '../../plugins/kvm/reports.ts';
import { atExit } from '../support/cleanup.ts';
import { cutSocket } from '../support/cut-socket.ts';
import { HOST_IQN, withKvmHost } from '../support/kvm-host.ts';
import { needsLibvirtd } from '../support/libvirtd.ts';
import { runOk } from '../support/process.ts';
import { projectFile } from '../support/project.ts';

const MIB = 1_048_576;
const skip = needsLibvirtd();
const ATTACH = { way: 'iscsi', form: 'disk', bus: 'scsi' } as const;

async function eventually(what: string, look: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await look().catch(() => false))) {
    assert.ok(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

for (const chap of [false, true]) {
  describe(`a disk for a KVM host ${chap ? 'with' : 'without'} CHAP`, { skip }, () => {
    test('is made by gemel kvm, shown by libvirt, and taken away', async () => {
      await withKvmHost({ chap }, async (host) => {
        const config = ['--config', host.settingsFile];
        await host.daemon.gemelJson(['kvm', 'setup', ...config]);
        const made = (await host.daemon.gemelJson(['kvm', 'provision', 'vm1', '--size', '64M', ...config])) as {
          pool: string;
          volume: string;
        };
        const volumes = await runOk('virsh', ['-q', '-c', host.libvirtd.uri, 'vol-list', made.pool]);
        assert.match(volumes.stdout, /unit:0:0:0 +ip-127\.0\.0\.1:\d+-iscsi-iqn\..*:vm1-lun-0/);
        const info = await runOk('virsh', ['-q', '-c', host.libvirtd.uri, 'pool-info', made.pool]);
        assert.match(info.stdout, /State: +running\nPersistent: +yes\nAutostart: +yes/);
        const again = await host.daemon.gemel(['kvm', 'provision', 'vm1', '--size', '64M', ...config]);
        assert.equal(again.code, 5, again.stderr);
        assert.match(again.stderr, /there is a volume vm1 already/);
        await host.context.storage.lease('vm1', 'kvm:other:x');
        const refused = await host.daemon.gemel(['kvm', 'withdraw', 'vm1', ...config]);
        assert.match(refused.stderr, /volume 'vm1' is leased by kvm:other:x/);
        const deletion = await host.daemon.gemel(['volume', 'delete', 'vm1']);
        assert.match(deletion.stderr, /is leased by kvm:other:x/);
        await host.context.storage.release('vm1', 'kvm:other:x');
        await host.daemon.gemelJson(['kvm', 'withdraw', 'vm1', ...config]);
        assert.deepEqual(await host.state(), { pools: [], volumes: [], domains: [] });
      });
    });
  });
}

describe('virtual machines of a KVM host', { skip }, () => {
  test('get, share with nobody, grow, copy and give back their disks', async () => {
    await withKvmHost({ chap: false }, async (host) => {
      const { context, settings, call, libvirt } = host;
      const { storage } = context;
      for (const name of ['a', 'b'])
        await provisionDisk({ name, size: 64 * MIB }, libvirt, settings, call, randomUUID());
      const one = await host.machine('one');
      await host.machine('two');
      assert.equal(await attachDisk(context, { domain: 'one', volume: 'a', ...ATTACH }, 'first'), 'sda');
      assert.equal(
        await attachDisk(context, { domain: 'one', volume: 'a', ...ATTACH }, 'first'),
        'sda',
        'the same key',
      );
      assert.equal((await storage.volume('a')).lease?.holder, `kvm:kvm1:${one.uuid}`);
      const before = await host.state();
      for (const domain of ['one', 'two']) {
        const twice = attachDisk(context, { domain, volume: 'a', ...ATTACH }, randomUUID());
        await assert.rejects(twice, /volume 'a' is a disk of one/);
      }
      assert.deepEqual(await host.state(), before);
      // A machine of another host has the other.
      await storage.lease('b', 'kvm:kvm2:x');
      const elsewhere = attachDisk(context, { domain: 'two', volume: 'b', ...ATTACH }, randomUUID());
      await assert.rejects(elsewhere, /volume 'b' is leased by kvm:kvm2:x/);
      await storage.release('b', 'kvm:kvm2:x');
      assert.deepEqual(await host.state(), before);

      for (const more of [{ form: 'lun' }, { bus: 'virtio' }, { way: 'nbd' }] as const) {
        // Firmware lets go of nothing on PCI; on SCSI a disk goes without being asked.
        const request = { domain: 'two', volume: 'b', ...ATTACH, ...more };
        await attachDisk(context, request, randomUUID());
        const [disk] = await disksIn(libvirt, await domainNamed(libvirt, 'two'));
        assert.equal(disk?.device, request.form);
        if (request.way === 'nbd') {
          await assert.rejects(growDisk(context, 'b', 96 * MIB, randomUUID()), /two has b by NBD/);
          assert.equal((await storage.volume('b')).size, 64 * MIB);
        }
        if (request.bus === 'scsi')
          await detachDisk(context, { domain: 'two', volume: 'b', keepMap: false }, randomUUID());
        else {
          await libvirt.call(domainDestroy, { domain: await domainNamed(libvirt, 'two') });
          await detachDisk(context, { domain: 'two', volume: 'b', keepMap: false }, randomUUID());
          await libvirt.call(domainUndefine, { domain: await domainNamed(libvirt, 'two'), flags: 0 });
          await host.machine('two');
        }
        assert.deepEqual((await storage.volume('b')).maps, []);
        assert.equal((await storage.volume('b')).lease, null);
      }

      await growDisk(context, 'a', 96 * MIB, randomUUID());
      assert.equal((await libvirt.call(blockInfo, { domain: one, path: 'sda', flags: 0 })).capacity, 96 * MIB);
      await assert.rejects(growDisk(context, 'a', 32 * MIB, randomUUID()), /has 100663296 bytes already/);

      const { volumes, frozen } = await snapshotDomain(context, 'one', 'before', randomUUID());
      assert.deepEqual([volumes, frozen], [['a'], false]);
      await assert.rejects(snapshotDomain(context, 'one', 'before', randomUUID()), /has a snapshot 'before'/);
      await assert.rejects(rollBackDomain(context, 'one', 'before', randomUUID()), /one runs; shut it down first/);

      const clones = await cloneDomain(context, { from: 'one', name: 'copy', start: true }, randomUUID());
      assert.deepEqual(clones, ['copy-sda']);
      const copy = await domainNamed(libvirt, 'copy');
      assert.ok(copy.id > 0 && copy.uuid !== one.uuid);
      assert.equal((await storage.volume('copy-sda')).lease?.holder, `kvm:kvm1:${copy.uuid}`);
      const findings = await examineHost(context, host.daemon.dataFolder);
      assert.deepEqual(
        findings.filter(({ level }) => level === 'error'),
        [],
      );

      await libvirt.call(domainDestroy, { domain: one });
      await rollBackDomain(context, 'one', 'before', randomUUID());
      await assert.rejects(withdrawDisk('a', libvirt, settings, call, randomUUID()), /is leased by kvm:kvm1/);
    });
  });

  test('move their disks in and out while they run', async () => {
    await withKvmHost({ chap: false }, async (host) => {
      const { context, libvirt } = host;
      const file = join(host.libvirtd.folder, 'disk.raw');
      await runOk('truncate', ['-s', '32M', file]);
      await runOk('dd', ['if=/dev/urandom', `of=${file}`, 'bs=1M', 'count=4', 'conv=notrunc', 'status=none']);
      const disk = `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${file}'/><target dev='sda' bus='scsi'/></disk>`;
      const one = await host.machine('one', disk);
      await importDisk(context, { domain: 'one', dev: 'sda', volume: 'moved' }, randomUUID());
      for (const inactive of [false, true]) {
        const [own] = await disksIn(libvirt, one, inactive);
        assert.equal(own?.source?.kind, 'iscsi');
      }
      const { url, lease } = await context.storage.volume('moved');
      assert.equal(lease?.holder, `kvm:kvm1:${one.uuid}`);
      const options = `driver=iscsi,transport=tcp,portal=${new URL(url.replace('iscsi:', 'http:')).host},target=${(await context.storage.volume('moved')).iqn},lun=0,initiator-name=${HOST_IQN}`;
      await runOk('qemu-img', [
        'compare',
        '-U',
        '--image-opts',
        `driver=raw,file.driver=file,file.filename=${file}`,
        options,
      ]);
      const out = join(host.libvirtd.folder, 'out.raw');
      await exportDisk(context, { domain: 'one', dev: 'sda', file: out }, randomUUID());
      await runOk('cmp', [file, out]);
      assert.equal((await context.storage.volume('moved')).lease, null);
    });
  });
});

describe('the agent of a KVM host', { skip }, () => {
  test('finishes what a command that was killed has begun, and it is a job of the daemon all the time', async () => {
    await withKvmHost({ chap: false }, async (host) => {
      const { daemon, libvirtd, settings, client, context } = host;
      await context.storage.knowHost('kvm1', HOST_IQN, undefined);
      await context.storage.create('a', 64 * MIB, undefined, randomUUID());
      await host.machine('one');
      const path = join(libvirtd.folder, 'cut.sock');
      const socket = await cutSocket(path, libvirtd.socket, deviceAttach.number);
      interface Job {
        state: string;
        doing: string | null;
        title: string;
        kind: string;
        reported: { host: string } | null;
      }
      const jobs = async (): Promise<Job[]> => (await daemon.gemelJson(['job', 'list'])) as Job[];
      const where = ['--config', host.settingsFile, '--libvirt', `qemu+unix:///system?socket=${path}`];
      const args = ['kvm', 'attach', 'one', 'a', ...where, '--api', daemon.ready.api];
      const command = spawn(process.execPath, [projectFile('bin', 'gemel.js'), ...args], {
        stdio: 'ignore',
        env: { ...process.env, GEMEL_TOKEN: daemon.ready.token },
      });
      const gone = once(command, 'close');
      const forget = atExit(() => command.kill('SIGKILL'));
      const over = new AbortController();
      try {
        await socket.cut;
        const attaching = async (): Promise<boolean> => {
          const [job] = await jobs();
          return job?.state === 'running' && job.doing === 'attach';
        };
        await eventually('the job is at its step', attaching);
        const [{ title, kind, reported } = {} as Job] = await jobs();
        assert.deepEqual([title, kind, reported?.host], ['attach a to one', 'kvm-attach', 'kvm1']);
        command.kill('SIGKILL');
        await gone;
        assert.ok(await attaching(), 'it is still there');
        const [stream, call] = [client.stream.bind(client), client.call.bind(client)];
        const log = (): void => undefined;
        const agent = runAgent({ settings, storage: context.storage, stream, call, log, signal: over.signal });
        await eventually('the agent finishes it', async () => (await jobs())[0]?.state === 'done');
        over.abort();
        await agent;
        const [disk] = await disksIn(libvirtd.libvirt, await domainNamed(libvirtd.libvirt, 'one'));
        assert.equal(disk?.dev, 'sda');
        assert.equal((await jobs()).filter((job) => job.kind === 'kvm-attach').length, 1);
        // One that fails says what has become of it.
        await context.storage.create('b', 64 * MIB, undefined, randomUUID());
        const reports = new Reports({ folder: leftFolder(settings.state), host: 'kvm1', call });
        host.plan({ at: 9, when: 'before' });
        const request = { domain: 'one', volume: 'b', ...ATTACH };
        await assert.rejects(attachDisk({ ...host.context, reports }, request, randomUUID()), /the line went dead/);
        await reports.settled();
        const failed = (await client.call('GET', '/jobs?state=failed')) as { items: { steps: { state: string }[] }[] };
        assert.ok(
          failed.items[0]?.steps.some(({ state }) => state === 'undone'),
          JSON.stringify(failed),
        );
      } finally {
        over.abort();
        command.kill('SIGKILL');
        forget();
        socket.end();
      }
    });
  });

  test('keeps its pools as the catalog says, whatever happens to libvirt', async () => {
    await withKvmHost({ chap: true }, async (host) => {
      const { daemon, libvirtd, settings, client } = host;
      const { libvirt } = libvirtd;
      const config = ['--config', host.settingsFile];
      await daemon.gemelJson(['kvm', 'setup', ...config]);
      await daemon.createVolume('a', '64M', ['--map', 'host:kvm1']);
      const over = new AbortController();
      const log: string[] = [];
      const stream = client.stream.bind(client);
      const agent = runAgent({
        settings,
        storage: host.context.storage,
        stream,
        call: client.call.bind(client),
        log: (text) => log.push(text),
        signal: over.signal,
      });
      const { iqn } = await host.context.storage.volume('a');
      const { name } = poolIdentity(iqn);
      const shows = async (lun: number): Promise<boolean> => {
        const { pool } = await libvirt.call(poolByName, { name });
        return (await libvirt.call(volumeByName, { pool, name: `unit:0:0:${String(lun)}` })).volume.pool === name;
      };
      const active = async (): Promise<boolean> =>
        (await libvirt.call(poolActive, await libvirt.call(poolByName, { name }))).active === 1;
      try {
        await eventually('the pool is made', () => shows(0));
        await daemon.createVolume('b', '64M', ['--map', HOST_IQN, '--target', 'a']);
        await eventually('a new LUN is shown', () => shows(1));
        await libvirt.call(poolDestroy, await libvirt.call(poolByName, { name }));
        await eventually('a pool that was ended is started', active);
        await libvirtd.stop();
        await libvirtd.start();
        await eventually('all is there after libvirtd was killed', () => shows(1));
        await runOk('virsh', ['-q', '-c', libvirtd.uri, 'pool-define-as', 'gemel-mine', 'dir', '--target', '/tmp']);
        await daemon.gemelJson(['unmap', 'a', 'host:kvm1']);
        await daemon.gemelJson(['unmap', 'b', HOST_IQN]);
        await eventually('what is no longer wanted goes, what is not ours stays', async () => {
          const { pools } = await libvirt.call(listAllPools, { needed: 1, flags: 0 });
          return pools.map((pool) => pool.name).join() === 'gemel-mine';
        });
        // The daemon is away for a while; nothing is taken away for that.
        await daemon.gemelJson(['map', 'a', 'host:kvm1']);
        await eventually('the pool is back', () => shows(0));
        await daemon.crash();
        await libvirt.call(poolDestroy, await libvirt.call(poolByName, { name }));
        await daemon.start();
        await eventually('it is started when the daemon is back', active);
      } catch (error) {
        if (error instanceof Error) error.message += `\n--- agent ---\n${log.slice(-30).join('\n')}`;
        throw error;
      } finally {
        over.abort();
        await agent;
      }
    });
  });
});
