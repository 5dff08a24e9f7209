// A job that takes its time: seen by who has not begun it, with its progress and what is left of it, and stopped by a click.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { run } from '../support/process.ts';
import { needsQemuTools } from '../support/qemu.ts';
import { needsChromium } from './browser.ts';
import { checkAccessible, picture, show, until, withConsole } from './pages.ts';

const skip = needsChromium() || needsQemuTools();
const MIB = 1_048_576;
/** Bytes a second, the slowest there is: reading what is written below takes over a minute. */
const RATE = MIB;

interface Job {
  id: string;
  state: string;
  progress: number;
}

describe('the console', { skip }, () => {
  it('shows a running job with progress and time left, and cancels it', async () => {
    await withConsole(async (daemon, { page, complaints }) => {
      const client = new ApiClient(daemon.ready.api, daemon.ready.token);
      const [disk] = daemon.ready.disks;
      assert.ok(disk);
      await show(page, 'jobs');
      await page.getByRole('heading', { name: 'No jobs yet' }).waitFor();
      const written = await run('qemu-io', ['-f', 'raw', '-c', 'write -P 7 0 96M', disk.url], { timeoutMs: 60_000 });
      assert.equal(written.code, 0, written.stderr);
      const body = { kind: 'pool-scrub', request: { pool: 'pool0', rate: RATE } };
      const { id } = (await client.call('POST', '/jobs', body)) as Job;

      const bar = page.getByRole('progressbar', { name: /^Scrub of pool pool0: reading, .+ left$/ });
      await bar.waitFor();
      const shown = (): Promise<number> => page.evaluate<number>("document.querySelector('main progress').value");
      const first = await shown();
      await until(page, `[...document.querySelectorAll('main progress')].some((bar) => bar.value > ${String(first)})`);
      const job = (await client.call('GET', `/jobs/${id}`)) as Job;
      assert.equal(job.state, 'running');
      const now = await shown();
      // What is shown is what the daemon says, a little later.
      assert.ok(now > first && now <= job.progress + 0.1 && now < 1, `${first} ${now} ${job.progress}`);
      await checkAccessible(page, 'a running job');
      await picture(page, 'job-running');

      await page.getByRole('table', { name: 'Jobs' }).getByRole('link', { name: 'scrub of pool pool0' }).click();
      await page.getByRole('heading', { name: 'scrub of pool pool0', level: 1 }).waitFor();
      await bar.waitFor();
      await checkAccessible(page, 'one running job');
      await picture(page, 'job');
      await page.getByRole('button', { name: 'Cancel' }).click();
      await bar.waitFor({ state: 'detached' });
      await page.getByText('cancelled', { exact: true }).first().waitFor();
      assert.equal(((await client.call('GET', `/jobs/${id}`)) as Job).state, 'cancelled');
      await show(page, 'pools/pool0');
      await page.getByText('Last scrub: stopped before its end').waitFor();
      assert.deepEqual(complaints, []);
    });
  });
});
