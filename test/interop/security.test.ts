// A real daemon and what it tells, and does not tell, about who may use it.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import process from 'node:process';
import { describe, it } from 'node:test';
import { connect } from 'node:tls';
import { makeCertificate } from '../../core/api/tls/certificate.ts';
import { temporaryFolder } from '../support/cleanup.ts';
import { withDaemon, type Daemon } from '../support/daemon.ts';
import { describeRun } from '../support/process.ts';

const PASSWORD = 'tinker-tailor-soldier';
const CHAP = 'chap-secret-of-alice';

interface Answer {
  status: number;
  cookie: string;
  text: string;
  json: Record<string, unknown>;
}

/** One request as a browser would send it, to a daemon whose CA it trusts. */
function ask(
  daemon: Daemon,
  method: string,
  path: string,
  body?: object,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const { hostname, port } = new URL(daemon.ready.api);
  const ca = readFileSync(join(daemon.dataFolder, 'tls', 'ca.pem'));
  const more = body === undefined ? {} : { 'Content-Type': 'application/json' };
  const options = {
    hostname,
    port,
    ca,
    method,
    path: `/api/v1${path}`,
    headers: { ...more, ...headers },
    agent: false,
  };
  return new Promise((resolve, reject) => {
    const sent = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => {
        const json = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>;
        const cookie = response.headers['set-cookie']?.[0]?.split(';')[0] ?? '';
        resolve({ status: response.statusCode ?? 0, cookie, text, json });
      });
    });
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Common name of the certificate browsers are shown, whoever signed it: nothing is sent over this connection. */
function shownTo(daemon: Daemon, ca: string): Promise<string> {
  const { hostname: host, port } = new URL(daemon.ready.api);
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), ca, servername: 'storage.example' }, () => {
      resolve([socket.getPeerCertificate().subject.CN ?? []].flat().join());
      socket.destroy();
    });
    // Of another CA than `ca`: not yet, or no longer.
    socket.on('error', () => {
      resolve('');
    });
  });
}

/** A certificate that signed itself, and its key, in PEM. */
function selfSigned(subject: string): { cert: string; key: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const validity = { notBefore: Date.now() - 86_400_000, notAfter: Date.now() + 30 * 86_400_000 };
  const names = { subject, issuer: subject, hosts: ['storage.example'] };
  const serial = Buffer.from([0x41, 1, 2, 3]);
  const cert = makeCertificate({ ...names, ...validity, serial, publicKey, issuerKey: privateKey });
  return { cert, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

/** Content of every file of the data folder that may be read by, or sent to, somebody else. */
function* texts(folder: string): Generator<[string, string]> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* texts(path);
    else if (entry.isFile() && entry.name !== 'token' && statSync(path).size < 32 << 20)
      yield [path, readFileSync(path, 'latin1')];
  }
}

