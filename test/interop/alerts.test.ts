// Alerts on their way to real receivers: a mail server, rsyslog, and an HTTPS server; and a daemon that raises one.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { emailSender } from '../../core/control/alerts/email.ts';
import type { Notification } from '../../core/control/alerts/notification.ts';
import { syslogSender } from '../../core/control/alerts/syslog.ts';
import { webhookSender } from '../../core/control/alerts/webhook.ts';
import { tlsIdentity } from '../../core/api/tls/identity.ts';
import type { TlsIdentity } from '../../core/api/tls/identity.ts';
import { nodeWorld } from '../../core/world/node-world.ts';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { withDaemon } from '../support/daemon.ts';
import { needsAll } from '../support/needs.ts';
import { freePorts } from '../support/net.ts';
import { killGroup } from '../support/process.ts';

const notification: Notification = {
  id: 'c0ffee',
  state: 'raised',
  code: 'pool-full',
  severity: 'critical',
  object: { kind: 'pool', name: 'tank' },
  // What a peer chose must not begin a line, a header or an element of its own.
  text: 'pool tank is 96 % full – "quoted" ]\r\nBcc: mallory@example.com',
  time: Date.UTC(2026, 10, 27, 6, 0, 0),
  node: '6700e76b',
  version: '1.2.3',
};

/** As the receiver of a webhook is told to work it out (docs/alerts.md). */
const signatureOf = (secret: string, timestamp: string, body: string): string =>
  createHmac('sha256', secret).update(timestamp).update('.').update(body).digest('hex');

interface Place {
  readonly folder: string;
  readonly tls: TlsIdentity;
  readonly cert: string;
  readonly key: string;
}

async function withPlace(body: (place: Place) => Promise<void>): Promise<void> {
  const folder = temporaryFolder('alerts');
  try {
    const tls = await tlsIdentity(await nodeWorld(), join(folder.path, 'tls'), 'test', ['localhost', '127.0.0.1']);
    const [cert, key] = [join(folder.path, 'cert.pem'), join(folder.path, 'key.pem')];
    writeFileSync(cert, tls.cert + tls.ca);
    writeFileSync(key, tls.key);
    writeFileSync(join(folder.path, 'ca.pem'), tls.ca);
    await body({ folder: folder.path, tls, cert, key });
  } finally {
    folder.remove();
  }
}

/** Runs a server that listens on `port` while `body` runs. */
async function withServer(program: string, args: string[], port: number, body: () => Promise<void>): Promise<void> {
  const child: ChildProcess = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text));
  const gone = new Promise((resolve) => child.once('close', resolve));
  const forget = atExit(() => {
    killGroup(child, 'SIGKILL');
  });
  try {
    await eventually(`${program} on port ${String(port)}`, () => listens(port));
    await body();
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- ${program} ---\n${said.slice(-3000)}`;
    throw error;
  } finally {
    killGroup(child, 'SIGKILL');
    await gone;
    forget();
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}

async function eventually(what: string, ask: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await ask())) {
    assert.ok(performance.now() < end, `${what} within a minute`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A mail server that wants STARTTLS and a password, and keeps each message as a file. */
const MAIL_SERVER = `
import asyncio, ssl, sys, os
from aiosmtpd.smtp import SMTP, AuthResult
cert, key, folder, port, mode = sys.argv[1:6]
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); tls.load_cert_chain(cert, key)
class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith('nobody'): return '550 no such user'
        envelope.rcpt_tos.append(address); return '250 OK'
    async def handle_DATA(self, server, session, envelope):
        name = os.path.join(folder, 'mail-%d' % len(os.listdir(folder)))
        with open(name, 'wb') as f: f.write(b'RCPT ' + ','.join(envelope.rcpt_tos).encode() + b'\\n' + envelope.content)
        return '250 OK'
def check(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b'gemel' and data.password == b'mail secret', handled=False)
starttls = mode == 'starttls'
def make():
    options = dict(tls_context=tls, require_starttls=True) if starttls else {}
    auth = dict(auth_required=True, authenticator=check, auth_require_tls=starttls) if mode != 'none' else {}
    return SMTP(Handler(), hostname='localhost', **options, **auth)
