// Tokens that are used while the store of the catalog does not answer, and that are made anew.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import { until } from '../../support/until.ts';
import { withPlane } from './fixture.ts';

test('requests are let in while their use cannot be kept, and do not queue up for it', async () => {
  await withPlane(async ({ tokens, catalog, logged }) => {
    const { secret } = await tokens.create({ name: 'scrape', role: 'viewer' }, 'x'.repeat(43));
    const apply = catalog.apply.bind(catalog);
    let tries = 0;
    let give = (): void => undefined;
    catalog.apply = () => {
      tries++;
      return new Promise((_, reject) => {
        give = () => {
          reject(new ServiceError('cluster-unavailable', 'no answer'));
        };
      });
    };
    const failed = (): number => logged.filter((line) => line.includes('could not be kept')).length;
    for (let i = 0; i < 20; i++) assert.equal(tokens.check(secret)?.name, 'scrape');
    await until(() => tries > 0);
    give();
    await until(() => failed() > 0);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(tries, 1);
    catalog.apply = apply;
    // The next request keeps it.
    tokens.check(secret);
    await until(() => tokens.get('scrape').lastUsed !== undefined);
  });
});

test('what goes on with a token ends when that is revoked, also when there is another one of its name', async () => {
  await withPlane(async ({ tokens, security }) => {
    const make = () => tokens.create({ name: 'watch', role: 'viewer' }, 'x'.repeat(43));
    const { secret, record } = await make();
    const caller = tokens.check(secret);
    assert.ok(caller !== undefined && security.isCurrent(caller));
    await tokens.revoke('watch');
    await until(() => Date.now() > record.created);
    const other = tokens.check((await make()).secret);
    assert.ok(other !== undefined && security.isCurrent(other));
    assert.equal(security.isCurrent(caller), false);
  });
});
