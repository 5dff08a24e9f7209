// Every dialog with the keyboard alone: it has a name, keeps the focus while it is there, and gives it back.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { needsChromium } from './browser.ts';
import { checkAccessible, show, until, withConsole } from './pages.ts';

const skip = needsChromium();

/** Where dialogs are opened, and by which buttons. */
const OPENERS: readonly (readonly [string, readonly string[]])[] = [
  ['volumes', ['Create a volume']],
  [
    'volumes/demo',
    ['Map', 'Grow', 'Snapshot', 'Clone', 'Delete', 'Unmap loopback (this storage machine)', 'Roll back'],
  ],
  ['pools', ['Create a pool']],
  ['pools/pool0', ['Add room', 'Threshold', 'Delete']],
  ['schedules', ['Create a schedule', 'Run now', 'Change', 'Delete']],
  ['hosts', ['Add a host', 'Create a group', 'Add an initiator', 'Change', 'Forget']],
  ['hosts/esx1', ['Map volumes', 'Change', 'Forget']],
  ['events', ['Add a target', 'Change']],
  ['settings/users', ['Add a user']],
  ['settings/tokens', ['Make a token']],
  ['settings/storage', ['Add a portal', 'Make a policy']],
  ['settings/security', ['Change']],
];
/** Of keys pressed in a dialog: more than any has places for the focus. */
const TABS = 10;

const INSIDE = `(() => {
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  for (let each = at; each !== null && each !== undefined; each = each.parentNode ?? each.host) {
    if (each.localName === 'dialog') return true;
  }
  return document.activeElement === document.body;
})()`;

describe('dialogs', { skip }, () => {
  it('are used with the keyboard: named, the focus inside, Escape, and back to where it was', async () => {
    await withConsole(async (daemon, { page, complaints }) => {
      const made = await Promise.all([
        daemon.gemel(['host', 'create', 'esx1', '--initiator', 'iqn.1998-01.com.vmware:esx1']),
        daemon.gemel(['schedule', 'set', 'nightly', 'demo', '--rule', 'daily@02:00=7']),
        daemon.gemel(['snapshot', 'create', 'demo', 'first']),
      ]);
      for (const { code, stderr } of made) assert.equal(code, 0, stderr);
      const dialog = page.getByRole('dialog');
      for (const [place, names] of OPENERS) {
        await show(page, place);
        await until(page, "document.querySelector('.waiting') === null");
        // No page is wider than the window, which is 1280 pixels wide.
        const over = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
        assert.ok(over <= 0, `${place} is ${String(over)} pixels too wide`);
        for (const name of names) {
          const what = `${place}: ${name}`;
          const opener = page.locator('main').getByRole('button', { name, exact: true }).first();
          await opener.focus();
          await page.keyboard.press('Enter');
          await dialog.waitFor();
          assert.equal(await page.evaluate(INSIDE), true, `${what}: the focus at first`);
          const label = await page.evaluate<string>(
            "document.getElementById(document.querySelector('dialog').getAttribute('aria-labelledby')).textContent.trim()",
          );
          assert.notEqual(label, '', what);
          for (let i = 0; i < TABS; i++) {
            await page.keyboard.press('Tab');
            assert.equal(await page.evaluate(INSIDE), true, `${what}: the focus after ${String(i + 1)} tabs`);
          }
          await checkAccessible(page, what, 'dialog');
          await page.keyboard.press('Escape');
          await dialog.waitFor({ state: 'detached' });
          const back = await page.evaluate<string>(
            "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()",
          );
          assert.equal(back, name, `${what}: the focus is where it was`);
        }
      }
      assert.deepEqual(complaints, []);
    });
  });
});
