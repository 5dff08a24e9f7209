// What the API answers, as far as the client shows it. (The client speaks HTTP only and shares no code with the daemon.)

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

export interface JoinToken {
  readonly token: string;
  readonly expires: string;
}

export interface Cluster {
  readonly cluster: string | null;
  readonly node: string | null;
  readonly nodes: readonly {
    readonly id: string;
    readonly index: number;
    readonly name: string;
    readonly role: 'data' | 'witness';
    readonly address: string;
    readonly self: boolean;
    readonly vote: 'voter' | 'learner' | 'none';
    readonly leader: boolean;
    readonly answers: boolean;
    readonly maintenance: boolean;
  }[];
  readonly store: { readonly answers: boolean; readonly problem: string | null };
  readonly takeover: 'automatic' | 'none';
  readonly advice: string | null;
}

export interface Replica {
  readonly node: string;
  readonly inSync: boolean;
  readonly state: string;
  readonly why: string;
  readonly lacksBytes: number;
  readonly resync: {
    readonly leftBytes: number;
    readonly totalBytes: number;
    readonly bytesPerSecond: number;
    readonly etaSeconds: number | null;
  } | null;
}

export interface Replication {
  readonly volume: string;
  readonly id: string;
  readonly role: string;
  readonly owner: string | null;
  readonly epoch: number;
  readonly session: number;
  readonly inSync: readonly string[];
  readonly replicas: readonly Replica[];
  readonly forcedBy: string | null;
  readonly why: string;
}

export interface DrillReport {
  readonly volume: string;
  readonly hard: boolean;
  readonly time: string;
  readonly by: string;
  readonly paths: number;
  readonly steps: readonly {
    readonly from: string;
    readonly to: string;
    readonly pauseMs: number;
    readonly longestCommandMs: number | null;
  }[];
}

export interface DivergenceReport {
  readonly volume: string;
  readonly cause: string;
  readonly time: string;
  readonly by: string | null;
  readonly owner: string;
  readonly epoch: number;
  readonly before: {
    readonly epoch: number;
    readonly session: number;
    readonly owner: string;
    readonly inSync: readonly string[];
  };
  readonly blockSize: number;
  readonly copies: readonly {
    readonly node: string;
    readonly complete: boolean;
    readonly bytes: number;
    readonly ranges: readonly (readonly number[])[];
  }[];
}

export interface RebootAnswer {
  readonly safe: boolean;
  readonly moves: readonly string[];
  readonly concerns: readonly { readonly kind: string; readonly name: string; readonly text: string }[];
}
