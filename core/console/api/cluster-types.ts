// What the API says of the cluster and of volumes on several nodes, by shorter names.
import type { Api } from './schema.ts';

export type Cluster = Api['GET /cluster']['response'];
export type ClusterNode = Cluster['nodes'][number];
export type Replication = Api['GET /replication']['response']['items'][number];
/** A replica as the owner of the volume sees it. */
export type Replica = Replication['replicas'][number];
