import { after, before, describe, test } from 'node:test';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { CONTRACT } from '../../support/config-store-contract.ts';

describe('EmbeddedStore is a ConfigStore', () => {
  const folder = temporaryFolder('store');
  let store: EmbeddedStore;
  before(() => {
    store = new EmbeddedStore(folder.path);
  });
  after(async () => {
    await store.close();
    folder.remove();
  });
  for (const [name, run] of CONTRACT) test(name, () => run(store));
});
