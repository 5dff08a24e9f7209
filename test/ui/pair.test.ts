// The replication page of a real pair with a witness: the drawing, what is in step, and a hand-over by clicking.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eventually, killEtcd, withDaemonPair } from '../support/daemon-pair.ts';
import { needsAll } from '../support/needs.ts';
import { needsChromium, withBrowser } from './browser.ts';
import { checkAccessible, logIn, picture, show } from './pages.ts';

const skip = needsChromium() || needsAll(['etcd', 'etcd-server']);

interface Shown {
  owner: string | null;
  inSync: string[];
}

describe('the console of a pair', { skip }, () => {
  it('draws the nodes, hands a volume over when asked at either of them, and says who is gone', async () => {
    await withDaemonPair(async ({ alpha, beta }) => {
      await alpha.createVolume('shared', '64M');
      const shared = async (): Promise<Shown> => (await beta.gemelJson(['replication', 'show', 'shared'])) as Shown;
      await eventually('beta has its copy', async () => (await shared().catch(() => undefined))?.inSync.length === 2);
      // Not the owner: whoever has the console of any node open can move volumes.
      await withBrowser(beta.ready.api, beta.dataFolder, async ({ page, complaints }) => {
        await logIn(page, beta);
        await show(page, 'replication');
        const drawing = (text: string) => page.getByRole('img', { name: text });
        await drawing('alpha: serves 1 volume; beta: serves 0 volumes; watch: witness').waitFor();
        await page.getByText('When a node dies, another one takes over by itself.').waitFor();
        const row = page.getByRole('table', { name: 'Mirrored volumes' }).getByRole('row', { name: /shared/ });
        await row.getByText('all 2').waitFor();
        await checkAccessible(page, 'replication of a pair');
        await picture(page, 'replication-pair');

        for (const [from, to] of [
          ['alpha', 'beta'],
          ['beta', 'alpha'],
        ] as const) {
          await row.getByText(from).waitFor();
          await row.getByRole('button', { name: 'Hand over' }).click();
          const dialog = page.getByRole('dialog');
          assert.equal(await dialog.getByLabel('To').inputValue(), to);
          await dialog.getByRole('button', { name: 'Hand over', exact: true }).click();
          await dialog.getByText(new RegExp(`shared is served by ${to}\\. Nobody served it for`)).waitFor();
          await picture(page, `replication-to-${to}`);
          await dialog.getByText('Close', { exact: true }).click();
          await drawing(`${to}: serves 1 volume`).waitFor();
        }
        await row.getByRole('button', { name: 'Drill' }).click();
        const drill = page.getByRole('dialog');
        await drill.getByRole('button', { name: 'Run the drill', exact: true }).click();
        await drill.getByText('beta served it after').waitFor();
        const told = (await drill.innerText()).replaceAll(/\s+/g, ' ');
        assert.match(told, /beta served it after .+; no command of a host was under way\. alpha served it after /);
        await drill.getByText('Close', { exact: true }).click();
        await page.getByLabel('Node', { exact: true }).selectOption({ label: 'alpha' });
        await page.getByText('1 volume would go on at another node').waitFor();
        assert.deepEqual(complaints, []);

        await alpha.crash();
        killEtcd(alpha.dataFolder);
        await drawing('alpha: does not answer; beta: serves 1 volume').waitFor();
        await row.getByText('1 of 2').waitFor();
        await page.getByText('Bring back alpha.').waitFor();
        await checkAccessible(page, 'replication without a node');
        await picture(page, 'replication-one-gone');
        const gone = await beta.gemel(['cluster', 'remove', 'alpha', '--drop-copies']);
        assert.equal(gone.code, 0, gone.stderr);
        await row.getByText('all 1').waitFor();
      });
    });
  });
});
