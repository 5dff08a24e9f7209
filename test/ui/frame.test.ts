// The console inside another console: a page of another site shows it in a frame, as plugins do (docs/console.md, "The frame").
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import type { Frame, Page } from 'playwright-core';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { withDaemon } from '../support/daemon.ts';
import { needsChromium, withBrowser } from './browser.ts';
import { checkAccessible, picture, until } from './pages.ts';

const skip = needsChromium();

/** A page with a frame that shows `src`, and with what was said to it in `messages`. */
const parentOf = (src: string): string => `<!doctype html>
<html lang="en">
  <head>
    <title>Another console</title>
    <style>
      body { margin: 0; background: #222; }
      iframe { display: block; width: 1000px; height: 700px; border: 0; }
    </style>
  </head>
  <body>
    <script>
      window.messages = [];
      addEventListener('message', ({ data, origin }) => messages.push({ ...data, origin }));
    </script>
    <iframe title="Storage" src="${src}"></iframe>
  </body>
</html>`;

/** Serves `page` at the origins `https://localhost:…` and `https://127.0.0.1:…`, which are two; with the daemon's key, which the browser trusts. */
async function withParent(page: string, dataFolder: string, body: (port: number) => Promise<void>): Promise<void> {
  const pem = readFileSync(join(dataFolder, 'tls', 'server.pem'));
  const server = createServer({ key: pem, cert: pem }, (_request, response) => {
    response.setHeader('Content-Type', 'text/html').end(page);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await body((server.address() as AddressInfo).port);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

const say = (page: Page, message: object, to: string): Promise<unknown> =>
  page.evaluate(
    `document.querySelector('iframe').contentWindow.postMessage(${JSON.stringify({ type: 'gemel:frame', ...message })}, ${JSON.stringify(to)})`,
  );

describe('the console in a frame', { skip }, () => {
  it('takes theme, place and token from an allowed parent, and is not shown by any other', async () => {
    await withDaemon({}, async (daemon) => {
      const { api, token } = daemon.ready;
      const client = new ApiClient(api, token);
      await withParent(parentOf(`${api}/`), daemon.dataFolder, async (port) => {
        const allowed = `https://localhost:${String(port)}`;
        const settings = (await client.call('GET', '/settings/security')) as { apiNames: string[] };
        await client.call('PUT', '/settings/security', { apiNames: settings.apiNames, frameOrigins: [allowed] });
        const made = (await client.call('POST', '/tokens', { name: 'plugin', role: 'viewer' })) as { secret: string };
        await withBrowser(api, daemon.dataFolder, async ({ page, complaints }) => {
          await page.goto(allowed);
          await until(page, `window.messages.some(({ type }) => type === 'gemel:ready')`);
          assert.deepEqual(await page.evaluate('window.messages'), [{ type: 'gemel:ready', version: 1, origin: api }]);
          const frame = page.frames().find((each) => each.url().startsWith(api)) as Frame;
          await frame.getByRole('button', { name: 'Log in', exact: true }).waitFor();

          const context = { page: 'volumes', name: 'demo' };
          await say(page, { theme: 'dark', chrome: 'none', context, session: { token: made.secret } }, api);
          await frame.getByRole('heading', { name: 'demo', level: 1 }).waitFor();
          const theme = (): Promise<string> => frame.evaluate<string>("document.body.getAttribute('cds-theme')");
          assert.equal(await theme(), 'dark');
          assert.equal(await frame.getByRole('navigation').count(), 0);
          assert.equal(await frame.getByRole('button', { name: 'Log out' }).count(), 0);
          // The token is one of a viewer, and nothing of it stays in the browser.
          assert.equal(await frame.getByRole('button', { name: 'Grow' }).count(), 0);
          assert.equal(await frame.evaluate('document.cookie'), '');
          await until(page, `window.messages.some(({ hash }) => hash === '#/volumes/demo')`);
          await checkAccessible(page, 'frame');
          await picture(page, 'frame');

          // Again, when something changes; and what is not as described is left out.
          await say(page, { theme: 'light', chrome: 'full', context: { page: 'Pools/../x' } }, api);
          await frame.getByRole('navigation', { name: 'Pages' }).waitFor();
          assert.equal(await theme(), 'light');
          await frame.getByRole('link', { name: 'Pools' }).click();
          await until(page, `window.messages.some(({ hash }) => hash === '#/pools')`);
          // Whoever is not the parent is not listened to: here, the frame itself.
          await frame.evaluate(
            "new Promise((done) => { addEventListener('message', done, { once: true }); postMessage({ type: 'gemel:frame', theme: 'dark' }, '*'); })",
          );
          assert.equal(await theme(), 'light');
          assert.equal(complaints.join('\n'), '');

          // Another origin, though on the same machine: the browser does not show it at all.
          await page.goto(`https://127.0.0.1:${String(port)}`);
          await page.waitForLoadState();
          await until(page, "document.querySelector('iframe').contentDocument === null");
          const refused = (): boolean => complaints.some((each) => each.includes('frame-ancestors'));
          for (let i = 0; i < 100 && !refused(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
          assert.ok(refused(), complaints.join('\n'));
          assert.deepEqual(await page.evaluate('window.messages'), []);
        });
      });
    });
  });
});
