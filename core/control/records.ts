// What the catalog keeps. Every record is JSON in the ConfigStore; a field that is added later must be optional.
import type { MemberRecord } from '../pool/pool-meta.ts';
import type { CopyRoutePolicy } from '../volume/copy-route.ts';
import type { Durability } from '../volume/volume.ts';

/** What holds the data of a volume. */
export const VolumeKind = {
  /** A sparse file in the data folder. */
  file: 'file',
  /** A block device of this machine. */
  device: 'device',
  /** RAM; empty after every start. */
  memory: 'memory',
  /** Grains of a pool, which knows the volume by its id. */
  pool: 'pool',
  /** Another engine, behind a NBD server: a Ceph image, a qcow2 file. */
  nbd: 'nbd',
  /** An image of a backend (BackendRecord), which several nodes may serve in turn. */
  image: 'image',
} as const;
export type VolumeKind = (typeof VolumeKind)[keyof typeof VolumeKind];

/** Everybody who connects from this machine; everybody. Any other `who` is an initiator name. */
export const LOOPBACK = 'loopback';
export const EVERYBODY = 'all';
/** Whoever may open the unix socket of our NBD server, or has a certificate for its port. */
export const NBD_CLIENTS = 'nbd';
/** What the name of a host, or of a group of hosts, has before it as `who` of a map. */
export const HOST_PREFIX = 'host:';
export const GROUP_PREFIX = 'group:';

export interface MapRecord {
  /** `loopback`, `all`, `nbd`, `host:NAME`, `group:NAME` or an initiator name in lower case. */
  readonly who: string;
  readonly readOnly: boolean;
}

export interface LeaseRecord {
  /** Unique among all that take leases: `kvm:HOST:UUID of the domain`. */
  readonly holder: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}

export interface VolumeRecord {
  readonly name: string;
  /** 32 random hexadecimal digits: the identity initiators see, for ever. */
  readonly id: string;
  readonly kind: VolumeKind;
  /**
   * Of a device, as it was asked for: a name below /dev/disk/by-id stays true when disks are numbered anew. Empty for a
   * file, which is in the data folder (wherever that has been moved to) under its id, for memory and for a pool. Of an image:
   * the name of one that was there before, which stays; empty: it is ours.
   */
  readonly path: string;
  /** Name of the pool; for kind `pool` only. */
  readonly pool?: string;
  /** Name of the backend; for kind `image` only. */
  readonly backend?: string;
  /** Ids of the nodes of a cluster that keep its data, or may serve an image; absent: the node with the catalog does. */
  readonly replicas?: readonly string[];
  /** Of `replicas`, the node that should serve it; the first one when absent. `pinned`: whatever the others carry. */
  readonly preferred?: string;
  readonly pinned?: boolean;
  /** Milliseconds since 1970 until which it stays where a person has put it. */
  readonly heldUntil?: number;
  /** The mirror knows it, also while it has one copy. Absent: it does when there are several. */
  readonly mirrored?: true;
  /** Bytes. */
  readonly size: number;
  /** Bytes. */
  readonly blockSize: number;
  readonly physicalBlockSize: number;
  readonly durability: Durability;
  readonly thin: boolean;
  readonly readOnly: boolean;
  /** Name of the TargetRecord. */
  readonly target: string;
  readonly lun: number;
  readonly maps: readonly MapRecord[];
  /** Who has it for himself, by agreement: a virtual machine, so that no second one gets it. Absent: nobody. */
  readonly lease?: LeaseRecord;
  /** What was begun and, after a crash, has to be finished or taken back (Provisioner.openAll). */
  readonly state: 'creating' | 'ready' | 'deleting';
  /** The size it is being changed to; bytes. */
  readonly resizing?: number;
  /** Whether copies hosts ask for are taken; as the node does when absent. */
  readonly copyRoute?: CopyRoutePolicy;
  /** Name of its PolicyRecord; absent: none. */
  readonly policy?: string;
  /** Milliseconds since 1970. */
  readonly created: number;
}

