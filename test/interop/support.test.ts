import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../support/cleanup.ts';
import { needs, needsAll } from '../support/needs.ts';
import { freePorts, openHop } from '../support/net.ts';
import { run, runOk } from '../support/process.ts';

describe('the process runner', () => {
  it('keeps output and status apart', async () => {
    const result = await run('sh', ['-c', 'cat; echo err >&2; exit 3'], { input: 'in' });
    assert.deepEqual([result.stdout, result.stderr, result.code, result.timedOut], ['in', 'err\n', 3, false]);
  });
  it('ends a program and its children at the time limit', async () => {
    // The child holds the output open: run() can only be done early when the child is gone as well.
    const result = await run('sh', ['-c', 'sleep 60 & wait'], { timeoutMs: 300 });
    assert.equal(result.timedOut, true);
    assert.ok(result.ms < 30_000);
  });
  it('reports a program that cannot be started, and runOk throws what was said', async () => {
    assert.equal((await run('/nonexistent/program', [])).code, -1);
    await assert.rejects(runOk('sh', ['-c', 'echo told >&2; exit 1']), /status 1[^]*told/);
  });
});

describe('skipping', () => {
  it('names the missing program and the command that installs it', () => {
    assert.equal(needs('sh', 'dash'), false);
    assert.match(String(needs('no-such-program', 'some-package')), /no-such-program.*apt-get install.* some-package$/);
    assert.match(
      String(needsAll(['sh', 'dash'], ['/no/such/file', 'other-package'])),
      /^\/no\/such\/file .* other-package$/,
    );
  });
});

describe('temporary folders and ports', () => {
  it('are there, and gone', () => {
    const folder = temporaryFolder('self');
    assert.ok(existsSync(folder.path));
    folder.remove();
    assert.ok(!existsSync(folder.path));
  });
  it('are different ports', async () => {
    assert.equal(new Set(await freePorts(8)).size, 8);
  });
});

describe('the hop', () => {
  const ask = async (socket: Socket): Promise<string> => {
    socket.write('ping');
    const [data] = (await once(socket, 'data')) as [Buffer];
    return data.toString();
  };

  const closed = (socket: Socket): Promise<void> =>
    new Promise((resolve) => {
      socket.on('error', () => undefined); // a reset is what is expected
      socket.once('close', () => {
        resolve();
      });
    });

  it('forwards, drops and refuses while cut, and forwards again', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.pipe(socket);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const hop = await openHop((server.address() as AddressInfo).port);
    try {
      const first = connect(hop.port, '127.0.0.1');
      assert.equal(await ask(first), 'ping');
      const dropped = closed(first);
      hop.cut();
      await dropped;
      const second = connect(hop.port, '127.0.0.1');
      await closed(second);
      await hop.restore();
      const third = connect(hop.port, '127.0.0.1');
      assert.equal(await ask(third), 'ping');
      assert.equal(hop.accepted, 2);
      third.destroy();
    } finally {
      await hop.close();
      server.close();
    }
  });
});
