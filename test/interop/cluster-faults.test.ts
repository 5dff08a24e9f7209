// Real processes in network namespaces: two nodes and a witness, each with its own etcd, and a host that writes through all of it.
// Whatever fails, every acknowledged write is there, and the host waits for seconds, not for ever.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import process from 'node:process';
import { startFaultCluster } from '../support/fault-cluster.ts';
import type { FaultCluster } from '../support/fault-cluster.ts';
import { needsAll } from '../support/needs.ts';
import { mayMakeNamespaces } from '../support/switch.ts';
import { WitnessedWriters } from '../support/witnessed-writer.ts';

const HOST = 'iqn.2026-11.org.example:host';
const skip = mayMakeNamespaces()
  ? needsAll(['etcd', 'etcd-server'], ['ip', 'iproute2'])
  : 'network namespaces take root; run npm test as root';
/** Milliseconds a host may wait on a busy machine; on a quiet one it is a third of that, or less. */
const MOST = 30_000;
/** The same when nodes have to start first, with their etcd. */
const RETURN = 60_000;

describe('a mirrored volume, while things fail', { skip }, () => {
  let cluster: FaultCluster;
  let writers: WitnessedWriters;

  before(async () => {
    cluster = await startFaultCluster(HOST);
    const { portals, disk } = cluster;
    writers = new WitnessedWriters({
      ...{ paths: portals, target: disk.iqn, lun: disk.lun, initiator: HOST, count: 4, blockLength: 512 },
    });
  });
  after(async () => {
    writers.close();
    await cluster.end();
  });

  /** A fault under load: the host goes on in time, nothing that was acknowledged is missing, before and after it is healed. */
  async function round(
    context: TestContext,
    fault: () => Promise<void> | void,
    heal: () => Promise<void> | void,
    most = MOST,
  ): Promise<void> {
    try {
      writers.start();
      await writers.progress();
      writers.takePause();
      await fault();
      await writers.progress();
      const longest = writers.takePause();
      await writers.stop();
      await writers.verify();
      writers.start();
      await heal();
      await cluster.inSync();
      await writers.progress();
      await writers.stop();
      for (const path of [0, 1]) await writers.verify(path);
      context.diagnostic(`longest pause ${longest} ms, ${writers.writes} writes so far`);
      assert.ok(longest <= most, `the host waited ${longest} ms`);
    } catch (error) {
      if (error instanceof Error) error.message += `\n${await cluster.describe()}`;
      throw error;
    }
  }

  test('goes on when its owner is killed together with its etcd', async (context) => {
    const owner = await cluster.owner();
    await round(
      context,
      () => cluster.kill(owner),
      () => cluster.nodes[owner]?.start(),
    );
  });

  test('goes on when its owner stands still, which neither serves nor acknowledges anything old afterwards', async (context) => {
    const owner = await cluster.owner();
    const { pid } = cluster.nodes[owner]?.ready ?? {};
    assert.ok(pid);
    await round(
      context,
      () => {
        process.kill(pid, 'SIGSTOP');
      },
      () => {
        process.kill(pid, 'SIGCONT');
      },
    );
  });

  test('goes on when the nodes do not reach each other, but everybody else', async (context) => {
    await round(
      context,
      () => {
        cluster.cables.separate(0, 1);
      },
      () => {
        cluster.cables.reunite(0, 1);
      },
    );
  });

  test('goes on when all links of its owner are pulled', async (context) => {
    const owner = await cluster.owner();
    await round(
      context,
      () => {
        cluster.cables.cut(owner);
      },
      () => {
        cluster.cables.heal(owner);
      },
    );
  });

  test('goes on with the one that returns when both were killed', async (context) => {
    const owner = await cluster.owner();
    const other = 1 - owner;
    await round(
      context,
      async () => {
        await Promise.all([cluster.kill(owner), cluster.kill(other)]);
        await cluster.nodes[other]?.start();
        assert.equal(await cluster.owner(other), other);
      },
      () => cluster.nodes[owner]?.start(),
      RETURN,
    );
  });

  test('waits for the node that has everything when the other one returns first', async (context) => {
    const first = await cluster.owner();
    const last = 1 - first;
    await round(
      context,
      async () => {
        await cluster.kill(first);
        await writers.progress();
        await cluster.kill(last);
        // What had arrived here by then is taken note of.
        await new Promise((resolve) => setTimeout(resolve, 100));
        const before = writers.writes;
        await cluster.nodes[first]?.start();
        await cluster.role(first, 'waiting');
        assert.equal(writers.writes, before, 'nothing is acknowledged without what was acknowledged before');
        await cluster.nodes[last]?.start();
      },
      () => undefined,
      RETURN,
    );
  });
});
