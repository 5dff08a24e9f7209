// Members of etcd that take requests and say nothing: cut off from the others, or on a machine that stands still.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { ETCD_DEADLINE, ETCD_HEDGE } from '../../../core/base/limits.ts';
import { EtcdClient } from '../../../core/cluster/etcd/client.ts';
import { clusterAuthority } from '../../support/cluster-certificates.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { until } from '../../support/nodes-initiator.ts';

const authority = clusterAuthority('etcd');
const tls = authority.identity('client');
const same = (bytes: Buffer): Buffer => bytes;

/** A member that answers requests for records, with nothing, when it is told to. */
class Member {
  readonly server = new Server();
  readonly waiting: (() => void)[] = [];
  port = 0;

  constructor() {
    const shape = { requestStream: false, responseStream: false };
    const service = {
      range: {
        ...{ path: '/etcdserverpb.KV/Range', ...shape },
        ...{ requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same },
      },
    };
    const range = (_call: unknown, answer: (error: null, bytes: Buffer) => void): void => {
      this.waiting.push(() => {
        answer(null, Buffer.alloc(0));
      });
    };
    this.server.addService(service, { range });
  }

  async start(): Promise<void> {
    const { ca, key, cert } = authority.identity('member');
    const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(cert) };
    const secure = ServerCredentials.createSsl(Buffer.from(ca), [pair], true);
    this.port = await new Promise((resolve, reject) => {
      this.server.bindAsync('127.0.0.1:0', secure, (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
  }
}

describe('a client of etcd', () => {
  const members = [new Member(), new Member(), new Member()];
  const clock = new ManualClock();
  let client: EtcdClient;
  before(async () => {
    await Promise.all(members.map((each) => each.start()));
    const endpoints = members.map(({ port }) => ({ host: '127.0.0.1', port, serverName: 'member' }));
    client = new EtcdClient({ endpoints, tls, clock });
  });
  after(() => {
    client.close();
    for (const { server } of members) server.forceShutdown();
  });

  test('asks another member while one says nothing, and that one first from then on', async () => {
    const [silent, second] = members;
    assert.ok(silent && second);
    const answer = client.range({ key: 'a' });
    await until(() => Promise.resolve(silent.waiting.length === 1));
    assert.equal(second.waiting.length, 0, 'not before it is time');
    clock.advance(ETCD_HEDGE);
    await until(() => Promise.resolve(second.waiting.length === 1));
    second.waiting.pop()?.();
    await answer;
    assert.ok(clock.now() < ETCD_DEADLINE, 'the silent one was not waited for');
    const again = client.range({ key: 'a' });
    await until(() => Promise.resolve(second.waiting.length === 1));
    assert.equal(silent.waiting.length, 1);
    second.waiting.pop()?.();
    await again;
  });

  test('takes the answer of the one that was asked first, late as it is', async () => {
    const [, second, third] = members;
    assert.ok(second && third);
    const answer = client.range({ key: 'a' });
    await until(() => Promise.resolve(second.waiting.length === 1));
    clock.advance(ETCD_HEDGE);
    await until(() => Promise.resolve(third.waiting.length === 1));
    second.waiting.pop()?.();
    await answer;
    third.waiting.pop()?.();
  });
});
