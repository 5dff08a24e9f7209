// What people see and do of mirrored volumes.

import type { DivergenceReport } from './divergence.ts';
import type { DrillReport } from './drill.ts';
import type { RebootView } from './maintenance.ts';

export interface ResyncView {
  readonly leftBytes: number;
  readonly totalBytes: number;
  readonly bytesPerSecond: number;
  readonly etaSeconds: number | undefined;
}

export interface ReplicaView {
  /** Id of the node. */
  readonly node: string;
  readonly inSync: boolean;
  /** `unknown`: only the owner knows more. */
  readonly state: 'owner' | 'sync' | 'joining' | 'leaving' | 'out' | 'unknown';
  /** For people. */
  readonly why: string;
  readonly lacksBytes: number;
  readonly resync: ResyncView | undefined;
}

export interface ReplicationView {
  readonly volume: string;
  readonly id: string;
  /** What this node is to the volume. */
  readonly role: 'owner' | 'replica' | 'joining' | 'waiting' | 'changing';
  /** Id of the node; undefined: nobody is known to be. */
  readonly owner: string | undefined;
  readonly epoch: number;
  readonly session: number;
  readonly inSync: readonly string[];
  readonly replicas: readonly ReplicaView[];
  readonly forcedBy: string | undefined;
  readonly why: string;
}

/** The mirrored volumes of this node. */
export interface Replication {
  list(): ReplicationView[];
  get(volume: string): ReplicationView | undefined;
  /** Another node (name or id) serves the volume from now on. Resolves with the pause in milliseconds. Rejects with ServiceError. */
  handOver(volume: string, to: string): Promise<number>;
  /** What copies had differently after a blackout or a promotion; the latest first. */
  reports(): DivergenceReport[];
  /** A failover drill, there and back; `hard`: the owner plays dead. Rejects with ServiceError. */
  runDrill(volume: string, hard: boolean, by: string): Promise<DrillReport>;
  /** The latest ones, oldest first. */
  drills(): Promise<DrillReport[]>;
  /** What would be noticed if the node (name or id; empty: this one) went down now. Rejects with ServiceError. */
  safeToReboot(node: string): Promise<RebootView>;
  /** Everything the node serves is handed over, and it is kept out of service. Returns what was handed over. Rejects with ServiceError. */
  beginMaintenance(node: string, by: string, force: boolean): Promise<string[]>;
  endMaintenance(node: string): Promise<void>;
  /** By id. */
  inMaintenance(node: string): boolean;
  /** A person takes the copy of this node for the one that counts; `by`: who. Rejects with ServiceError. */
  promote(volume: string, by: string): Promise<void>;
}

/** As the API and its streams of events show it: null for what is not there. */
export const replicationShown = ({ owner, forcedBy, inSync, replicas, ...view }: ReplicationView) => ({
  ...view,
  owner: owner ?? null,
  forcedBy: forcedBy ?? null,
  inSync: [...inSync],
  replicas: replicas.map(({ resync, ...replica }) => ({
    ...replica,
    resync: resync === undefined ? null : { ...resync, etaSeconds: resync.etaSeconds ?? null },
  })),
});
