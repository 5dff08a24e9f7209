// Real processes in network namespaces: two nodes and a witness, each with its own etcd, and a host that writes through all of it.
// Whatever fails, every acknowledged write is there, and the host waits for seconds, not for ever. More of it: npm run faults. That one
// node is killed is the beginning of the last kind here.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect } from 'node:tls';
import type { FaultHost } from '../faults/fault-host.ts';
import { KINDS } from '../faults/kinds.ts';
import { linesOf, playRound } from '../faults/rounds.ts';
import { userHost } from '../faults/user-host.ts';
import { clusterAuthority } from '../support/cluster-certificates.ts';
import { startFaultCluster } from '../support/fault-cluster.ts';
import type { FaultCluster } from '../support/fault-cluster.ts';
import { needsAll } from '../support/needs.ts';
import { mayMakeNamespaces } from '../support/switch.ts';

const HOST = 'iqn.2026-11.org.example:host';
const skip = mayMakeNamespaces()
  ? needsAll(['etcd', 'etcd-server'], ['ip', 'iproute2'])
  : 'network namespaces take root; run npm test as root';
/** Milliseconds a host may wait on a busy machine; on a quiet one it is a third of that, or less. */
const MOST = 30_000;
/** The same when nodes have to start first, with their etcd. */
const RETURN = 60_000;
/** Milliseconds in which a stranger is sent away, or leaves. */
const STRANGER = 3_000;

/** Says something, and resolves with all that was said to it until the connection ended. */
function knock(socket: Socket, say: Buffer): Promise<Buffer> {
  const heard: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => heard.push(chunk));
  socket.on('error', () => undefined);
  socket.write(say);
  const timer = setTimeout(() => socket.destroy(), STRANGER);
  return new Promise((resolve) => {
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(heard));
    });
  });
}

describe('a mirrored volume, while things fail', { skip }, () => {
  let cluster: FaultCluster;
  let host: FaultHost;

  before(async () => {
    cluster = await startFaultCluster(HOST);
    const { portals, disk } = cluster;
    host = userHost({
      ...{ paths: portals, target: disk.iqn, lun: disk.lun, initiator: HOST, count: 4, blockLength: 512 },
    });
  });
  after(async () => {
    await host.end().catch(() => undefined);
    await cluster.end();
  });

  test('strangers get nothing on any port of a node, and disturb nobody', async () => {
    const id = (await cluster.nodes[0]?.gemelJson(['cluster', 'status'])) as { node: string };
    const ca = readFileSync(join(cluster.folders[0] ?? '', 'cluster', 'ca.pem'), 'utf8');
    const checkServerIdentity = (): undefined => undefined;
    const foreign = clusterAuthority('another cluster').identity(id.node);
    for (const { host: address, port } of cluster.addresses) {
      const [link, client, peers, joining] = [port, port + 1, port + 2, port + 3];
      for (const door of [link, client, peers, joining]) {
        const garbage = await knock(createConnection({ host: address, port: door }), randomBytes(4096));
        // At most an alert (RFC 8446 §6).
        assert.ok(garbage.length <= 7, `garbage on ${String(door)}: ${garbage.toString('hex', 0, 32)}`);
      }
      for (const [who, identity] of Object.entries({ nobody: {}, foreign })) {
        for (const door of [link, client, peers]) {
          const socket = connect({
            host: address,
            port: door,
            ca,
            checkServerIdentity,
            ALPNProtocols: ['h2'],
            ...identity,
          });
          const said = await knock(socket, Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'));
          assert.equal(said.length, 0, `${who} on ${String(door)}: ${said.toString('latin1', 0, 64)}`);
        }
        const socket = connect({ host: address, port: joining, ...identity, ca, checkServerIdentity });
        const said = await knock(socket, Buffer.from('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}'));
        assert.match(said.toString(), /^(HTTP\/1\.1 4\d\d|$)/, `${who} on ${String(joining)}`);
      }
    }
    await host.progress();
    await cluster.inSync();
    for (const { output } of cluster.nodes) {
      const told = linesOf(output).filter(({ msg }) => msg === 'refused a connection to the port for other nodes');
      const kinds = new Set(told.map(({ address, reason }) => `${String(address)} ${String(reason)}`));
      assert.ok(
        kinds.size >= 3 && told.length === kinds.size,
        `each kind of trouble is told once: ${[...kinds].join(', ')}`,
      );
    }
  });

  for (const name of [
    'owner stopped (SIGSTOP)',
    'link between the nodes pulled',
    'both killed one by one, the older returns first',
  ]) {
    test(`goes on: ${name}`, async (context) => {
      const kind = KINDS.find((each) => each.name === name);
      assert.ok(kind);
      const { pause } = await playRound(kind, cluster, host, { coin: false, verify: true });
      context.diagnostic(`longest pause ${String(pause)} ms, ${String(host.counts.writes)} writes so far`);
      assert.ok(pause <= (kind.goal === undefined ? RETURN : MOST), `the host waited ${String(pause)} ms`);
    });
  }
});
