// What volumes have in common by name.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import { withPlane } from './fixture.ts';

const MIB = 1_048_576;
const refused = (code: string) => (error: unknown) => error instanceof ServiceError && error.code === code;

describe('policies', () => {
  it('say how a volume is made where the request does not, and the default one when nobody names any', async () => {
    await withPlane(async ({ policies, provisioner, pools, snapshots }) => {
      await pools.create({ name: 'tank', size: 64 * MIB });
      await policies.create('lab', { durability: 'volatile', thin: false });
      const make = (name: string, more = {}) => provisioner.create({ name, size: MIB, maps: [], ...more });
      const lab = await make('a', { policy: 'lab' });
      assert.deepEqual([lab.durability, lab.thin, lab.policy], ['volatile', false, 'lab']);
      const said = await make('b', { policy: 'lab', durability: 'durable', thin: true });
      assert.deepEqual([said.durability, said.thin], ['durable', true], 'what is said counts');
      assert.equal((await make('c')).policy, undefined);
      await policies.change('lab', { isDefault: true });
      assert.equal((await make('d')).durability, 'volatile');
      assert.equal((await make('e', { policy: null })).durability, 'durable');
      await policies.create('gold', { isDefault: true });
      assert.equal(policies.get('lab').isDefault, undefined, 'there is one default');
      assert.equal((await make('f')).policy, 'gold');
      const clone = await snapshots.clone('a', undefined, { name: 'g', maps: [] });
      assert.equal(clone.policy, 'lab', 'a clone is as its source');
      // In memory there is no choice.
      const memory = await make('h', { kind: 'memory', policy: 'lab' });
      assert.equal(memory.durability, 'volatile');
      await policies.create('twice', { replicas: 2 });
      await assert.rejects(make('i', { policy: 'twice' }), refused('bad-request'), 'copies take a cluster');
      await assert.rejects(make('i', { policy: 'nobody' }), refused('not-found'));
    });
  });

  it('hold for all their volumes at once, and are kept while one has them', async () => {
    await withPlane(async ({ policies, provisioner, pools, catalog, trash }) => {
      await pools.create({ name: 'tank', size: 64 * MIB });
      await policies.create('archive', { copyRoute: 'never', keepDeleted: 60_000 });
      const record = await provisioner.create({ name: 'a', size: MIB, maps: [], policy: 'archive' });
      const route = (): string => catalog.copyRouteOf('a');
      assert.equal(route(), 'never');
      await policies.change('archive', { copyRoute: 'share-only' });
      assert.equal(route(), 'share-only');
      await policies.change('archive', { copyRoute: null });
      assert.equal(route(), 'auto', 'as the node');
      assert.deepEqual(Object.keys(policies.get('archive')).sort(), ['created', 'keepDeleted', 'name']);
      // Of one that is not served nobody knows whether it is empty.
      const unserved = { ...record, name: 'unserved' };
      assert.equal(trash.keepFor(unserved), 60_000);
      await policies.change('archive', { keepDeleted: 0 });
      assert.equal(trash.keepFor(unserved), 0);
      assert.equal(trash.keepFor({ ...unserved, policy: 'gone' }), trash.keep);
      await assert.rejects(policies.remove('archive'), refused('in-use'));
      await policies.assign('a', undefined);
      await policies.remove('archive');
      await assert.rejects(policies.assign('a', 'archive'), refused('not-found'));
      await assert.rejects(policies.create('none', {}), refused('bad-request'));
      await policies.create('x', {});
      await assert.rejects(policies.create('x', {}), refused('exists'));
      assert.equal(provisioner.volume('a').policy, undefined);
    });
  });
});
