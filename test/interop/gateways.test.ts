// Two daemons over one image that a folder holds, through two qemu-storage-daemon: one of them serves it, and nobody writes to it
// who has lost it. The same against a real Ceph: `npm run ceph`.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import process from 'node:process';
import { test } from 'node:test';
import { temporaryFolder } from '../support/cleanup.ts';
import { eventually, withDaemonPair } from '../support/daemon-pair.ts';
import { exportersOf, killExporters } from '../support/exporters.ts';
import { withGateways } from '../support/gateways.ts';
import { needsAll } from '../support/needs.ts';

const skip = needsAll(['etcd', 'etcd-server'], ['qemu-storage-daemon', 'qemu-system-common']);
/** Milliseconds a host may wait: a takeover (6 s), and as much again on a machine that is busy with something else. */
const MOST = 15_000;

test(
  'one image, two gateways: whoever owns it serves it alone, whatever becomes of the other',
  { skip },
  async (context) => {
    const folder = temporaryFolder('images');
    const images = (): string[] => readdirSync(folder.path).filter((name) => name.endsWith('.raw'));
    try {
      await withDaemonPair(async (pair) => {
        const bad = await pair.alpha.gemel(['backend', 'add', 'folder', 'f1', '/nowhere']);
        assert.equal(bad.code, 2, bad.stderr);
        await withGateways(pair, ['folder', 'f1', folder.path], async (gateways) => {
          assert.equal(images().length, 1);
          const refused = await pair.beta.gemel(['backend', 'remove', 'f1']);
          assert.match(refused.stderr, /volume 'imaged' is an image of it/);
          const round = async (what: string, fault: () => Promise<void> | void, heal: () => Promise<void> | void) => {
            const pause = await gateways.round(fault, heal);
            context.diagnostic(`${what}: longest pause ${pause} ms`);
            assert.ok(pause <= MOST, `${what}: the host waited ${pause} ms`);
          };
          const first = await gateways.owner();
          assert.deepEqual(exportersOf(gateways.other(first).dataFolder), [], 'only its owner has it open');
          await round(
            'the exporter is killed',
            () => {
              killExporters(first.dataFolder);
            },
            () => undefined,
          );
          await round(
            'its owner is killed',
            () => gateways.kill(first),
            () => first.start(),
          );
          const second = await gateways.owner();
          const { pid } = second.ready;
          await round(
            'its owner stands still',
            async () => {
              process.kill(pid, 'SIGSTOP');
              // Its exporter has the lock of the file: nobody could go on if it were not killed by its switch.
              await eventually('its exporter is gone', () =>
                Promise.resolve(exportersOf(second.dataFolder).length === 0),
              );
            },
            () => {
              process.kill(pid, 'SIGCONT');
            },
          );
          const third = await gateways.owner();
          const to = third === pair.alpha ? 'beta' : 'alpha';
          await round(
            'it is handed over',
            async () => {
              await third.gemelJson(['volume', 'hand-over', 'imaged', '--to', to]);
            },
            () => undefined,
          );
        });
        assert.deepEqual(images(), [], 'a deleted volume leaves no image');
      });
    } finally {
      folder.remove();
    }
  },
);
