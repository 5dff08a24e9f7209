// What every test of the console does.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { withDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { projectFile } from '../support/project.ts';
import { withBrowser } from './browser.ts';
import type { Browser } from './browser.ts';

/** Pictures of what the tests have seen; not kept in the repository. */
const ARTIFACTS = projectFile('artifacts', 'ui');

/** Milliseconds for something to become true. */
const PATIENCE = 20_000;

/** Asks the page until the expression is true. (Playwright's own waiting evaluates inside the page, which its policy refuses.) */
export async function until(page: Page, expression: string): Promise<void> {
  const end = performance.now() + PATIENCE;
  while (!(await page.evaluate<boolean>(expression))) {
    if (performance.now() > end) throw new Error(`never true: ${expression}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Runs `body` with a daemon of its own and a browser in which its owner is logged in. */
export async function withConsole(body: (daemon: Daemon, browser: Browser) => Promise<void>): Promise<void> {
  await withDaemon({}, async (daemon) => {
    await withBrowser(daemon.ready.api, daemon.dataFolder, async (browser) => {
      await logIn(browser.page, daemon);
      await body(daemon, browser);
    });
  });
}

/** Logs in with the token of the daemon's owner. */
export async function logIn(page: Page, daemon: Daemon): Promise<void> {
  await page.goto(`${daemon.ready.api}/`);
  await page.getByRole('button', { name: 'Use an API token' }).click();
  await page.getByLabel('API token').fill(daemon.ready.token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
}

/** Goes there as somebody does who has the address: without loading the page again. */
export async function show(page: Page, place: string): Promise<void> {
  await page.evaluate(`location.hash = ${JSON.stringify(`#/${place}`)}`);
  await page.locator('main h1').first().waitFor();
}

export async function picture(page: Page, name: string): Promise<void> {
  mkdirSync(ARTIFACTS, { recursive: true });
  await page.screenshot({ path: join(ARTIFACTS, `${name}.png`) });
}

interface Finding {
  readonly id: string;
  readonly impact: string | null;
  readonly help: string;
  readonly nodes: readonly { readonly target: readonly unknown[]; readonly failureSummary?: string }[];
}

/** Fails when axe finds something serious or critical on the page as it is now. `within`: a selector, when not all is looked at. */
export async function checkAccessible(page: Page, what: string, within = 'html'): Promise<void> {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate<{ violations: Finding[] }>(
    `axe.run(${JSON.stringify(within)}, { resultTypes: ["violations"] })`,
  );
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const told = serious.map(({ id, help, nodes }) => ({
    id,
    help,
    where: nodes.slice(0, 3).map(({ target, failureSummary }) => `${JSON.stringify(target)} ${failureSummary ?? ''}`),
  }));
  assert.deepEqual(told, [], what);
}
