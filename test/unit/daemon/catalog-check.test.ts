import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import { checkCatalog } from '../../../core/daemon/catalog-check.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

/** A data folder whose catalog has some pages. */
async function withCatalog(body: (data: string, file: string) => void): Promise<void> {
  const folder = temporaryFolder('catalog');
  try {
    const path = join(folder.path, 'catalog');
    mkdirSync(path);
    const store = new EmbeddedStore(path);
    for (let i = 0; i < 40; i++) {
      await store.commit([{ key: `volumes/${String(i)}`, value: { name: 'x'.repeat(400) } }]);
    }
    await store.close();
    writeFileSync(join(folder.path, 'secret.key'), Buffer.alloc(32));
    body(folder.path, join(path, 'data.mdb'));
  } finally {
    folder.remove();
  }
}

const damaged = { code: 'catalog-damaged' };

describe('the catalog', () => {
  it('is believed when it is whole, and not changed by the look at it', async () => {
    await withCatalog((data, file) => {
      const before = readFileSync(file);
      checkCatalog(data);
      assert.ok(readFileSync(file).equals(before));
    });
  });

  it('is refused, in words, when it is cut or overwritten anywhere', async () => {
    await withCatalog((data, file) => {
      const whole = readFileSync(file);
      const size = statSync(file).size;
      for (const cut of [100, 4096, 8192, size >> 1]) {
        truncateSync(file, cut);
        assert.throws(() => {
          checkCatalog(data);
        }, damaged);
        writeFileSync(file, whole);
      }
      const overwritten = Buffer.from(whole);
      overwritten.fill(0xa5, 8192);
      writeFileSync(file, overwritten);
      assert.throws(() => {
        checkCatalog(data);
      }, damaged);
      writeFileSync(file, whole.toString('latin1').replaceAll('{"revision"', '{"revision'), 'latin1');
      assert.throws(() => {
        checkCatalog(data);
      }, damaged);
    });
  });

  it('may be missing only in a new data folder', async () => {
    await withCatalog((data, file) => {
      writeFileSync(file, '');
      assert.throws(() => {
        checkCatalog(data);
      }, damaged);
      rmSync(join(data, 'catalog'), { recursive: true });
      assert.throws(() => {
        checkCatalog(data);
      }, damaged);
      rmSync(join(data, 'secret.key'));
      checkCatalog(data);
      mkdirSync(join(data, 'volumes'));
      checkCatalog(data);
      writeFileSync(join(data, 'volumes', 'a.raw'), '');
      assert.throws(() => {
        checkCatalog(data);
      }, damaged);
    });
  });
});
