import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import { parseNbdUri } from '../../../core/base/nbd-uri.ts';

test('NBD URIs', () => {
  const none = undefined;
  assert.deepEqual(parseNbdUri('nbd+unix:///a%2Fb?socket=/run/x.sock'), {
    ...{ to: { path: '/run/x.sock' }, exportName: 'a/b', certificates: none },
  });
  assert.deepEqual(parseNbdUri('nbd+unix:///?socket=/x').exportName, '');
  assert.deepEqual(parseNbdUri('nbd://127.0.0.1/disk').to, { host: '127.0.0.1', port: 10_809 });
  assert.deepEqual(parseNbdUri('nbd://[::1]:80/disk').to, { host: '::1', port: 80 });
  assert.deepEqual(parseNbdUri('nbds://store.example:99/disk?tls-certificates=/etc/pki/nbd'), {
    ...{ to: { host: 'store.example', port: 99 }, exportName: 'disk', certificates: '/etc/pki/nbd' },
  });
  for (const [wrong, why] of [
    ['http://x/y', /begins with/],
    ['nbd://192.0.2.7/x', /without TLS only this machine/],
    ['nbds://store.example/x', /tls-certificates/],
    ['nbd://127.0.0.1/x?tls-certificates=/x', /nbds/],
    ['nbd+unix:///x', /socket/],
    ['nbd+unix:///x?socket=relative', /socket/],
    ['nbd://user:secret@127.0.0.1/x', /users/],
    ['nbd://127.0.0.1:99999/x', /not a NBD URI/],
    ['nbd://127.0.0.1/%zz', /not a NBD URI/],
  ] as const) {
    assert.throws(
      () => parseNbdUri(wrong),
      (error) => error instanceof ServiceError && error.code === 'bad-request' && why.test(error.message),
      wrong,
    );
  }
});
