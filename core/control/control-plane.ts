import type { Alerts } from './alerts/alerts.ts';
import type { ClusterBalance } from './balance/cluster-balance.ts';
import type { CapacityTrend } from './capacity-trend.ts';
import type { Catalog } from './catalog.ts';
import type { ClusterControl } from './cluster.ts';
import type { Events } from './events.ts';
import type { Hosts } from './hosts.ts';
import type { KeptRequests } from './kept-requests.ts';
import type { Live } from './live/live.ts';
import type { Backends } from './images.ts';
import type { Initiators } from './initiators.ts';
import type { Jobs } from './jobs/jobs.ts';
import type { PoolMoves } from './pool-moves.ts';
import type { Offload } from './offload.ts';
import type { PoolManager } from './pools.ts';
import type { Policies } from './policies.ts';
import type { Portals } from './portals.ts';
import type { Provisioner } from './provision.ts';
import type { Replication } from './replication.ts';
import type { Schedules } from './schedules.ts';
import type { SessionSource } from './sessions.ts';
import type { Security } from './security.ts';
import type { ServedCertificate } from './certificate-view.ts';
import type { Snapshots } from './snapshots.ts';
import type { Tokens } from './tokens.ts';
import type { Trash } from './trash.ts';
import type { Units } from './units.ts';
import type { Views } from './views.ts';

/** Everything the API may use. */
export interface ControlPlane {
  readonly catalog: Catalog;
  readonly cluster: ClusterControl;
  /** Undefined: this node is in no cluster. */
  readonly replication: Replication | undefined;
  /** Undefined: this node is in no cluster. */
  readonly balance: ClusterBalance | undefined;
  readonly backends: Backends;
  readonly events: Events;
  readonly alerts: Alerts;
  readonly requests: KeptRequests;
  readonly live: Live;
  readonly units: Units;
  readonly provisioner: Provisioner;
  readonly pools: PoolManager;
  readonly portals: Portals;
  readonly policies: Policies;
  readonly moves: PoolMoves;
  readonly snapshots: Snapshots;
  readonly offload: Offload;
  readonly trend: CapacityTrend;
  readonly initiators: Initiators;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly schedules: Schedules;
  readonly trash: Trash;
  readonly tokens: Tokens;
  readonly security: Security;
  /** What clients of the API are shown; undefined while it does not listen. */
  readonly certificate: () => ServedCertificate | undefined;
  readonly views: Views;
  readonly server: () => SessionSource | undefined;
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly started: number;
  readonly now: () => number;
}
