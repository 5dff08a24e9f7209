import type { Role } from '../records.ts';

/** What a stream of events can be about. */
export const TOPICS = [
  'volumes',
  'maps',
  'snapshots',
  'pools',
  'targets',
  'initiators',
  'hosts',
  'sessions',
  'jobs',
  'schedules',
  'portals',
  'policies',
  'backends',
  'deleted-volumes',
  'alerts',
  'alert-targets',
  'users',
  'tokens',
  'settings',
  'cluster',
  'replication',
  'events',
] as const;
export type Topic = (typeof TOPICS)[number];

/** What only admins may read is told to them only. */
const OF_ADMINS: ReadonlySet<Topic> = new Set(['alert-targets', 'users', 'tokens']);

/** The least role that is told of a topic. */
export const roleOf = (topic: Topic): Role => (OF_ADMINS.has(topic) ? 'admin' : 'viewer');

/** Seconds between statistics. */
export const STATS_INTERVALS = [1, 5, 15, 60] as const;
export type StatsInterval = (typeof STATS_INTERVALS)[number];
