// Limits of jobs, hosts, deleted volumes and schedules; limits.ts passes them on.
/**
 * Jobs that run, or wait, at once; those that are over and kept, and milliseconds they are kept; characters of a request key;
 * milliseconds between two reports of progress, and after a journal that could not be written.
 */
export const MAX_OPEN_JOBS = 256;
export const MAX_FINISHED_JOBS = 500;
export const JOB_RETENTION = 604_800_000;
export const MAX_JOB_KEY = 200;
export const JOB_TELL = 250;
export const JOB_RETRY = 5_000;
/**
 * Jobs others do and tell of that are not over; steps of one; milliseconds after which it is said that nothing was heard of one.
 */
export const MAX_REPORTED_JOBS = 256;
export const MAX_REPORTED_STEPS = 32;
export const JOB_SILENCE = 120_000;
/** Milliseconds a start waits at most for jobs that an earlier run did not finish. */
export const JOB_RESUME = 5_000;
/** Damaged blocks the journal of a scrub lists. */
export const MAX_REPORTED_DAMAGE = 100;
/** Hosts, initiators of one, groups of hosts, and hosts of one. */
export const MAX_HOSTS = 1_024;
export const MAX_HOST_IQNS = 32;
export const MAX_HOST_GROUPS = 256;
export const MAX_GROUP_HOSTS = 256;
/** Milliseconds a deleted volume is kept by default, and at most; milliseconds between two looks whether that is over. */
export const KEEP_DELETED = 86_400_000;
export const MAX_KEEP_DELETED = 31_536_000_000;
export const TRASH_INTERVAL = 2_000;
/** Deleted volumes that are kept: with more, the oldest goes. */
export const MAX_DELETED_VOLUMES = 4_096;
/** Snapshot schedules, rules of one, snapshots a rule keeps at most; milliseconds between two looks whether one is due. */
export const MAX_SCHEDULES = 256;
export const MAX_SCHEDULE_RULES = 8;
export const MAX_SCHEDULE_KEEP = 512;
export const SCHEDULE_INTERVAL = 1_000;
/** Policies of volumes. */
export const MAX_POLICIES = 256;
