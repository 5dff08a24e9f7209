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
  'events',
] as const;
export type Topic = (typeof TOPICS)[number];

/** Seconds between statistics. */
export const STATS_INTERVALS = [1, 5, 15, 60] as const;
export type StatsInterval = (typeof STATS_INTERVALS)[number];
