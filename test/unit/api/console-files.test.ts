import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { consoleFiles } from '../../../core/api/console-files.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

const PAGE = '<html><head><meta name="gemel-frame-origins" content="" /></head></html>';
const SCRIPT = 'export const answer = 42;\n'.repeat(40);

interface Got {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Serves a small console; the address of the server goes to `body`. */
async function withConsole(
  body: (ask: (path: string, headers?: Record<string, string>, method?: string) => Promise<Got>) => Promise<void>,
  frameOrigins: readonly string[] = [],
  built = true,
): Promise<void> {
  const folder = temporaryFolder('console');
  if (built) {
    mkdirSync(join(folder.path, 'assets'));
    writeFileSync(join(folder.path, 'index.html'), PAGE);
    const script = join(folder.path, 'assets', 'index-abc.js');
    writeFileSync(script, SCRIPT);
    writeFileSync(`${script}.br`, brotliCompressSync(SCRIPT));
    writeFileSync(`${script}.gz`, gzipSync(SCRIPT));
    writeFileSync(join(folder.path, 'assets', 'secret.key'), 'not a kind of file the console has');
  }
  const app = express();
  app.use(consoleFiles({ folder: folder.path, frameOrigins: () => frameOrigins }));
  app.use((_request, response) => {
    response.status(418).end();
  });
  const server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    await body(async (path, headers = {}, method = 'GET') => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, headers });
      return { status: answer.status, headers: answer.headers, text: await answer.text() };
    });
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    folder.remove();
  }
}

describe('files of the console', () => {
  it('the page is never kept, and says who may run what in it', async () => {
    await withConsole(async (ask) => {
      for (const path of ['/', '/index.html']) {
        const { status, headers, text } = await ask(path);
        assert.equal(status, 200);
        assert.equal(text, PAGE);
        assert.equal(headers.get('content-type'), 'text/html; charset=utf-8');
        assert.equal(headers.get('cache-control'), 'no-store');
        const policy = headers.get('content-security-policy') ?? '';
        assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/);
        assert.match(policy, /frame-ancestors 'self'$/);
        assert.doesNotMatch(policy, /unsafe|data:|\*/);
      }
    });
  });

  it('assets are kept for ever, compressed as the browser likes', async () => {
    await withConsole(async (ask) => {
      const path = '/assets/index-abc.js';
      const coded = await ask(path, { 'Accept-Encoding': 'gzip, br' });
      assert.equal(coded.headers.get('content-encoding'), 'br');
      assert.equal(coded.headers.get('cache-control'), 'public, max-age=31536000, immutable');
      assert.equal(coded.headers.get('content-type'), 'text/javascript; charset=utf-8');
      assert.equal(coded.headers.get('vary'), 'Accept-Encoding');
      // fetch has decoded it.
      assert.equal(coded.text, SCRIPT);
      assert.equal((await ask(path, { 'Accept-Encoding': 'gzip, br;q=0' })).headers.get('content-encoding'), 'gzip');
      const plain = await ask(path, { 'Accept-Encoding': 'identity' });
      assert.equal(plain.headers.get('content-encoding'), null);
      assert.equal(plain.text, SCRIPT);
    });
  });

  it('names the origins that may embed the page, in the policy and in the page', async () => {
    await withConsole(
      async (ask) => {
        const { headers, text } = await ask('/');
        assert.match(headers.get('content-security-policy') ?? '', /frame-ancestors 'self' https:\/\/vc\.example$/);
        assert.match(text, /content="https:\/\/vc\.example"/);
      },
      ['https://vc.example'],
    );
  });

  it('leaves everything else to the API', async () => {
    await withConsole(async (ask) => {
      const others = [
        '/api/v1/status',
        '/assets/secret.key',
        '/assets/none.js',
        '/assets/index-abc.js.br',
        '/%2e%2e/etc/passwd',
      ];
      for (const path of others) assert.equal((await ask(path)).status, 418, path);
      assert.equal((await ask('/', {}, 'POST')).status, 418);
    });
  });

  it('says so when it has not been built', async () => {
    await withConsole(
      async (ask) => {
        const { status, text } = await ask('/');
        assert.equal(status, 503);
        assert.match(text, /npm run build/);
      },
      [],
      false,
    );
  });
});
