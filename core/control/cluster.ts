// What control knows of clusters. The daemon does it (core/daemon/cluster): it takes processes and certificates.

export interface ClusterNodeView {
  readonly id: string;
  readonly index: number;
  readonly name: string;
  readonly role: 'data' | 'witness';
  /** HOST:PORT of the peer link. */
  readonly address: string;
  readonly self: boolean;
  /** In the configuration store; `none` where that is an etcd of somebody else. */
  readonly vote: 'voter' | 'learner' | 'none';
  readonly leader: boolean;
  /** Its member of the configuration store answers; where that is an etcd of somebody else, the node itself. */
  readonly answers: boolean;
  /** Nothing is handed over to it. */
  readonly maintenance: boolean;
}

/** A member of an etcd that somebody else looks after. */
export interface EtcdMemberView {
  /** HOST:PORT */
  readonly address: string;
  readonly answers: boolean;
  readonly version: string | undefined;
  readonly leader: boolean;
  readonly problem: string | undefined;
}

/** An etcd that was there already, in which the cluster is. */
export interface ExternalEtcdView {
  /** What the keys of the cluster begin with. */
  readonly prefix: string;
  readonly members: readonly EtcdMemberView[];
}

/** How an etcd that is there already is reached; all but addresses and prefix is PEM. */
export interface EtcdRequest {
  /** HOST:PORT or https://HOST:PORT */
  readonly endpoints: readonly string[];
  readonly prefix?: string | undefined;
  readonly ca: string;
  readonly cert: string;
  readonly privateKey: string;
}

export interface ClusterView {
  /** Undefined: this node is alone. */
  readonly cluster: string | undefined;
  readonly node: string | undefined;
  readonly nodes: readonly ClusterNodeView[];
  readonly store: {
    readonly answers: boolean;
    readonly problem: string | undefined;
    /** Undefined: the nodes run their own. */
    readonly external: ExternalEtcdView | undefined;
  };
  /** Whether another node takes over by itself when one dies. */
  readonly takeover: 'automatic' | 'none';
  /** What should be done, in a sentence. */
  readonly advice: string | undefined;
}

/** What lets a node in, once. */
export interface JoinToken {
  readonly token: string;
  /** Milliseconds since 1970. */
  readonly expires: number;
}

export interface Membership {
  /** HOST:PORT under which the other nodes reach this one; the next three ports are used, too. */
  readonly address: string;
  /** The name of the machine when absent. */
  readonly name?: string | undefined;
}

export interface ClusterControl {
  view(): Promise<ClusterView>;
  /** Begins a cluster with this node, in an etcd of its own or in the one that is named; the daemon starts itself again afterwards. Rejects with ServiceError. */
  init(as: Membership, etcd?: EtcdRequest): Promise<{ cluster: string }>;
  /** Reaches the etcd of somebody else in another way from now on, this node only. Rejects with ServiceError. */
  reachEtcd(etcd: Omit<EtcdRequest, 'prefix'>): Promise<void>;
  /** A token for one more node. Rejects with ServiceError. */
  token(): Promise<JoinToken>;
  /** Becomes a node of the cluster the token is of; the daemon starts itself again afterwards. Rejects with ServiceError. */
  join(token: string, as: Membership): Promise<void>;
  /**
   * Forgets another node, which is gone for good; with `dropCopies` also its copies of volumes, as long as others have
   * everything. Rejects with ServiceError.
   */
  remove(name: string, dropCopies: boolean): Promise<void>;
  /** This node leaves; the last one takes the catalog along. The daemon starts itself again. Rejects with ServiceError. */
  leave(): Promise<void>;
}

/** Of a node that is in no cluster. */
export const ALONE: ClusterView = {
  cluster: undefined,
  node: undefined,
  nodes: [],
  store: { answers: true, problem: undefined, external: undefined },
  takeover: 'none',
  advice: undefined,
};
