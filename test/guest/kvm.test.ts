// A virtual machine of libvirt's from its first boot to its deletion: it boots from a volume, gets a second one while it runs, is
// cloned inside the storage, gives space back, grows, is rolled back, and does not notice that the daemon is killed.
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { constants, openSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ReadStream } from 'node:tty';
import { attachDisk, detachDisk } from '../../plugins/kvm/ops/attach.ts';
import { cloneDomain } from '../../plugins/kvm/ops/clone.ts';
import { domainNamed, isRunning } from '../../plugins/kvm/ops/context.ts';
import { growDisk } from '../../plugins/kvm/ops/grow.ts';
import { rollBackDomain, snapshotDomain } from '../../plugins/kvm/ops/snapshot.ts';
import { provisionDisk, withdrawDisk } from '../../plugins/kvm/provisioning.ts';
import { child, parseXml } from '../../plugins/kvm/model/xml.ts';
import { domainDefine, domainStart, domainUndefine, domainXml } from '../../plugins/kvm/rpc/procedures.ts';
import { temporaryFolder } from '../support/cleanup.ts';
import { withKvmHost } from '../support/kvm-host.ts';
import { needsLibvirtd } from '../support/libvirtd.ts';
import { runOk } from '../support/process.ts';
import { buildBootDisk, DISK_BYTES, GRUB_FOLDER } from './boot-disk.ts';
import { assertGuest, Console, prepareGuest } from './guest.ts';

const MIB = 1_048_576;
/** Bytes of the file the guest writes and removes; that its metadata comes and goes as well is left open. */
const FILE = 32 * MIB;
const ATTACH = { way: 'iscsi', form: 'disk', bus: 'scsi' } as const;
const guest = await prepareGuest();
const skip =
  ('skip' in guest ? guest.skip : false) ||
  needsLibvirtd(
    [`${GRUB_FOLDER}/boot.img`, 'grub-pc-bin'],
    ['grub-mkimage', 'grub-common'],
    ['qemu-img', 'qemu-utils'],
    ['qemu-io', 'qemu-utils'],
  );

