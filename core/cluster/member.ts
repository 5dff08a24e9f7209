// What a node knows of the cluster it is in: the interface the mirror, the forwarding of commands and control build on.
import type { HostPort } from '../base/host-port.ts';
import type { ConfigStore } from './config-store.ts';
import type { TlsMaterial } from './etcd/channel.ts';

/** `data`: keeps replicas and serves them; `witness`: has a vote in the configuration store, nothing else. */
export type NodeRole = 'data' | 'witness';

export interface ClusterNode {
  /** 8 hexadecimal digits. */
  readonly id: string;
  /** 0 and up; never given twice in the life of a cluster. */
  readonly index: number;
  readonly name: string;
  readonly role: NodeRole;
  /** Where other nodes reach it: the peer link; etcd listens for clients one port above, for its peers two above. */
  readonly address: HostPort;
}

export interface ClusterMember {
  /** 32 hexadecimal digits. */
  readonly cluster: string;
  readonly self: ClusterNode;
  /** 16 random hexadecimal digits: another one after every start of the daemon. */
  readonly bootId: string;
  /** All there are now, this one and the witness included, in order of index. */
  nodes(): readonly ClusterNode[];
  /** Calls `listener` after nodes came, went or moved. Returns the function that ends it. */
  watchNodes(listener: () => void): () => void;
  /** Records of the whole cluster; keys are relative to CLUSTER_PREFIX. */
  readonly store: ConfigStore;
  /** Of this node, signed by the CA of the cluster; it has the name serverNameOf(self.id), as server and as client. */
  readonly tls: TlsMaterial;
}

/** What all keys of a cluster begin with in etcd. */
export const CLUSTER_PREFIX = '/gemel/v1/';

/** The DNS name in the certificate of a node. Nothing resolves it. */
export const serverNameOf = (node: string): string => `${node}.node.gemel.internal`;

/** Ports above the one of the peer link. */
export const ETCD_CLIENT_PORT = 1;
export const ETCD_PEER_PORT = 2;
