// The second descriptor of a file, past the page cache: it is not closed, and its number not given to another file, under a call.
import assert from 'node:assert/strict';
import { closeSync, constants, openSync, writeFileSync } from 'node:fs';
import { constants as os } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { DirectFile } from '../../../core/world/direct-file.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { until } from '../../support/until.ts';

const { EINVAL } = os.errno;

/** A file of two blocks, open. */
async function withFile(body: (file: number) => Promise<void>): Promise<void> {
  const folder = temporaryFolder('direct-file');
  writeFileSync(join(folder.path, 'file'), Buffer.alloc(8192));
  const file = openSync(join(folder.path, 'file'), 'r');
  try {
    await body(file);
  } finally {
    closeSync(file);
    folder.remove();
  }
}

describe('a file past the page cache', () => {
  test('is closed when nothing is under way any more', async () => {
    await withFile(async (file) => {
      const direct = new DirectFile(file, constants.O_RDONLY);
      await until(() => direct.want() || direct.impossible);
      if (direct.impossible) return;
      direct.begins();
      direct.begins();
      const seen: string[] = [];
      const closing = direct.close().then(() => seen.push('closed'));
      direct.ended(4096);
      for (let i = 0; i < 20; i++) await turn();
      seen.push('last one over');
      direct.ended(-5);
      await closing;
      assert.deepEqual(seen, ['last one over', 'closed']);
      assert.equal(direct.want(), false);
      assert.equal(direct.fd, undefined);
    });
  });

  test('is not asked again when the file system wants something else, or it is of no use', async () => {
    await withFile(async (file) => {
      const direct = new DirectFile(file, constants.O_RDONLY);
      direct.begins();
      direct.ended(-EINVAL);
      assert.equal(direct.impossible, true);
      assert.equal(direct.want(), false);
      await direct.close();
      const useless = new DirectFile(file, constants.O_RDONLY, () => false);
      await until(() => useless.want() || useless.impossible);
      assert.equal(useless.fd, undefined);
      await useless.close();
    });
  });
});
