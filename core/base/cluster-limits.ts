// Limits of the configuration store of a cluster (etcd); limits.ts passes them on.
/** Milliseconds a call of one member may take; of a request with all its attempts; between two looks whether it answers. */
export const ETCD_DEADLINE = 1_500;
export const ETCD_PATIENCE = 6_000;
export const ETCD_LOOK = 1_000;
/** Milliseconds without an answer of one member after which another one is asked as well. */
export const ETCD_HEDGE = 300;
/** Milliseconds between signs of life on a connection, and after which it is given up without one. */
export const ETCD_KEEPALIVE = 1_000;
/** The same on a connection to an etcd of somebody else, which forbids it more often than every five seconds unless told otherwise. */
export const ETCD_KEEPALIVE_SHARED = 10_000;
/** Members of an etcd of somebody else that can be named; characters of what its keys begin with; bytes of a PEM file for it. */
export const ETCD_ENDPOINTS = 9;
export const ETCD_PREFIX = 200;
export const ETCD_PEM = 16_384;
/** Changes and bytes of one transaction while many records are brought into a store: what an etcd takes that was told nothing. */
export const ETCD_COPY_OPS = 100;
export const ETCD_COPY_BYTES = 1_048_576;
/** Milliseconds before a stream that ended is begun again, and a watch may lag behind what a read has seen. */
export const ETCD_RETRY = 200;
export const ETCD_LAG = 2_000;
/** Changes or conditions of one transaction, bytes of one record, bytes of one message, and records of one page. */
export const ETCD_TXN_OPS = 8_192;
export const ETCD_RECORD = 1_048_576;
export const ETCD_MESSAGE = 16_777_216;
export const ETCD_PAGE = 500;
/** Milliseconds between looks whether etcd runs, between two starts of it, and in which it has to end. */
export const ETCD_WATCHDOG = 1_000;
export const ETCD_RESTART = 3_000;
export const ETCD_STOP = 5_000;
/** Bytes of its log, which begins anew then. */
export const ETCD_LOG = 8_388_608;
/** Milliseconds between looks after the members of a cluster, and between two complaints that the others are missing. */
export const CLUSTER_ROUND = 2_000;
export const CLUSTER_TELL = 10_000;
/** Removed records of one kind that are remembered, so that old news does not bring them back. */
export const REMOVED_RECORDS = 4_096;
/** Milliseconds a new etcd has until its first answer. */
export const ETCD_FIRST = 30_000;
/** Nodes of a cluster, its witness included: what etcd is good for, and a pair or three replicas need. */
export const MAX_NODES = 5;
/** Milliseconds a join token is good for; of a request to be let in; bytes of one; connections at once. */
export const JOIN_LIFETIME = 900_000;
export const ADMISSION_PATIENCE = 60_000;
export const ADMISSION_BODY = 65_536;
export const ADMISSION_CONNECTIONS = 16;
/** Milliseconds `gemel` waits for a daemon that starts itself again. */
export const CLUSTER_RESTART = 60_000;
/** Milliseconds another node has to make its copy of a new volume; between looks whether what is served is what should be. */
export const REPLICA_PATIENCE = 30_000;
export const CLUSTER_LOOK = 10_000;
/** Milliseconds commands have to end before a planned hand-over. */
export const HAND_OVER_PATIENCE = 5_000;
/** Milliseconds a node waits for the owner of a volume that it has asked to hand it over. */
export const HAND_OVER_ASKED = 20_000;
/** Milliseconds the owner of a volume has for a snapshot or a roll-back another node asks for. */
export const POINT_ASKED = 60_000;
/** Milliseconds after which a snapshot that is neither ready nor gone is taken back by the owner of its volume. */
export const STALE_SNAPSHOT = 300_000;
/** Snapshots a node remembers to have deleted, so that nothing that comes late makes them again. */
export const DROPPED_POINTS = 4_096;
/** Attempts to change a record of the catalog that other nodes change at the same time. */
export const CATALOG_RETRIES = 20;
/** Milliseconds a drill waits for another node to serve, and for copies to be in step again; between two looks. */
export const DRILL_PATIENCE = 20_000;
export const DRILL_SYNC_PATIENCE = 120_000;
export const DRILL_LOOK = 10;
/** Drills that are remembered, over all volumes. */
export const MAX_DRILLS = 50;
/** Reports of copies that differed, over all volumes; ranges one names for each node; milliseconds between two writes of one. */
export const MAX_DIVERGENCE_REPORTS = 64;
export const MAX_DIVERGENCE_RANGES = 1_000;
export const DIVERGENCE_WRITE = 1_000;
