// Which calls the gateway answers or changes, and how. Everything else goes through it byte by byte.
import { child, parseXml, textOf } from '../model/xml.ts';
import { LibvirtCode, LibvirtError } from '../rpc/errors.ts';
import { array, bytes, int, nothing, string, struct, uint } from '../rpc/codec.ts';
import * as procedures from '../rpc/procedures.ts';
import type { Procedure } from '../rpc/procedures.ts';
import { domain, pool, volume } from '../rpc/types.ts';
import type { Domain, Pool } from '../rpc/types.ts';
import type { PoolFace } from './face.ts';
import { STORAGE, refused } from './face.ts';

/** What the connection a call came on can do for its answer. */
export interface Link {
  /** The client wants REFRESH (or LIFECYCLE) events of the pool under this number. */
  subscribe(callbackId: number, eventId: number): void;
  unsubscribe(callbackId: number): void;
  /** A number for events that libvirtd knows nothing of. */
  ownCallback(): number;
  isOwnCallback(callbackId: number): boolean;
  /** Tells all clients that there is something new in the pool. */
  changed(): void;
}

/** `answer`: from here. `forward`: to libvirtd, with other arguments or as it came, and what its answer becomes. */
export type Outcome<A, R> =
  | { readonly answer: R }
  | {
      readonly forward?: A;
      readonly after?: (reply: R) => R | undefined | Promise<R | undefined>;
      /** Whether libvirtd has done it. Not called when its answer does not come. */
      readonly settled?: (done: boolean) => Promise<void> | undefined;
    };

type Handle<A, R> = (args: A, link: Link) => Outcome<A, R> | undefined | Promise<Outcome<A, R> | undefined>;

export interface Row {
  readonly procedure: Procedure<unknown, unknown>;
  /** undefined: it is nothing to us. */
  readonly handle: Handle<unknown, unknown>;
}

const xmlArgs = struct({ domain, xml: string });
const attach: Procedure<{ domain: Domain; xml: string }, object> = {
  name: 'domain_attach_device',
  number: 8,
  args: xmlArgs,
  reply: nothing,
};
const detach = { ...attach, name: 'domain_detach_device', number: 13 };
const update = { ...procedures.deviceAttach, name: 'domain_update_device_flags', number: 174 };
const ofDomain: Procedure<{ domain: Domain }, object> = {
  name: 'domain_undefine',
  number: 35,
  args: struct({ domain }),
  reply: nothing,
};
const detachAlias: Procedure<{ domain: Domain; alias: string; flags: number }, object> = {
  name: 'domain_detach_device_alias',
  number: 392,
  args: struct({ domain, alias: string, flags: uint }),
  reply: nothing,
};
const destroyFlags = { ...procedures.domainUndefine, name: 'domain_destroy_flags', number: 234 };
const define = { ...procedures.domainCreateXml, name: 'domain_define_xml', number: 11, args: struct({ xml: string }) };

/** How many pools are active, for clients that are older than list_all_storage_pools. */
export const poolCount: Procedure<object, { count: number }> = {
  name: 'num_of_storage_pools',
  number: 71,
  args: nothing,
  reply: struct({ count: int }),
};
/** Their names. */
export const poolNames: Procedure<{ most: number }, { names: readonly string[] }> = {
  name: 'list_storage_pools',
  number: 72,
  args: struct({ most: int }),
  reply: struct({ names: array(string) }),
};

/** By the folder its volumes are in, which ours seem to be in. */
export const poolByTarget: Procedure<{ path: string }, { pool: Pool }> = {
  name: 'storage_pool_lookup_by_target_path',
  number: 391,
  args: struct({ path: string }),
  reply: struct({ pool }),
};

