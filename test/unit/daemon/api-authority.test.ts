// Two nodes of a cluster: a token made at one of them is good at the other, and each shows that it may be trusted with it.
import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { listenApi } from '../../../core/api/listener.ts';
import { authorityOf } from '../../../core/api/tls/identity.ts';
import { ServedTls } from '../../../core/api/tls/served.ts';
import { ServiceError } from '../../../core/base/errors.ts';
import { silentLog } from '../../../core/base/log.ts';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import { Catalog } from '../../../core/control/catalog.ts';
import { SecretBox } from '../../../core/control/secret-box.ts';
import { Tokens } from '../../../core/control/tokens.ts';
import { apiAuthority } from '../../../core/daemon/cluster/api-authority.ts';
import { ownerToken } from '../../../core/daemon/data-files.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { ApiClient } from '../../../plugins/sdk/client.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { until } from '../../support/until.ts';

const KEY = Buffer.alloc(32, 7);

test('a token made at one node of a cluster is good at the other, and that of a data folder at its node only', async () => {
  const folder = temporaryFolder('api-authority');
  const world = await nodeWorld();
  const stores: EmbeddedStore[] = [];
  const storeAt = (name: string): EmbeddedStore => {
    const store = new EmbeddedStore(join(folder.path, name));
    stores.push(store);
    return store;
  };
  const shared = storeAt('shared');
  const ends: (() => Promise<void>)[] = [];
  const start = async (name: string) => {
    const store = storeAt(name);
    const catalog = await Catalog.open(store, world.random, 'iqn.x', world.clock.wall(), shared);
    const box = new SecretBox(KEY, world.random);
    const tls = join(folder.path, `${name}-tls`);
    const authority = await apiAuthority({ catalog, store, box }, true, () => authorityOf(world, tls, name));
    assert.ok(authority);
    const served = await ServedTls.open({
      ...{ world, log: silentLog, folder: tls, node: name, files: undefined, hosts: () => ['127.0.0.1'] },
      cluster: { authority, folder: join(folder.path, `${name}-api`) },
    });
    const tokens = new Tokens(catalog, world);
    const app: RequestListener = (request, response) => {
      const caller = tokens.check(request.headers.authorization?.replace('Bearer ', '') ?? '');
      response.writeHead(caller === undefined ? 401 : 200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(caller === undefined ? { code: 'unauthorized' } : { node: name, who: caller.name }));
    };
    const listener = await listenApi('127.0.0.1', 0, served.own, app, served.shown, served.cluster);
    ends.push(() => listener.close(100));
    const ask = (token: string): Promise<unknown> =>
      new ApiClient(`https://127.0.0.1:${String(listener.port)}`, token).call('GET', '/status');
    const { fingerprint } = served.view('');
    const owner = await ownerToken(world, folder.path, tokens, served.own.fingerprint);
    return { catalog, tokens, ask, fingerprint, owner };
  };
  try {
    const alpha = await start('alpha');
    const beta = await start('beta');
    const { secret } = await alpha.tokens.create({ name: 'backup', role: 'viewer' }, alpha.fingerprint);
    await until(() => beta.catalog.tokens.get('backup') !== undefined);
    assert.deepEqual(await alpha.ask(secret), { node: 'alpha', who: 'backup' });
    assert.deepEqual(await beta.ask(secret), { node: 'beta', who: 'backup' });
    const other = await beta.tokens.create({ name: 'other', role: 'viewer' }, beta.fingerprint);
    await until(() => alpha.catalog.tokens.get('other') !== undefined);
    assert.deepEqual(await alpha.ask(other.secret), { node: 'alpha', who: 'other' });
    await assert.rejects(
      beta.tokens.create({ name: 'backup', role: 'admin' }, beta.fingerprint),
      (error: unknown) => error instanceof ServiceError && error.code === 'exists',
    );

    // Of a data folder: each node has its own.
    assert.deepEqual(await beta.ask(beta.owner), { node: 'beta', who: 'owner' });
    await assert.rejects(alpha.ask(beta.owner), /not made by the daemon at .*, nor in its cluster/);
    await assert.rejects(beta.ask(alpha.owner), /does not know|401|unauthorized/);

    await beta.tokens.revoke('backup');
    await until(() => alpha.catalog.tokens.get('backup') === undefined);
    await assert.rejects(alpha.ask(secret), /401|unauthorized/);
  } finally {
    for (const end of ends) await end();
    for (const store of stores) await store.close();
    folder.remove();
  }
});

test('what older releases kept is taken over once: the token of the data folder, and those of the node that was first', async () => {
  const folder = temporaryFolder('api-authority');
  const world = await nodeWorld();
  const [store, shared] = ['own', 'shared'].map((name) => new EmbeddedStore(join(folder.path, name)));
  assert.ok(store !== undefined && shared !== undefined);
  const record = (name: string) => ({ name, role: 'admin' as const, hash: 'ab'.repeat(32), created: 1 });
  try {
    await store.commit(
      ['owner', 'old'].map((name) => ({ key: `tokens/${name}`, value: record(name) })),
      [],
    );
    const catalog = await Catalog.open(store, world.random, 'iqn.x', world.clock.wall(), shared);
    const box = new SecretBox(KEY, world.random);
    const look = () =>
      apiAuthority({ catalog, store, box }, true, () => authorityOf(world, join(folder.path, 'tls'), 'x'));
    await look();
    assert.deepEqual(catalog.tokens.ids(), ['old']);
    // Revoked for good: what the node still has of its own does not come back.
    await catalog.apply(catalog.tokens.edit('old', undefined));
    await look();
    assert.deepEqual(catalog.tokens.ids(), []);

    // The same store on its own again.
    const alone = await Catalog.open(store, world.random, 'iqn.x', world.clock.wall());
    const tokens = new Tokens(alone, world);
    await tokens.settle();
    assert.deepEqual([alone.tokens.ids(), alone.nodeTokens.ids()], [['old'], ['owner']]);
    assert.equal(tokens.isGood('owner'), true);
  } finally {
    await store.close();
    await shared.close();
    folder.remove();
  }
});
