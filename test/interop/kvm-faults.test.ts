// Every operation on a KVM host with a failure at each call it makes to libvirt or the daemon: afterwards all is as before, or it was done.
// Real libvirtd, real QEMUs, real daemon. Of the failures npm test tries some, of every operation and every kind; all of them:
// `npm run faults:kvm`.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import { attachDisk, detachDisk } from '../../plugins/kvm/ops/attach.ts';
import { cloneDomain } from '../../plugins/kvm/ops/clone.ts';
import { domainNamed } from '../../plugins/kvm/ops/context.ts';
import { growDisk } from '../../plugins/kvm/ops/grow.ts';
import { exportDisk, importDisk } from '../../plugins/kvm/ops/move.ts';
import { rollBackDomain, snapshotDomain } from '../../plugins/kvm/ops/snapshot.ts';
import { provisionDisk, withdrawDisk } from '../../plugins/kvm/provisioning.ts';
import { blockInfo, domainDestroy, domainUndefine } from '../../plugins/kvm/rpc/procedures.ts';
import { FlowFailed } from '../../plugins/sdk/flow.ts';
import { CHAP_SECRET, HOST_IQN, withKvmHost } from '../support/kvm-host.ts';
import type { Fault, KvmHost } from '../support/kvm-host.ts';
import { needsLibvirtd } from '../support/libvirtd.ts';
import { run, runOk } from '../support/process.ts';

const MIB = 1_048_576;
/** Bytes by which a volume grows each time: nothing shrinks. */
const STEP = MIB / 16;
/** `all`, or the name of a row: every failure of it, and no other row. */
const WANTED = process.env['GEMEL_FAULTS'];
const KINDS = ['before', 'after', 'death before', 'death after'] as const;
/** How many failures of a row are tried when not all are. */
const SOME = 4;
const ATTACH = { way: 'iscsi', form: 'disk', bus: 'scsi' } as const;

interface Row {
  readonly name: string;
  readonly work: (key: string) => Promise<unknown>;
  /** What was done is taken back. */
  readonly back: () => Promise<unknown>;
  /** What else than KvmHost.state() tells whether it was done. */
  readonly more?: () => Promise<unknown>;
  /** The state as JSON, with what is another time after time made the same. */
  readonly same?: (state: string) => string;
}

/** All of them, or some: spread over the calls, and over the kinds; libvirtd is started again, which takes a second, at one call only. */
function faultsOf(total: number, row: number): Fault[] {
  const restart = (at: number): Fault => ({ at, when: 'restart' });
  if (WANTED !== undefined) {
    const every = [...KINDS, 'restart'] as const;
    return Array.from({ length: total }, (_, at) => every.map((when): Fault => ({ at, when }))).flat();
  }
  // Other calls and kinds in every row.
  const spread = Array.from({ length: SOME }, (_, i) => {
    const at = Math.min(total - 1, Math.floor(((i + (row % 3) / 3) * total) / SOME));
    return { at, when: KINDS[(i + row) % KINDS.length] as Fault['when'] };
  });
  return [...spread, restart((row * 5 + 3) % total)];
}

async function everyFault(
  host: KvmHost,
  { name, work, back, more, same = (text) => text }: Row,
  number: number,
): Promise<void> {
  if (WANTED !== undefined && WANTED !== 'all' && WANTED !== name) return;
  const look = async (): Promise<unknown> => {
    const state = JSON.parse(same(JSON.stringify(await host.state()))) as object;
    return { ...state, more: await more?.() };
  };
  const before = await look();
  host.plan();
  await work(randomUUID());
  const total = host.calls;
  const done = await look();
  assert.notDeepEqual(done, before, `${name} changes nothing`);
  await back();
  assert.deepEqual(await look(), before, `${name}: taken back`);
  const faults = faultsOf(total, number);
  for (const fault of faults) {
    const what = `${name}, ${fault.when} call ${String(fault.at)} of ${String(total)}`;
    const key = randomUUID();
    host.plan(fault);
    const dying = fault.when.startsWith('death');
    const first = work(key);
    if (dying) await Promise.race([host.died, first]);
    // Somebody uses the key again, as the one who died would have.
    const outcome = dying ? work(key) : first;
    const failed = await outcome.then(
      () => undefined,
      (error: unknown) => error,
    );
    host.plan();
    if (failed instanceof FlowFailed) {
      assert.deepEqual(failed.notUndone, [], `${what}: ${failed.message}`);
      assert.equal(failed.stopped, false, `${what}: ${failed.message}`);
    }
    assert.deepEqual(await look(), failed === undefined ? done : before, `${what}: ${String(failed)}`);
    if (failed === undefined) await back();
    assert.deepEqual(await look(), before, `${what}: taken back`);
  }
  console.log(`${name}: ${String(total)} calls, ${String(faults.length)} failures`);
}

