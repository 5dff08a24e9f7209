import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fingerprintOf, tlsIdentity } from '../../../core/api/tls/identity.ts';
import { oid, time } from '../../../core/api/tls/der.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

describe('the TLS identity', () => {
  it('is a CA and a server certificate it signed, kept over restarts', async () => {
    const folder = temporaryFolder('tls');
    try {
      const world = await nodeWorld();
      const hosts = ['localhost', '127.0.0.1', '::1', 'fe80::1:2', '::ffff:192.0.2.7'];
      const first = await tlsIdentity(world, folder.path, 'abcd', hosts);
      const [ca, server] = [new X509Certificate(first.ca), new X509Certificate(first.cert)];
      assert.ok(ca.ca && !server.ca);
      assert.ok(ca.verify(ca.publicKey) && server.verify(ca.publicKey) && server.checkIssued(ca));
      assert.equal(server.checkHost('localhost'), 'localhost');
      for (const ip of ['127.0.0.1', '::1', 'fe80::1:2']) assert.equal(server.checkIP(ip), ip);
      assert.equal(server.checkIP('127.0.0.2'), undefined);
      assert.deepEqual(server.keyUsage, ['1.3.6.1.5.5.7.3.1']);
      assert.equal(ca.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
      assert.equal(first.fingerprint, fingerprintOf(first.ca));
      assert.equal(statSync(join(folder.path, 'ca.pem')).mode & 0o777, 0o600);
      assert.match(readFileSync(join(folder.path, 'ca.pem'), 'utf8'), /PRIVATE KEY/);
      const second = await tlsIdentity(world, folder.path, 'abcd', hosts);
      assert.deepEqual(second, first);
      const moved = await tlsIdentity(world, folder.path, 'abcd', [...hosts, 'storage.example']);
      assert.equal(moved.ca, first.ca);
      assert.notEqual(moved.cert, first.cert);
      const clock = { ...world.clock, wall: () => world.clock.wall() + 780 * 86_400_000 };
      const later = await tlsIdentity({ ...world, clock }, folder.path, 'abcd', hosts);
      assert.equal(later.ca, first.ca);
      assert.notEqual(later.cert, moved.cert, 'renewed before it expires');
    } finally {
      folder.remove();
    }
  });

  it('writes DER as X.690 says', () => {
    assert.equal(oid('1.2.840.10045.4.3.2').toString('hex'), '06082a8648ce3d040302');
    assert.equal(time(Date.UTC(2049, 11, 31, 23, 59, 59)).toString('latin1', 2), '491231235959Z');
    assert.equal(time(Date.UTC(2050, 0, 1)).toString('latin1', 2), '20500101000000Z');
  });
});
