// Puts everything together: the only place that knows all the parts.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createApp } from '../api/app.ts';
import { consoleFiles } from '../api/console-files.ts';
import { listenApi } from '../api/listener.ts';
import type { ApiListener } from '../api/listener.ts';
import { authorityOf } from '../api/tls/identity.ts';
import { ServedTls } from '../api/tls/served.ts';
import { ServiceError, messageOf } from '../base/errors.ts';
import { DIRTY_SHARE } from '../base/limits.ts';
import { formatHostPort, isWildcard } from '../base/host-port.ts';
import type { Log } from '../base/log.ts';
import type { World } from '../base/world.ts';
import { CachedVolume } from '../cache/cached-volume.ts';
import { L1Cache } from '../cache/l1-cache.ts';
import type { ConfigStore } from '../cluster/config-store.ts';
import { EmbeddedStore } from '../cluster/embedded-store.ts';
import { Alerts } from '../control/alerts/alerts.ts';
import { Readings } from '../control/alerts/readings.ts';
import { Access } from '../control/access.ts';
import { automation } from '../control/automation.ts';
import { CapacityTrend, poolUse } from '../control/capacity-trend.ts';
import { Catalog } from '../control/catalog.ts';
import type { ServedCertificate } from '../control/certificate-view.ts';
import type { Copies } from '../control/copies.ts';
import type { ControlPlane } from '../control/control-plane.ts';
import { Events } from '../control/events.ts';
import type { EventObject } from '../control/events.ts';
import { firstStart } from '../control/first-start.ts';
import { Hosts } from '../control/hosts.ts';
import type { HostStanding } from '../control/hosts.ts';
import { HostRates } from '../control/host-rates.ts';
import { Backends } from '../control/images.ts';
import { Initiators } from '../control/initiators.ts';
import { KeptRequests } from '../control/kept-requests.ts';
import { Live } from '../control/live/live.ts';
import { liveSources } from '../control/live/sources.ts';
import { NodeBackend } from '../control/node-backend.ts';
import { Offload } from '../control/offload.ts';
import { Observations } from '../control/observations.ts';
import { PoolMoves } from '../control/pool-moves.ts';
import { isFull } from '../control/pool-plan.ts';
import { PoolManager } from '../control/pools.ts';
import { Policies } from '../control/policies.ts';
import { Portals, settlePortals } from '../control/portals.ts';
import { Provisioner } from '../control/provision.ts';
import type { VolumeRecord } from '../control/records.ts';
import type { Replication } from '../control/replication.ts';
import { Security } from '../control/security.ts';
import { Snapshots } from '../control/snapshots.ts';
import { Tokens } from '../control/tokens.ts';
import { Units } from '../control/units.ts';
import { Views } from '../control/views.ts';
import { MirroredVolume } from '../mirror/mirrored-volume.ts';
import { rodsOf } from '../mirror/rods.ts';
import { IscsiServer } from '../iscsi/server.ts';
import { CommandTable } from '../scsi/command-table.ts';
import type { ScsiDevice } from '../scsi/device.ts';
import { RESERVATION_COMMANDS } from '../scsi/reservations/index.ts';
import { SBC_COMMANDS } from '../scsi/sbc/index.ts';
import { SPC_COMMANDS } from '../scsi/spc/index.ts';
import { odxCommands } from '../../odx/index.ts';
import { TokenSeal } from '../../odx/token.ts';
import type { Volume } from '../volume/volume.ts';
import { VAAI_COMMANDS } from '../../vaai/index.ts';
import { checkCatalog, checkPoolMeta } from './catalog-check.ts';
import { Admission } from './cluster/admission.ts';
import { apiAuthority } from './cluster/api-authority.ts';
import { clusterFolder } from './cluster/cluster-files.ts';
import { ClusterManager } from './cluster/cluster-manager.ts';
import { Membership } from './cluster/membership.ts';
import { ClusterServing } from './cluster/serving.ts';
import { certificateHosts, checkFree, localAddresses, outsideAddress } from './addresses.ts';
import { copyTokenKey, ownerToken, removeRunFile, secretBox, writeRunFile } from './data-files.ts';
import { NodeImages } from './images/images.ts';
import { nbdOpener, startNbd } from './nbd.ts';
import { USUAL_PORTALS } from './options.ts';
import type { DaemonOptions } from './options.ts';
import type { ReadyFacts } from './ready.ts';

/** Where the build has put the web console: dist/console, seen from dist/core/daemon. */
const CONSOLE = fileURLToPath(new URL('../../console', import.meta.url));
/** Milliseconds the API gives running requests at shutdown. */
const API_PATIENCE = 2_000;
/** Milliseconds NBD clients are given to have their requests answered. */
const NBD_PATIENCE = 2_000;

