import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ApiClient } from '../../../plugins/sdk/client.ts';
import { connect } from '../../../core/cli/connect.ts';
import { createProgram, runProgram } from '../../../core/cli/program.ts';
import { withApi } from '../api/fixture.ts';
import type { Api } from '../api/fixture.ts';
import { codeOf } from '../control/fixture.ts';

/** Runs one command line against the API. */
async function gemel(
  api: Api,
  argv: readonly string[],
  stdin = '',
): Promise<{ status: number; complaint?: string; output: string }> {
  let output = '';
  const print = (text: string): void => {
    output += `${text}\n`;
  };
  const client = (): ApiClient => new ApiClient(api.url, api.admin);
  const program = createProgram({ client, print, readStdin: () => stdin, width: 80 }, '1.2.3');
  return { ...(await runProgram(program, argv)), output };
}

describe('ApiClient', () => {
  it('believes only the CA its token names', async () => {
    await withApi(async ({ url, admin, tls }) => {
      assert.ok(await new ApiClient(url, admin).call('GET', '/status'));
      const other = `${admin.split('.').slice(0, 2).join('.')}.${'A'.repeat(43)}`;
      assert.equal(await codeOf(() => new ApiClient(url, other).call('GET', '/status')), 'untrusted-server');
      const stranger = `gemel.${'A'.repeat(43)}.${tls.fingerprint}`;
      assert.equal(await codeOf(() => new ApiClient(url, stranger).call('GET', '/status')), 'unauthorized');
      assert.equal(await codeOf(() => new ApiClient(url.replace('https', 'http'), admin)), 'bad-request');
      assert.equal(
        await codeOf(() => new ApiClient('https://127.0.0.1:1', admin).call('GET', '/status')),
        'daemon-unreachable',
      );
    });
  });

  it('gives up a daemon that hangs, or never comes to an end', async () => {
    const sockets = new Set<Socket>();
    let answer: (socket: Socket) => void = () => undefined;
    const server = createServer((socket) => {
      sockets.add(socket.on('error', () => undefined));
      answer(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const short = { silence: 40_000, whole: 200, isChange: false };
    const patience = { greeting: short, read: short, change: { ...short, isChange: true } };
    const client = new ApiClient(`https://127.0.0.1:${String(port)}`, `gemel.a.${'A'.repeat(43)}`, patience);
    try {
      await assert.rejects(client.call('GET', '/status'), /no daemon at 127\.0\.0\.1:\d+: no answer within 0\.2 s$/);
      // A byte now and then is no answer either.
      let timer: NodeJS.Timeout | undefined;
      answer = (socket) => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n');
        timer = setInterval(() => socket.write('x'), 20);
      };
      await assert.rejects(client.call('GET', '/status'), /no answer within 0\.2 s$/);
      clearInterval(timer);
    } finally {
      for (const each of sockets) each.destroy();
      server.close();
    }
  });

  it('is found through flags, the environment or the data folder', async () => {
    await withApi(async ({ url, admin, plane }) => {
      const nowhere = { GEMEL_DATA: '/nonexistent' };
      assert.equal(await codeOf(() => connect({}, nowhere)), 'daemon-unreachable');
      assert.equal(await codeOf(() => connect({ api: url }, nowhere)), 'unauthorized');
      const passed = [
        connect({ api: url, token: admin }, nowhere),
        connect({}, { GEMEL_API: url, GEMEL_TOKEN: admin }),
      ];
      writeFileSync(join(plane.folder, 'run.json'), JSON.stringify({ api: url }));
      writeFileSync(join(plane.folder, 'token'), `${admin}\n`);
      passed.push(connect({ data: plane.folder }, {}), connect({}, { GEMEL_DATA: plane.folder }));
      for (const client of passed) assert.ok(await client.call('GET', '/status'));
    });
  });
});

describe('gemel', () => {
  it('creates, lists, maps and deletes', async () => {
    await withApi(async (api) => {
      const created = await gemel(api, [
        'volume',
        'create',
        'v',
        '--size',
        '8M',
        '--map',
        'loopback',
        '--target',
        't',
        '--lun',
        '3',
        '--json',
      ]);
      assert.equal(created.status, 0, created.complaint);
      const disk = JSON.parse(created.output) as Record<string, unknown>;
      assert.deepEqual([disk['name'], disk['size'], disk['lun']], ['v', 8 << 20, 3]);
      assert.match(String(disk['url']), /^iscsi:\/\/127\.0\.0\.1:3260\/iqn\..*:t\/3$/);
      assert.equal((await gemel(api, ['--json', 'volume', 'list'])).output, `[${JSON.stringify(disk)}]\n`);
      const list = await gemel(api, ['volume', 'list']);
      for (const line of list.output.split('\n')) assert.ok(line.length <= 80, line);
      assert.equal(
        (await gemel(api, ['map', 'v', 'all', '--read-only'])).output,
        'v is mapped to loopback, all (ro)\n',
      );
      assert.equal((await gemel(api, ['unmap', 'v', 'all', 'loopback'])).output, 'v is mapped to nobody\n');
      assert.equal((await gemel(api, ['volume', 'resize', 'v', '--size', '4M'])).status, 0);
      assert.equal((await gemel(api, ['volume', 'reopen', 'v'])).output, 'v is online\n');
      assert.notEqual((await gemel(api, ['volume', 'reopen', 'none', '--force'])).status, 0);
      assert.equal((await gemel(api, ['volume', 'delete', 'v', '--json'])).output, '{"deleted":"v"}\n');
      for (const words of [['status'], ['sessions'], ['stats'], ['initiator', 'list']])
        assert.equal((await gemel(api, words)).status, 0);
    });
  });

  it('takes secrets from files and standard input only', async () => {
    await withApi(async (api) => {
      const file = join(api.plane.folder, 'secret');
      writeFileSync(file, 'correct-horse-battery\n');
      const iqn = 'iqn.2026-01.example.host:alice';
      const add = ['initiator', 'add', iqn, '--chap-user', 'alice', '--chap-secret-file', file];
      const added = await gemel(
        api,
        [...add, '--mutual-user', 'gemel', '--mutual-secret-file', '-', '--json'],
        'staple-of-the-target\n',
      );
      assert.equal(added.status, 0, added.complaint);
      const known = api.plane.initiators.credentials(iqn);
      assert.ok(known.method === 'chap');
      assert.deepEqual(
        [known.secret.toString(), known.mutual?.secret.toString()],
        ['correct-horse-battery', 'staple-of-the-target'],
      );
      assert.equal((await gemel(api, ['initiator', 'add', iqn, '--chap-user', 'alice'])).status, 2);
      assert.equal((await gemel(api, ['initiator', 'add', iqn, '--chap-secret', 'x'])).status, 2);
    });
  });

  it('helps, in 80 columns', async () => {
    await withApi(async (api) => {
      for (const argv of [
        ['--help'],
        ['help'],
        ['volume', '--help'],
        ['help', 'map'],
        ['initiator', 'add', '--help'],
      ]) {
        const { status, output } = await gemel(api, argv);
        assert.equal(status, 0);
        assert.match(output, /^Usage: gemel /);
        for (const line of output.split('\n')) assert.ok(line.length <= 80, line);
      }
    });
  });

  it('says of a wrong value what a right one looks like', async () => {
    await withApi(async (api) => {
      const create = ['volume', 'create', 'v', '--size'];
      const said = async (...more: string[]): Promise<string> =>
        (await gemel(api, [...create, ...more])).complaint ?? '';
      assert.match(await said('100'), /a volume has 1 MiB to 64 TiB/);
      assert.match(await said('8M', '--lun', '256'), /a LUN is a number from 0 to 255/);
      assert.match(await said('8M', '--lun', 'x'), /'x' is not a LUN/);
      assert.match((await gemel(api, ['status', 'more'])).complaint ?? '', /got 1\. See gemel --help\.$/);
    });
  });

  it('fails with one line and the exit status of the catalogue', async () => {
    await withApi(async (api) => {
      const cases: [number, string[]][] = [
        [2, ['volume']],
        [2, ['nope']],
        [2, ['volume', 'create', 'v', '--size', '2X']],
        [2, ['volume', 'create', 'v', '--size', '8M', '--block-size', '1000']],
        [2, ['volume', 'create', 'v', '--size', '8M', '--lun', 'x']],
        [2, ['volume', 'create', 'V', '--size', '8M']],
        [2, ['volume', 'create', 'v', '--device', '/dev/null', '--memory']],
        [4, ['volume', 'show', 'v']],
        [4, ['unmap', 'v', 'all']],
      ];
      for (const [status, argv] of cases) {
        const result = await gemel(api, argv);
        assert.equal(result.status, status, `${argv.join(' ')}: ${String(result.complaint)}`);
        assert.match(result.complaint ?? '', /^gemel: [^\n]+\.$/);
      }
    });
  });
});
