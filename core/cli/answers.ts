// What the API answers, as far as the client shows it. (The client speaks HTTP only and shares no code with the daemon.)

import type { Api } from '../../plugins/sdk/typed-api.ts';

export interface Disk {
  name: string;
  iqn: string;
  lun: number;
  size: number;
  url: string;
  urls: string[];
  id: string;
  naa: string;
  serial: string;
  kind: string;
  pool: string | null;
  backend: string | null;
  snapshots: number;
  path: string | null;
  allocatedBytes: number | null;
  blockSize: number;
  physicalBlockSize: number;
  durability: string;
  thin: boolean;
  readOnly: boolean;
  maps: { initiator: string; access: string }[];
  /** Not told by daemons of earlier versions. */
  lease?: { holder: string; since: string } | null;
  sessions: number;
  state: string;
  problem: string | null;
  created: string;
}

export interface Pool {
  name: string;
  kind: string;
  path: string;
  state: string;
  problem: string | null;
  threshold: number;
  thresholdReached: boolean;
  default: boolean;
  parts: { index: number; kind: string; path: string; bytes: number }[];
  facts: {
    capacityBytes: number;
    usedBytes: number;
    reservedBytes: number;
    quarantinedBytes: number;
    tokens: number;
    tokenBytes: number;
    journalBytes: number;
    journalUsedBytes: number;
    checkpoints: number;
    damagedBlocks: number;
    reclaimedBytes: number;
  } | null;
  volumes: number;
  snapshots: number;
  deletions: { name: string; progress: number }[];
  scrub: {
    state: string;
    doneBytes: number;
    totalBytes: number;
    damaged: { volume: string; position: number; reason: string }[];
  } | null;
  damagedMaps: string[];
  checking: number | null;
  created: string;
  /** Of one pool only. */
  snapshotBytes?: number | null;
}

export interface Snapshot {
  volume: string;
  name: string;
  group: string | null;
  pool: string;
  size: number;
  /** Nodes that have a copy of the disk, and not of this. */
  missingOn?: string[];
  created: string;
}

export interface Space {
  name: string;
  size: number;
  logicalBytes: number;
  exclusiveBytes: number;
  sharedBytes: number;
  snapshotBytes: number;
  snapshots: { name: string; exclusiveBytes: number; created: string }[];
}

export interface Initiator {
  iqn: string;
  chapUser: string | null;
  mutualUser: string | null;
  volumes: string[];
}

export interface Session {
  tsih: number;
  initiator: string;
  target: string | null;
  peer: string;
  portal: string;
  headerDigest: boolean;
  dataDigest: boolean;
  activeTasks: number;
  commands: number;
  readBytes: number;
  writtenBytes: number;
}

export interface VolumeStats {
  name: string;
  reads: number;
  readBytes: number;
  writes: number;
  writtenBytes: number;
  errors: number;
  readLatency: { p50: number; p99: number };
  writeLatency: { p50: number; p99: number };
}

export interface Status {
  version: string;
  node: string;
  started: string;
  uptimeSeconds: number;
  portals: string[];
  volumes: { total: number; failed: number };
  sessions: number;
  provisionedBytes: number;
  allocatedBytes: number;
}

export interface OffloadKind {
  kind: string;
  used: number;
  refused: number;
  sharedBytes: number;
  copiedBytes: number;
  seconds: number;
  reasons: { reason: string; count: number }[];
  last: { at: string; reason: string; told: string } | null;
}

export interface OffloadHost {
  initiator: string;
  connected: boolean;
  kinds: OffloadKind[];
}

export interface OffloadVolume {
  volume: string;
  hosts: OffloadHost[];
}

export interface OffloadFinding {
  volume: string;
  host: string | null;
  level: string;
  text: string;
  remedy: string | null;
}

export interface CopyRoutes {
  node: string;
  volumes: { volume: string; policy: string }[];
}

export interface DeletedDisk {
  name: string;
  id: string;
  pool: string | null;
  size: number;
  snapshots: number;
  deleted: string;
  until: string;
}

export interface Job {
  id: string;
  kind: string;
  title: string;
  object: { kind: string; name: string };
  state: string;
  progress: number;
  doing: string | null;
  etaSeconds: number | null;
  cancellable: boolean;
  steps: { name: string; state: string; error: string | null }[];
  error: { code: string; message: string } | null;
  notUndone: { step: string; error: string }[];
  result: unknown;
  reported: { host: string; by: string; heard: string } | null;
  created: string;
  ended: string | null;
}

export interface Host {
  name: string;
  iqns: string[];
  profile: string | null;
  chapUser: string | null;
  mutualUser: string | null;
  groups: string[];
  volumes: string[];
  connected: string[];
  created: string;
}

export interface HostGroup {
  name: string;
  hosts: string[];
}

export interface Schedule {
  name: string;
  volumes: string[];
  rules: { every: string; keep: number; minutes?: number; minute?: number; day?: number; time?: string }[];
  enabled: boolean;
  next: string | null;
  last: string | null;
  problem: string | null;
  snapshots: number;
}

export interface Event {
  id: string;
  severity: string;
  code: string;
  object: { kind: string; name: string } | null;
  text: string;
  time: string;
  last: string;
  count: number;
}

export interface Alert {
  rule: string;
  severity: string;
  object: { kind: string; name: string };
  text: string;
  since: string;
}

export interface AlertRule {
  rule: string;
  severity: string;
  enabled: boolean;
  limit: number;
  defaultLimit: number;
  unit: string;
  text: string;
}

export interface AlertTarget {
  name: string;
  kind: string;
  atLeast: string;
  email?: { host: string; port: number; security: string; from: string; to: string[] };
  webhook?: { url: string };
  syslog?: { host: string; port: number; protocol: string };
  hasSecret: boolean;
  delivery: { sent: number; lost: number; waiting: number; lastSent: string | null; lastError: string | null };
  created: string;
}

/** What the API says of the cluster and of volumes on several nodes, as its document has it. */
type Answer<K extends keyof Api> = Api[K]['response'];
export type JoinToken = Answer<'POST /cluster/tokens'>;
export type Cluster = Answer<'GET /cluster'>;
export type Replication = Answer<'GET /volumes/{name}/replication'>;
export type Replica = Replication['replicas'][number];
export type DrillReport = Answer<'POST /volumes/{name}/replication/drill'>;
export type DivergenceReport = Answer<'GET /replication/reports'>[number];
export type RebootAnswer = Answer<'GET /cluster/nodes/{node}/reboot'>;
