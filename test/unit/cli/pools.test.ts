import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ApiClient } from '../../../plugins/sdk/client.ts';
import { createProgram, runProgram } from '../../../core/cli/program.ts';
import { withApi } from '../api/fixture.ts';

describe('gemel with a pool', () => {
  it('creates, copies, lists and deletes within 80 columns', async () => {
    await withApi(async ({ url, admin, plane }) => {
      const seen: string[] = [];
      const gemel = async (line: string): Promise<string> => {
        let output = '';
        const print = (text: string): void => {
          output += `${text}\n`;
        };
        const progress = (what: string, share: number | undefined): void => {
          seen.push(share === undefined ? '' : `${what} ${String(share)}`);
        };
        const client = (): ApiClient => new ApiClient(url, admin);
        const program = createProgram({ client, print, readStdin: () => '', width: 80, progress }, '1.2.3');
        const { status, complaint } = await runProgram(program, line.split(' '));
        // Paths are shown as they are, wherever the data folder of this test is.
        const lines = output.split('\n').filter((each) => !each.includes(plane.folder));
        for (const each of lines) if (!line.includes('--json')) assert.ok(each.length <= 80, each);
        return status === 0 ? output : `${String(status)} ${complaint ?? ''}`;
      };
      assert.match(await gemel('pool list'), /^No pools yet\. Try: gemel pool create/);
      assert.match(await gemel('pool create tank --size 32M'), /^Created pool tank \(32 MiB\)\n {2}\//);
      assert.match(await gemel('pool create tank --size 32M'), /^5 .*there is a pool 'tank' already/);
      await gemel('volume create disk --size 8M');
      assert.match(await gemel('volume create plain --size 8M --file'), /^Created plain/);
      assert.match(await gemel('volume create bad --size 8M --memory --pool tank'), /^2 .*cannot be used with/);
      const volume = plane.units.unit('disk')?.volume;
      await volume?.write(0, Buffer.alloc(1 << 20, 1), 0, 1 << 20, false);
      assert.equal(await gemel('snapshot create disk first'), 'Created disk@first\n');
      assert.match(await gemel('snapshot create plain first'), /^2 .*not in a pool/);
      await volume?.write(0, Buffer.alloc(1 << 20, 2), 0, 1 << 20, false);
      assert.match(await gemel('snapshot list disk'), /SNAPSHOT .*\ndisk@first +8 MiB /);
      assert.match(await gemel('volume clone disk@first copy --map loopback'), /^Cloned disk@first to copy \(8 MiB\)/);
      assert.equal(plane.catalog.volumes.get('copy')?.maps[0]?.who, 'loopback');
      assert.match(await gemel('volume space disk'), /Exclusive +1 MiB .*[^]*Snapshots +0 B [^]*first +0 B/);
      assert.match(await gemel('volume show disk'), /Pool +tank\nSnapshots +1\n/);
      assert.match(await gemel('pool list'), /tank +online +32 MiB +2 MiB .* 2 +1\b/);
      assert.match(
        await gemel('pool show tank'),
        /Used +2 MiB \(6 %\)\n[^]*Pinned by tokens +0 B at most, 0 tokens\n[^]*Journal .* of 16 MiB in use\n[^]*Threshold +80 %/,
      );
      assert.match(await gemel('snapshot rollback disk@first'), /^disk is what disk@first is/);
      assert.match(await gemel('snapshot rollback disk'), /^2 .*looks like DISK@NAME/);
      assert.match(await gemel('pool check tank'), /^tank is consistent: 1 MiB in use/);
      assert.match(await gemel('pool threshold tank 60'), /^tank tells at 60 %/);
      assert.match(await gemel('pool threshold tank many'), /^2 /);
      assert.match(await gemel('pool scrub tank --rate 1G --wait'), /^done, no damage found/);
      assert.ok(seen.some((each) => each.startsWith('scrubbing tank')));
      assert.match(await gemel('pool grow tank --by 1M'), /^tank has 64 MiB now/);
      assert.match(await gemel('pool grow tank'), /^2 .*more room for pool tank: no device of pool 'tank' has grown/);
      assert.match(await gemel('volume delete disk'), /^5 .*has snapshots \(first\)/);
      assert.equal(await gemel('volume delete disk --with-snapshots --purge --wait'), 'Deleted disk\n');
      assert.match(await gemel('pool delete tank'), /^5 .*has volumes \(copy\)/);
      assert.equal(await gemel('volume delete copy --purge --wait'), 'Deleted copy\n');
      assert.equal(seen.at(-1), '', 'the progress is taken away');
      assert.equal(await gemel('pool delete tank'), 'Deleted pool tank\n');
      assert.equal(JSON.parse(await gemel('pool list --json')) instanceof Array, true);
      for (const help of ['pool', 'pool create', 'pool scrub', 'snapshot', 'snapshot create', 'volume clone'])
        assert.match(await gemel(`${help} --help`), /Usage: gemel/);
    });
  });
});
