// Who may see a disk: CHAP with right, wrong and no credentials, initiators that are not mapped, LUN masking.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../support/cleanup.ts';
import { withDaemon, type Daemon, type Disk } from '../support/daemon.ts';
import { describeRun, run, runOk, type RunResult } from '../support/process.ts';
import { imageOptions, needsQemuTools, secretArguments, type IscsiImage } from '../support/qemu.ts';

const skip = needsQemuTools(['iscsi-ls', 'libiscsi-bin']);
const ALICE = 'iqn.2026-01.example.gemel:alice';
const BOB = 'iqn.2026-01.example.gemel:bob';
const SECRET = 'alice-secret-0001';

/** Writes and reads 1 MiB as the initiator `image` describes. */
function access(image: IscsiImage): Promise<RunResult> {
  const options = `driver=raw,file.${imageOptions(image).replaceAll(',', ',file.')}`;
  const commands = ['-c', 'write -P 0x5a 0 1M', '-c', 'read -P 0x5a 0 1M'];
  return run('qemu-io', [...secretArguments(image), '--image-opts', options, ...commands], { timeoutMs: 20_000 });
}

async function assertAccess(image: IscsiImage): Promise<void> {
  const result = await access(image);
  assert.equal(result.code, 0, describeRun(result));
}

async function assertRefused(image: IscsiImage, why: RegExp): Promise<void> {
  const result = await access(image);
  assert.notEqual(result.code, 0, describeRun(result));
  assert.equal(result.timedOut, false, describeRun(result));
  assert.match(result.stderr + result.stdout, why);
}

/** What discovery and REPORT LUNS show to `initiator`. */
async function listed(daemon: Daemon, initiator: string): Promise<string> {
  const result = await run('iscsi-ls', ['-i', initiator, '-s', `iscsi://${daemon.portals[0] ?? ''}`], {
    timeoutMs: 20_000,
  });
  assert.equal(result.timedOut, false, describeRun(result));
  return result.stdout;
}

const imageOf = (daemon: Daemon, disk: Disk, initiator: string): IscsiImage => ({
  portal: daemon.portals[0] ?? '',
  iqn: disk.iqn,
  lun: disk.lun,
  initiator,
});

describe('access to a disk', { skip, concurrency: 1 }, () => {
  it('needs the right CHAP secret', async () => {
    const folder = temporaryFolder('chap');
    try {
      const right = join(folder.path, 'right');
      const wrong = join(folder.path, 'wrong');
      writeFileSync(right, SECRET, { mode: 0o600 });
      writeFileSync(wrong, `${SECRET}x`, { mode: 0o600 });
      await withDaemon({}, async (daemon) => {
        await daemon.addInitiator(ALICE, { user: 'alice', secret: SECRET });
        const disk = await daemon.createVolume('chap', '32M', ['--map', ALICE]);
        const alice = imageOf(daemon, disk, ALICE);
        await assertAccess({ ...alice, user: 'alice', secretFile: right });
        await assertAccess({ ...alice, user: 'alice', secretFile: right, headerDigest: 'crc32c' });
        const refused = /auth|login|failed/i;
        await assertRefused({ ...alice, user: 'alice', secretFile: wrong }, refused);
        await assertRefused({ ...alice, user: 'bob', secretFile: right }, refused);
        await assertRefused(alice, refused);
        // The credentials belong to the initiator's name, not to whoever knows them.
        await assertRefused({ ...alice, initiator: BOB, user: 'alice', secretFile: right }, refused);
        // And a daemon that restarts has not forgotten them.
        await daemon.stop();
        await daemon.start();
        await assertAccess({ ...alice, user: 'alice', secretFile: right });
        await assertRefused({ ...alice, user: 'alice', secretFile: wrong }, refused);
      });
    } finally {
      folder.remove();
    }
  });

  it('needs a mapping, which can be taken away', async () => {
    await withDaemon({}, async (daemon) => {
      const disk = await daemon.createVolume('mapped', '32M', ['--map', ALICE]);
      await assertAccess(imageOf(daemon, disk, ALICE));
      assert.ok((await listed(daemon, ALICE)).includes(disk.iqn));
      assert.ok(!(await listed(daemon, BOB)).includes(disk.iqn), 'discovery tells only what is mapped');
      await assertRefused(imageOf(daemon, disk, BOB), /failed|LUN|login|not found/i);
      await daemon.gemelJson(['map', 'mapped', BOB]);
      await assertAccess(imageOf(daemon, disk, BOB));
      await daemon.gemelJson(['unmap', 'mapped', BOB]);
      await assertRefused(imageOf(daemon, disk, BOB), /failed|LUN|login|not found/i);
      await assertAccess(imageOf(daemon, disk, ALICE));
    });
  });

  it('is per LUN of a target', async () => {
    await withDaemon({}, async (daemon) => {
      const shared = ['--target', 'shared'];
      const first = await daemon.createVolume('first', '32M', ['--map', ALICE, ...shared]);
      const second = await daemon.createVolume('second', '32M', ['--map', BOB, ...shared]);
      assert.equal(first.iqn, second.iqn);
      assert.notEqual(first.lun, second.lun);
      await assertAccess(imageOf(daemon, first, ALICE));
      await assertAccess(imageOf(daemon, second, BOB));
      await assertRefused(imageOf(daemon, second, ALICE), /failed|LUN/i);
      await assertRefused(imageOf(daemon, first, BOB), /failed|LUN/i);
    });
  });

  it('discovery names every portal, and each of them serves the disk', async () => {
    await withDaemon({ portals: 2 }, async (daemon) => {
      const disk = await daemon.createVolume('portals', '32M');
      const found = await runOk('iscsi-ls', [`iscsi://${daemon.portals[0] ?? ''}`]);
      for (const [index, portal] of daemon.portals.entries()) {
        assert.match(found.stdout, new RegExp(`Target:${disk.iqn} Portal:${portal},`));
        await runOk('iscsi-inq', [daemon.url(disk, index)]);
      }
    });
  });
});
