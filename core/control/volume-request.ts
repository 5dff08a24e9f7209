// What somebody wants of a new volume, checked and completed.
import { ServiceError } from '../base/errors.ts';
import { MAX_LUNS, MAX_VOLUME, MAX_VOLUMES, MIN_VOLUME } from '../base/limits.ts';
import { parseNbdUri } from '../base/nbd-uri.ts';
import { formatSize } from '../base/sizes.ts';
import { BLOCK } from '../volume/grain.ts';
import { Durability } from '../volume/volume.ts';
import type { Catalog } from './catalog.ts';
import { checkMapSubject, checkName, printable } from './names.ts';
import { VolumeKind } from './records.ts';
import type { MapRecord, PolicyRecord, VolumeRecord } from './records.ts';

export interface CreateVolume {
  readonly name: string;
  /** Bytes; undefined only for a device or a NBD export, which have their own size. */
  readonly size?: number | undefined;
  /** Bytes: 512 (default) or 4096. */
  readonly blockSize?: number | undefined;
  /** Bytes: 512 or 4096 (default). */
  readonly physicalBlockSize?: number | undefined;
  readonly thin?: boolean | undefined;
  readonly readOnly?: boolean | undefined;
  readonly durability?: Durability | undefined;
  readonly kind?: VolumeKind | undefined;
  /** Of a device; the URI of a NBD export; the name of an image that is there already. */
  readonly path?: string | undefined;
  /** Name of the backend, for an image. */
  readonly backend?: string | undefined;
  /** Name of the pool. When absent, and no kind is given: the default pool, if there is one (Catalog.defaultPool). */
  readonly pool?: string | undefined;
  /** Name of the target; the name of the volume when absent. */
  readonly target?: string | undefined;
  /** The lowest free one when absent. */
  readonly lun?: number | undefined;
  readonly maps?: readonly MapRecord[] | undefined;
  /** Nodes of a cluster that keep a copy; two when absent, if there are two. */
  readonly replicas?: number | undefined;
  /** Name of a policy; the default one when absent, if there is one; null: none. */
  readonly policy?: string | null | undefined;
}

/** A request that is known to be sound; only the storage can still say no. */
export interface PlannedVolume extends Omit<VolumeRecord, 'id' | 'path' | 'created' | 'state'> {
  /** Of a device. */
  readonly path: string | undefined;
}

/**
 * Checks `wanted` against the rules and the catalog; `copies`: how many it, or its policy, wants to have on nodes. Throws ServiceError bad-request, exists, not-found
 * or limit-reached.
 */
export function planVolume(
  catalog: Catalog,
  wanted: CreateVolume,
): PlannedVolume & { readonly copies: number | undefined } {
  const name = checkName(wanted.name, 'volume');
  if (catalog.volumes.get(name) !== undefined) throw new ServiceError('exists', `there is a volume '${name}' already`);
  if (catalog.volumes.size >= MAX_VOLUMES) {
    throw new ServiceError('limit-reached', `there are ${String(MAX_VOLUMES)} volumes already`);
  }
  const backend = backendOf(catalog, wanted);
  const pool = backend === undefined ? poolOf(catalog, wanted) : undefined;
  const other = backend === undefined ? (wanted.kind ?? VolumeKind.file) : VolumeKind.image;
  const kind = pool === undefined ? other : VolumeKind.pool;
  const policy = policyFor(catalog, wanted);
  // Only for what is made here is there a choice.
  const settings = kind === VolumeKind.pool || kind === VolumeKind.file ? policy : undefined;
  const blockSize = wanted.blockSize ?? 512;
  const physicalBlockSize = wanted.physicalBlockSize ?? 4096;
  for (const [what, value] of [
    ['block size', blockSize],
    ['physical block size', physicalBlockSize],
  ] as const) {
    if (value !== 512 && value !== 4096) throw new ServiceError('bad-request', `the ${what} is 512 or 4096 bytes`);
  }
  if (physicalBlockSize < blockSize) {
    throw new ServiceError('bad-request', 'the physical block size is smaller than the logical one');
  }
  const target = wanted.target === undefined ? name : checkName(wanted.target, 'target');
  return {
    name,
    kind,
    ...(pool === undefined ? {} : { pool }),
    ...(backend === undefined ? {} : { backend }),
    path: pathOf(wanted, kind),
    size: sizeOf(wanted, kind, blockSize),
    blockSize,
    physicalBlockSize,
    durability: durabilityOf({ ...wanted, durability: wanted.durability ?? settings?.durability }, kind),
    thin: wanted.thin ?? settings?.thin ?? !isElsewhere(kind),
    copies: wanted.replicas ?? settings?.replicas,
    ...(policy === undefined ? {} : { policy: policy.name }),
    readOnly: wanted.readOnly ?? false,
    target,
    lun: lunOf(catalog, target, wanted.lun),
    maps: checkMaps(catalog, wanted.maps ?? []),
  };
}