describe(
  'failures in the middle of operations on a KVM host',
  { skip: needsLibvirtd(['qemu-io', 'qemu-utils']) },
  () => {
    test('leave it as it was before, or as it should be', async () => {
      await withKvmHost({ chap: true }, async (host) => {
        const { context, libvirt, settings, call } = host;
        const { storage } = context;
        await storage.knowHost('kvm1', HOST_IQN, { user: 'kvm1', secret: CHAP_SECRET });
        mkdirSync(settings.vhostFolder);
        let number = 0;
        const row = (each: Row): Promise<void> => everyFault(host, each, number++);
        const key = randomUUID;

        const provision = (id: string): Promise<unknown> =>
          provisionDisk({ name: 'p', size: 64 * MIB }, libvirt, settings, call, id);
        const withdraw = (id: string): Promise<void> => withdrawDisk('p', libvirt, settings, call, id);
        // The secret is the host's, and stays.
        await provision(key());
        await row({ name: 'withdraw', work: withdraw, back: () => provision(key()) });
        await withdraw(key());
        await row({ name: 'provision', work: provision, back: () => withdraw(key()) });

        await storage.create('a', 64 * MIB, undefined, key());
        const one = await host.machine('one');
        const attach = (id: string): Promise<unknown> =>
          attachDisk(context, { domain: 'one', volume: 'a', ...ATTACH }, id);
        const detach = (id: string): Promise<void> =>
          detachDisk(context, { domain: 'one', volume: 'a', keepMap: false }, id);
        await row({ name: 'attach', work: attach, back: () => detach(key()) });
        await attach(key());
        await row({ name: 'detach', work: detach, back: () => attach(key()) });

        // A machine that is off: firmware lets go of nothing on PCI.
        const shared = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>";
        const off = await host.machine('off', '', shared);
        await libvirt.call(domainDestroy, { domain: off });
        await storage.create('v', 16 * MIB, undefined, key());
        await row({
          name: 'attach by vhost-user',
          work: (id) =>
            attachDisk(context, { domain: 'off', volume: 'v', way: 'vhost-user', form: 'disk', bus: 'virtio' }, id),
          back: () => detachDisk(context, { domain: 'off', volume: 'v', keepMap: false }, key()),
          more: () => Promise.resolve(readdirSync(settings.vhostFolder).sort()),
        });

        await row({
          name: 'clone',
          work: (id) => cloneDomain(context, { from: 'one', name: 'copy', start: true }, id),
          back: async () => {
            const domain = await domainNamed(libvirt, 'copy');
            await libvirt.call(domainDestroy, { domain });
            await libvirt.call(domainUndefine, { domain, flags: 0 });
            await storage.release('copy-sda', (await storage.volume('copy-sda')).lease?.holder ?? '');
            await storage.remove('copy-sda');
          },
        });
        await row({
          name: 'snapshot',
          work: (id) => snapshotDomain(context, 'one', 'now', id),
          back: () => storage.removeSnapshot('a', 'now'),
        });

        let size = 64 * MIB;
        await row({
          name: 'grow',
          same: (text) =>
            text.replace(`"a",${String(size)},`, '"a",0,').replace(`"a",${String(size + STEP)},`, '"a",1,'),
          work: (id) => growDisk(context, 'a', size + STEP, id),
          back: () => {
            size += STEP;
            return Promise.resolve();
          },
          more: async () => [
            (await storage.volume('a')).size - size,
            (await libvirt.call(blockInfo, { domain: one, path: 'sda', flags: 0 })).capacity - size,
          ],
        });

        await storage.create('b', 64 * MIB, undefined, key());
        await attachDisk(context, { domain: 'one', volume: 'b', ...ATTACH }, key());
        await libvirt.call(domainDestroy, { domain: one });
        await host.allowLoopback(['a', 'b']);
        const io = async (volume: string, command: string): Promise<boolean> => {
          const { url } = await storage.volume(volume);
          return (await run('qemu-io', ['-f', 'raw', '-c', command, url])).code === 0;
        };
        const write = async (pattern: string): Promise<void> => {
          for (const volume of ['a', 'b']) assert.ok(await io(volume, `write -P ${pattern} 0 64k`));
        };
        await write('1');
        await snapshotDomain(context, 'one', 'good', key());
        await write('2');
        await row({
          name: 'roll back',
          work: (id) => rollBackDomain(context, 'one', 'good', id),
          back: () => write('2'),
          more: async () => [await io('a', 'read -P 1 0 64k'), await io('b', 'read -P 1 0 64k')],
        });

        const file = join(host.libvirtd.folder, 'disk.raw');
        await runOk('truncate', ['-s', '4M', file]);
        const disk = `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${file}'/><target dev='sda' bus='scsi'/></disk>`;
        await host.machine('two', disk);
        const moveIn = (id: string): Promise<void> =>
          importDisk(context, { domain: 'two', dev: 'sda', volume: 'moved' }, id);
        const moveOut = (id: string): Promise<void> => exportDisk(context, { domain: 'two', dev: 'sda', file }, id);
        await row({
          name: 'import',
          work: moveIn,
          back: async () => {
            rmSync(file);
            await moveOut(key());
            await storage.remove('moved');
          },
        });
        await moveIn(key());
        rmSync(file);
        await row({
          name: 'export',
          work: moveOut,
          back: async () => {
            await storage.remove('moved');
            await moveIn(key());
            rmSync(file);
          },
          more: async () => (await run('test', ['-e', file])).code === 0,
        });
      });
    });
  },
);
