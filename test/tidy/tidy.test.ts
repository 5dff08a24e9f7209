import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { projectRoot } from '../support/project.ts';
import { bannedCalls, deadFiles, importViolations, importsOf, tooLong } from './rules.ts';
import type { Source } from './rules.ts';

function* walk(folder: string): Generator<string> {
  for (const entry of readdirSync(join(projectRoot, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* walk(path);
    // Types the build makes out of the rows of the API.
    else if (entry.name.endsWith('.ts') && !path.endsWith('/api/schema.ts')) yield path;
  }
}

const sourcesOf = (folders: readonly string[]): Source[] =>
  folders
    .flatMap((folder) => [...walk(folder)])
    .map((path) => ({ path, text: readFileSync(join(projectRoot, path), 'utf8') }));

const product = sourcesOf(['core', 'vaai', 'odx', 'plugins']);
const tests = sourcesOf(['test']);

describe('the house', () => {
  test('imports follow the table', () => {
    assert.deepEqual(product.flatMap(importViolations), []);
  });
  test('time, network, disk and randomness come through World; TLS is always verified', () => {
    const rulesThemselves = 'test/tidy/';
    const all = [...product, ...tests.filter(({ path }) => !path.startsWith(rulesThemselves))];
    assert.deepEqual(all.flatMap(bannedCalls), []);
  });
  test('no file is longer than a reader', () => {
    assert.deepEqual([...product, ...tests].flatMap(tooLong), []);
  });
  test('no product file is dead', () => {
    const consoles = ['core/console/main.ts', 'core/console/cockpit/main.ts'];
    const entries = ['core/daemon.ts', 'core/cli/main.ts', 'plugins/kvm/agent/main.ts', ...consoles];
    const types = product.map(({ path }) => path).filter((path) => path.endsWith('.d.ts'));
    assert.deepEqual(deadFiles(product, [...entries, ...types]), []);
  });
  test('no test helper is dead', () => {
    const entries = tests.map(({ path }) => path).filter((path) => /(\.test|\/main|\/worker)\.ts$/.test(path));
    assert.deepEqual(deadFiles(tests, entries), []);
  });
});

describe('each rule finds what it forbids', () => {
  const at = (path: string, text: string): Source => ({ path, text });

  test('imports', () => {
    const planted = [
      at('core/scsi/a.ts', "import { x } from '../../vaai/x.ts';"),
      at('core/base/a.ts', "import type { x } from '../volume/x.ts';"),
      at('odx/a.ts', "export * from '../vaai/x.ts';"),
      at('core/iscsi/a.ts', "const x = await import('express');"),
      at('core/volume/a.ts', "import { readFile } from 'node:fs';"),
      at('core/cli/a.ts', "import { x } from '../control/x.ts';"),
      at('core/elsewhere/a.ts', ''),
    ];
    for (const source of planted) assert.equal(importViolations(source).length, 1, source.path);
    assert.deepEqual(importViolations(at('vaai/a.ts', "import { x } from '../core/scsi/x.ts';")), []);
    assert.deepEqual(importsOf("import {\n  a,\n  b,\n} from './x.ts';\nimport './y.ts';"), ['./x.ts', './y.ts']);
  });

  test('calls', () => {
    for (const text of ['Date.now()', 'setTimeout(f, 1)', 'Math.random()', 'performance.now()', 'randomBytes(4)']) {
      assert.equal(bannedCalls(at('core/scsi/a.ts', text)).length, 1, text);
      assert.equal(bannedCalls(at('core/api/a.ts', text)).length, 0, text);
    }
    assert.equal(bannedCalls(at('core/cli/a.ts', '{ rejectUnauthorized: false }')).length, 1);
    assert.equal(bannedCalls(at('core/scsi/a.ts', '// Date.now() is not for us')).length, 0);
  });

  test('length', () => {
    assert.equal(tooLong(at('core/a.ts', '\n'.repeat(500))).length, 0);
    assert.equal(tooLong(at('core/a.ts', '\n'.repeat(501))).length, 1);
  });

  test('dead files', () => {
    const files = [at('core/a.ts', "import './b.ts';"), at('core/b.ts', ''), at('core/c.ts', "import './a.ts';")];
    assert.deepEqual(deadFiles(files, ['core/a.ts']), ['core/c.ts']);
  });
});