/** What volumes have in common. What is absent is left to whoever asks for a volume, or to the node. */
export interface PolicyRecord {
  readonly name: string;
  /** Of new volumes. */
  readonly durability?: Durability;
  readonly replicas?: number;
  readonly thin?: boolean;
  /** Of all its volumes that do not have their own. */
  readonly copyRoute?: CopyRoutePolicy;
  /** Of all its volumes: milliseconds they are kept when they are deleted. */
  readonly keepDeleted?: number;
  /** New volumes have it when nobody names one; at most one is. */
  readonly isDefault?: boolean;
  /** Milliseconds since 1970. */
  readonly created: number;
}

/** The mirror knows it: one that was mirrored once stays so with one copy, and can have others again. */
export const isMirrored = ({ replicas = [], mirrored }: Pick<VolumeRecord, 'replicas' | 'mirrored'>): boolean =>
  replicas.length > 1 || mirrored === true;

/** The node that should serve it; undefined: it is on this node alone. */
export const preferredOf = ({ preferred, replicas = [] }: VolumeRecord): string | undefined =>
  preferred !== undefined && replicas.includes(preferred) ? preferred : replicas[0];

/** What the tag of a snapshot that is being brought here from another node begins with. Other tags are hexadecimal digits. */
export const DRAFT_TAG = 'draft-';

/** A volume as it was at one instant. The pool of the volume knows it by its id. */
export interface SnapshotRecord {
  readonly name: string;
  /** Name of the volume. */
  readonly volume: string;
  readonly pool: string;
  /** 32 random hexadecimal digits. */
  readonly id: string;
  /** Id that all snapshots of one instant have in common. */
  readonly group?: string;
  /** Id of the volume, if that has copies on several nodes; each of them keeps the snapshot of its own. */
  readonly of?: string;
  /** Ids of the nodes that were away when it was taken, and have not got it yet. */
  readonly lacking?: readonly string[];
  /** Id of the node that is making or deleting it. */
  readonly by?: string;
  /** What took it, if a schedule did. */
  readonly schedule?: { readonly name: string; readonly rule: string };
  /** Bytes. */
  readonly size: number;
  readonly state: 'creating' | 'ready' | 'deleting';
  /** Milliseconds since 1970. */
  readonly created: number;
}

/** A deleted volume whose data is kept for a while. By the id of the volume. */
export interface DeletedVolume {
  /** As it was. */
  readonly volume: VolumeRecord;
  /** Of its target. */
  readonly iqn: string;
  readonly snapshots: readonly SnapshotRecord[];
  /** Milliseconds since 1970: when it was deleted, and when its data goes. */
  readonly deleted: number;
  readonly until: number;
}

export interface PoolRecord {
  readonly name: string;
  /** 16 random hexadecimal digits: where its files are, in the folder `pools` of the data folder. */
  readonly id: string;
  readonly kind: 'folder' | 'device';
  /** Folder or device that was asked for; empty: in the data folder. */
  readonly path: string;
  /** Percent of it in use at which its initiators are told; the default when absent. */
  readonly threshold?: number;
  /** Takes the disks for which nobody names a pool; at most one pool does. With a single pool, that one does anyway. */
  readonly isDefault?: boolean;
  /** What is to be erased with it, while it is being deleted: its identity (hexadecimal) and its other disks. */
  readonly erase?: { readonly poolId: string; readonly members: readonly MemberRecord[] };
  readonly state: 'creating' | 'ready' | 'deleting' | 'exporting' | 'importing';
  /** Milliseconds since 1970. */
  readonly created: number;
}

/** Another engine whose images become volumes: Ceph, or a folder that all nodes see. */
export interface BackendRecord {
  readonly name: string;
  readonly kind: 'ceph' | 'folder';
  /** Of Ceph: pool, user (without `client.`), and where each node has the configuration and the key of that user. */
  readonly pool?: string;
  readonly user?: string;
  readonly conf?: string;
  readonly keyring?: string;
  /** Absolute; the same on all nodes. */
  readonly folder?: string;
  /** Milliseconds since 1970. */
  readonly created: number;
}

/** Series of values over time, by name: how many milliseconds before `saved`, and the value. */
export interface ObservationRecord {
  /** Milliseconds since 1970. */
  readonly saved: number;
  readonly series: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}

export interface TargetRecord {
  readonly name: string;
  readonly iqn: string;
}

