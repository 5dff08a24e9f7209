// What people see, letter by letter, at the widths of terminals; and what `gemel doctor` finds.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { findingsText } from '../../../core/cli/doctor-commands.ts';
import { examine } from '../../../core/cli/doctor.ts';
import type { Finding } from '../../../core/cli/doctor.ts';
import { createProgram, runProgram } from '../../../core/cli/program.ts';
import { ApiClient } from '../../../plugins/sdk/client.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { withApi } from '../api/fixture.ts';
import type { Api } from '../api/fixture.ts';

/** The output of one command line, without what is different each time. */
async function gemel({ url, admin, plane }: Api, width: number, ...argv: string[]): Promise<string> {
  let output = '';
  const client = (): ApiClient => new ApiClient(url, admin);
  const context = { client, print: (text: string) => (output += `${text}\n`), readStdin: () => '', width };
  const { complaint = '' } = await runProgram(createProgram(context, '1.2.3'), argv);
  for (const line of output.split('\n')) assert.ok(line.length <= width, `${argv.join(' ')}: ${line}`);
  return (output + complaint)
    .replaceAll(plane.catalog.node.id, 'NODE')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replaceAll(plane.folder, 'FOLDER')
    .trimEnd();
}

/** Text without the margin it has in this file. */
const text = (lines: readonly string[]): string => lines.join('\n');