export interface RunningDaemon {
  readonly ready: ReadyFacts;
  /** Looks at the certificate files again. */
  reload(): Promise<void>;
  /** Drains, makes everything stable and lets go. `again`: it will be started again at once, so what runs beside it stays. */
  stop(again?: boolean): Promise<void>;
}

/** What parts made earlier ask of parts made later. */
interface Running {
  readonly restart: () => void;
  server?: IscsiServer;
  units?: Units;
  pools?: PoolManager;
  hosts?: Hosts;
  served?: ServedTls;
  /** It is being stopped to be started again at once. */
  again?: boolean;
}

/** Everything that has to be taken down again, in reverse order. */
type Undo = () => Promise<void>;

/**
 * Starts on a data folder that exists and is locked. `restart` is called when it has to be stopped and started again: the
 * node has joined or left a cluster. Rejects with a ServiceError, with nothing left running.
 */
export async function startDaemon(
  options: DaemonOptions,
  world: World,
  log: Log,
  version: string,
  restart: () => void,
): Promise<RunningDaemon> {
  const undo: Undo[] = [];
  const running: Running = { restart };
  const stop = async (again = false): Promise<void> => {
    running.again = again;
    for (const step of undo.splice(0).reverse()) {
      await step().catch((error: unknown) => {
        log.error({ error: messageOf(error) }, 'a part did not stop cleanly');
      });
    }
  };
  try {
    const ready = await start(options, world, log, version, { undo, running });
    return { ready, stop, reload: async () => running.served?.reload() };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  options: DaemonOptions,
  world: World,
  log: Log,
  version: string,
  { undo, running }: { undo: Undo[]; running: Running },
): Promise<ReadyFacts> {
  // At the first start there is nothing else to know them by; later the catalog says which of them still are portals.
  const isNew = !(await world.disk.exists(join(options.data, 'catalog')));
  for (const portal of isNew ? (options.portals ?? USUAL_PORTALS) : []) await checkFree('portal', portal);
  await checkFree('api', options.api);
  const member = await Membership.open(world, log, options.data);
  if (member !== undefined) undo.push(() => member.close(running.again === true));
  const { catalog, own } = await openCatalog(options, world, log, member?.store);
  undo.push(() => catalog.close());
  const keys = member === undefined ? options.data : clusterFolder(options.data);
  const events = new Events(catalog, world.clock, log);
  undo.push(() => events.settled());
  const odx = odxCommands({
    seal: new TokenSeal(await copyTokenKey(world, keys), world.random),
    sourceOf: ({ name, volume }) => {
      const local = running.pools?.rodSource(name);
      return local !== undefined && volume instanceof MirroredVolume ? rodsOf(volume, local) : local;
    },
    stores: () => running.pools?.rodStores() ?? [],
    standing: ({ owner }, source) => running.units?.standing(owner.visitor, source) ?? 'gone',
  });
  const commands = new CommandTable([
    ...[SPC_COMMANDS, SBC_COMMANDS, RESERVATION_COMMANDS, VAAI_COMMANDS].flat(),
    ...odx,
  ]);
  const neededPortals = await settlePortals(catalog, world.clock.wall(), options.portals, USUAL_PORTALS);
  for (const record of catalog.portals.values()) {
    if (neededPortals.has(record.name)) await checkFree('portal', record);
  }
  const server = (): IscsiServer | undefined => running.server;
  const rates = new HostRates(world.clock, () => server()?.sessions() ?? []);
  const hostRate = (host: string): number | undefined => rates.rate(host);
  const standing = (initiator: string): HostStanding =>
    running.hosts?.standing(initiator) ?? { host: undefined, groups: [] };
  const devices = (): Iterable<ScsiDevice> => running.units?.devices.values() ?? [];
  const { data } = options;
  const groups = (): readonly number[] => catalog.node.portalGroups ?? [];
  const shared = member === undefined ? undefined : new ClusterServing({ member, world, log, data, groups, devices });
  const portals: Portals = new Portals({
    ...{ catalog, clock: world.clock, log, events, server },
    tagOf: (group) => shared?.tagOf(group) ?? group,
    changed: () => {
      units.portsChanged();
      const listening = server();
      if (listening !== undefined) void shared?.publish(listening, views.portals());
    },
  });
  const portalGroups = (): number[] => portals.tags();
  const unitParts = { catalog, commands, clock: world.clock, log, portalGroups, hostRate, standing };
  const units = new Units({ ...unitParts, forwarding: shared?.forwarding });
  running.units = units;
  const box = await secretBox(world, keys, catalog);
  const initiators = new Initiators(catalog, box, world.clock);
  const hosts = new Hosts(catalog, box, world.clock, () => {
    units.reconsiderAll();
  });
  running.hosts = hosts;
  const requests = new KeptRequests(catalog, box, world.clock, log);
  const folder = join(options.data, 'volumes');
  await world.disk.makeFolder(folder);
  const cache = options.cacheSize === 0 ? undefined : new L1Cache(options.cacheSize, options.cacheSize / DIRTY_SHARE);
  const pools = (running.pools = new PoolManager({
    ...{ world, catalog, units, log, cache, folder: join(options.data, 'pools') },
    checkMeta: checkPoolMeta,
  }));
  const cached = (volume: Volume): Volume =>
    cache === undefined ? volume : new CachedVolume(volume, cache, world.clock);
  const images = new NodeImages({ world, log, catalog, folder: join(data, 'images'), cached });
  await world.disk.makeFolder(join(data, 'images'));
  const local = new NodeBackend(world, catalog, folder, cache, pools, nbdOpener(world, log), images);
  const backend = shared?.backend(local, images, (record) => provisioner.withdrawGone(record.name, record.id)) ?? local;
  const views = new Views(catalog, units, backend, server, outsideAddress());
  const placement =
    shared === undefined ? undefined : (count: number | undefined): string[] => shared.volumes.placement(count);
  const ownerOfNew =
    shared === undefined ? undefined : (nodes: readonly string[]): string => shared.balance.ownerOfNew(nodes);
  const placing = { placement, ownerOfNew };
  const provisioner: Provisioner = new Provisioner({ catalog, units, backend, world, log, server, ...placing });
  const mirrored = shared?.snapshots({ catalog, units });
  const snapshots = new Snapshots({ mirrored, catalog, units, pools, backend, provisioner, world, log });
  const moves = new PoolMoves({ catalog, pools, provisioner, world, log });
  const services = { catalog, units, pools, moves, backend, provisioner, snapshots, hosts, events, box, world, log };
  const automatic = automation({ ...services, copies: () => shared?.volumes.copies });
  undo.push(() => pools.close());
  await pools.openAll();
  undo.push(() => provisioner.close());
  if (shared !== undefined) {
    undo.push(() => shared.stop());
    await shared.prepare({ catalog, units, provisioner, server });
  }
  await snapshots.recover();
  await provisioner.openAll();
  const { demoSize, poolSize } = options;
  await firstStart({ catalog, pools, provisioner, folder: options.data, demoSize, poolSize });

  // Before anybody is let in: what was half deleted is not seen again.
  undo.push(() => automatic.stop());
  await automatic.start();

  const isLocal = localAddresses(() => world.clock.now());
  const policy = new Access(units, initiators, hosts);
  running.server = new IscsiServer({ world, log, policy, portals: [], isLocal });
  await running.server.listen();
  undo.push(() => {
    portals.stop();
    return server()?.shutdown() ?? Promise.resolve();
  });
  await portals.start(neededPortals);
  await shared?.start();
  const nbd = await startNbd(options, { world, log, catalog, units });
  undo.push(() => nbd.close(NBD_PATIENCE));
  const seen = new Observations(catalog, world.clock, log, 'trend');
  const trend = new CapacityTrend(world.clock, () => poolUse(pools, catalog), seen);
  rates.start();
  trend.start();
  undo.push(() => {
    rates.stop();
    return trend.stop();
  });

  const { jobs, schedules, trash } = automatic;
  await shared?.publish(running.server, views.portals());
  const tokens = new Tokens(catalog, world, log);
  const security = await Security.open({ catalog, tokens, events, world, log, folder: options.data });
  undo.push(() => security.close());
  const now = (): number => world.clock.wall();
  let consoleUrl = '';
  const certificate = (): ServedCertificate | undefined => running.served?.view(consoleUrl);
  const certificateEnd = (): number | undefined => certificate()?.notAfter;
  const holds = (record: VolumeRecord): boolean => backend.holds(record);
  const readings = new Readings({ catalog, pools, units, server, certificateEnd, holds }, world.clock, log);
  const isOurs = (object: EventObject | undefined): boolean =>
    shared === undefined || object?.kind !== 'volume' || shared.volumes.speaksFor(object.name);
  const alerts = new Alerts({ catalog, events, readings, box, world, log, version, isOurs });
  alerts.start();
  undo.push(() => alerts.stop());
  const admission = member === undefined ? undefined : await Admission.open({ member, world, log, data: options.data });
  if (admission !== undefined) undo.push(() => admission.close());
  const inMaintenance = (node: string): boolean => shared?.volumes.inMaintenance(node) === true;
  const copies = (): Copies | undefined => shared?.volumes.copies;
  const reaches = (node: string): boolean => shared?.mirror.peers.get(node)?.up === true;
  const clusterParts = { catalog, own, member, copies, inMaintenance, admission, world, log, data: options.data };
  const cluster = new ClusterManager({ ...clusterParts, reaches, restart: running.restart });
  const replication = (): Replication | undefined => shared?.volumes;
  const balanced = (): boolean | undefined => shared?.balance.view().enabled;
  const seenOf = {
    ...{ catalog, pools, units, views, server, certificate, cluster: () => cluster, replication, balanced, now },
  };
  const live = new Live({ catalog, log, clock: world.clock, random: world.random, ...liveSources(seenOf) });
  const control: ControlPlane = {
    cluster,
    replication: shared?.volumes,
    balance: shared?.balance,
    backends: new Backends(catalog, images, world.clock),
    alerts,
    policies: new Policies(catalog, provisioner, world.clock),
    ...{ offload: new Offload({ catalog, units, provisioner }) },
    ...{
      catalog,
      events,
      units,
      provisioner,
      pools,
      portals,
      moves,
      snapshots,
      initiators,
      tokens,
      views,
      server,
      version,
    },
    ...{ hosts, live, jobs, schedules, trash, trend, started: now(), now, security, certificate, requests },
  };
  const tls = { folder: join(options.data, 'tls'), node: catalog.node.id, files: options.tls };
  const authority = await apiAuthority({ catalog, store: own, box }, member !== undefined, () =>
    authorityOf(world, tls.folder, tls.node),
  );
  const served = (running.served = await ServedTls.open({
    ...{ world, log, ...tls },
    cluster: authority === undefined ? undefined : { authority, folder: join(keys, 'api-tls') },
    hosts: () => [...certificateHosts(options.api.host), ...security.settings.get().apiNames],
  }));
  const page = consoleFiles({ folder: CONSOLE, frameOrigins: () => security.settings.get().frameOrigins });
  const app = createApp(control, log, page);
  const api = await listenApi(options.api.host, options.api.port, served.own, app, served.shown, served.cluster);
  consoleUrl = addressOf(api, isWildcard(options.api.host) ? outsideAddress() : options.api.host);
  served.watch(() => {
    api.show(served.own, served.shown, served.cluster);
  });
  security.settings.watch(() => void served.reload());
  undo.push(() => {
    served.stop();
    live.close();
    return api.close(API_PATIENCE);
  });
  const token = await ownerToken(world, options.data, tokens, served.own.fingerprint);
  const facts = { api: addressOf(api, options.api.host), portals: views.portals() };
  await writeRunFile(world, options.data, log, facts);
  undo.push(() => removeRunFile(world, options.data));
  log.info({ api: facts.api, portals: facts.portals.join(' '), volumes: catalog.volumes.size }, 'ready');
  // Scripts have the token. A person gets a link, but not through a log that others read.
  const inJournal = process.env['JOURNAL_STREAM'] !== undefined;
  const link = security.firstLogin.open && !options.json && !inJournal ? security.firstLogin.issue().code : undefined;
  const firstLogin = link === undefined ? {} : { firstLogin: `${consoleUrl}/#first-login=${link}` };
  return { ...facts, ...firstLogin, usersMissing: security.firstLogin.open, token, disks: views.disks() };
}

async function openCatalog(
  options: DaemonOptions,
  world: World,
  log: Log,
  shared: ConfigStore | undefined,
): Promise<{ catalog: Catalog; own: ConfigStore }> {
  const path = join(options.data, 'catalog');
  checkCatalog(options.data);
  let store: EmbeddedStore;
  try {
    await world.disk.makeFolder(path);
    store = new EmbeddedStore(path, () => isFull(path));
  } catch (error) {
    throw new ServiceError('folder-unusable', `the catalog in ${path} cannot be opened: ${messageOf(error)}`, {
      cause: error,
    });
  }
  // On a disk that is full already it has to go without.
  await store.reserve().catch((error: unknown) => {
    log.warn({ error: messageOf(error) }, 'no space is reserved for changes of the catalog');
  });
  const catalog = await Catalog.open(store, world.random, options.iqnPrefix, world.clock.wall(), shared);
  return { catalog, own: store };
}

/** The URL of the API for a client on this machine. */
function addressOf(api: ApiListener, host: string): string {
  const reachable = isWildcard(host) ? (host === '::' ? '::1' : '127.0.0.1') : host;
  return `https://${formatHostPort(reachable, api.port)}`;
}
