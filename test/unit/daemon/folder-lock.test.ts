import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { lockFolder } from '../../../core/daemon/folder-lock.ts';
import { localAddresses } from '../../../core/daemon/addresses.ts';
import { atExit, temporaryFolder } from '../../support/cleanup.ts';

async function withFolder(body: (folder: string) => Promise<void> | void): Promise<void> {
  const folder = temporaryFolder('lock');
  try {
    await body(folder.path);
  } finally {
    folder.remove();
  }
}

/** A process that tries to take the lock at once and says how it went; it holds what it got until it is killed. */
function contender(folder: string): { said: Promise<string>; kill: () => Promise<void> } {
  const module = new URL('../../../core/daemon/folder-lock.js', import.meta.url).href;
  const program = `
    import { lockFolder } from ${JSON.stringify(module)};
    try { lockFolder(${JSON.stringify(folder)}); console.log('held'); } catch (error) { console.log(error.code); }
    setInterval(() => undefined, 60_000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const forget = atExit(() => child.kill('SIGKILL'));
  const closed = new Promise<void>((resolve) => {
    child.once('close', () => {
      forget();
      resolve();
    });
  });
  return {
    said: new Promise((resolve) => {
      child.stdout.setEncoding('utf8').once('data', (text: string) => {
        resolve(text.trim());
      });
    }),
    kill: () => {
      child.kill('SIGKILL');
      return closed;
    },
  };
}

describe('the lock of a data folder', () => {
  it('is held by one at a time and leaves nothing behind', async () => {
    await withFolder((folder) => {
      const first = lockFolder(folder);
      assert.throws(() => lockFolder(folder), { code: 'folder-in-use' });
      first.release();
      lockFolder(folder).release();
      if (process.platform === 'linux') assert.deepEqual(readdirSync(folder), []);
    });
  });

  it('goes to exactly one of many who want it at once, and ends with a process that is killed', async () => {
    await withFolder(async (folder) => {
      for (let round = 0; round < 2; round++) {
        const all = Array.from({ length: 4 }, () => contender(folder));
        const said = await Promise.all(all.map((each) => each.said));
        assert.deepEqual(said.sort(), ['folder-in-use', 'folder-in-use', 'folder-in-use', 'held']);
        await Promise.all(all.map((each) => each.kill()));
      }
      lockFolder(folder).release();
    });
  });

  it('says who holds it', async () => {
    await withFolder((folder) => {
      const held = lockFolder(folder);
      assert.throws(() => lockFolder(folder), { message: `${folder} is in use by another gemeld` });
      writeFileSync(join(folder, 'run.json'), '{"pid":4711,"api":"x"}');
      assert.throws(() => lockFolder(folder), /process number 4711/);
      held.release();
    });
  });

  it('says so when the folder is not there', () => {
    assert.throws(() => lockFolder('/nonexistent/gemel'), { code: 'folder-unusable' });
  });
});

describe('local addresses', () => {
  it('are loopback and those of the interfaces', () => {
    const isLocal = localAddresses(() => 0);
    for (const address of ['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1']) assert.ok(isLocal(address), address);
    for (const address of ['192.0.2.1', '2001:db8::1', '', '127.evil']) assert.ok(!isLocal(address), address);
  });
});
