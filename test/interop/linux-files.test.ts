// What is installed on hosts that use the kernel's initiator, as multipath itself reads it.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { temporaryFolder } from '../support/cleanup.ts';
import { needsAll } from '../support/needs.ts';
import { runOk } from '../support/process.ts';
import { projectFile } from '../support/project.ts';

const missing = needsAll(['multipath', 'multipath-tools'], ['unshare', 'util-linux']);
const skip = process.getuid?.() === 0 ? missing : 'takes root: a mount namespace with another /etc';

test('multipath takes its settings for our disks without a complaint', { skip }, async () => {
  const folder = temporaryFolder('etc');
  try {
    mkdirSync(join(folder.path, 'multipath', 'conf.d'), { recursive: true });
    copyFileSync(
      projectFile('manifests', 'linux', 'multipath-gemel.conf'),
      join(folder.path, 'multipath', 'conf.d', 'gemel.conf'),
    );
    const script = 'mount --bind "$0" /etc && exec multipath -t';
    const args = ['--mount', '--propagation', 'private', 'sh', '-c', script, folder.path];
    const { stdout, stderr } = await runOk('unshare', args);
    assert.doesNotMatch(stdout + stderr, /gemel\.conf line \d+/);
    const [, own = ''] = /device \{\s+vendor "GEMEL"([^}]*)\}/.exec(stdout) ?? [];
    for (const line of [
      'prio "alua"',
      'path_grouping_policy "group_by_prio"',
      'no_path_retry 24',
      'fast_io_fail_tmo 5',
    ]) {
      assert.ok(own.includes(line), `${line}\n${own}`);
    }
  } finally {
    folder.remove();
  }
});