describe('users of a daemon', { concurrency: 1 }, () => {
  it('begin with a link, stay logged in over a restart, and leave a trail without secrets', async () => {
    const folder = temporaryFolder('security');
    const data = join(folder.path, 'data');
    try {
      await withDaemon({ dataFolder: data }, async (daemon) => {
        const { url } = (await daemon.gemelJson(['first-login'])) as { url: string };
        const [, code = ''] = /^https:\/\/127\.0\.0\.1:\d+\/#first-login=([\w-]{32})$/.exec(url) ?? [];
        const first = await ask(daemon, 'POST', '/first-login', { code, user: 'anna', password: PASSWORD });
        assert.equal(first.status, 201, first.text);
        const again = await daemon.gemel(['first-login']);
        assert.match(again.stderr, /users already/);
        const headers = { Cookie: first.cookie, 'Gemel-CSRF': String(first.json['csrf']) };

        const file = join(folder.path, 'password');
        writeFileSync(file, `${PASSWORD}-ben\n`);
        await daemon.gemelJson(['user', 'create', 'ben', '--role', 'viewer', '--password-file', file]);
        const { secret } = (await daemon.gemelJson(['token', 'create', 'ci', '--role', 'operator', '--days', '7'])) as {
          secret: string;
        };
        await daemon.addInitiator('iqn.2026-01.example:alice', { user: 'alice', secret: CHAP });
        assert.equal((await ask(daemon, 'POST', '/session', { user: 'ben', password: 'wrong' })).status, 401);
        const ben = await ask(daemon, 'POST', '/session', { user: 'ben', password: `${PASSWORD}-ben` });
        assert.equal(ben.status, 201);
        const bearer = { Authorization: `Bearer ${secret}` };
        const volume = { name: 'v', size: 1 << 20 };
        assert.equal(
          (
            await ask(daemon, 'POST', '/volumes', volume, {
              Cookie: ben.cookie,
              'Gemel-CSRF': String(ben.json['csrf']),
            })
          ).status,
          403,
        );
        assert.equal((await ask(daemon, 'POST', '/volumes', volume, bearer)).status, 201);
        assert.equal((await ask(daemon, 'PATCH', '/volumes/v', { size: 2 << 20 }, headers)).status, 200);
        assert.equal((await ask(daemon, 'DELETE', '/volumes/v', undefined, headers)).status, 204);

        await daemon.stop();
        await daemon.start();
        const me = await ask(daemon, 'GET', '/session', undefined, { Cookie: first.cookie });
        assert.deepEqual([me.status, me.json['name'], me.json['csrf']], [200, 'anna', first.json['csrf']]);

        const page = await ask(daemon, 'GET', '/audit?limit=1000', undefined, headers);
        const entries = page.json['items'] as Record<string, unknown>[];
        const trail = entries.reverse().map(({ who, method, object, code: refused, status }) => {
          const { kind, name } = who as { kind: string; name: string };
          return `${kind} ${name}: ${String(method)} ${String(object)} ${String(refused ?? status)}`;
        });
        assert.deepEqual(trail, [
          'token owner: POST /first-login/code 201',
          'user anna: POST /first-login 201',
          'token owner: POST /first-login/code exists',
          'token owner: POST /users 201',
          'token owner: POST /tokens 201',
          'token owner: PUT /initiators/iqn.2026-01.example%3Aalice 200',
          'nobody ben: POST /session unauthorized',
          'user ben: POST /session 201',
          'user ben: POST /volumes forbidden',
          'token ci: POST /volumes 201',
          'user anna: PATCH /volumes/v 200',
          'user anna: DELETE /volumes/v 204',
        ]);
        const grown = entries.find(({ method }) => method === 'PATCH');
        assert.deepEqual(
          [grown?.['before'], grown?.['after']].map((each) => (each as { size: number }).size),
          [1 << 20, 2 << 20],
        );
        assert.equal(((entries.at(-1)?.['before'] ?? {}) as { name?: string }).name, 'v');
        const verified = await daemon.gemel(['audit', 'verify']);
        assert.equal(verified.code, 0, describeRun(verified));
        assert.match(
          (await daemon.gemel(['audit', 'list', '--who', 'ci'])).stdout,
          /ci +127\.0\.0\.1 +POST \/volumes +done/,
        );

        const [owner = '', token = ''] = [daemon.ready.token, secret].map((each) => each.split('.')[1] ?? '-');
        const secrets = [
          PASSWORD,
          code,
          CHAP,
          owner,
          token,
          first.cookie.split('=')[1] ?? '-',
          String(me.json['csrf']),
        ];
        const seen: [string, string][] = [...texts(data), ['log', daemon.output.replace(/^\{"ready".*$/gm, '')]];
        seen.push(['audit', page.text], ['list', verified.stdout]);
        for (const [where, text] of seen) {
          for (const [index, each] of secrets.entries()) {
            assert.ok(!text.includes(each), `secret ${String(index)} is in ${where}`);
          }
        }

        const [name = ''] = readdirSync(join(data, 'audit')).filter((each) => each.endsWith('.jsonl'));
        const log = join(data, 'audit', name);
        writeFileSync(log, readFileSync(log, 'utf8').replace('"method":"PATCH"', '"method":"PUT"'));
        const edited = await daemon.gemel(['audit', 'verify']);
        assert.equal(edited.code, 9, describeRun(edited));
        assert.match(edited.stdout, /entry 11 is not as it was written/);
      });
    } finally {
      folder.remove();
    }
  });

  it('get a certificate that was given, and on SIGHUP another one, without a restart', async () => {
    const folder = temporaryFolder('given');
    const files = { cert: join(folder.path, 'cert.pem'), key: join(folder.path, 'key.pem') };
    const write = ({ cert, key }: { cert: string; key: string }): void => {
      writeFileSync(files.cert, cert);
      writeFileSync(files.key, key);
    };
    try {
      const [first, second] = [selfSigned('first'), selfSigned('second')];
      write(first);
      await withDaemon({ args: ['--tls-cert', files.cert, '--tls-key', files.key] }, async (daemon) => {
        const { pid } = daemon.ready;
        assert.equal(await shownTo(daemon, first.cert), 'first');
        write(second);
        process.kill(pid, 'SIGHUP');
        const patience = Date.now() + 60_000;
        while ((await shownTo(daemon, second.cert)) !== 'second') assert.ok(Date.now() < patience, daemon.output);
        const { certificate } = (await daemon.gemelJson(['status'])) as { certificate: Record<string, unknown> };
        assert.deepEqual(
          [certificate['source'], certificate['subject'], certificate['daysLeft']],
          ['given', 'CN=second', 29],
        );
        assert.equal(daemon.ready.pid, pid);
      });
    } finally {
      folder.remove();
    }
  });
});
