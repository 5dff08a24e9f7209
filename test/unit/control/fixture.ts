// A control plane on a temporary data folder, with a recording log and no network.
import { join } from 'node:path';
import { ServiceError } from '../../../core/base/errors.ts';
import type { Log, LogFields } from '../../../core/base/log.ts';
import { L1Cache } from '../../../core/cache/l1-cache.ts';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import { automation } from '../../../core/control/automation.ts';
import { Alerts } from '../../../core/control/alerts/alerts.ts';
import { Readings } from '../../../core/control/alerts/readings.ts';
import { CapacityTrend } from '../../../core/control/capacity-trend.ts';
import { Catalog } from '../../../core/control/catalog.ts';
import { ALONE } from '../../../core/control/cluster.ts';
import type { ClusterControl } from '../../../core/control/cluster.ts';
import type { ControlPlane } from '../../../core/control/control-plane.ts';
import { Events } from '../../../core/control/events.ts';
import { Hosts } from '../../../core/control/hosts.ts';
import { NodeImages } from '../../../core/daemon/images/images.ts';
import { Backends } from '../../../core/control/images.ts';
import { Initiators } from '../../../core/control/initiators.ts';
import { KeptRequests } from '../../../core/control/kept-requests.ts';
import { Live } from '../../../core/control/live/live.ts';
import { liveSources } from '../../../core/control/live/sources.ts';
import { NodeBackend } from '../../../core/control/node-backend.ts';
import { PoolMoves } from '../../../core/control/pool-moves.ts';
import type { ImportPool } from '../../../core/control/pool-moves.ts';
import { Offload } from '../../../core/control/offload.ts';
import { PoolManager } from '../../../core/control/pools.ts';
import { Policies } from '../../../core/control/policies.ts';
import { Portals, settlePortals } from '../../../core/control/portals.ts';
import { Provisioner } from '../../../core/control/provision.ts';
import { Security } from '../../../core/control/security.ts';
import { SecretBox } from '../../../core/control/secret-box.ts';
import type { PortalServer, PortalView } from '../../../core/control/sessions.ts';
import { Snapshots } from '../../../core/control/snapshots.ts';
import { Tokens } from '../../../core/control/tokens.ts';
import { Units } from '../../../core/control/units.ts';
import { Views } from '../../../core/control/views.ts';
import { checkPoolMeta } from '../../../core/daemon/catalog-check.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { COMMANDS } from '../../support/target.ts';

export const PREFIX = 'iqn.2026-01.example.gemel';
/** Hashes of passwords that are quick to make. */
export const CHEAP = { cost: 1024, blockSize: 8, parallelization: 1 };
export const KEY = Buffer.alloc(32, 7);

export interface Plane extends ControlPlane {
  readonly folder: string;
  /** Everything logged so far, as text. */
  readonly logged: string[];
  close(): Promise<void>;
}

export function recordingLog(lines: string[]): Log {
  const write = (fields: LogFields, message: string): void => {
    lines.push(`${JSON.stringify(fields)} ${message}`);
  };
  return { debug: write, info: write, warn: write, error: write, child: () => recordingLog(lines) };
}

const refused = (): Promise<never> => Promise.reject(new ServiceError('bad-request', 'no cluster here'));
const NO_CLUSTER: ClusterControl = {
  view: () => Promise.resolve(ALONE),
  ...{ init: refused, reachEtcd: refused, token: refused, join: refused, remove: refused, leave: refused },
};