/** The policy a new volume has, if any. Throws ServiceError not-found. */
function policyFor(catalog: Catalog, { policy }: CreateVolume): PolicyRecord | undefined {
  if (policy === null) return undefined;
  if (policy === undefined) return catalog.defaultPolicy;
  const record = catalog.policies.get(policy);
  if (record === undefined) throw new ServiceError('not-found', `there is no policy '${printable(policy)}'`);
  return record;
}

/** The backend an image is of. Throws ServiceError bad-request or not-found. */
function backendOf(catalog: Catalog, { kind, pool, backend }: CreateVolume): string | undefined {
  if (backend === undefined) {
    if (kind === VolumeKind.image) throw new ServiceError('bad-request', 'name the backend the image is to be in');
    return undefined;
  }
  if ((kind !== undefined && kind !== VolumeKind.image) || pool !== undefined) {
    throw new ServiceError('bad-request', 'what is in a backend is an image of it, and in no pool');
  }
  if (catalog.backends.get(backend) === undefined) throw noBackend(backend);
  return backend;
}

export const noBackend = (name: string): ServiceError =>
  new ServiceError('not-found', `there is no backend '${printable(name)}'`);

/** The pool the volume goes to, if any. Throws ServiceError bad-request or not-found. */
function poolOf(catalog: Catalog, { kind, path, pool }: CreateVolume): string | undefined {
  if (pool !== undefined) {
    if (kind !== undefined && kind !== VolumeKind.pool) {
      throw new ServiceError('bad-request', `a volume of kind ${kind} is in no pool`);
    }
    if (catalog.pools.get(pool) === undefined) throw noPool(pool);
    return pool;
  }
  if ((kind !== undefined && kind !== VolumeKind.pool) || path !== undefined) return undefined;
  const chosen = catalog.defaultPool;
  const names = catalog.pools.values().map((each) => each.name);
  if (chosen === undefined && names.length > 0) {
    throw new ServiceError('bad-request', `name the pool (${names.slice(0, 5).join(', ')}), or make one the default`);
  }
  if (kind === VolumeKind.pool && chosen === undefined) throw new ServiceError('bad-request', 'there is no pool yet');
  return chosen?.name;
}

export const noPool = (name: string): ServiceError =>
  new ServiceError('not-found', `there is no pool '${printable(name)}'`);

/** Bytes a size of such a volume is a multiple of. */
export const sizeUnit = (kind: VolumeKind, blockSize: number): number =>
  kind === VolumeKind.pool ? Math.max(blockSize, BLOCK) : blockSize;

/** Throws ServiceError bad-request unless `size` (bytes) can be the size of a volume with this block size. */
export function checkSize(size: number, blockSize: number): number {
  if (!Number.isSafeInteger(size) || size < MIN_VOLUME || size > MAX_VOLUME) {
    const range = `${formatSize(MIN_VOLUME)} to ${formatSize(MAX_VOLUME)}`;
    throw new ServiceError('bad-request', `a volume has ${range}, not ${String(size)} bytes`);
  }
  if (size % blockSize !== 0) {
    const next = Math.ceil(size / blockSize) * blockSize;
    const message = `${String(size)} bytes are not whole blocks of ${String(blockSize)} bytes; the next size is ${String(next)}`;
    throw new ServiceError('bad-request', message);
  }
  return size;
}

/** What holds the data was there before us, and stays. */
export const isElsewhere = (kind: VolumeKind): boolean => kind === VolumeKind.device || kind === VolumeKind.nbd;

