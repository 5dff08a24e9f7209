import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createProgram, runProgram } from '../../../core/cli/program.ts';
import { ApiClient } from '../../../plugins/sdk/client.ts';
import { withApi } from '../api/fixture.ts';

const IQN = 'iqn.1998-01.com.vmware:esx1';

describe('gemel with hosts, schedules, jobs and deleted disks', () => {
  it('makes, lists, maps, deletes and restores within 80 columns', async () => {
    await withApi(async ({ plane, url, admin }) => {
      const gemel = async (line: string): Promise<string> => {
        let output = '';
        const print = (text: string): void => {
          output += `${text}\n`;
        };
        const client = (): ApiClient => new ApiClient(url, admin);
        const readStdin = (): string => 'correct-horse-battery\n';
        const program = createProgram({ client, print, readStdin, width: 80 }, '1.2.3');
        const { status, complaint } = await runProgram(program, line.split(' '));
        for (const each of output.split('\n')) assert.ok(each.length <= 80 || each.includes('iscsi://'), each);
        return status === 0 ? output : `${String(status)} ${complaint ?? ''}`;
      };
      await plane.pools.create({ name: 'tank', size: 32 << 20 });
      assert.match(await gemel('host list'), /^No hosts yet\. Try: gemel host create/);
      const chap = '--chap-user esx --chap-secret-file -';
      assert.equal(
        await gemel(`host create esx1 --initiator ${IQN} --profile esxi ${chap}`),
        `esx1: ${IQN}, with CHAP\n`,
      );
      assert.equal(await gemel(`host set esx1 --initiator ${IQN}b --no-chap`), `esx1: ${IQN}, ${IQN}b\n`);
      assert.match(await gemel('host list'), /esx1 +esxi +0 of 2/);
      assert.equal(await gemel('host-group set all esx1'), 'all: esx1\n');
      await gemel('volume create disk --size 8M --map host:esx1');
      assert.match(await gemel('map disk group:all --read-only'), /^disk is mapped to host:esx1, group:all \(ro\)/);
      assert.match(await gemel('map disk host:none'), /^4 .*there is no host none/);
      assert.match(await gemel('host delete esx1'), /^5 .*mapped to host:esx1/);
      assert.match(await gemel('schedule set night disk --rule daily@02:00=7 --rule sun@03:00=4'), /^night: next 20/);
      assert.match(await gemel('schedule list'), /night .*daily@02:00=7/);
      assert.match(await gemel('schedule set night disk --rule never'), /^2 .*is not a rule/);
      assert.match(await gemel('volume delete disk'), /^5 .*is in the snapshot schedule night/);
      assert.equal(await gemel('schedule delete night'), 'Forgot schedule night\n');
      await plane.units.unit('disk')?.volume.write(0, Buffer.alloc(4096, 1), 0, 4096, false);
      assert.match(
        await gemel('volume delete disk'),
        /^Deleted disk; its data is kept until 20.*\n {2}gemel volume restore disk\n/,
      );
      assert.match(await gemel('volume deleted'), /disk +8 MiB +tank/);
      assert.match(await gemel('volume restore disk'), /^disk is back\n/);
      assert.equal(await gemel('volume keep-deleted 7d'), 'Deleted disks are kept for 7d\n');
      assert.match(await gemel('volume keep-deleted soon'), /^2 .*is not a time/);
      await gemel('volume delete disk');
      assert.equal(await gemel('volume purge disk'), 'Purged disk\n');
      assert.equal(await gemel('volume deleted'), 'No deleted disks are kept.\n');
      const list = await gemel('job list');
      assert.match(list, /^ID +STATE +DONE +WHAT/);
      const id = /^([0-9a-f]{16}) +done/m.exec(list)?.[1] ?? '';
      assert.match(await gemel(`job show ${id}`), /State +done\nDone +100 %/);
      assert.match(await gemel(`job wait ${id}`), /: done\n$/);
      assert.match(await gemel(`job cancel ${id}`), /^4 .*is over/);
      assert.equal(await gemel('job list --running'), 'No jobs.\n');
      assert.match(await gemel('events'), /Nothing has happened yet|TIME/);
      assert.equal(
        await gemel('host delete esx1'),
        "5 gemel: host 'esx1' is in group 'all'; take it out first. Release what the message names, or repeat with --force.",
      );
    });
  });
});
