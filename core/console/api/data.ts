// Everything the pages show, by name.
import { call, list } from './client.ts';
import type { Item } from './client.ts';
import { Source } from './source.ts';

export type Volume = Item<'GET /volumes'>;
export type Pool = Item<'GET /pools'>;
export type Session = Item<'GET /sessions'>;
export type Stats = Item<'GET /stats'>;
export type Snapshot = Item<'GET /snapshots'>;
export type Host = Item<'GET /hosts'>;
export type HostGroup = Item<'GET /host-groups'>;
export type Schedule = Item<'GET /schedules'>;
export type OffloadOf = Item<'GET /offload'>;

const background = true;
/** Items of one page: the most the daemon gives. */
const limit = 1000;

export const data = {
  status: new Source(() => call('GET /status', { background }), 5_000),
  volumes: new Source(() => list('GET /volumes', { background, query: { limit } }), 30_000),
  deletedVolumes: new Source(() => list('GET /deleted-volumes', { background }), 15_000),
  pools: new Source(() => list('GET /pools', { background }), 5_000),
  sessions: new Source(() => list('GET /sessions', { background }), 5_000),
  stats: new Source(() => list('GET /stats', { background, query: { limit } }), 2_000),
  snapshots: new Source(() => list('GET /snapshots', { background, query: { limit } }), 15_000),
  targets: new Source(() => list('GET /targets', { background }), 30_000),
  initiators: new Source(() => list('GET /initiators', { background }), 15_000),
  offload: new Source(() => list('GET /offload', { background }), 5_000),
  capacity: new Source(() => list('GET /capacity', { background }), 30_000),
  alerts: new Source(() => list('GET /alerts', { background }), 10_000),
  alertRules: new Source(() => list('GET /alert-rules', { background }), 60_000),
  alertTargets: new Source(() => list('GET /alert-targets', { background }), 15_000),
  jobs: new Source(() => list('GET /jobs', { background }), 3_000),
  hosts: new Source(() => list('GET /hosts', { background, query: { limit } }), 15_000),
  hostGroups: new Source(() => list('GET /host-groups', { background, query: { limit } }), 30_000),
  schedules: new Source(() => list('GET /schedules', { background, query: { limit } }), 15_000),
  cluster: new Source(() => call('GET /cluster', { background }), 5_000),
  replication: new Source(() => list('GET /replication', { background, query: { limit } }), 3_000),
  divergence: new Source(() => call('GET /replication/reports', { background }), 15_000),
  events: new Source(() => call('GET /events', { background }), 10_000),
  users: new Source(() => list('GET /users', { background }), 30_000),
  tokens: new Source(() => list('GET /tokens', { background }), 30_000),
  portals: new Source(() => list('GET /portals', { background }), 5_000),
  policies: new Source(() => list('GET /policies', { background }), 30_000),
  security: new Source(() => call('GET /settings/security', { background }), 60_000),
  certificate: new Source(() => call('GET /certificate', { background }), 60_000),
  audit: new Source(() => call('GET /audit', { background, query: { limit: 200 } }), 30_000),
  findings: new Source(() => list('GET /doctor/offload', { background }), 10_000),
} as const;

export type SourceName = keyof typeof data;

/** After something was done: whoever looks at these sees it at once. */
export function changed(...names: SourceName[]): void {
  for (const name of names) data[name].changed();
}

/** Forgets what the last person was allowed to see. */
export function forgetData(): void {
  for (const source of Object.values(data)) source.clear();
}