describe('the output of gemel', () => {
  it('fits the terminal: numbers on the right, cut with an ellipsis, nothing wrapped', async () => {
    await withApi(async (api) => {
      await api.plane.pools.create({ name: 'tank', size: 64 << 20 });
      const iqn = 'iqn.1998-01.com.vmware:esx-host-with-a-long-name-1';
      const maps = [{ who: iqn, readOnly: false }];
      await api.plane.provisioner.create({ name: 'a', size: 8 << 20, pool: 'tank', maps });
      await api.plane.provisioner.create({ name: 'machine-store-2', size: 1 << 30, pool: 'tank', maps: [] });
      assert.equal(
        await gemel(api, 60, 'volume', 'list'),
        text([
          'NAME              SIZE  USED  LUN  STATE   MAPPED TO',
          'a                8 MiB   0 B    0  online  iqn.1998-01.com.…',
          'machine-store-2  1 GiB   0 B    0  online  nobody',
        ]),
      );
      assert.equal(
        await gemel(api, 60, 'pool', 'list'),
        text([
          'NAME  STATE   CAPACITY  USED  FULL  DISKS  SNAPSHOTS',
          'tank  online    64 MiB   0 B   0 %      2          0',
        ]),
      );
      assert.equal(
        await gemel(api, 80, 'volume', 'show', 'none'),
        "gemel: there is no volume 'none'. List the existing ones and check the name.",
      );
      assert.equal(
        await gemel(api, 80, 'alert', 'rule', 'set', 'slow-device', '--limit', '250'),
        'slow-device begins at 250 milliseconds',
      );
      assert.equal(await gemel(api, 80, 'alert', 'rule', 'set', 'path-lost', '--off'), 'path-lost is off');
      assert.equal(
        await gemel(api, 72, 'alert', 'rule', 'list'),
        text([
          'RULE                  SEVERITY  STATE         BEGINS AT  WHEN',
          'pool-filling          warning   on           80 percent  a pool is fill…',
          'pool-full             critical  on           95 percent  a pool is near…',
          'pool-time-to-full     warning   on             24 hours  a pool will be…',
          'pool-failed           critical  on                    -  a pool cannot …',
          'journal-filling       warning   on           90 percent  a journal fill…',
          'checksum-error        error     on                    -  data does not …',
          'volume-failed         error     on                    -  a disk is not …',
          'slow-device           warning   on     250 milliseconds  a disk answers…',
          'path-lost             warning   off                   -  a host has few…',
          'host-gone             error     on                    -  a host has no …',
          'certificate-expiring  warning   on              30 days  a certificate …',
          'job-failed            error     on                    -  a job failed',
        ]),
      );
      assert.match(
        await gemel(api, 80, 'alert', 'rule', 'set', 'pool-filling', '--limit', '70'),
        /gemel pool threshold/,
      );
      assert.equal(await gemel(api, 80, 'alert', 'list'), 'Nothing is wrong.');
      await gemel(api, 80, 'alert', 'target', 'add', 'ops', '--syslog', '192.0.2.9:514', '--at-least', 'error');
      assert.equal(
        await gemel(api, 80, 'alert', 'target', 'list'),
        text([
          'NAME  KIND    AT LEAST  WHERE                SENT  LOST  WAITING  LAST ERROR',
          'ops   syslog  error     192.0.2.9:514 (udp)     0     0        0  -',
        ]),
      );
      const wrong: [string[], RegExp][] = [
        [['--webhook', 'http://x/'], /https:\/\//],
        [['--webhook', 'https://u:p@x/'], /without a password/],
        [['--webhook-file', '/nowhere/url'], /cannot be read/],
        [['--webhook-file', '-', '--secret-file', '-'], /standard input can be one/],
        [['--email', 'a@b.c'], /belong together/],
        [[], /either email, webhook or syslog/],
      ];
      for (const [options, expected] of wrong) {
        assert.match(await gemel(api, 80, 'alert', 'target', 'add', 'bad', ...options), expected);
      }
      assert.equal(await gemel(api, 80, 'alert', 'target', 'remove', 'ops'), 'Forgot ops');
    });
  });
});

describe('gemel doctor', () => {
  const put = (root: string, path: string, content: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  };
  const of = (findings: readonly Finding[], check: string): string[] =>
    findings.filter((each) => each.check === check).map(({ level, text: said }) => `${level}: ${said}`);

  it('says what is wrong with a daemon, this machine and the way between', async () => {
    await withApi(async ({ url, admin, viewer, plane }) => {
      const machine = temporaryFolder('doctor');
      try {
        const options = {
          client: () => new ApiClient(url, admin),
          ...{ version: '1.2.3', folder: plane.folder, root: machine.path, now: () => 61_000 },
        };
        await plane.pools.create({ name: 'tank', size: 16 << 20 });
        await plane.provisioner.create({ name: 'v', size: 14 << 20, thin: false, pool: 'tank', maps: [] });
        put(plane.folder, 'run.json', JSON.stringify({ pid: 42, api: url }));
        put(machine.path, 'proc/42/environ', 'A=1\0UV_THREADPOOL_SIZE=4\0');
        put(machine.path, 'sys/devices/system/cpu/cpu0/x', '');
        const first = await examine(options);
        assert.match(of(first, 'daemon')[0] ?? '', /^ok: node \w+ answers, version 1\.2\.3$/);
        assert.deepEqual(of(first, 'clock'), ['ok: both clocks agree']);
        assert.match(
          of(first, 'portals')[0] ?? '',
          /^error: 127\.0\.0\.1:3260 cannot be reached from here: .*ECONNREFUSED|^ok/,
        );
        assert.match(of(first, 'pools')[0] ?? '', /^warning: pool tank is 8\d % full of 16 MiB$/);
        assert.deepEqual(of(first, 'alert-targets'), ['warning: nobody is told when something goes wrong']);
        assert.deepEqual(of(first, 'thread-pool'), ['warning: only 4 threads wait for disks']);
        assert.match(of(first, 'data-folder')[0] ?? '', /are free on the file system of/);
        assert.deepEqual(of(first, 'host'), ['skipped: this machine is no host: open-iscsi is not installed']);
        const later = await examine({ ...options, version: '9.9.9', now: () => 161_000 });
        assert.deepEqual(of(later, 'clock'), ['warning: the clock of the daemon is 100 s behind this one']);
        assert.deepEqual(of(later, 'daemon'), ['warning: the daemon is version 1.2.3, this gemel is 9.9.9']);
        // A viewer is told what a viewer may know.
        const less = await examine({ ...options, client: () => new ApiClient(url, viewer) });
        assert.match(of(less, 'alert-targets')[0] ?? '', /^skipped: /);

        put(
          machine.path,
          'etc/iscsi/iscsid.conf',
          'node.session.timeo.replacement_timeout = 120\nnode.conn[0].timeo.noop_out_interval = 0\n',
        );
        put(machine.path, 'etc/iscsi/initiatorname.iscsi', 'InitiatorName=iqn.1993-08.org.debian:01:x\n');
        put(machine.path, 'sys/class/iscsi_session/session1/state', 'LOGGED_IN\n');
        put(machine.path, 'sys/class/iscsi_session/session2/state', 'FAILED\n');
        assert.deepEqual(of(await examine(options), 'host'), [
          'ok: this machine is iqn.1993-08.org.debian:01:x',
          'ok: commands of a lost path wait 120 s (replacement_timeout)',
          'warning: a path that is silently cut is not noticed: noop_out_interval is 0',
          'error: 1 of 2 iSCSI sessions of this machine are not logged in',
        ]);
      } finally {
        machine.remove();
      }
    });
  });

  it('says so when no daemon answers, with an exit status of its own when something is wrong', async () => {
    await withApi(async (api) => {
      const away = new ApiClient('https://127.0.0.1:1', api.admin);
      const found = await examine({
        client: () => away,
        version: '1',
        folder: '/nonexistent',
        root: '/nonexistent',
        now: () => 0,
      });
      assert.match(of(found, 'daemon')[0] ?? '', /^error: no daemon at 127\.0\.0\.1:1/);
      let output = '';
      const context = { client: () => away, print: (line: string) => (output += line), readStdin: () => '', width: 80 };
      const { status, complaint } = await runProgram(createProgram(context, '1'), ['doctor', '--json', '--quiet']);
      assert.equal(status, 12, complaint);
      assert.equal((JSON.parse(output) as Finding[])[0]?.check, 'daemon');
    });
  });

  it('prints it within the terminal', () => {
    const findings: Finding[] = [
      { check: 'clock', level: 'ok', text: 'both clocks agree' },
      {
        check: 'pools',
        level: 'warning',
        text: 'pool tank is 85 % full of 16 MiB',
        remedy: 'Delete something in it, or: gemel pool grow tank',
      },
    ];
    assert.equal(
      findingsText(findings, 60),
      text([
        'ok       clock          both clocks agree',
        'warning  pools          pool tank is 85 % full of 16 MiB',
        '                        -> Delete something in it, or: gemel',
        '                           pool grow tank',
      ]),
    );
  });
});