/** What a volume can be asked for that ours do not do: content goes over the paths of the storage, not through libvirt. */
const streamed = struct({ volume, offset: bytes, length: bytes, flags: uint });
const NOT_OF_VOLUMES = [
  { ...procedures.volumeWipe, what: 'wiping' },
  { ...procedures.volumeWipe, name: 'vol_wipe_pattern', number: 259, what: 'wiping' },
  { ...procedures.volumeWipe, name: 'vol_upload', number: 208, args: streamed, what: 'uploading' },
  { ...procedures.volumeWipe, name: 'vol_download', number: 209, args: streamed, what: 'downloading' },
];

/** What a pool can be asked for that ours does not do: it is the storage, not a group of devices of this host. */
const NOT_OURS = [
  { name: 'pool_build', number: 79 },
  { name: 'pool_delete', number: 81 },
] as const;

/** The rows, by number of the procedure. */
export function rowsFor(face: PoolFace): ReadonlyMap<number, Row> {
  const rows = new Map<number, Row>();
  const on = <A, R>(procedure: Procedure<A, R>, handle: Handle<A, R>): void => {
    rows.set(procedure.number, { procedure, handle } as Row);
  };
  /** For procedures whose first argument is a pool, when it is ours. */
  const ofPool = <A extends { readonly pool: Pool }, R>(
    procedure: Procedure<A, R>,
    answer: (args: A, link: Link) => R | Promise<R>,
  ): void => {
    on(procedure, async (args, link) => (face.isOurs(args.pool) ? { answer: await answer(args, link) } : undefined));
  };
  /** The same for volumes. */
  const ofVolume = <A extends { readonly volume: { readonly pool: string; readonly name: string } }, R>(
    procedure: Procedure<A, R>,
    answer: (name: string, args: A, link: Link) => R | Promise<R>,
  ): void => {
    on(procedure, async (args, link) =>
      args.volume.pool === face.pool.name ? { answer: await answer(args.volume.name, args, link) } : undefined,
    );
  };
  pools(face, on, ofPool);
  volumes(face, on, ofPool, ofVolume);
  domains(face, on);
  events(face, on);
  return rows;
}

type On = <A, R>(procedure: Procedure<A, R>, handle: Handle<A, R>) => void;
type OfPool = <A extends { readonly pool: Pool }, R>(
  procedure: Procedure<A, R>,
  answer: (args: A, link: Link) => R | Promise<R>,
) => void;
type OfVolume = <A extends { readonly volume: { readonly pool: string; readonly name: string } }, R>(
  procedure: Procedure<A, R>,
  answer: (name: string, args: A, link: Link) => R | Promise<R>,
) => void;

function pools(face: PoolFace, on: On, ofPool: OfPool): void {
  on(procedures.listAllPools, ({ needed, flags }) => {
    if (!face.isListed(flags)) return undefined;
    return {
      after: ({ pools, count }) => ({ pools: needed === 0 ? pools : [...pools, face.pool], count: count + 1 }),
    };
  });
  on(poolCount, () => ({ after: ({ count }) => ({ count: count + 1 }) }));
  on(poolNames, ({ most }) => ({
    after: ({ names }) => ({ names: [face.pool.name, ...names].slice(0, Math.max(0, most)) }),
  }));
  on(procedures.poolByName, ({ name }) => (name === face.pool.name ? { answer: { pool: face.pool } } : undefined));
  on(procedures.poolByUuid, ({ uuid }) => (uuid === face.pool.uuid ? { answer: { pool: face.pool } } : undefined));
  const { key: target } = face.handleOf({ name: '' });
  on(poolByTarget, ({ path }) =>
    `${path.replace(/\/+$/, '')}/` === target ? { answer: { pool: face.pool } } : undefined,
  );
  ofPool(procedures.poolInfo, () => face.info());
  ofPool(procedures.poolXml, async () => ({ xml: await face.xml() }));
  ofPool(procedures.poolActive, () => ({ active: 1 }));
  ofPool(procedures.poolPersistent, () => ({ persistent: 1 }));
  ofPool(procedures.poolAutostart, () => ({ autostart: 1 }));
  ofPool(procedures.poolRefresh, (_args, link) => {
    link.changed();
    return {};
  });
  const fixed = (): never => {
    throw refused(`pool '${face.pool.name}' is the storage of Gemel: it is there as long as the gateway`);
  };
  ofPool(procedures.poolSetAutostart, fixed);
  ofPool(procedures.poolStart, fixed);
  ofPool(procedures.poolDestroy, fixed);
  ofPool(procedures.poolUndefine, fixed);
  for (const { name, number } of NOT_OURS) ofPool({ ...procedures.poolStart, name, number }, fixed);
}

