// What the API says of the cluster and of volumes on several nodes, apart from the types the build makes, so that tests can say it, too.

export interface ClusterNode {
  readonly id: string;
  readonly name: string;
  /** A witness has a vote and no disks. */
  readonly role: 'data' | 'witness';
  /** HOST:PORT */
  readonly address: string;
  readonly self: boolean;
  /** In the configuration store. */
  readonly vote: 'voter' | 'learner' | 'none';
  readonly leader: boolean;
  readonly answers: boolean;
  /** Nothing is handed over to it. */
  readonly maintenance: boolean;
}

export interface Cluster {
  /** Null: this node is alone. */
  readonly cluster: string | null;
  readonly nodes: readonly ClusterNode[];
  readonly store: { readonly answers: boolean; readonly problem: string | null };
  /** Whether another node takes over by itself when one dies. */
  readonly takeover: 'automatic' | 'none';
  /** What should be done. */
  readonly advice: string | null;
}

/** A replica as the owner of the volume sees it. */
export interface Replica {
  /** Id of its node. */
  readonly node: string;
  readonly inSync: boolean;
  readonly state: 'owner' | 'sync' | 'joining' | 'leaving' | 'out' | 'unknown';
  readonly why: string;
  /** Bytes it is known to lack. */
  readonly lacksBytes: number;
  /** Null: nothing is being copied to it. */
  readonly resync: {
    readonly leftBytes: number;
    readonly totalBytes: number;
    readonly bytesPerSecond: number;
    /** Null: not known yet. */
    readonly etaSeconds: number | null;
  } | null;
}

export interface Replication {
  /** Name of the volume. */
  readonly volume: string;
  /** Id of a node; null: nobody serves it. */
  readonly owner: string | null;
  readonly epoch: number;
  /** Ids of the nodes that have every acknowledged write. */
  readonly inSync: readonly string[];
  readonly replicas: readonly Replica[];
  /** Who promoted the owner though others may have had newer data; null: nobody had to. */
  readonly forcedBy: string | null;
  /** Why it is like that. */
  readonly why: string;
}
