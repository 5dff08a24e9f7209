// What the API answers, by the names the client uses: the types come from the document the daemon serves. (The client speaks HTTP
// only and shares no code with the daemon.)

import type { Answer } from '../../plugins/sdk/typed-api.ts';

/** A daemon of an earlier version does not tell what was added since. */
type Later<T, K extends keyof T> = Omit<T, K> & Partial<Pick<T, K>>;

export type Disk = Later<Answer<'GET /volumes/{name}'>, 'lease'>;
/** One by one a pool has more to tell than in the list. */
export type Pool = Answer<'GET /pools'>['items'][number] & Partial<Answer<'GET /pools/{name}'>>;
export type Snapshot = Later<Answer<'GET /snapshots'>['items'][number], 'missingOn'>;
export type Space = Answer<'GET /volumes/{name}/space'>;
export type Initiator = Answer<'GET /initiators'>['items'][number];
export type Session = Answer<'GET /sessions'>['items'][number];
export type VolumeStats = Answer<'GET /stats'>['items'][number];
export type Status = Answer<'GET /status'>;
export type OffloadVolume = Answer<'GET /offload'>['items'][number];
export type OffloadHost = OffloadVolume['hosts'][number];
export type OffloadKind = OffloadHost['kinds'][number];
export type OffloadFinding = Answer<'GET /doctor/offload'>['items'][number];
export type CopyRoutes = Answer<'GET /copy-route'>;
export type DeletedDisk = Answer<'GET /deleted-volumes'>['items'][number];
export type Job = Answer<'GET /jobs/{id}'>;
export type Host = Answer<'GET /hosts'>['items'][number];
export type HostGroup = Answer<'GET /host-groups'>['items'][number];
export type Schedule = Answer<'GET /schedules'>['items'][number];
export type Event = Answer<'GET /events'>['items'][number];
export type Alert = Answer<'GET /alerts'>[number];
export type AlertRule = Answer<'GET /alert-rules'>[number];
export type AlertTarget = Answer<'GET /alert-targets'>[number];
export type JoinToken = Answer<'POST /cluster/tokens'>;
export type Cluster = Answer<'GET /cluster'>;
export type Replication = Answer<'GET /volumes/{name}/replication'>;
export type Replica = Replication['replicas'][number];
export type DrillReport = Answer<'POST /volumes/{name}/replication/drill'>;
export type DivergenceReport = Answer<'GET /replication/reports'>[number];
export type RebootAnswer = Answer<'GET /cluster/nodes/{node}/reboot'>;
