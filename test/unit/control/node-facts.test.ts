// What a node tells the others of its portals, through a store that does not always answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLUSTER_LOOK } from '../../../core/base/limits.ts';
import { silentLog } from '../../../core/base/log.ts';
import type { Json } from '../../../core/cluster/config-store.ts';
import type { ClusterMember } from '../../../core/cluster/member.ts';
import { NodeFacts } from '../../../core/control/node-facts.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const KEY = 'node/0000000a/facts';
const factsOf = (address: string) => ({ groups: 1, portals: [{ address, group: 1 }] });

test('the others are told what is true by now, not what could not be told earlier', async () => {
  const clock = new ManualClock();
  let away = true;
  let asked = 0;
  let told: Json | undefined;
  const store = {
    get: () => {
      asked++;
      if (away) return Promise.reject(new Error('no answer'));
      return Promise.resolve(told === undefined ? undefined : { key: KEY, value: told, revision: 1 });
    },
    list: () => Promise.resolve([]),
    commit: ([change]: { value: Json }[]) => {
      told = change?.value;
      return Promise.resolve({ ok: true, revision: 1 });
    },
    watch: () => () => undefined,
  };
  const member = { self: { id: '0000000a' }, nodes: () => [], store } as unknown as ClusterMember;
  const facts = new NodeFacts(member, clock, silentLog);
  const later = async (): Promise<void> => {
    clock.advance(CLUSTER_LOOK);
    await new Promise((resolve) => setImmediate(resolve));
  };
  await facts.start(() => undefined);
  await facts.publish(factsOf('192.0.2.1:3260'));
  await later();
  assert.deepEqual([asked, told], [2, undefined], 'it tries again');
  away = false;
  await facts.publish(factsOf('192.0.2.2:3260'));
  await later();
  assert.deepEqual(told, factsOf('192.0.2.2:3260'));
  away = true;
  await facts.publish(factsOf('192.0.2.3:3260'));
  away = false;
  await later();
  assert.deepEqual(told, factsOf('192.0.2.3:3260'));
  away = true;
  await facts.publish(factsOf('192.0.2.4:3260'));
  facts.stop();
  asked = 0;
  await later();
  assert.equal(asked, 0, 'not when it is over');
});
