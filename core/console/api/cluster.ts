// The cluster, and who has which volume in step. A daemon without a mirror has no such rows: then this node is alone.
import { callOptional } from './client.ts';
import type { Cluster, Replication } from './cluster-types.ts';
import { CLUSTER_ROWS } from './schema.ts';

const ALONE: Cluster = {
  cluster: null,
  nodes: [],
  store: { answers: true, problem: null },
  takeover: 'none',
  advice: null,
};

/** Whether the API of this build has the row, like `POST /cluster`. */
export const hasRow = (row: string): boolean => CLUSTER_ROWS.includes(row);

/** Rejects with ApiProblem. */
export async function clusterNow(): Promise<Cluster> {
  return hasRow('GET /cluster') ? ((await callOptional('GET', '/cluster')) as Cluster) : ALONE;
}

/** Of all volumes that are on several nodes. Rejects with ApiProblem. */
export async function replicationNow(): Promise<readonly Replication[]> {
  if (!hasRow('GET /replication')) return [];
  const answer = (await callOptional('GET', '/replication')) as
    readonly Replication[] | { readonly items: readonly Replication[] };
  return 'items' in answer ? answer.items : answer;
}
