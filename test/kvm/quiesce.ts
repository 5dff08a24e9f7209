// A snapshot of a virtual machine with the real guest agent of QEMU in it: its file systems are at rest in it, and go on behind it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, readdirSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { attachDisk } from '../../plugins/kvm/ops/attach.ts';
import { snapshotDomain } from '../../plugins/kvm/ops/snapshot.ts';
import { FlowFailed } from '../../plugins/sdk/flow.ts';
import { assertGuest } from '../guest/guest.ts';
import type { PreparedGuest } from '../guest/guest.ts';
import { temporaryFolder } from '../support/cleanup.ts';
import { withKvmHost } from '../support/kvm-host.ts';
import type { KvmHost } from '../support/kvm-host.ts';
import { runOk } from '../support/process.ts';
import { linuxMachine } from './machine.ts';

const MIB = 1_048_576;
const PATIENCE = 240_000;
const CHANNEL =
  "<controller type='virtio-serial'/><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";
/** Where the superblock of ext4 is, its feature_incompat in that, and the bit that says that its journal has to be replayed. */
const [SUPERBLOCK, FEATURE_INCOMPAT, NEEDS_RECOVERY] = [1024, 0x60, 4];

/** A tar with qemu-ga out of its Debian package, which is not installed, the libraries it takes, and the module for its channel. */
async function packAgent(guest: PreparedGuest, folder: string): Promise<string> {
  await runOk('apt-get', ['-qq', '-o', 'APT::Sandbox::User=root', 'download', 'qemu-guest-agent'], { cwd: folder });
  const deb = readdirSync(folder).find((name) => name.endsWith('.deb')) ?? '';
  await runOk('dpkg-deb', ['-x', deb, 'unpacked'], { cwd: folder });
  const agent = join(folder, 'unpacked', 'usr', 'sbin', 'qemu-ga');
  const tree = join(folder, 'tree');
  const put = (from: string, to: string): void => {
    mkdirSync(join(tree, dirname(to)), { recursive: true });
    cpSync(from, join(tree, to), { dereference: true });
  };
  put(agent, 'usr/sbin/qemu-ga');
  const { stdout } = await runOk('ldd', [agent]);
  for (const [, path = ''] of stdout.matchAll(/=> (\/\S+)/g)) put(path, path.replace(/^\/(usr\/)?/, 'usr/'));
  // /init of the guest has a merged /usr.
  const kernel = dirname(dirname(realpathSync(guest.kernel)));
  const [version = ''] = readdirSync(join(kernel, 'lib', 'modules'));
  const module = `lib/modules/${version}/kernel/drivers/char/virtio_console.ko`;
  put(join(kernel, module), `usr/${module}`);
  const tar = join(folder, 'agent.tar');
  execFileSync('tar', ['-c', '-f', tar, '-C', tree, 'usr']);
  return tar;
}

/** What a disk of the snapshot holds: whether its file system has to be recovered, and a file of it. */
async function look(
  host: KvmHost,
  snapshot: string,
  file: string,
  folder: string,
): Promise<{ readonly dirty: boolean; readonly text: string }> {
  const clone = `look-${snapshot}`;
  const { url } = (await host.daemon.gemelJson(['volume', 'clone', `a@${snapshot}`, clone, '--map', 'loopback'])) as {
    url: string;
  };
  const image = join(folder, `${snapshot}.raw`);
  await runOk('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', url, image]);
  const features = readFileSync(image).readUInt32LE(SUPERBLOCK + FEATURE_INCOMPAT);
  const { stdout } = await runOk('debugfs', ['-R', `cat /${file}`, image]);
  return { dirty: (features & NEEDS_RECOVERY) !== 0, text: stdout };
}

/** Rejects when a snapshot is not what it says. */
export async function quiesce(guest: PreparedGuest): Promise<void> {
  const folder = temporaryFolder('quiesce');
  try {
    const tar = await packAgent(guest, folder.path);
    await withKvmHost({ chap: false }, async (host) => {
      const { context } = host;
      await context.storage.create('a', 64 * MIB, undefined, randomUUID());
      const script = { script: 'kvm-quiesce.sh', files: { [basename(tar)]: tar } };
      const machine = await linuxMachine(host.libvirtd, guest, script, { name: 'one', devices: CHANNEL });
      await attachDisk(context, { domain: 'one', volume: 'a', way: 'iscsi', form: 'disk', bus: 'scsi' }, randomUUID());
      const screen = await machine.start({
        on: {
          bare: async () => {
            const { frozen } = await snapshotDomain(context, 'one', 'bare', randomUUID());
            assert.equal(frozen, false);
            assert.equal((await look(host, 'bare', 'without', folder.path)).dirty, true);
          },
          quiesced: async () => {
            const start = performance.now();
            const { frozen } = await snapshotDomain(context, 'one', 'quiesced', randomUUID());
            console.log(`snapshot with the agent: ${(performance.now() - start).toFixed(0)} ms`);
            assert.equal(frozen, true);
            assert.deepEqual(await look(host, 'quiesced', 'second', folder.path), { dirty: false, text: 'unsynced\n' });
          },
          failing: async () => {
            host.plan();
            await snapshotDomain(context, 'one', 'counted', randomUUID());
            const total = host.calls;
            for (let at = 0; at < total; at++) {
              for (const when of ['before', 'after'] as const) {
                host.plan({ at, when });
                const name = `failing-${String(at)}-${when}`;
                const outcome = await snapshotDomain(context, 'one', name, randomUUID()).catch(
                  (error: unknown) => error,
                );
                host.plan();
                // Refused before anything was begun, or undone, or done, and never with a file system that is said to rest and does not.
                if (outcome instanceof Error) {
                  assert.ok(outcome instanceof FlowFailed, String(outcome));
                  assert.deepEqual(outcome.notUndone, [], outcome.message);
                  assert.equal(await context.storage.hasSnapshot('a', name), false);
                } else {
                  assert.equal((outcome as { frozen: boolean }).frozen, true);
                }
              }
            }
            console.log(`failures before and after each of ${String(total)} calls`);
          },
        },
      });
      assert.ok(await machine.ended(PATIENCE), screen.result.log.slice(-40).join('\n'));
      assertGuest(screen.result, ['writing goes on behind it', 'and behind that']);
    });
  } finally {
    folder.remove();
  }
}
