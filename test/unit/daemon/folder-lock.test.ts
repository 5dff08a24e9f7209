import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { lockFolder } from '../../../core/daemon/folder-lock.ts';
import { localAddresses } from '../../../core/daemon/addresses.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

function withFolder(body: (folder: string, lock: string) => void): void {
  const folder = temporaryFolder('lock');
  try {
    body(folder.path, join(folder.path, 'lock'));
  } finally {
    folder.remove();
  }
}

/** The lock file as another process would have written it. */
function forge(lock: string, change: Record<string, unknown>): void {
  writeFileSync(lock, JSON.stringify({ ...(JSON.parse(readFileSync(lock, 'utf8')) as object), ...change }));
}

describe('the lock of a data folder', () => {
  it('is held by one process at a time', () => {
    withFolder((folder, lock) => {
      const first = lockFolder(folder, 'a');
      assert.throws(() => lockFolder(folder, 'b'), { code: 'folder-in-use' });
      first.release();
      assert.ok(!existsSync(lock));
      lockFolder(folder, 'c').release();
      assert.deepEqual(readdirSync(folder), []);
    });
  });

  it('is taken over from a process that is gone', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    await new Promise((resolve) => child.once('close', resolve));
    withFolder((folder, lock) => {
      const held = lockFolder(folder, 'a');
      for (const change of [{ pid: child.pid }, { started: '1' }]) {
        forge(lock, change);
        lockFolder(folder, 'b');
      }
      writeFileSync(lock, 'garbage');
      const last = lockFolder(folder, 'c');
      held.release();
      assert.ok(existsSync(lock), 'a displaced holder does not remove the lock of another');
      last.release();
      assert.deepEqual(readdirSync(folder), []);
    });
  });

  it('of another machine or container counts while it shows life', () => {
    withFolder((folder, lock) => {
      lockFolder(folder, 'a');
      forge(lock, { where: 'elsewhere' });
      assert.throws(() => lockFolder(folder, 'b'), { code: 'folder-in-use' });
      const before = new Date(Date.now() - 60_000);
      utimesSync(lock, before, before);
      lockFolder(folder, 'b').release();
    });
  });

  it('says so when the folder is not there', () => {
    assert.throws(() => lockFolder('/nonexistent/gemel', 'a'), { code: 'folder-unusable' });
  });
});

describe('local addresses', () => {
  it('are loopback and those of the interfaces', () => {
    const isLocal = localAddresses(() => 0);
    for (const address of ['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1']) assert.ok(isLocal(address), address);
    for (const address of ['192.0.2.1', '2001:db8::1', '', '127.evil']) assert.ok(!isLocal(address), address);
  });
});
