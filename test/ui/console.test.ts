// The console as a person uses it: a real daemon, a real browser.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { withDaemon } from '../support/daemon.ts';
import { spawnLoad } from './load.ts';
import { needsChromium, withBrowser } from './browser.ts';
import { checkAccessible, logIn, picture, show, until } from './pages.ts';

const skip = needsChromium();
/** Bytes over the network until the first page can be used. */
const FIRST_LOAD = 300 * 1024;
/** Milliseconds until then, on loopback. */
const INTERACTIVE = 1000;
const PASSWORD = 'correct horse battery';
const ESX = 'iqn.1998-01.com.vmware:esx1';

const PLACES = [
  'overview',
  'volumes',
  'volumes/demo',
  'pools',
  'pools/pool0',
  'schedules',
  'hosts',
  'replication',
  'jobs',
  'events',
  'connect',
  'settings',
  'settings/users',
  'settings/tokens',
  'settings/storage',
  'settings/security',
  'settings/audit',
];

describe('the console', { skip }, () => {
  it('is small, and quick to be there', async () => {
    await withDaemon({}, async (daemon) => {
      await withBrowser(daemon.ready.api, daemon.dataFolder, async ({ page, complaints }) => {
        let bytes = 0;
        const sizes: Promise<void>[] = [];
        page.on('response', (response) => {
          const add = async (): Promise<void> => {
            const { responseBodySize, responseHeadersSize } = await response.request().sizes();
            bytes += responseBodySize + responseHeadersSize;
          };
          sizes.push(add());
        });
        const load = async (): Promise<number> => {
          await page.goto(`${daemon.ready.api}/?${Math.round(performance.now())}`);
          await page.getByRole('button', { name: 'Log in', exact: true }).waitFor();
          return page.evaluate<number>('performance.now()');
        };
        const first = await load();
        await Promise.all(sizes);
        assert.ok(bytes > 20_000 && bytes < FIRST_LOAD, `${bytes} bytes`);
        // The machine may be busy just then: the best of some.
        let best = first;
        for (let i = 0; i < 24 && best >= INTERACTIVE; i++) best = Math.min(best, await load());
        assert.ok(best < INTERACTIVE, `${best} ms`);
        assert.deepEqual(complaints, []);
      });
    });
  });

  it('makes the first user by the link of the daemon, and keeps the session over a reload', async () => {
    await withDaemon({}, async (daemon) => {
      const client = new ApiClient(daemon.ready.api, daemon.ready.token);
      const { url } = (await client.call('POST', '/first-login/code')) as { url: string };
      await withBrowser(daemon.ready.api, daemon.dataFolder, async ({ page, complaints }) => {
        await page.goto(`${daemon.ready.api}/${new URL(url).hash}`);
        await page.getByLabel('User name').fill('anna');
        assert.equal(
          await page.evaluate('location.href'),
          `${daemon.ready.api}/`,
          'the code does not stay in the address',
        );
        await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
        await page.getByLabel('The password again').fill(`${PASSWORD}x`);
        const create = page.getByRole('button', { name: 'Create the first user' });
        await create.click();
        await page.getByText('The two passwords differ.').waitFor();
        await page.getByLabel('The password again').fill(PASSWORD);
        await checkAccessible(page, 'first login');
        await picture(page, 'first-login');
        await create.click();
        await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
        await page.getByRole('link', { name: 'anna, admin' }).waitFor();
        await page.reload();
        await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
        // What changes something proves that it comes from this page.
        await show(page, 'volumes');
        await page.getByRole('button', { name: 'Create a volume' }).click();
        await page.getByRole('dialog').getByLabel('Name').fill('of-anna');
        await page.getByRole('dialog').getByRole('button', { name: 'Next' }).click();
        await page.getByRole('dialog').getByRole('button', { name: 'Next' }).click();
        await page.getByRole('dialog').getByLabel('Who may use it').selectOption('nobody');
        await page.getByRole('dialog').getByRole('button', { name: 'Next' }).click();
        await page.getByRole('dialog').getByRole('button', { name: 'Create' }).click();
        await page.getByRole('heading', { name: 'of-anna', level: 1 }).waitFor();
        // What is under way when the session ends is refused, which Chromium tells.
        assert.deepEqual(complaints, []);
        await page.getByRole('button', { name: 'Log out' }).click();
        await page.getByRole('button', { name: 'Log in', exact: true }).waitFor();
        await page.getByLabel('User name').fill('anna');
        await page.getByLabel('Password', { exact: true }).fill('not the password');
        await page.getByRole('button', { name: 'Log in', exact: true }).click();
        await page.getByRole('alert').waitFor();
        await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
        await page.getByRole('button', { name: 'Log in', exact: true }).click();
        await page.getByRole('link', { name: 'anna, admin' }).waitFor();
      });
    });
  });

  it('creates, maps, grows, snapshots, clones and deletes by clicking', async () => {
    await withDaemon({}, async (daemon) => {
      await withBrowser(daemon.ready.api, daemon.dataFolder, async ({ page, complaints }) => {
        const dialog = page.getByRole('dialog');
        const press = (name: string) => dialog.getByRole('button', { name, exact: true }).click();
        await daemon.gemelJson(['policy', 'create', 'gold', '--durability', 'durable', '--default']);
        await daemon.gemelJson(['policy', 'create', 'silver', '--thin']);
        await logIn(page, daemon);
        await page.getByRole('link', { name: 'Volumes' }).click();
        await page.getByRole('button', { name: 'Create a volume' }).click();
        await press('Next');
        await dialog.getByText('Name is needed.').waitFor();
        await dialog.getByLabel('Name').fill('vm-1');
        await dialog.getByLabel('Size').fill('64 MiB');
        await checkAccessible(page, 'wizard');
        await press('Next');
        // What a policy says is not asked for; the default one is chosen already.
        const durability = dialog.getByLabel('A write is acknowledged when it is');
        await dialog.getByText('The policy gold says: durable.').waitFor();
        assert.equal(await durability.count(), 0);
        await checkAccessible(page, 'wizard-policy');
        await dialog.getByLabel('Policy').selectOption('silver');
        await dialog.getByText('The policy silver says: thin.').waitFor();
        await durability.waitFor();
        assert.equal(await dialog.getByText('Thin: takes room only').count(), 0);
        await press('Next');
        await dialog.getByLabel('iSCSI names, one per line').fill(ESX);
        await press('Next');
        await picture(page, 'wizard-summary');
        await press('Create');
        await page.getByRole('heading', { name: 'vm-1', level: 1 }).waitFor();
        const { policy, thin } = (await daemon.gemelJson(['volume', 'show', 'vm-1'])) as Record<string, unknown>;
        assert.deepEqual([policy, thin], ['silver', true]);

        await page.getByRole('button', { name: 'Map', exact: true }).click();
        await dialog.getByLabel('Who may use it').selectOption('loopback');
        await press('Map');
        await page.getByText('loopback (this storage machine) read-write').waitFor();

        await page.getByRole('button', { name: 'Grow', exact: true }).click();
        await dialog.getByLabel('New size').fill('32 MiB');
        await press('Grow');
        await dialog.getByText('the console never shrinks a volume').waitFor();
        await dialog.getByLabel('New size').fill('128 MiB');
        await press('Grow');
        await page.getByText('of 128 MiB').waitFor();

        await page.getByRole('button', { name: 'Snapshot', exact: true }).click();
        await dialog.getByLabel('Name').fill('before-update');
        await press('Take the snapshot');
        const snapshots = page.getByRole('table', { name: 'Snapshots' });
        await snapshots.getByText('before-update').waitFor();

        await page.getByRole('button', { name: 'Clone', exact: true }).first().click();
        await dialog.getByLabel('Name of the clone').fill('vm-2');
        await dialog.getByLabel('Content').selectOption('before-update');
        await press('Next');
        await dialog.getByLabel('Who may use it').selectOption('nobody');
        await press('Clone');
        await page.getByRole('heading', { name: 'vm-2', level: 1 }).waitFor();

        await page.getByRole('button', { name: 'Delete', exact: true }).click();
        await dialog.getByLabel('Type vm-2 to confirm').fill('vm-2');
        await press('Delete');
        await page.getByRole('heading', { name: 'Volumes', level: 1 }).waitFor();

        // What is refused is explained, and nothing is lost.
        await page.getByRole('link', { name: 'vm-1' }).click();
        await page.getByRole('heading', { name: 'vm-1', level: 1 }).waitFor();
        await page.getByRole('button', { name: 'Delete', exact: true }).first().click();
        await dialog.getByLabel('Type vm-1 to confirm').fill('vm-1');
        await press('Delete');
        await dialog.getByRole('alert').getByText('snapshot').first().waitFor();
        await picture(page, 'refused');

        // What is deleted is kept, and comes back with all that belongs to it.
        await dialog.getByText('Its 1 snapshot too').click();
        await press('Delete');
        const deleted = page.getByRole('table', { name: 'Deleted volumes' });
        await deleted.getByText('vm-1').waitFor();
        await picture(page, 'deleted');
        await deleted.getByRole('button', { name: 'Restore' }).click();
        await page.getByRole('link', { name: 'vm-1' }).waitFor();
        await deleted.waitFor({ state: 'detached' });
        const names = (await daemon.listVolumes()).map(({ name, size }) => [name, size]);
        assert.deepEqual(names, [
          ['demo', 10 * 1024 ** 3],
          ['vm-1', 128 * 1024 ** 2],
        ]);
        // The refusal is an answer the browser remarks on.
        assert.deepEqual(
          complaints.filter((each) => !each.includes('409')),
          [],
        );
      });
    });
  });

  it('shows what hosts do while they do it', async () => {
    await withDaemon({}, async (daemon) => {
      await withBrowser(daemon.ready.api, daemon.dataFolder, async ({ page, complaints }) => {
        await logIn(page, daemon);
        const plot = page.getByRole('img', { name: /^Throughput, now: Read [1-9]/ });
        const [disk] = daemon.ready.disks;
        assert.ok(disk);
        const load = spawnLoad(disk.url);
        try {
          await plot.waitFor({ timeout: 60_000 });
          await show(page, 'volumes/demo');
          await plot.waitFor({ timeout: 60_000 });
          const line = page.locator('gemel-plot').first().locator('path.line-0');
          const before = await line.getAttribute('d');
          await until(
            page,
            `document.querySelector('gemel-plot path.line-0').getAttribute('d') !== ${JSON.stringify(before)}`,
          );
          await picture(page, 'under-load');
        } finally {
          await load.end();
        }
        assert.deepEqual(complaints, []);
      });
    });
  });

  it('shows what others change, at once', async () => {
    await withDaemon({}, async (daemon) => {
      await withBrowser(daemon.ready.api, daemon.dataFolder, async ({ page, complaints }) => {
        await logIn(page, daemon);
        await show(page, 'volumes');
        await page.getByRole('link', { name: 'demo', exact: true }).waitFor();
        await daemon.createVolume('of-others', '64M');
        // The page looks by itself only every 30 seconds.
        await page.getByRole('link', { name: 'of-others' }).waitFor({ timeout: 15_000 });
        await show(page, 'replication');
        await page.getByRole('heading', { name: 'This node is alone' }).waitFor();
        await page.getByText('2 volumes would stop until it is back: demo, of-others.').waitFor();
        assert.deepEqual(complaints, []);
      });
    });
  });

  it('every page, light and dark, without serious findings about accessibility', async () => {
    await withDaemon({}, async (daemon) => {
      await withBrowser(daemon.ready.api, daemon.dataFolder, async ({ page, complaints }) => {
        await page.goto(`${daemon.ready.api}/`);
        await page.getByRole('button', { name: 'Log in', exact: true }).waitFor();
        await checkAccessible(page, 'login');
        await picture(page, 'login');
        await logIn(page, daemon);
        for (const theme of ['light', 'dark']) {
          for (const place of PLACES) {
            await show(page, place);
            await until(page, "document.querySelector('.waiting') === null");
            await checkAccessible(page, `${place}, ${theme}`);
            await picture(page, `${place.replaceAll('/', '-')}-${theme}`);
          }
          if (theme === 'light') await page.getByRole('button', { name: 'Use the dark theme' }).click();
        }
        assert.deepEqual(complaints, []);
      });
    });
  });

  it('can be used with the keyboard alone', async () => {
    await withDaemon({}, async (daemon) => {
      await withBrowser(daemon.ready.api, daemon.dataFolder, async ({ page, complaints }) => {
        await page.goto(`${daemon.ready.api}/`);
        await page.getByRole('button', { name: 'Use an API token' }).focus();
        await page.keyboard.press('Enter');
        await page.getByLabel('API token').focus();
        await page.keyboard.insertText(daemon.ready.token);
        await page.keyboard.press('Enter');
        await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
        await show(page, 'volumes');
        const create = page.getByRole('button', { name: 'Create a volume' });
        await create.focus();
        await page.keyboard.press('Enter');
        const dialog = page.getByRole('dialog');
        await dialog.waitFor();
        // The focus is in the first field, and Enter goes on.
        await page.keyboard.insertText('by-keyboard');
        await page.keyboard.press('Enter');
        await dialog
          .getByRole('listitem')
          .filter({ hasText: 'Behaviour' })
          .and(page.locator('[aria-current=step]'))
          .waitFor();
        await page.keyboard.press('Escape');
        await dialog.waitFor({ state: 'detached' });
        await until(page, "document.activeElement?.textContent?.includes('Create a volume')");
        assert.deepEqual(complaints, []);
      });
    });
  });
});
