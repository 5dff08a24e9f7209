// The page in Cockpit: a real cockpit-ws and its bridge carry the console to a real daemon.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { describe, it } from 'node:test';
import type { Frame, Page } from 'playwright-core';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { withDaemon } from '../support/daemon.ts';
import { needsAll } from '../support/needs.ts';
import { freePorts } from '../support/net.ts';
import { killGroup } from '../support/process.ts';
import { projectFile } from '../support/project.ts';
import { needsChromium, withBrowser } from './browser.ts';
import { checkAccessible, picture } from './pages.ts';

const SERVER = '/usr/lib/cockpit/cockpit-ws';
const skip =
  needsChromium() ||
  needsAll(
    [SERVER, 'cockpit-ws'],
    ['cockpit-bridge', 'cockpit-bridge'],
    ['/usr/share/cockpit/shell', 'cockpit-system'],
  );
/** Milliseconds for anything, on a machine that is busy with something else. */
const PATIENCE = 60_000;

/** Runs `body` with a Cockpit that has our package and needs no login; `folder` is empty before. */
async function withCockpit(folder: string, body: (url: string) => Promise<void>): Promise<void> {
  const own = join(folder, 'share', 'cockpit', 'gemel');
  mkdirSync(own, { recursive: true });
  cpSync(projectFile('dist', 'cockpit'), own, { recursive: true });
  const configuration = join(folder, 'cockpit.json');
  writeFileSync(join(own, 'settings.json'), JSON.stringify({ configuration }));
  const [port = 0] = await freePorts(1);
  const args = ['--local-session=cockpit-bridge', '--no-tls', '--address=127.0.0.1', `--port=${String(port)}`];
  const server = spawn(SERVER, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
    env: { ...process.env, HOME: folder, XDG_DATA_DIRS: `${join(folder, 'share')}:/usr/share` },
  });
  let said = '';
  server.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const gone = new Promise((resolve) => server.once('close', resolve));
  const end = (): void => {
    killGroup(server, 'SIGKILL');
  };
  const forget = atExit(end);
  try {
    for (const last = performance.now() + PATIENCE; !(await listens(port));) {
      assert.ok(performance.now() < last && server.exitCode === null, `cockpit-ws does not listen: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await body(`http://127.0.0.1:${String(port)}`);
  } finally {
    end();
    await gone;
    forget();
  }
}

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });

/** The frame in which the shell of Cockpit shows our page. */
async function frameOf(page: Page): Promise<Frame> {
  const end = performance.now() + PATIENCE;
  for (;;) {
    const found = page.frames().find((each) => /\/gemel\/(index\.html)?(#|$)/.test(each.url()));
    if (found !== undefined) return found;
    assert.ok(
      performance.now() < end,
      `no frame of ours: ${page
        .frames()
        .map((each) => each.url())
        .join(' ')}`,
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('the page in Cockpit', { skip }, () => {
  it('says what is missing, then makes a volume with the token that root can read, and keeps none of it', async () => {
    const folder = temporaryFolder('cockpit');
    try {
      await withDaemon({}, async (daemon) => {
        await withCockpit(folder.path, async (url) => {
          await withBrowser(daemon.ready.api, daemon.dataFolder, async ({ context, page }) => {
            context.setDefaultTimeout(PATIENCE);
            const complaints: string[] = [];
            page.on('console', (message) => {
              const ours = message.location().url.includes('/gemel/');
              if (ours && ['error', 'warning'].includes(message.type())) complaints.push(message.text());
            });
            const settings = (token: string): void => {
              const { host } = new URL(daemon.ready.api);
              const authority = join(daemon.dataFolder, 'tls', 'ca.pem');
              writeFileSync(join(folder.path, 'cockpit.json'), JSON.stringify({ api: host, token, authority }));
            };
            const missing = join(folder.path, 'no-token');
            settings(missing);
            await page.goto(`${url}/gemel`);
            const frame = await frameOf(page);
            await frame.getByText(`there is no ${missing}`).waitFor();
            // A refusal is an answer, too, with the words of the daemon.
            const [first = '', , third = ''] = daemon.ready.token.split('.');
            const wrong = join(folder.path, 'wrong-token');
            writeFileSync(wrong, `${first}.${'A'.repeat(43)}.${third}\n`);
            settings(wrong);
            await frame.getByRole('button', { name: 'Try again' }).click();
            await frame.getByText('The daemon does not take the token of this page').waitFor();
            settings(join(daemon.dataFolder, 'token'));
            await frame.getByRole('button', { name: 'Try again' }).click();
            await frame.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
            assert.equal(
              await frame.getByRole('button', { name: 'Log out' }).count(),
              0,
              'that is a matter of Cockpit',
            );

            await frame.getByRole('link', { name: 'Volumes', exact: true }).click();
            await frame.getByRole('button', { name: 'Create a volume' }).click();
            const dialog = frame.getByRole('dialog');
            const press = (name: string) => dialog.getByRole('button', { name, exact: true }).click();
            await dialog.getByLabel('Name').fill('from-cockpit');
            await dialog.getByLabel('Size').fill('64 MiB');
            await press('Next');
            await press('Next');
            await dialog.getByLabel('Who may use it').selectOption('nobody');
            await press('Next');
            await press('Create');
            await frame.getByRole('heading', { name: 'from-cockpit', level: 1 }).waitFor();
            const made = (await daemon.gemelJson(['volume', 'show', 'from-cockpit'])) as { size: number; pool: string };
            assert.deepEqual([made.size, made.pool], [64 * 1024 * 1024, 'pool0']);
            await picture(page, 'cockpit');

            // What happens elsewhere is told through the bridge, too.
            await frame.getByRole('link', { name: 'Volumes', exact: true }).click();
            await daemon.createVolume('from-elsewhere', '16M');
            await frame.getByRole('link', { name: 'from-elsewhere' }).waitFor();
            await picture(page, 'cockpit-volumes');
            await checkAccessible(page, 'volumes in Cockpit', 'body');
            const kept = await frame.evaluate<string>(
              'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href])',
            );
            assert.ok(!kept.includes(daemon.ready.token), 'the token is stored in the browser');
            assert.deepEqual(complaints, []);
          });
        });
      });
    } finally {
      folder.remove();
    }
  });
});
