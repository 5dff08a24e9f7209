// The ways to a real libvirtd over the network: TLS with certificates on both sides, and SSH.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { LibvirtClient } from '../../plugins/kvm/rpc/client.ts';
import { hostname } from '../../plugins/kvm/rpc/procedures.ts';
import { parseUri } from '../../plugins/kvm/rpc/transport.ts';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { needsLibvirtd, withLibvirtd } from '../support/libvirtd.ts';
import { freePorts } from '../support/net.ts';
import { runOk } from '../support/process.ts';

const skip = needsLibvirtd(['openssl', 'openssl'], ['sshd', 'openssh-server'], ['ssh', 'openssh-client']);

/** Key and certificate `name`, signed by the authority `ca` of the same folder, or by itself. */
async function certificate(folder: string, name: string, ca?: string): Promise<void> {
  const key = join(folder, `${name}key.pem`);
  const request = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
  ];
  const signed = ca === undefined ? [] : ['-CA', join(folder, `${ca}cert.pem`), '-CAkey', join(folder, `${ca}key.pem`)];
  const usage = ca === undefined ? 'basicConstraints=critical,CA:TRUE' : 'basicConstraints=critical,CA:FALSE';
  const more = ca === undefined ? [] : ['-addext', 'subjectAltName=IP:127.0.0.1'];
  await runOk('openssl', [
    ...request,
    ...signed,
    '-addext',
    usage,
    ...more,
    '-keyout',
    key,
    '-out',
    join(folder, `${name}cert.pem`),
  ]);
}

async function asks(uri: string): Promise<string> {
  const client = await LibvirtClient.open(parseUri(uri));
  try {
    return (await client.call(hostname, {})).hostname;
  } finally {
    client.close();
  }
}

describe('a libvirtd elsewhere', { skip }, () => {
  test('is reached by TLS with a certificate, and by nobody without', async () => {
    const folder = temporaryFolder('pki');
    const { path } = folder;
    const [port] = await freePorts(1);
    try {
      await certificate(path, 'ca');
      await certificate(path, 'server', 'ca');
      await certificate(path, 'client', 'ca');
      const stranger = join(path, 'stranger');
      mkdirSync(stranger);
      for (const name of ['ca', 'client']) await certificate(stranger, name, name === 'ca' ? undefined : 'ca');
      const settings = [
        ...[
          'listen_tls = 1',
          'listen_tcp = 0',
          `tls_port = "${String(port)}"`,
          'listen_addr = "127.0.0.1"',
          'auth_tls = "none"',
        ],
        ...[
          `key_file = "${path}/serverkey.pem"`,
          `cert_file = "${path}/servercert.pem"`,
          `ca_file = "${path}/cacert.pem"`,
        ],
        'tls_no_sanity_certificate = 1',
      ];
      const body = async (): Promise<void> => {
        const uri = `qemu+tls://127.0.0.1:${String(port)}/system?pkipath=`;
        assert.notEqual(await asks(uri + path), '');
        // It does not know them, and they do not know it.
        await assert.rejects(asks(uri + stranger), { code: 'untrusted-server' });
        await runOk('cp', [`${path}/cacert.pem`, stranger]);
        await assert.rejects(asks(uri + stranger), { code: /unauthorized|hypervisor-unreachable|untrusted-server/ });
      };
      await withLibvirtd(body, `${settings.join('\n')}\n`, ['--listen']);
    } finally {
      folder.remove();
    }
  });

  test('is reached by SSH when the key of the host is known', async () => {
    const folder = temporaryFolder('ssh');
    const { path } = folder;
    const [port] = await freePorts(1);
    try {
      for (const name of ['host', 'user', 'other']) {
        await runOk('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', join(path, name)]);
      }
      await runOk('cp', [join(path, 'user.pub'), join(path, 'authorized')]);
      const publicKey = async (name: string): Promise<string> =>
        (await runOk('cat', [join(path, `${name}.pub`)])).stdout;
      for (const name of ['host', 'other'])
        writeFileSync(join(path, `known-${name}`), `[127.0.0.1]:${String(port)} ${await publicKey(name)}`);
      mkdirSync('/run/sshd', { recursive: true });
      const options = [
        `AuthorizedKeysFile=${path}/authorized`,
        'StrictModes=no',
        'UsePAM=no',
        'ListenAddress=127.0.0.1',
        'PidFile=none',
      ];
      const args = [
        '-D',
        '-e',
        '-f',
        '/dev/null',
        '-p',
        String(port),
        '-h',
        join(path, 'host'),
        ...options.flatMap((each) => ['-o', each]),
      ];
      const sshd = spawn('/usr/sbin/sshd', args, { stdio: 'ignore' });
      const forget = atExit(() => sshd.kill('SIGKILL'));
      try {
        await withLibvirtd(async ({ socket }) => {
          const uri = (known: string, key: string): string =>
            `qemu+ssh://root@127.0.0.1:${String(port)}/system?socket=${socket}&known_hosts=${path}/known-${known}&keyfile=${path}/${key}`;
          assert.notEqual(await asks(uri('host', 'user')), '');
          await assert.rejects(asks(uri('other', 'user')), { code: 'untrusted-server' });
          await assert.rejects(asks(uri('host', 'other')), { code: 'unauthorized' });
          await assert.rejects(asks(uri('host', 'user').replace('libvirt-sock', 'nobody')), {
            code: 'hypervisor-unreachable',
          });
        });
      } finally {
        sshd.kill('SIGTERM');
        forget();
      }
    } finally {
      folder.remove();
    }
  });
});
