// Ten thousand volumes in the table of the console: real records of a real daemon, written into its catalog while it was down
// because making them one by one would take minutes.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { EmbeddedStore } from '../../core/cluster/embedded-store.ts';
import type { Change, Json } from '../../core/cluster/config-store.ts';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { withDaemon } from '../support/daemon.ts';
import { needsChromium, withBrowser } from './browser.ts';
import { checkAccessible, logIn, picture, show, until } from './pages.ts';

const skip = needsChromium();
const VOLUMES = 10_000;
const BATCH = 1000;
/** Rows in the document at once, however many there are: what is in sight, and a margin. */
const MOST_ROWS = 110;
/** Milliseconds the page may be busy in one piece while somebody scrolls or sorts: generous, the machine is shared. */
const LONGEST_TASK = 700;
/** Milliseconds for the first page over the API, its TLS handshake included: the best of some, the machine may be busy. */
const FIRST_PAGE = 100;
/** Milliseconds to load and show them all. */
const LOAD = 60_000;

const nameOf = (i: number): string => `vm-${String(i).padStart(5, '0')}`;

/** Copies of the volume `template`, which is in memory, each behind a target of its own. */
async function fill(dataFolder: string, template: string): Promise<void> {
  const store = new EmbeddedStore(join(dataFolder, 'catalog'));
  try {
    const read = async (key: string): Promise<Record<string, Json>> => {
      const record = await store.get(key);
      assert.ok(record, key);
      return record.value as Record<string, Json>;
    };
    const volume = await read(`volumes/${template}`);
    const target = await read(`targets/${template}`);
    assert.ok(typeof target['iqn'] === 'string');
    const iqn = target['iqn'].slice(0, -template.length);
    for (let first = 1; first < VOLUMES; first += BATCH) {
      const changes: Change[] = [];
      for (let i = first; i < Math.min(VOLUMES, first + BATCH); i++) {
        const name = nameOf(i);
        const id = randomBytes(16).toString('hex');
        changes.push({ key: `volumes/${name}`, value: { ...volume, name, id, target: name } });
        changes.push({ key: `targets/${name}`, value: { ...target, name, iqn: iqn + name } });
      }
      const { ok } = await store.commit(changes);
      assert.ok(ok);
    }
  } finally {
    await store.close();
  }
}

describe('the console', { skip }, () => {
  it('shows ten thousand volumes, of which few are in the document', async () => {
    await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
      await daemon.createVolume(nameOf(0), '1M', ['--memory']);
      await daemon.stop();
      await fill(daemon.dataFolder, nameOf(0));
      await daemon.start();
      let best = Infinity;
      for (let i = 0; i < 25 && best >= FIRST_PAGE; i++) {
        const begun = performance.now();
        const { items } = (await new ApiClient(daemon.ready.api, daemon.ready.token).call(
          'GET',
          '/volumes?limit=100',
        )) as { items: unknown[] };
        best = Math.min(best, performance.now() - begun);
        assert.equal(items.length, 100);
      }
      assert.ok(best < FIRST_PAGE, `the first page took ${best} ms`);
      await withBrowser(daemon.ready.api, daemon.dataFolder, async ({ page, complaints }) => {
        await logIn(page, daemon);
        await show(page, 'volumes');
        await page.locator(`table[aria-rowcount="${VOLUMES + 1}"]`).waitFor({ timeout: LOAD });
        const rows = (): Promise<number> => page.evaluate<number>("document.querySelectorAll('main tbody tr').length");
        assert.ok((await rows()) <= MOST_ROWS, 'rows at first');
        await page.evaluate(`
          window.busy = [];
          new PerformanceObserver((list) => busy.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });`);
        const box = "document.querySelector('.table-box')";
        // From the top to the bottom in steps: what is in sight is there, and the rest is not.
        for (const i of [0, 123, 2500, 5000, 7777, VOLUMES - 1]) {
          await page.evaluate(`${box}.scrollTop = ${String(i)} * 40`);
          await page.getByRole('link', { name: nameOf(i), exact: true }).waitFor();
          assert.ok((await rows()) <= MOST_ROWS, `rows at ${String(i)}`);
        }
        await until(page, `Math.abs(${box}.scrollTop + ${box}.clientHeight - ${box}.scrollHeight) < 2`);
        // Sorted the other way round, then searched.
        await page.getByRole('button', { name: 'Name' }).click();
        await page.evaluate(`${box}.scrollTop = 0`);
        await page.getByRole('link', { name: nameOf(VOLUMES - 1), exact: true }).waitFor();
        await page.getByRole('searchbox', { name: 'Search in Volumes' }).fill('vm-0777');
        await page.getByText(`10 of ${VOLUMES}`, { exact: true }).waitFor();
        await checkAccessible(page, 'many volumes');
        await page.getByRole('searchbox', { name: 'Search in Volumes' }).fill('');
        await picture(page, 'many');
        const longest = await page.evaluate<number>('Math.max(0, ...window.busy)');
        assert.ok(longest < LONGEST_TASK, `busy for ${longest} ms`);
        assert.deepEqual(complaints, []);
      });
    });
  });
});
