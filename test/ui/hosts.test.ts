// Hosts, groups of hosts and snapshot schedules, made and changed by clicking; what the API says afterwards is what counts.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { needsChromium } from './browser.ts';
import { checkAccessible, picture, show, withConsole } from './pages.ts';

const skip = needsChromium();
const IQN = (host: string): string => `iqn.1998-01.com.vmware:${host}`;

interface Volume {
  name: string;
  maps: { initiator: string; access: string }[];
}

interface Schedule {
  name: string;
  volumes: string[];
  rules: unknown[];
  enabled: boolean;
  snapshots: number;
}

describe('the console', { skip }, () => {
  it('adds hosts, groups them, maps volumes to them, renames and forgets', async () => {
    await withConsole(async (daemon, { page, complaints }) => {
      const client = new ApiClient(daemon.ready.api, daemon.ready.token);
      const mapsOf = async (name: string): Promise<string[]> => {
        const { maps } = (await client.call('GET', `/volumes/${name}`)) as Volume;
        return maps.map(({ initiator, access }) => `${initiator} ${access}`);
      };
      const dialog = page.getByRole('dialog');
      const press = (name: string) => dialog.getByRole('button', { name, exact: true }).click();
      await show(page, 'hosts');
      await page.getByRole('heading', { name: 'No hosts yet' }).waitFor();
      for (const host of ['esx1', 'esx2']) {
        await page.getByRole('button', { name: 'Add a host' }).click();
        await dialog.getByRole('textbox', { name: 'Name', exact: true }).fill(host);
        await dialog.getByLabel('iSCSI names, one per line').fill('not an iSCSI name');
        await press('Add');
        await dialog.getByText('is not an iSCSI name').waitFor();
        await dialog.getByLabel('iSCSI names, one per line').fill(`${IQN(host)}-a\n${IQN(host)}-b`);
        await dialog.getByLabel('What runs on it').selectOption({ label: 'VMware ESXi' });
        await press('Add');
        await page.getByRole('table', { name: 'Hosts', exact: true }).getByRole('link', { name: host }).waitFor();
      }

      await page.getByRole('button', { name: 'Create a group' }).click();
      await dialog.getByRole('textbox', { name: 'Name', exact: true }).fill('vsphere');
      await dialog.getByLabel('esx1, 2 initiators').check();
      await checkAccessible(page, 'group dialog');
      await press('Create');
      const groups = page.getByRole('table', { name: 'Host groups' });
      await groups.getByText('vsphere').waitFor();

      // To a group where it is said who may use a volume.
      await show(page, 'volumes/demo');
      await page.getByRole('button', { name: 'Map', exact: true }).click();
      assert.equal(await dialog.getByLabel('Who may use it').inputValue(), 'hosts');
      await press('Map');
      await dialog.getByText('Choose at least one.').waitFor();
      await dialog.getByLabel('Group vsphere, 1 host').check();
      await checkAccessible(page, 'map dialog');
      await picture(page, 'map-dialog');
      await press('Map');
      await page.getByText('group vsphere read-write').waitFor();
      // To a host where the host is.
      await show(page, 'hosts/esx2');
      await page.getByRole('button', { name: 'Map volumes' }).click();
      await dialog.getByLabel('demo, 10 GiB').check();
      await dialog.getByText('It may only read').click();
      await press('Map');
      await page.getByRole('table', { name: 'Volumes of the host' }).getByText('read-only').waitFor();
      await checkAccessible(page, 'host');
      await picture(page, 'host');
      assert.deepEqual(await mapsOf('demo'), [
        'loopback read-write',
        'group:vsphere read-write',
        'host:esx2 read-only',
      ]);

      // Another name and another member: the volume stays mapped, to the group of the new name.
      await show(page, 'hosts');
      await groups.getByRole('button', { name: 'Change' }).click();
      await dialog.getByRole('textbox', { name: 'Name', exact: true }).fill('vsphere-prod');
      await dialog.getByLabel('esx2, 2 initiators').check();
      await press('Save');
      await dialog.waitFor({ state: 'detached' });
      await groups.getByText('vsphere-prod').waitFor();
      await picture(page, 'hosts');
      assert.deepEqual(
        ((await client.call('GET', '/host-groups')) as { items: { name: string; hosts: string[] }[] }).items.map(
          ({ name, hosts }) => ({ name, hosts }),
        ),
        [{ name: 'vsphere-prod', hosts: ['esx1', 'esx2'] }],
      );
      assert.deepEqual(await mapsOf('demo'), [
        'loopback read-write',
        'host:esx2 read-only',
        'group:vsphere-prod read-write',
      ]);

      // What is in use is not deleted, and says why.
      await groups.getByRole('button', { name: 'Delete' }).click();
      await press('Delete');
      await dialog.getByRole('alert').getByText('mapped to group:vsphere-prod').waitFor();
      await press('Cancel');
      await show(page, 'volumes/demo');
      await page.getByRole('button', { name: 'Unmap group vsphere-prod' }).click();
      await press('Unmap');
      await page.getByRole('button', { name: 'Unmap group vsphere-prod' }).waitFor({ state: 'detached' });
      await show(page, 'hosts');
      await groups.getByRole('button', { name: 'Delete' }).click();
      await press('Delete');
      await groups.waitFor({ state: 'detached' });
      await page.getByRole('link', { name: 'esx1' }).click();
      await page.getByRole('button', { name: 'Forget' }).click();
      await press('Forget');
      await page.getByRole('heading', { name: 'Hosts and sessions', level: 1 }).waitFor();
      await page.getByRole('link', { name: 'esx1' }).waitFor({ state: 'detached' });
      await page.getByRole('link', { name: 'esx2' }).waitFor();
      // The refusal is an answer the browser remarks on.
      assert.deepEqual(
        complaints.filter((each) => !each.includes('409')),
        [],
      );
    });
  });

  it('makes a snapshot schedule, changes, pauses, runs and deletes it', async () => {
    await withConsole(async (daemon, { page, complaints }) => {
      const client = new ApiClient(daemon.ready.api, daemon.ready.token);
      const dialog = page.getByRole('dialog');
      const press = (name: string) => dialog.getByRole('button', { name, exact: true }).click();
      const nightly = async (): Promise<Schedule> => (await client.call('GET', '/schedules/nightly')) as Schedule;
      await show(page, 'schedules');
      await page.getByRole('heading', { name: 'No schedules yet' }).waitFor();
      await page.getByRole('button', { name: 'Create a schedule' }).first().click();
      await dialog.getByRole('textbox', { name: 'Name', exact: true }).fill('nightly');
      await dialog.getByLabel('demo, pool pool0').check();
      await checkAccessible(page, 'schedule, volumes');
      await press('Next');
      const second = dialog.getByRole('group', { name: 'Rule 2' });
      await second.getByLabel('Time, UTC').fill('25:00');
      await press('Create');
      await dialog.getByText('Write a time like 02:30.').waitFor();
      await second.getByLabel('Time, UTC').fill('04:30');
      await second.getByLabel('keep').fill('14');
      await checkAccessible(page, 'schedule, times');
      await picture(page, 'schedule-dialog');
      await press('Create');
      await page.getByText('every day at 04:30 UTC, 14 stay').waitFor();
      assert.deepEqual((await nightly()).rules, [
        { every: 'hour', minute: 0, keep: 24 },
        { every: 'day', time: '04:30', keep: 14 },
      ]);

      await page.getByRole('button', { name: 'Change' }).click();
      await press('Next');
      await dialog.getByRole('button', { name: 'Remove rule 1' }).click();
      await dialog.getByRole('button', { name: 'Add a rule' }).click();
      await second.getByLabel('How often').selectOption({ label: 'Every few minutes' });
      await second.getByLabel('minutes').fill('1');
      await press('Save');
      await page.getByText('every minute, 4 stay').waitFor();
      // A run of its own comes within a minute and is seen without a reload; meanwhile one by hand.
      await page.getByRole('button', { name: 'Run now' }).click();
      await press('Take the snapshots');
      await dialog.waitFor({ state: 'detached' });
      const snapshots = ((await client.call('GET', '/snapshots')) as { items: { name: string }[] }).items;
      assert.ok(
        snapshots.some(({ name }) => name.startsWith('nightly-now-')),
        JSON.stringify(snapshots),
      );
      await page.getByRole('button', { name: 'Pause' }).click();
      await page.getByText('paused', { exact: true }).waitFor();
      assert.equal((await nightly()).enabled, false);
      await picture(page, 'schedules');
      await checkAccessible(page, 'schedules');
      await page.getByRole('button', { name: 'Resume' }).click();
      await page.getByRole('button', { name: 'Pause' }).waitFor();
      assert.equal((await nightly()).enabled, true);
      await show(page, 'volumes/demo');
      await page.getByText('Schedule nightly: next').waitFor();
      await show(page, 'schedules');
      await page.getByRole('button', { name: 'Delete' }).click();
      await press('Delete');
      await page.getByRole('heading', { name: 'No schedules yet' }).waitFor();
      assert.deepEqual(complaints, []);
    });
  });
});