/** An address initiators come in by. */
export interface PortalRecord {
  readonly name: string;
  /** Of this machine: an address or a name; `0.0.0.0` and `::` are all addresses. */
  readonly host: string;
  /** 0: any free one, which only settings have. */
  readonly port: number;
  /** Portal group as it was asked for, from 1 on. */
  readonly group: number;
  /** HOST:PORT told to initiators instead of the listening address. */
  readonly advertised?: string;
  /** The setting of the daemon (flag, environment, config file) it comes from; absent: it was added while it ran. */
  readonly setting?: string;
  /** Larger than that of those before it. */
  readonly order: number;
  /** Milliseconds since 1970. */
  readonly created: number;
}

/** A secret as the SecretBox encrypted it. */
export interface Sealed {
  /** base64 */
  readonly iv: string;
  readonly tag: string;
  readonly data: string;
}

export interface ChapRecord {
  readonly user: string;
  readonly secret: Sealed;
}

export interface InitiatorRecord {
  readonly iqn: string;
  /** What the initiator proves itself with. Absent: its name is enough. */
  readonly chap?: ChapRecord;
  /** What we prove ourselves with to this initiator. */
  readonly mutual?: ChapRecord;
  readonly created: number;
}

/** What runs on a host: which settings are right for it. */
export const HOST_PROFILES = ['esxi', 'hyperv', 'windows', 'kvm', 'proxmox', 'xen', 'linux', 'other'] as const;
export type HostProfile = (typeof HOST_PROFILES)[number];

export interface HostRecord {
  readonly name: string;
  /** In lower case; an initiator belongs to one host at most. */
  readonly iqns: readonly string[];
  readonly profile?: HostProfile;
  /** Of all its initiators that have no credentials of their own (InitiatorRecord). */
  readonly chap?: ChapRecord;
  readonly mutual?: ChapRecord;
  readonly created: number;
}

export interface HostGroupRecord {
  readonly name: string;
  /** Names of hosts. */
  readonly hosts: readonly string[];
  readonly created: number;
}

/** When snapshots are taken, in UTC, and how many of them stay. */
export type ScheduleRule = { readonly keep: number } & (
  | { readonly every: 'minutes'; readonly minutes: number }
  | { readonly every: 'hour'; readonly minute: number }
  | { readonly every: 'day'; readonly time: string }
  | { readonly every: 'week'; readonly day: number; readonly time: string }
);

export interface ScheduleRecord {
  readonly name: string;
  /** Names of volumes of one pool, which are caught at one instant. */
  readonly volumes: readonly string[];
  readonly rules: readonly ScheduleRule[];
  readonly enabled: boolean;
  /** The instant (milliseconds since 1970) up to which each rule has been run, in order of the rules. */
  readonly done: readonly number[];
  /** The latest run, and why it failed, if it did. */
  readonly last?: { readonly time: number; readonly error?: string };
  readonly created: number;
}

/** What a token may do: look; work with volumes and mappings; also change who has access. */
export const ROLES = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export interface TokenRecord {
  readonly name: string;
  readonly role: Role;
  /** SHA-256 of the secret part, hexadecimal. The secret has 256 random bits, so a plain hash is enough. */
  readonly hash: string;
  readonly created: number;
  /** Milliseconds since 1970 from which on it is no longer good; never when absent. */
  readonly expires?: number;
  /** Kept to TOKEN_USE_STEP. */
  readonly lastUsed?: number;
}

/** What certifies the API of all nodes of a cluster, so that a token made at one of them is good at the others. */
export interface ApiAuthorityRecord {
  /** PEM. */
  readonly cert: string;
  readonly key: Sealed;
}

export interface NodeRecord {
  /** Eight random hexadecimal digits; part of the target names, so that two nodes never share one. */
  readonly id: string;
  /** What target names start with. */
  readonly iqnPrefix: string;
  readonly created: number;
  /** True once the first start is complete; a demo disk that was deleted does not come back. */
  readonly initialized: boolean;
  /** Of all volumes that do not have their own; `auto` when absent. */
  readonly copyRoute?: CopyRoutePolicy;
  /** Milliseconds deleted volumes with data are kept; KEEP_DELETED when absent. */
  readonly keepDeleted?: number;
  /** Settings of portals at the last start (PortalRecord.setting). */
  readonly portalSettings?: readonly string[];
  /** Portal groups in the order in which they came. */
  readonly portalGroups?: readonly number[];
}
