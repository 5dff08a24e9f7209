// Space that becomes free in a pool as the file system and the device below see it: slab files and the file behind a loop
// device get smaller when hosts discard, and when a disk is deleted.
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { withDaemon, type Daemon, type Disk } from '../support/daemon.ts';
import { describeRun, runOk } from '../support/process.ts';
import { needsQemuTools } from '../support/qemu.ts';

const MIB = 1_048_576;

async function qemuIo(disk: Disk, ...commands: string[]): Promise<void> {
  const args = ['-f', 'raw', '-t', 'none', '-d', 'unmap', ...commands.flatMap((command) => ['-c', command]), disk.url];
  const result = await runOk('qemu-io', args);
  assert.doesNotMatch(result.stdout, /verification failed|failed:/, describeRun(result));
}

const blocksOf = (path: string): number => statSync(path).blocks * 512;

async function shrinksTo(bytes: number, used: () => number, what: string): Promise<void> {
  for (let tries = 0; used() > bytes; tries++) {
    assert.ok(tries < 400, `${what}: ${String(used())} bytes are in use, not ${String(bytes)}`);
    await sleep(100);
  }
}

/** A disk with data is discarded in part, then deleted; its neighbour and what is left of it stay. */
async function comesBack(daemon: Daemon, used: () => number): Promise<void> {
  const disk = await daemon.createVolume('disk', '512M');
  const other = await daemon.createVolume('other', '64M');
  const empty = used();
  await qemuIo(disk, 'write -P 1 0 64M', 'write -P 2 64M 64M');
  await qemuIo(other, 'write -P 3 0 32M');
  await shrinksTo(empty + 161 * MIB, used, 'nothing is freed');
  const full = used();
  assert.ok(full >= empty + 158 * MIB, `${String(full - empty)} bytes were taken`);
  await qemuIo(disk, 'discard 0 64M');
  await shrinksTo(full - 60 * MIB, used, 'after a discard');
  await qemuIo(disk, 'read -P 0 0 64M', 'read -P 2 64M 64M');
  await daemon.crash();
  await daemon.start();
  await qemuIo(disk, 'read -P 0 0 64M', 'read -P 2 64M 64M');
  await daemon.gemelJson(['volume', 'delete', '--purge', 'disk', '--wait']);
  await shrinksTo(full - 122 * MIB, used, 'after a deletion');
  await qemuIo(other, 'read -P 3 0 32M');
  assert.deepEqual(((await daemon.gemelJson(['pool', 'check', 'tank'])) as { findings: string[] }).findings, []);
}

describe('space that becomes free', { concurrency: 1 }, () => {
  it('goes back to the file system', { skip: needsQemuTools() }, async () => {
    await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
      const made = (await daemon.gemelJson(['pool', 'create', 'tank', '--size', '2G'])) as { path: string };
      await comesBack(daemon, () =>
        readdirSync(made.path)
          .filter((name) => name.startsWith('slab-'))
          .reduce((sum, name) => sum + blocksOf(join(made.path, name)), 0),
      );
    });
  });
});