function volumes(face: PoolFace, on: On, ofPool: OfPool, ofVolume: OfVolume): void {
  ofPool(procedures.poolVolumeCount, async () => ({ count: (await face.disks()).length }));
  ofPool(procedures.poolVolumeNames, async ({ most }) => ({
    names: (await face.disks()).slice(0, Math.max(0, most)).map(({ name }) => name),
  }));
  ofPool(procedures.listVolumes, async ({ needed }) => {
    const all = (await face.disks()).map((disk) => face.handleOf(disk));
    return { volumes: needed === 0 ? [] : all, count: all.length };
  });
  ofPool(procedures.volumeCreate, async ({ xml }, link) => {
    const volume = await face.create(xml);
    link.changed();
    return { volume };
  });
  ofPool(procedures.volumeCreateFrom, async ({ xml, from }, link) => {
    if (from.pool !== face.pool.name) {
      throw refused('what is in another pool cannot be cloned into the storage: import it (gemel volume import)');
    }
    const volume = await face.clone(from.name, xml);
    link.changed();
    return { volume };
  });
  ofPool(procedures.volumeByName, async ({ name }) => ({ volume: face.handleOf(await face.disk(name)) }));
  const at = async (path: string): Promise<{ answer: { volume: ReturnType<PoolFace['handleOf']> } } | undefined> => {
    const name = face.volumeAt(path);
    return name === undefined ? undefined : { answer: { volume: face.handleOf(await face.disk(name)) } };
  };
  on(procedures.volumeByKey, ({ key }) => at(key));
  on(procedures.volumeByPath, ({ path }) => at(path));
  ofVolume(procedures.poolByVolume, () => ({ pool: face.pool }));
  ofVolume(procedures.volumeInfo, async (name) => face.facts(await face.disk(name)));
  ofVolume(procedures.volumeInfoFlags, async (name) => face.facts(await face.disk(name)));
  ofVolume(procedures.volumeXml, async (name) => ({ xml: face.volumeXml(await face.disk(name)) }));
  ofVolume(procedures.volumePath, async (name) => ({ path: face.handleOf(await face.disk(name)).key }));
  ofVolume(procedures.volumeDelete, async (name, _args, link) => {
    await face.remove(name);
    link.changed();
    return {};
  });
  ofVolume(procedures.volumeResize, async (name, { capacity }, link) => {
    await face.resize(name, capacity);
    link.changed();
    return {};
  });
  for (const { what, ...procedure } of NOT_OF_VOLUMES) {
    ofVolume(procedure as typeof procedures.volumeWipe, () => {
      throw new LibvirtError(LibvirtCode.noSupport, STORAGE, `this pool does not support ${what} volumes`);
    });
  }
}

/** The UUID of a domain that is defined; undefined: it has none yet, so that nothing is leased for it. */
function uuidOfDomain(xml: string): string | undefined {
  try {
    return textOf(child(parseXml(xml), 'uuid'))
      ?.trim()
      .toLowerCase();
  } catch {
    // libvirtd says what is wrong with it.
    return undefined;
  }
}

