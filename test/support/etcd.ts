// Real members of etcd, started the way a node starts its own.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { silentLog } from '../../core/base/log.ts';
import type { World } from '../../core/base/world.ts';
import type { Endpoint, TlsMaterial } from '../../core/cluster/etcd/channel.ts';
import { EtcdClient } from '../../core/cluster/etcd/client.ts';
import { ETCD_CLIENT_PORT, serverNameOf } from '../../core/cluster/member.ts';
import { certify, newAuthority, newKeyPair } from '../../core/daemon/cluster/authority.ts';
import { EtcdProcess, peerUrl } from '../../core/daemon/cluster/etcd-process.ts';
import { atExit, temporaryFolder } from './cleanup.ts';
import { freePorts } from './net.ts';

export interface TestMember {
  readonly process: EtcdProcess;
  readonly endpoint: Endpoint;
}

export interface TestEtcd {
  readonly members: readonly TestMember[];
  readonly tls: TlsMaterial;
  client(): EtcdClient;
  end(): Promise<void>;
}

/** Where a member runs: an address, and words before its command (`ip netns exec …`). */
export interface Place {
  readonly host: string;
  readonly wrapper?: readonly string[];
}

/** A new cluster with a member at each place; not waited for. */
export async function startEtcd(world: World, places: readonly Place[]): Promise<TestEtcd> {
  const folder = temporaryFolder('etcd');
  const authority = newAuthority(world, 'c'.repeat(32));
  const bases = await basePorts(places.length);
  const ids = places.map((_, i) => `0000000${i + 1}`);
  const certificate = (id: string, host: string): TlsMaterial => {
    const pair = newKeyPair();
    return { ca: authority.cert, key: pair.key, cert: certify(world, authority, id, host, pair.publicKey) };
  };
  const addresses = places.map(({ host }, i) => ({ host, port: bases[i] ?? 0 }));
  const initialCluster = ids.map((id, i) => `${id}=${peerUrl(addresses[i] ?? { host: '', port: 0 })}`).join(',');
  const members = places.map(({ host, wrapper = [] }, i): TestMember => {
    const [id = '', address = { host, port: 0 }] = [ids[i], addresses[i]];
    const own = join(folder.path, id);
    mkdirSync(own);
    const { ca, cert, key } = certificate(id, host);
    for (const [name, content] of Object.entries({ 'ca.pem': ca, 'node.pem': cert, 'node.key': key })) {
      writeFileSync(join(own, name), content, { mode: 0o600 });
    }
    const etcd = new EtcdProcess({
      ...{ folder: own, name: id, address, initialCluster, state: 'new', clock: world.clock, log: silentLog, wrapper },
    });
    const endpoint = { host, port: address.port + ETCD_CLIENT_PORT, serverName: serverNameOf(id) };
    return { process: etcd, endpoint };
  });
  const killAll = (): void => {
    for (const each of members) {
      each.process.release();
      if (each.process.pid !== undefined) process.kill(each.process.pid, 'SIGKILL');
    }
  };
  const forget = atExit(killAll);
  for (const each of members) each.process.start();
  const tls = certificate('0000000f', '127.0.0.1');
  const endpoints = members.map(({ endpoint }) => endpoint);
  return {
    members,
    tls,
    client: () => new EtcdClient({ endpoints, tls, clock: world.clock }),
    end: async () => {
      await Promise.all(members.map((each) => each.process.stop()));
      forget();
      folder.remove();
    },
  };
}

/** Ports that are free; a node uses the three above each as well. */
export async function basePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  while (found.length < count) {
    const [port = 0] = await freePorts(1);
    if (found.every((other) => Math.abs(other - port) > 3)) found.push(port);
  }
  return found;
}