async function until(condition: () => Promise<boolean>, limit = 330_000): Promise<void> {
  const end = Date.now() + limit;
  while (!(await condition())) {
    assert.ok(Date.now() < end, 'it took too long');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

describe('a virtual machine of libvirt', { skip }, () => {
  if ('skip' in guest) return;

  it('lives on volumes from its first boot to its deletion', async () => {
    const work = temporaryFolder('kvm-guest');
    try {
      const image = join(work.path, 'disk.raw');
      buildBootDisk(image, guest, { script: 'kvm.sh' }, work.path);
      await withKvmHost({ chap: false }, async (host) => {
        const { context, libvirt, settings, call, daemon } = host;
        for (const [name, size] of [
          ['a', DISK_BYTES],
          ['b', 64 * MIB],
        ] as const) {
          await provisionDisk({ name, size }, libvirt, settings, call, randomUUID());
        }
        // For what the test itself writes and reads.
        for (const name of ['a', 'b']) await daemon.gemelJson(['map', name, 'loopback']);
        const urlOf = async (name: string): Promise<string> => (await context.storage.volume(name)).url;
        await runOk('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', image, await urlOf('a')]);

        const socket = join(work.path, 'console');
        const serial = `<serial type='unix'><source mode='bind' path='${socket}'/><target port='0'/></serial>`;
        const net = "<interface type='user'><model type='virtio'/><rom enabled='no'/></interface>";
        const devices = `<controller type='scsi' model='virtio-scsi'/>${net}${serial}`;
        const os =
          "<os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os><features><acpi/></features><cpu mode='maximum'/>";
        const xml = `<domain type='qemu'><name>one</name><memory unit='MiB'>512</memory><vcpu>1</vcpu>${os}<devices>${devices}</devices></domain>`;
        const { domain } = await libvirt.call(domainDefine, { xml, flags: 0 });
        await attachDisk(context, { domain: 'one', volume: 'a', ...ATTACH }, randomUUID());
        await libvirt.call(domainStart, { domain, flags: 0 });

        const system = statSync(guest.kernel).size + statSync(guest.initramfs).size;
        const seen: Record<string, number> = {};
        const measure = (name: string, enough: (bytes: number) => boolean) => async (): Promise<void> => {
          // What the journal of the pool has counts once it is in its place, some seconds later.
          for (let tries = 0; tries < 60; tries++) {
            seen[name] = (await context.storage.volume('a')).allocatedBytes ?? 0;
            if (enough(seen[name])) return;
            await new Promise((resolve) => setTimeout(resolve, 250));
          }
        };
        let before = '';
        const first8 = async (): Promise<string> => {
          const out = join(work.path, `b-${randomUUID()}`);
          await runOk('qemu-img', [
            'dd',
            '-f',
            'raw',
            '-O',
            'raw',
            'bs=1M',
            'count=8',
            `if=${await urlOf('b')}`,
            `of=${out}`,
          ]);
          const { stdout } = await runOk('sha256sum', [out]);
          return stdout.slice(0, 64);
        };
        let second: Console | undefined;
        const console1 = new Console(streamsOf(connect(socket)), {
          on: {
            full: measure('full', (bytes) => bytes >= system + FILE),
            attach: () => attachDisk(context, { domain: 'one', volume: 'b', ...ATTACH }, randomUUID()),
            clone: async () => {
              await cloneDomain(context, { from: 'one', name: 'two', start: true }, randomUUID());
              const two = await domainNamed(libvirt, 'two');
              const { xml: running } = await libvirt.call(domainXml, { domain: two, flags: 0 });
              const path = child(parseXml(running), 'devices', 'serial', 'source')?.attributes['path'] ?? '';
              const terminal = new ReadStream(openSync(path, constants.O_RDONLY | constants.O_NOCTTY));
              second = new Console({ outputs: [terminal.on('error', () => undefined)], input: null }, {});
            },
            trimmed: measure('trimmed', (bytes) => (seen['full'] ?? 0) - bytes >= 0.75 * FILE),
            grow: async () => {
              await growDisk(context, 'b', 96 * MIB, randomUUID());
              const refused = await daemon.gemel(['volume', 'delete', 'b']);
              assert.match(refused.stderr, /is in use by|is leased by/);
            },
            snapshot: async () => {
              before = await first8();
              await snapshotDomain(context, 'one', 'good', randomUUID());
            },
            restart: async () => {
              await daemon.crash();
              await daemon.start();
            },
          },
        });
        await until(async () => !(await isRunning(libvirt, domain))).catch((error: unknown) => {
          throw new Error(console1.result.log.slice(-60).join('\n'), { cause: error });
        });
        assertGuest(console1.result, [
          'booted from this disk',
          'it is written',
          'fstrim',
          'the new size is seen',
          'and behind it',
          'no write failed',
        ]);
        const { full = 0, trimmed = 0 } = seen;
        assert.ok(full - trimmed >= 0.75 * FILE, `the discard freed space: ${JSON.stringify(seen)}`);
        const two = await domainNamed(libvirt, 'two');
        await until(async () => !(await isRunning(libvirt, two)));
        assert.ok(second);
        assertGuest(second.result, ['booted from this disk', 'the clone has what the first machine wrote']);

        assert.notEqual(before, await first8(), 'it was damaged');
        await rollBackDomain(context, 'one', 'good', randomUUID());
        assert.equal(await first8(), before, 'and is as it was');
        assert.notEqual(
          before,
          createHash('sha256')
            .update(Buffer.alloc(8 * MIB))
            .digest('hex'),
        );

        for (const [name, volumes] of [
          ['one', ['a', 'b']],
          ['two', ['two-sda', 'two-sdb']],
        ] as const) {
          for (const volume of volumes) {
            await detachDisk(context, { domain: name, volume, keepMap: false }, randomUUID());
            if (name === 'one') await context.storage.removeSnapshot(volume, 'good');
            await withdrawDisk(volume, libvirt, settings, call, randomUUID());
          }
          await libvirt.call(domainUndefine, { domain: await domainNamed(libvirt, name), flags: 0 });
        }
        assert.deepEqual(await host.state(), { pools: [], volumes: [], domains: [] });
      });
    } finally {
      work.remove();
    }
  });
});

const streamsOf = (socket: ReturnType<typeof connect>): { outputs: [typeof socket]; input: typeof socket } => ({
  outputs: [socket.on('error', () => undefined)],
  input: socket,
});
