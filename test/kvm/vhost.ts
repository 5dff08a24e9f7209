// A disk by vhost-user-blk, and one by NBD, under a real guest: attached and detached while it runs, gemeld killed and started again; every
// block as it was written. (That the qemu-storage-daemon between them is killed, a guest does not survive: QEMU 7.2 keeps no record of what was under way,
// VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD, so that what it had taken is never answered.)
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { runAgent } from '../../plugins/kvm/agent/agent.ts';
import { attachDisk, detachDisk } from '../../plugins/kvm/ops/attach.ts';
import { PatternConsole, buildPattern } from '../faults/guest-host.ts';
import { assertGuest } from '../guest/guest.ts';
import type { PreparedGuest } from '../guest/guest.ts';
import { temporaryFolder } from '../support/cleanup.ts';
import { withKvmHost } from '../support/kvm-host.ts';
import { linuxMachine } from './machine.ts';

const MIB = 1_048_576;
const PATIENCE = 240_000;
const SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>";
const DISK = { domain: 'one', volume: 'a' } as const;

/** Rejects when a guest has seen an error, or a block that is not what was acknowledged. */
export async function vhost(guest: PreparedGuest): Promise<void> {
  for (const way of ['nbd', 'vhost-user'] as const) {
    console.log(`by ${way}`);
    await under(guest, way);
  }
}

async function under(guest: PreparedGuest, way: 'vhost-user' | 'nbd'): Promise<void> {
  const folder = temporaryFolder('vhost');
  try {
    const pattern = await buildPattern(folder.path);
    await withKvmHost({ chap: false }, async (host) => {
      const { context, daemon } = host;
      await context.storage.create('a', 64 * MIB, undefined, randomUUID());
      const script = { script: 'kvm-vhost.sh', files: { pattern }, env: { THREADS: '4', BLOCKS: '512' } };
      const machine = await linuxMachine(host.libvirtd, guest, script, { name: 'one', memory: SHARED });
      const request = { ...DISK, way, form: 'disk', bus: 'virtio' } as const;
      if (way === 'vhost-user') {
        const plain = await host.machine('plain');
        const refused = attachDisk(context, { ...request, domain: plain.name }, randomUUID());
        await assert.rejects(refused, /memory of plain is private/);
      }
      // A machine with a disk by NBD stands still while gemeld is away; the agent has it go on.
      await context.storage.knowHost('kvm1', host.settings.initiator, undefined);
      const over = new AbortController();
      const agent = runAgent({
        ...{ settings: host.settings, storage: context.storage, signal: over.signal, log: console.log },
        stream: host.client.stream.bind(host.client),
        call: host.client.call.bind(host.client),
      });
      const seen = new PatternConsole((line) => {
        console.log(line);
      });
      const round = async (name: string, harm: () => Promise<void>): Promise<void> => {
        await seen.progress();
        seen.takePause();
        await harm();
        await seen.progress();
        console.log(`${name}: longest pause ${String(seen.takePause())} ms`);
      };
      const screen = await machine.start({
        on: {
          attach: async () => {
            const start = performance.now();
            await attachDisk(context, request, randomUUID());
            console.log(`hot attach: ${(performance.now() - start).toFixed(0)} ms`);
          },
          daemon: () =>
            round('gemeld killed and started again', async () => {
              await daemon.crash();
              await daemon.start();
            }),
          verified: () => seen.verify(),
          detach: () => detachDisk(context, { ...DISK, keepMap: false }, randomUUID()),
        },
        onLine: (line) => {
          seen.line(line);
        },
      });
      const ended = await machine.ended(PATIENCE);
      over.abort();
      await agent;
      assert.ok(ended, screen.result.log.slice(-40).join('\n'));
      assertGuest(screen.result, ['every block as it was written', 'the kernel has seen no error', 'it is gone']);
    });
  } finally {
    folder.remove();
  }
}
