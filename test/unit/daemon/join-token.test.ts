import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import { certify, newAuthority, newKeyPair } from '../../../core/daemon/cluster/authority.ts';
import { readJoinToken, writeJoinToken } from '../../../core/daemon/cluster/join-token.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';

describe('what lets a node in', () => {
  it('is read as it was written, and refused when a part is missing', async () => {
    const authority = newAuthority(await nodeWorld(), 'a'.repeat(32));
    const content = { host: '10.0.0.1', port: 7484, node: '01234567', ca: authority.cert, secret: 's'.repeat(43) };
    const token = writeJoinToken(content);
    const { ca, ...rest } = readJoinToken(token);
    assert.deepEqual({ ...rest, ca: '' }, { ...content, ca: '' });
    assert.equal(new X509Certificate(ca).fingerprint256, new X509Certificate(authority.cert).fingerprint256);
    for (const bad of ['', 'gemel-join.', token.slice(11), token.slice(0, -20), `${token.slice(0, 40)}!!`]) {
      assert.throws(
        () => readJoinToken(bad),
        (error) => error instanceof ServiceError && error.code === 'bad-request',
      );
    }
  });

  it('ends in a certificate of the cluster, for the node and its address, as server and as client', async () => {
    const world = await nodeWorld();
    const [ours, foreign] = [newAuthority(world, 'a'.repeat(32)), newAuthority(world, 'b'.repeat(32))];
    const cert = new X509Certificate(certify(world, ours, '01234567', '10.0.0.2', newKeyPair().publicKey));
    assert.ok(cert.verify(new X509Certificate(ours.cert).publicKey));
    assert.ok(!cert.verify(new X509Certificate(foreign.cert).publicKey));
    assert.equal(cert.subject, 'CN=01234567');
    assert.equal(cert.checkIP('10.0.0.2'), '10.0.0.2');
    assert.equal(cert.checkHost('01234567.node.gemel.internal'), '01234567.node.gemel.internal');
    assert.deepEqual(cert.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    assert.throws(() => certify(world, ours, '01234567', '10.0.0.2', 'no key'));
  });
});