export async function openPlane(folder: string, key = KEY): Promise<Plane> {
  const world = await nodeWorld();
  const logged: string[] = [];
  const log = recordingLog(logged);
  await world.disk.makeFolder(join(folder, 'volumes'));
  await world.disk.makeFolder(join(folder, 'catalog'));
  const store = new EmbeddedStore(join(folder, 'catalog'));
  const catalog = await Catalog.open(store, world.random, PREFIX, 1000);
  const events = new Events(catalog, world.clock, log);
  const commands = COMMANDS;
  const units = new Units({
    catalog,
    commands,
    clock: world.clock,
    log,
    portalGroups: () => [1, 2],
    standing: (iqn) => hosts.standing(iqn),
  });
  // Nobody listens, and nobody comes.
  const open: PortalView[] = [];
  const source: PortalServer = {
    ...{ portals: open, sessions: () => [], sessionsAt: () => [], closeTarget: () => undefined },
    latencies: () => new Map(),
    openPortal: ({ host, port, group, advertised }) => {
      const portal = { address: host, port, group, advertised };
      open.push(portal);
      return Promise.resolve(portal);
    },
    closePortal: (portal) => {
      open.splice(open.indexOf(portal), 1);
    },
  };
  const server = (): PortalServer => source;
  await settlePortals(catalog, 1000, undefined, [{ host: '127.0.0.1', port: 3260, group: 1 }]);
  const portals = new Portals({
    ...{ catalog, clock: world.clock, log, events, server },
    tagOf: (group) => group,
    changed: () => undefined,
  });
  await portals.start(new Set());
  const cache = new L1Cache(4_194_304, 2_097_152);
  const pools = new PoolManager({
    ...{ world, catalog, units, log, cache, folder: join(folder, 'pools') },
    checkMeta: checkPoolMeta,
  });
  await world.disk.makeFolder(join(folder, 'images'));
  const images = new NodeImages({ world, log, catalog, folder: join(folder, 'images'), cached: (volume) => volume });
  const backend = new NodeBackend(
    ...([world, catalog, join(folder, 'volumes'), cache, pools] as const),
    () => Promise.reject(new Error('not used')),
    images,
  );
  const provisioner = new Provisioner({ catalog, units, backend, world, log, server });
  const snapshots = new Snapshots({ catalog, units, pools, backend, provisioner, world, log });
  const box = new SecretBox(key, world.random);
  let initiators: Initiators;
  let hosts: Hosts;
  try {
    initiators = new Initiators(catalog, box, world.clock);
    hosts = new Hosts(catalog, box, world.clock, () => {
      units.reconsiderAll();
    });
  } catch (error) {
    portals.stop();
    await catalog.close();
    throw error;
  }
  const moves = new PoolMoves({ catalog, pools, provisioner, world, log });
  const services = { catalog, units, pools, moves, backend, provisioner, snapshots, hosts, events, box, world, log };
  const { jobs, schedules, trash, stop } = automation(services);
  await pools.openAll();
  await snapshots.recover();
  await provisioner.openAll();
  await jobs.resume();
  const tokens = new Tokens(catalog, world, log);
  const security = await Security.open({ catalog, tokens, events, world, log, folder, cost: CHEAP });
  const certificateEnd = (): undefined => undefined;
  const readings = new Readings({ catalog, pools, units, server, certificateEnd }, world.clock, log);
  const alerts = new Alerts({ catalog, events, readings, box, world, log, version: '1.2.3' });
  const views = new Views(catalog, units, backend, server, '192.0.2.1');
  const sources = liveSources({
    ...{ catalog, pools, units, views, server, now: () => 61_000 },
    ...{
      certificate: () => undefined,
      cluster: () => NO_CLUSTER,
      replication: () => undefined,
      balanced: () => undefined,
    },
  });
  const live = new Live({ catalog, log, clock: world.clock, random: world.random, ...sources });
  return {
    cluster: NO_CLUSTER,
    replication: undefined,
    balance: undefined,
    backends: new Backends(catalog, images, world.clock),
    hosts,
    jobs,
    schedules,
    trash,
    folder,
    live,
    logged,
    catalog,
    events,
    alerts,
    offload: new Offload({ catalog, units, provisioner }),
    trend: new CapacityTrend(world.clock, () => []),
    units,
    provisioner,
    pools,
    portals,
    policies: new Policies(catalog, provisioner, world.clock),
    moves,
    snapshots,
    initiators,
    requests: new KeptRequests(catalog, box, world.clock, log),
    tokens,
    security,
    certificate: () => undefined,
    views,
    server,
    version: '1.2.3',
    started: 1000,
    now: () => 61_000,
    close: async () => {
      portals.stop();
      await stop();
      await alerts.stop();
      live.close();
      await security.close();
      await provisioner.close();
      await pools.close();
      await events.settled();
      await catalog.close();
    },
  };
}

/** Runs `body` with a fresh plane; `reopen` closes it and opens its folder again. */
export async function withPlane(body: (plane: Plane, reopen: () => Promise<Plane>) => Promise<void>): Promise<void> {
  const folder = temporaryFolder('control');
  let plane = await openPlane(folder.path);
  try {
    await body(plane, async () => {
      await plane.close();
      plane = await openPlane(folder.path);
      return plane;
    });
  } finally {
    await plane.close();
    folder.remove();
  }
}

/** The code of the ServiceError that `work` ends with. */
export async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
  return 'no error';
}

/** As the API does it. */
export async function exportPool(plane: Plane, pool: string): Promise<{ parts: { kind: string; path: string }[] }> {
  const { result } = await plane.jobs.through('pool-export', { pool }, 'export');
  return result as { parts: { kind: string; path: string }[] };
}

/** As the API does it. The name of the pool. */
export async function importPool(plane: Plane, wanted: ImportPool): Promise<string> {
  return (await plane.jobs.through('pool-import', wanted, 'serve')).object.name;
}
