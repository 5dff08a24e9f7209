import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { inspectImage } from '../../../core/cli/image-file.ts';
import { progressLine } from '../../../core/cli/progress.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

/** A qcow2 version 3 header with these incompatible features. */
function qcow2(features: bigint): Buffer {
  const header = Buffer.alloc(112);
  header.writeUInt32BE(0x514649fb, 0);
  header.writeUInt32BE(3, 4);
  header.writeBigUInt64BE(features, 72);
  return header;
}

describe('inspectImage', () => {
  it('sees in the header that the data is elsewhere, before anything opens it', () => {
    const folder = temporaryFolder('inspect');
    try {
      const path = join(folder.path, 'image');
      writeFileSync(path, qcow2(0x1n));
      assert.equal(inspectImage(path, undefined, false).format, 'qcow2');
      writeFileSync(path, qcow2(0x5n));
      assert.throws(() => inspectImage(path, undefined, false), /has its data in another file.*--allow-backing/);
      assert.equal(inspectImage(path, undefined, true).format, 'qcow2');
      assert.equal(inspectImage(path, 'raw', false).format, 'raw');
      rmSync(path);
      assert.throws(() => inspectImage(path, undefined, false), { code: 'not-found' });
    } finally {
      folder.remove();
    }
  });
});

describe('progressLine', () => {
  it('fits the terminal and stays within 0 and 100 %', () => {
    assert.equal(
      progressLine('Copying', 50, 4096, 80),
      `Copying  [${'#'.repeat(15)}${' '.repeat(15)}]   50 %  2 KiB of 4 KiB`,
    );
    assert.match(progressLine('Copying', 101, 4096, 80), / 100 % {2}4 KiB of 4 KiB$/);
    assert.equal(progressLine('Copying', 50, 4096, 20).length, 19);
  });
});