loop = asyncio.new_event_loop()
loop.run_until_complete(loop.create_server(make, '127.0.0.1', int(port), ssl=tls if mode == 'tls' else None))
loop.run_forever()
`;

const noMail = needsAll(
  ['python3', 'python3'],
  ['/usr/lib/python3/dist-packages/aiosmtpd/smtp.py', 'python3-aiosmtpd'],
);

describe('alerts by mail', { skip: noMail }, () => {
  for (const mode of ['starttls', 'tls', 'none'] as const) {
    it(`over ${mode}`, async () => {
      await withPlace(async ({ folder, tls, cert, key }) => {
        const [port = 0] = await freePorts(1);
        const box = temporaryFolder('mails');
        const program = join(folder, 'server.py');
        writeFileSync(program, MAIL_SERVER);
        try {
          await withServer('/usr/bin/python3', [program, cert, key, box.path, String(port), mode], port, async () => {
            const settings = {
              ...{
                host: 'localhost',
                port,
                security: mode,
                from: 'gemel@example.com',
                to: ['a@example.com', 'b@example.com'],
              },
              ...(mode === 'none' ? {} : { user: 'gemel', ca: tls.ca }),
            };
            const secret = mode === 'none' ? undefined : 'mail secret';
            await emailSender(settings, secret)(notification);
            const mails = readdirSync(box.path);
            assert.equal(mails.length, 1);
            const mail = readFileSync(join(box.path, mails[0] ?? ''), 'utf8');
            assert.match(mail, /^RCPT a@example\.com,b@example\.com$/m);
            assert.match(mail, /^Subject: .*6700e76b/m);
            assert.doesNotMatch(mail, /^Bcc:/m);
            assert.match(mail, /^Auto-Submitted: auto-generated/m);
            assert.match(mail, /pool-full \(critical, raised\)/);
            await assert.rejects(emailSender({ ...settings, to: ['nobody@example.com'] }, secret)(notification), {
              final: true,
            });
            if (mode === 'none') {
              // Without TLS neither text nor password goes to a server of which TLS is wanted.
              await assert.rejects(
                emailSender({ ...settings, security: 'starttls' }, undefined)(notification),
                /STARTTLS|TLS/i,
              );
            } else {
              const stranger = { ...settings, ca: undefined };
              await assert.rejects(emailSender(stranger, secret)(notification), /certificate|issuer|self/i);
              await assert.rejects(emailSender(settings, 'wrong')(notification), { final: true });
            }
            assert.equal(readdirSync(box.path).length, 1);
          });
        } finally {
          box.remove();
        }
      });
    });
  }
});

describe('alerts to syslog', { skip: needsAll(['rsyslogd', 'rsyslog'], [opensslModule(), 'rsyslog-openssl']) }, () => {
  it('over UDP, TCP and TLS, as rsyslog understands them', async () => {
    await withPlace(async ({ folder, tls, cert, key }) => {
      const [plain = 0, secure = 0] = await freePorts(2);
      const log = join(folder, 'log');
      const template = '%pri% %app-name% %msgid% %structured-data%|%msg%\\n';
      writeFileSync(
        join(folder, 'rsyslog.conf'),
        [
          `global(workDirectory="${folder}" net.enableDNS="off"`,
          `  DefaultNetstreamDriverCAFile="${join(folder, 'ca.pem')}" DefaultNetstreamDriverCertFile="${cert}" DefaultNetstreamDriverKeyFile="${key}")`,
          'module(load="imudp")',
          'module(load="imtcp")',
          `template(name="t" type="string" string="${template}")`,
          'ruleset(name="r") {',
          `  action(type="omfile" file="${log}" template="t" fileOwner="root" asyncWriting="off")`,
          '}',
          `input(type="imudp" address="127.0.0.1" port="${String(plain)}" ruleset="r")`,
          `input(type="imtcp" address="127.0.0.1" port="${String(plain)}" ruleset="r")`,
          `input(type="imtcp" address="127.0.0.1" port="${String(secure)}" ruleset="r"`,
          '  StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")',
          '',
        ].join('\n'),
      );
      const args = ['-n', '-f', join(folder, 'rsyslog.conf'), '-i', join(folder, 'pid')];
      await withServer('rsyslogd', args, secure, async () => {
        const lines = (): string[] => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []);
        for (const [i, protocol] of (['udp', 'tcp', 'tls'] as const).entries()) {
          const port = protocol === 'tls' ? secure : plain;
          const ca = protocol === 'tls' ? tls.ca : undefined;
          await syslogSender({ host: 'localhost', port, protocol, ca })({ ...notification, code: `by-${protocol}` });
          await eventually(`the message by ${protocol}`, () => lines().length > i);
          const line = lines()[i] ?? '';
          // Facility daemon (3), severity critical (2).
          assert.match(
            line,
            new RegExp(`^26 gemeld by-${protocol} \\[origin software="gemel" swVersion="1\\.2\\.3"\\]`),
          );
          assert.match(
            line,
            /\[alert@32473 state="raised" severity="critical" node="6700e76b" kind="pool" object="tank"\]/,
          );
          assert.match(line, /\|.*pool tank is 96 % full – "quoted" \] {2}Bcc: mallory@example\.com$/);
        }
        const stranger = { host: 'localhost', port: secure, protocol: 'tls', ca: undefined } as const;
        await assert.rejects(syslogSender(stranger)(notification), /certificate|issuer|self/i);
        await assert.rejects(
          syslogSender({ host: '127.0.0.1', port: 1, protocol: 'tcp' })(notification),
          /ECONNREFUSED/,
        );
      });
    });
  });
});

function opensslModule(): string {
  const folders = readdirSync('/usr/lib').filter((name) => existsSync(`/usr/lib/${name}/rsyslog/lmnsd_ossl.so`));
  return `/usr/lib/${folders[0] ?? 'x86_64-linux-gnu'}/rsyslog/lmnsd_ossl.so`;
}

describe('alerts by webhook', () => {
  it('are signed, and a daemon sends a test through its API and CLI', async () => {
    await withPlace(async ({ folder, tls }) => {
      const seen: { headers: Record<string, unknown>; body: string }[] = [];
      let status = 204;
      const server = createServer({ cert: tls.cert + tls.ca, key: tls.key }, (request, response) => {
        let body = '';
        request.setEncoding('utf8').on('data', (text: string) => (body += text));
        request.on('end', () => {
          seen.push({ headers: request.headers, body });
          response.writeHead(status, { Location: 'https://127.0.0.1:1/' }).end('x'.repeat(100_000));
        });
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      try {
        const url = `https://127.0.0.1:${String((server.address() as AddressInfo).port)}/hook?x=1`;
        const send = webhookSender({ url, ca: tls.ca }, 'hook secret', () => 1_795_000_000_123);
        await send(notification);
        const { headers, body } = seen[0] ?? { headers: {}, body: '' };
        assert.equal(headers['x-gemel-timestamp'], '1795000000');
        assert.equal(headers['x-gemel-signature'], `sha256=${signatureOf('hook secret', '1795000000', body)}`);
        assert.equal((JSON.parse(body) as { code: string }).code, 'pool-full');
        for (const [answer, final] of [
          [302, true],
          [400, true],
          [429, false],
          [503, false],
        ] as const) {
          status = answer;
          await assert.rejects(send(notification), { final });
        }
        await assert.rejects(webhookSender({ url }, undefined, () => 0)(notification), /certificate|issuer|self/i);

        status = 200;
        await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
          const secret = join(folder, 'secret');
          writeFileSync(secret, 'hook secret\n', { mode: 0o600 });
          const ca = ['--ca-file', join(folder, 'ca.pem')];
          const add = ['alert', 'target', 'add', 'hook', '--webhook-file', '-', ...ca, '--secret-file', secret];
          const added = (await daemon.gemelJson(add, { input: `${url}\n` })) as Record<string, unknown>;
          assert.deepEqual([added['kind'], added['hasSecret']], ['webhook', true]);
          assert.ok(!JSON.stringify(added).includes('hook secret'));
          const before = seen.length;
          await daemon.gemelJson(['alert', 'target', 'test', 'hook']);
          const last = seen.at(-1);
          assert.equal(seen.length, before + 1);
          const stamp = String(last?.headers['x-gemel-timestamp']);
          assert.equal(
            last?.headers['x-gemel-signature'],
            `sha256=${signatureOf('hook secret', stamp, last?.body ?? '')}`,
          );
          // It survives a restart, sealed.
          await daemon.stop();
          assert.ok(!readFileSync(join(daemon.dataFolder, 'catalog', 'data.mdb')).includes('hook secret'));
          await daemon.start();
          await daemon.gemelJson(['alert', 'target', 'test', 'hook']);
          assert.equal(seen.length, before + 2);
          status = 500;
          const refused = await daemon.gemel(['alert', 'target', 'test', 'hook']);
          assert.equal(refused.code, 8, refused.stderr);
          assert.match(refused.stderr, /did not arrive: the receiver answered with status 500/);
          await daemon.stop();
        });
      } finally {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    });
  });
});
