import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { removeFiles } from '../../../core/control/pool-plan.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

describe('the files of a pool that goes', () => {
  test('are removed, and nothing else', async () => {
    const { path, remove } = temporaryFolder('pool-files');
    try {
      const names = ['superblock', 'journal', 'slab-00000', 'letter.txt'];
      for (const name of names) writeFileSync(join(path, name), 'x');
      await removeFiles(path);
      assert.deepEqual(
        names.filter((name) => existsSync(join(path, name))),
        ['letter.txt'],
      );
    } finally {
      remove();
    }
  });

  test('need not be there, nor the folder', async () => {
    await removeFiles('/nonexistent/pool');
    await removeFiles('/dev/null');
  });
});
