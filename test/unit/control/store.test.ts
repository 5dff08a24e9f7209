import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import type { ConfigEvent } from '../../../core/cluster/config-store.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { projectRoot } from '../../support/project.ts';

/** What a process is told that makes changes until its file may not grow any more, in the middle of a page. */
interface CutShort {
  readonly code: string;
  readonly message: string;
  /** The number of the operating system. */
  readonly cause: number;
  /** Changes that were committed before. */
  readonly made: number;
}

const STORE = `file://${join(projectRoot, 'dist', 'core', 'cluster', 'embedded-store.js')}`;
const PROGRAM = `
  const { EmbeddedStore } = await import(process.argv[1]);
  const store = new EmbeddedStore(process.argv[2], () => process.argv[3] === 'true');
  for (let made = 0; made < 1000; made++) {
    try {
      await store.commit([{ key: 'r/' + made, value: 'x'.repeat(3000) }]);
    } catch ({ code, message, cause }) {
      console.log(JSON.stringify({ code, message, cause: cause.code, made }));
      break;
    }
  }
  await store.close();`;
/** Kilobytes or half ones, depending on the shell: no multiple of a page either way. */
const LIMIT = 601;
const NO_LIMIT = process.platform === 'win32' ? 'there is no limit for the size of files' : false;

/** The real thing: what finds room for a part only is an input/output error to LMDB. */
function cutShort(folder: string, isFull: boolean): CutShort {
  const command = `ulimit -f ${String(LIMIT)}; exec "$0" --input-type=module -e "$1" "$2" "$3" "$4"`;
  const args = ['-c', command, process.execPath, PROGRAM, STORE, folder, String(isFull)];
  const done = spawnSync('sh', args, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(done.status, 0, done.stderr);
  return JSON.parse(done.stdout) as CutShort;
}

async function withStore(
  body: (store: EmbeddedStore, reopen: () => Promise<EmbeddedStore>) => Promise<void>,
): Promise<void> {
  const folder = temporaryFolder('store');
  let store = new EmbeddedStore(folder.path);
  try {
    await body(store, async () => {
      await store.close();
      return (store = new EmbeddedStore(folder.path));
    });
  } finally {
    await store.close();
    folder.remove();
  }
}

describe('EmbeddedStore', () => {
  it('keeps records and revisions over a reopen', async () => {
    await withStore(async (store, reopen) => {
      await store.commit([
        { key: 'a/1', value: { x: 1 } },
        { key: 'a/2', value: 'two' },
        { key: 'b/1', value: null },
      ]);
      await store.commit([
        { key: 'a/1', value: undefined },
        { key: 'a/10', value: [true] },
      ]);
      const again = await reopen();
      assert.deepEqual(await again.list('a/'), [
        { key: 'a/10', value: [true], revision: 2 },
        { key: 'a/2', value: 'two', revision: 1 },
      ]);
      assert.equal(await again.get('a/1'), undefined);
      assert.deepEqual(await again.commit([{ key: 'c', value: 1 }]), { ok: true, revision: 3 });
    });
  });

  it('changes all records or none, and only when every expectation holds', async () => {
    await withStore(async (store) => {
      await store.commit([{ key: 'a', value: 1 }]);
      const both = [
        { key: 'a', value: 2 },
        { key: 'b', value: 2 },
      ];
      const lost = await store.commit(both, [
        { key: 'a', revision: 1 },
        { key: 'b', revision: 7 },
      ]);
      assert.deepEqual(lost, { ok: false, revision: 1 });
      assert.equal((await store.get('a'))?.value, 1);
      assert.equal(await store.get('b'), undefined);
      const racing = [1, 2, 3].map((value) => store.commit([{ key: 'r', value }], [{ key: 'r', revision: 0 }]));
      assert.deepEqual((await Promise.all(racing)).filter((result) => result.ok).length, 1);
    });
  });

  it('tells watchers about later changes below their prefix', async () => {
    await withStore(async (store) => {
      const seen: ConfigEvent[] = [];
      const end = store.watch('v/', (event) => seen.push(event));
      await store.commit([
        { key: 'v/1', value: 1 },
        { key: 'w/1', value: 1 },
      ]);
      await store.commit([{ key: 'v/1', value: undefined }], [{ key: 'v/1', revision: 99 }]);
      await store.commit([{ key: 'v/1', value: undefined }]);
      end();
      await store.commit([{ key: 'v/2', value: 1 }]);
      assert.deepEqual(seen, [
        { key: 'v/1', value: 1, revision: 1 },
        { key: 'v/1', value: undefined, revision: 2 },
      ]);
    });
  });

  it('refuses keys it could not keep apart', async () => {
    await withStore(async (store) => {
      for (const key of ['', '\u0001revision', 'a b', 'x'.repeat(501)]) {
        await assert.rejects(store.commit([{ key, value: 1 }]), RangeError);
      }
    });
  });

  for (const [isFull, code, message] of [
    [true, 'no-space', 'no space left for the catalog'],
    [false, 'io-error', 'the catalog cannot be changed: Input/output error'],
  ] as const) {
    it(`says ${code} when half of a change could be written, and keeps what it had`, { skip: NO_LIMIT }, async () => {
      const folder = temporaryFolder('store');
      try {
        const { made, ...found } = cutShort(folder.path, isFull);
        // 5: EIO.
        assert.deepEqual(found, { code, message, cause: 5 });
        assert.ok(made > 5, `${String(made)} changes`);
        const store = new EmbeddedStore(folder.path);
        assert.equal((await store.list('r/')).length, made);
        assert.ok((await store.commit([{ key: 'r/again', value: 1 }])).ok);
        await store.close();
      } finally {
        folder.remove();
      }
    });
  }
});
