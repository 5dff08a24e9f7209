import assert from 'node:assert/strict';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connect } from '../../../core/cli/connect.ts';
import type { ConnectOptions } from '../../../core/cli/connect.ts';
import { createProgram, runProgram } from '../../../core/cli/program.ts';
import { withApi } from '../api/fixture.ts';

describe('contexts', () => {
  it('are added, used, listed and removed, in a file for their owner only', async () => {
    await withApi(async ({ url, admin, plane }) => {
      const file = join(plane.folder, 'config', 'contexts.json');
      const env = { GEMEL_CONTEXTS: file, HOME: plane.folder };
      const secret = join(plane.folder, 'token-of-a');
      writeFileSync(secret, `${admin}\n`, { mode: 0o600 });
      const gemel = async (...argv: string[]): Promise<{ status: number; output: string; complaint: string }> => {
        let output = '';
        const program = createProgram(
          {
            client: (command) => connect(command.optsWithGlobals<ConnectOptions>(), env),
            env,
            print: (text) => (output += `${text}\n`),
            readStdin: () => `${admin}\n`,
            width: 60,
          },
          '1.2.3',
        );
        const { status, complaint = '' } = await runProgram(program, argv);
        return { status, output, complaint };
      };
      assert.equal((await gemel('context', 'list', '--json')).output, '[]\n');
      assert.match((await gemel('context', 'add', 'a', '--api', url)).complaint, /--token-file/);
      // A token that is an argument is refused, one the daemon does not know is not kept.
      assert.equal((await gemel('context', 'add', 'a', '--api', url, '--token', admin)).status, 2);
      writeFileSync(`${secret}-wrong`, `gemel.${'A'.repeat(43)}.${admin.split('.')[2] ?? ''}`);
      assert.equal((await gemel('context', 'add', 'a', '--api', url, '--token-file', `${secret}-wrong`)).status, 3);
      assert.throws(() => statSync(file), { code: 'ENOENT' });

      assert.equal(
        (await gemel('context', 'add', 'a', '--api', url, '--token-file', secret)).output,
        `Added a: ${url}\n`,
      );
      assert.equal(statSync(file).mode & 0o777, 0o600);
      await gemel('context', 'add', 'b', '--api', 'https://127.0.0.1:1', '--token-file', '-', '--no-check');
      assert.match(
        (await gemel('context', 'list')).output,
        /^ +NAME +API\n\* +a +https:.*\n +b +https:\/\/127\.0\.0\.1:1\n$/,
      );
      assert.equal((await gemel('status')).status, 0);
      assert.equal((await gemel('status', '--context', 'b')).status, 8);
      assert.equal((await gemel('status', '--context', 'b', '--api', url)).status, 2);
      assert.equal((await gemel('context', 'use', 'b')).status, 0);
      assert.equal((await gemel('status')).status, 8);
      assert.equal((await gemel('status', '--context', 'a')).status, 0);
      assert.match((await gemel('status', '--context', '__proto__')).complaint, /there are a, b/);
      assert.equal((await gemel('context', 'remove', 'b', '--json')).output, '{"removed":"b"}\n');
      assert.ok(!readFileSync(file, 'utf8').includes('127.0.0.1:1"'));
      assert.equal((await gemel('context', 'remove', 'b')).status, 4);

      chmodSync(file, 0o640);
      assert.match((await gemel('status')).complaint, /chmod 600/);
      chmodSync(file, 0o600);
      for (const damaged of ['{', '[]', '{"contexts":{"a":{"api":1}}}']) {
        writeFileSync(file, damaged);
        assert.match((await gemel('status')).complaint, /is damaged/, damaged);
      }
    });
  });
});