function sizeOf(wanted: CreateVolume, kind: VolumeKind, blockSize: number): number {
  if (isElsewhere(kind)) {
    if (wanted.size !== undefined)
      throw new ServiceError('bad-request', 'a device, or a NBD export, has its own size; leave the size out');
    return 0;
  }
  // One that is there has its own size.
  if (kind === VolumeKind.image && wanted.path !== undefined && wanted.size === undefined) return 0;
  if (wanted.size === undefined) throw new ServiceError('bad-request', 'the size is missing');
  return checkSize(wanted.size, sizeUnit(kind, blockSize));
}

function pathOf(wanted: CreateVolume, kind: VolumeKind): string | undefined {
  if (kind === VolumeKind.nbd) {
    if (wanted.path === undefined) throw new ServiceError('bad-request', 'a NBD volume needs the URI of its export');
    parseNbdUri(wanted.path);
    return wanted.path;
  }
  if (kind === VolumeKind.image && wanted.path !== undefined) return checkImage(wanted.path);
  if (kind !== VolumeKind.device) {
    if (wanted.path !== undefined) throw new ServiceError('bad-request', 'only a device has a path of your choice');
    return undefined;
  }
  if (wanted.path === undefined || !/^\/dev\/[^\0]+$/.test(wanted.path)) {
    throw new ServiceError('bad-request', 'a device volume needs the path of a block device below /dev');
  }
  return wanted.path;
}

/** A name of an image that is one on every engine, and no path. Throws ServiceError bad-request. */
export function checkImage(name: string): string {
  if (/^[A-Za-z0-9_][\w.-]{0,94}$/.test(name)) return name;
  throw new ServiceError('bad-request', `'${printable(name)}' is no name of an image: letters, digits, '_', '.', '-'`);
}

function durabilityOf(wanted: CreateVolume, kind: VolumeKind): Durability {
  if (kind === VolumeKind.image && (wanted.durability ?? Durability.durable) !== Durability.durable) {
    throw new ServiceError('bad-request', 'an image may be served by another node at any time: it is durable');
  }
  if (wanted.durability === Durability.mirroredRam && isElsewhere(kind)) {
    throw new ServiceError('bad-request', 'what lies outside of Gemel has no copies whose memory could keep a write');
  }
  if (kind !== VolumeKind.memory) return wanted.durability ?? Durability.durable;
  if (wanted.durability !== undefined && wanted.durability !== Durability.volatile) {
    throw new ServiceError('bad-request', 'a volume in memory is volatile: it is empty after a restart');
  }
  return Durability.volatile;
}

function lunOf(catalog: Catalog, target: string, wanted: number | undefined): number {
  const used = new Map(catalog.volumesOfTarget(target).map((volume) => [volume.lun, volume.name]));
  if (wanted === undefined) {
    for (let lun = 0; lun < MAX_LUNS; lun++) if (!used.has(lun)) return lun;
    throw new ServiceError('limit-reached', `target '${target}' has ${String(MAX_LUNS)} LUNs already`);
  }
  if (!Number.isInteger(wanted) || wanted < 0 || wanted >= MAX_LUNS) {
    throw new ServiceError('bad-request', `a LUN is a number from 0 to ${String(MAX_LUNS - 1)}`);
  }
  const owner = used.get(wanted);
  if (owner !== undefined) {
    throw new ServiceError('exists', `LUN ${String(wanted)} of target '${target}' is volume '${owner}'`);
  }
  return wanted;
}

/** The LUN, if it is free in this target, else the lowest free one. Throws ServiceError limit-reached. */
export function freeLun(catalog: Catalog, target: string, wanted: number): number {
  const free = catalog.volumesOfTarget(target).every(({ lun }) => lun !== wanted);
  return free ? wanted : lunOf(catalog, target, undefined);
}

/** Who a map may name. Throws ServiceError bad-request, or not-found for a host or group that is not there. */
export function checkSubject(catalog: Catalog, who: string): string {
  const subject = checkMapSubject(who);
  if (!catalog.knowsSubject(subject)) throw new ServiceError('not-found', `there is no ${subject.replace(':', ' ')}`);
  return subject;
}

/** The maps with normalized names. Throws ServiceError bad-request for a bad or a repeated one. */
function checkMaps(catalog: Catalog, maps: readonly MapRecord[]): MapRecord[] {
  const checked = maps.map((map) => ({ who: checkSubject(catalog, map.who), readOnly: map.readOnly }));
  if (new Set(checked.map((map) => map.who)).size !== checked.length) {
    throw new ServiceError('bad-request', 'an initiator is mapped twice');
  }
  return checked;
}