function domains(face: PoolFace, on: On): void {
  const { leases } = face;
  /** For procedures that say which disks a machine has from now on; `uuidIn`: of the machine, undefined: it has none yet. */
  const onDisks = <A extends { readonly xml: string }>(
    procedure: Procedure<A, unknown>,
    uuidIn: (args: A) => string | undefined,
  ): void => {
    on(procedure, async (args) => {
      const translation = await face.forLibvirtd(args.xml);
      const uuid = uuidIn(args) ?? translation?.uuid;
      if (uuid === undefined) return undefined;
      // What a machine had before and has no longer is free.
      const held = await leases.heldBy(uuid);
      if (translation === undefined && held.length === 0) return undefined;
      const taken = translation === undefined ? [] : await leases.takeAll(translation.volumes, uuid);
      return {
        forward: { ...args, xml: translation?.xml ?? args.xml },
        settled: (done) => (done ? leases.giveBackUnused(held, uuid) : leases.giveBack(taken, uuid)),
      };
    });
  };
  for (const procedure of [procedures.domainDefine, procedures.domainCreateXml, define]) {
    onDisks(procedure as Procedure<{ readonly xml: string }, unknown>, ({ xml }) => uuidOfDomain(xml));
  }
  onDisks(update, ({ domain: { uuid } }) => uuid);
  // A machine that has only run is gone when it is ended, one that was defined when it is undefined.
  for (const procedure of [procedures.domainDestroy, destroyFlags, ofDomain, procedures.domainUndefine]) {
    on(procedure as Procedure<{ readonly domain: Domain }, unknown>, async (args) => {
      const held = await leases.heldBy(args.domain.uuid);
      if (held.length === 0) return undefined;
      return { settled: (done) => (done ? leases.giveBackUnused(held, args.domain.uuid) : undefined) };
    });
  }
  type DeviceArgs = { readonly domain: Domain; readonly xml: string };
  const onDevice = (
    procedure: Procedure<DeviceArgs, object>,
    before: (volume: string, of: Domain) => Promise<void>,
    settled: (done: boolean, volume: string, of: Domain) => Promise<void> | undefined,
  ): void => {
    on(procedure, async (args) => {
      const translation = await face.forLibvirtd(args.xml);
      const [volume] = translation?.volumes ?? [];
      if (translation === undefined || volume === undefined) return undefined;
      await before(volume, args.domain);
      return {
        forward: { ...args, xml: translation.xml },
        settled: (done) => settled(done, volume, args.domain),
      };
    });
  };
  for (const procedure of [attach, procedures.deviceAttach]) {
    onDevice(
      procedure,
      (volume, of) => leases.take(volume, of.uuid),
      (done, volume, of) => (done ? undefined : leases.giveBack([volume], of.uuid)),
    );
  }
  for (const procedure of [detach, procedures.deviceDetach]) {
    onDevice(
      procedure,
      () => Promise.resolve(),
      (done, volume, of) => (done ? leases.giveBackLater(volume, of.uuid) : undefined),
    );
  }
  on(detachAlias, async (args) => {
    const volume = await leases.heldAs(args.domain, args.alias);
    if (volume === undefined) return undefined;
    return { settled: (done) => (done ? leases.giveBackLater(volume, args.domain.uuid) : undefined) };
  });
  on(procedures.domainXml, ({ flags }) => {
    // What is for another libvirtd (VIR_DOMAIN_XML_MIGRATABLE) is left as it is.
    if ((flags & 8) !== 0) return undefined;
    return {
      after: async ({ xml }) => {
        const back = await face.forClient(xml);
        return back === undefined ? undefined : { xml: back };
      },
    };
  });
}

function events(face: PoolFace, on: On): void {
  on(procedures.poolEvents, ({ eventId, pool }, link) => {
    if (pool !== undefined && face.isOurs(pool)) {
      const callbackId = link.ownCallback();
      link.subscribe(callbackId, eventId);
      return { answer: { callbackId } };
    }
    if (pool !== undefined) return undefined;
    return {
      after: ({ callbackId }) => {
        link.subscribe(callbackId, eventId);
        return undefined;
      },
    };
  });
  on(procedures.poolEventsEnd, ({ callbackId }, link) => {
    link.unsubscribe(callbackId);
    return link.isOwnCallback(callbackId) ? { answer: {} } : undefined;
  });
}
