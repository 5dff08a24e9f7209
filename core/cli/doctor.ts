// Checks of one daemon, and of this machine as its host: what is wrong, what that means, what to do.
import { existsSync, readFileSync, readdirSync, statfsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { RUN_FILE } from '../base/data-folder.ts';
import { ServiceError, messageOf } from '../base/errors.ts';
import { parseHostPort } from '../base/host-port.ts';
import { formatSize } from '../base/sizes.ts';
import type { ApiClient } from '../../plugins/sdk/client.ts';
import type { Schemas } from '../../plugins/sdk/typed-api.ts';
import type { Alert, AlertTarget, Cluster, Disk, Pool, Replication, Session, Status } from './answers.ts';
import { clusterFindings, replicaFindings } from './doctor-cluster.ts';
import { hostFindings } from './doctor-host.ts';

export interface Finding {
  readonly check: string;
  readonly level: 'ok' | 'warning' | 'error' | 'skipped';
  readonly text: string;
  readonly remedy?: string;
}

export interface DoctorOptions {
  readonly client: () => ApiClient;
  /** Version of this program. */
  readonly version: string;
  /** Data folder of a daemon on this machine, if it may be one. */
  readonly folder: string;
  /** Where the facts of this machine are; tests bring their own. */
  readonly root: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Milliseconds a portal has to accept a connection. */
const PATIENCE = 3_000;
/** Seconds that clocks may differ: the journal of one and the log of the other are compared line by line. */
const CLOCK_DIFFERENCE = 5;
const DAY = 86_400_000;
/** Days before its end that a certificate is worth a word, and an alarm. */
const CERTIFICATE_DAYS = { warning: 30, error: 3 };
/** Shares of the file system of the data folder that should be free. */
const FREE = { warning: 0.05, error: 0.01 };

/** All findings, in the order of the checks. Never rejects: what cannot be asked is a finding too. */
export async function examine(options: DoctorOptions): Promise<Finding[]> {
  let client: ApiClient;
  let status: Status;
  try {
    client = options.client();
    status = (await client.call('GET', '/status')) as Status;
  } catch (error) {
    const known = error instanceof ServiceError ? error : new ServiceError('internal', messageOf(error));
    const waits = waitsForOthers(options.folder) ? ` ${WAITING}` : '';
    const remedy = known.row.remedy + waits;
    const finding: Finding = { check: 'daemon', level: 'error', text: known.message, remedy };
    return [finding, ...folderFindings(options), ...hostFindings(options.root, [])];
  }
  const cluster = async (): Promise<Cluster> => (await client.call('GET', '/cluster')) as Cluster;
  const checks: [string, () => Finding[] | Promise<Finding[]>][] = [
    ['daemon', () => versionFindings(status, options.version)],
    ['clock', () => clockFindings(status, options.now())],
    ['portals', async () => portalFindings(status.portals, (await client.list('/portals')) as Schemas.Portal[])],
    ['certificate', async () => certificateFindings(await client.call('GET', '/certificate'), options.now())],
    ['pools', async () => poolFindings((await client.list('/pools')) as Pool[])],
    ['disks', async () => diskFindings((await client.list('/volumes')) as Disk[])],
    ['cluster', async () => clusterFindings(await cluster())],
    [
      'replicas',
      async () =>
        replicaFindings(
          await cluster(),
          (await client.list('/replication')) as Replication[],
          (await client.list('/volumes')) as Disk[],
        ),
    ],
    ['sessions', async () => sessionFindings((await client.list('/sessions')) as Session[], status)],
    ['alerts', async () => alertFindings((await client.call('GET', '/alerts')) as Alert[])],
    ['alert-targets', async () => targetFindings((await client.call('GET', '/alert-targets')) as AlertTarget[])],
    ['data-folder', () => folderFindings(options)],
    ['thread-pool', () => threadFindings(options)],
    ['host', () => hostFindings(options.root, status.portals)],
  ];
  const findings: Finding[] = [];
  for (const [check, look] of checks) {
    try {
      findings.push(...(await look()));
    } catch (error) {
      const mayNot = error instanceof ServiceError && error.code === 'forbidden';
      findings.push({ check, level: mayNot ? 'skipped' : 'error', text: messageOf(error) });
    }
  }
  return findings;
}

const WAITING =
  'The one of this machine is in a cluster: it serves nothing before a majority of the nodes (or the witness) answers.';

/** A daemon of this machine that has started and not got as far as its API. */
function waitsForOthers(folder: string): boolean {
  return existsSync(join(folder, 'cluster', 'cluster.json')) && !existsSync(join(folder, RUN_FILE));
}

function versionFindings({ version, node }: Status, own: string): Finding[] {
  if (version === own) return [{ check: 'daemon', level: 'ok', text: `node ${node} answers, version ${version}` }];
  const text = `the daemon is version ${version}, this gemel is ${own}`;
  return [
    {
      check: 'daemon',
      level: 'warning',
      text,
      remedy: 'Restart the daemon after an upgrade (systemctl restart gemeld).',
    },
  ];
}

function clockFindings(status: Status, now: number): Finding[] {
  // What the daemon says is up to a second old.
  const theirs = Date.parse(status.started) + status.uptimeSeconds * 1000;
  const seconds = Math.round((theirs - now) / 1000);
  if (Math.abs(seconds) <= CLOCK_DIFFERENCE) return [{ check: 'clock', level: 'ok', text: 'both clocks agree' }];
  const text = `the clock of the daemon is ${String(Math.abs(seconds))} s ${seconds > 0 ? 'ahead of' : 'behind'} this one`;
  return [
    { check: 'clock', level: 'warning', text, remedy: 'Synchronize both machines (chrony or systemd-timesyncd).' },
  ];
}

async function portalFindings(portals: readonly string[], known: readonly Schemas.Portal[]): Promise<Finding[]> {
  const silent = known.flatMap(({ name, address, problem }): Finding[] => {
    if (problem === null) return [];
    const remedy = `Bring the address back, or gemel portal remove ${name}; it is tried every few seconds.`;
    return [{ check: 'portals', level: 'error', text: `${name} (${address}) does not listen: ${problem}`, remedy }];
  });
  const reached = await Promise.all(
    portals.map(async (portal): Promise<Finding> => {
      const why = await refusalOf(portal);
      if (why === undefined) return { check: 'portals', level: 'ok', text: `${portal} accepts connections from here` };
      const remedy = 'Check the firewall and the routes between this machine and the daemon, and its --portal.';
      return { check: 'portals', level: 'error', text: `${portal} cannot be reached from here: ${why}`, remedy };
    }),
  );
  return [...silent, ...reached];
}

function refusalOf(portal: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const { host, port } = parseHostPort(portal, 'portal');
    const socket = connect({ host, port });
    const timer = setTimeout(() => socket.destroy(new Error('no answer in time')), PATIENCE);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error) => {
      clearTimeout(timer);
      resolve(error.message);
    });
  });
}

function certificateFindings(answer: unknown, now: number): Finding[] {
  const { notAfter, problem } = answer as { notAfter: string; problem?: string | null };
  const days = Math.floor((Date.parse(notAfter) - now) / DAY);
  const when = notAfter.slice(0, 10);
  const text =
    days < 0 ? `the certificate of the API ended on ${when}` : `the certificate of the API is good until ${when}`;
  const level = days < CERTIFICATE_DAYS.error ? 'error' : days < CERTIFICATE_DAYS.warning ? 'warning' : 'ok';
  const remedy = 'Put a new one in its place; one of our own is renewed by a restart of the daemon.';
  const bad =
    problem === undefined || problem === null
      ? []
      : [{ check: 'certificate', level: 'warning', text: problem } as const];
  return [{ check: 'certificate', level, text, ...(level === 'ok' ? {} : { remedy }) }, ...bad];
}

function poolFindings(pools: readonly Pool[]): Finding[] {
  const check = 'pools';
  if (pools.length === 0) return [{ check, level: 'ok', text: 'there are no pools' }];
  return pools.flatMap((pool): Finding[] => {
    const { name, problem, facts, damagedMaps } = pool;
    const found: Finding[] = [];
    if (problem !== null) {
      found.push({
        check,
        level: 'error',
        text: `pool ${name} cannot be used: ${problem}`,
        remedy: 'The daemon log says more; docs/pool.md says what can be done.',
      });
    }
    if (facts !== null) {
      const share = (facts.usedBytes + facts.reservedBytes) / facts.capacityBytes;
      const text = `pool ${name} is ${String(Math.floor(share * 100))} % full of ${formatSize(facts.capacityBytes)}`;
      const level = share > 0.95 ? 'error' : pool.thresholdReached || share * 100 >= pool.threshold ? 'warning' : 'ok';
      const remedy = `Delete something in it, or: gemel pool grow ${name}`;
      found.push({ check, level, text, ...(level === 'ok' ? {} : { remedy }) });
      if (facts.damagedBlocks > 0) {
        const said = `pool ${name}: ${String(facts.damagedBlocks)} reads met data that does not match its checksum`;
        found.push({
          check,
          level: 'error',
          text: said,
          remedy: `gemel pool scrub ${name} --wait finds out which disks it belongs to.`,
        });
      }
    }
    for (const map of damagedMaps) found.push({ check, level: 'error', text: `pool ${name}: damaged map, ${map}` });
    return found;
  });
}

function diskFindings(disks: readonly Disk[]): Finding[] {
  const check = 'disks';
  const failed = disks.filter(({ state }) => state === 'failed');
  const found = failed.map(({ name, problem }): Finding => ({
    ...{ check, level: 'error', text: `disk ${name} is not served: ${problem ?? 'unknown'}` },
    remedy: `When its storage is in order again: gemel volume reopen ${name}`,
  }));
  const idle = disks.filter(({ maps, sessions }) => maps.length > 0 && sessions === 0).length;
  const there = disks.filter(({ state }) => state === 'elsewhere').length;
  const here = disks.length - there;
  const others = there === 0 ? '' : `; ${String(there)} more are on other nodes only`;
  const text = `${String(here - failed.length)} of ${String(here)} disks are served; ${String(idle)} mapped ones have no session${others}`;
  return [{ check, level: failed.length === 0 ? 'ok' : 'error', text }, ...found];
}

function sessionFindings(sessions: readonly Session[], { portals }: Status): Finding[] {
  const check = 'sessions';
  const byHost = new Map<string, Set<string>>();
  for (const { initiator, target, portal } of sessions) {
    if (target !== null) byHost.set(initiator, (byHost.get(initiator) ?? new Set()).add(portal));
  }
  const ok: Finding = {
    check,
    level: 'ok',
    text: `${String(byHost.size)} hosts have ${String(sessions.length)} sessions`,
  };
  const single = [...byHost].filter(([, used]) => portals.length > 1 && used.size === 1);
  return [
    ok,
    ...single.map(([host]): Finding => ({
      ...{ check, level: 'warning', text: `${host} uses one of ${String(portals.length)} portals: one cable, one way` },
      remedy: 'Log in on the others as well and use multipath there.',
    })),
  ];
}

function alertFindings(alerts: readonly Alert[]): Finding[] {
  if (alerts.length === 0)
    return [{ check: 'alerts', level: 'ok', text: 'nothing is wrong by the rules of the daemon' }];
  return alerts.map(({ severity, text }) => ({
    ...{ check: 'alerts', level: severity === 'error' || severity === 'critical' ? 'error' : 'warning', text },
  }));
}

function targetFindings(targets: readonly AlertTarget[]): Finding[] {
  const check = 'alert-targets';
  if (targets.length === 0) {
    const remedy = 'gemel alert target add --help';
    return [{ check, level: 'warning', text: 'nobody is told when something goes wrong', remedy }];
  }
  return targets.map(({ name, delivery: { lastError } }) =>
    lastError === null
      ? { check, level: 'ok', text: `${name} gets what is sent` }
      : {
          check,
          level: 'error',
          text: `${name}: ${lastError}`,
          remedy: `Correct its settings, then: gemel alert target test ${name}`,
        },
  );
}

function folderFindings({ folder }: DoctorOptions): Finding[] {
  const check = 'data-folder';
  if (!existsSync(join(folder, RUN_FILE))) {
    return [{ check, level: 'skipped', text: `no daemon of this machine has its data in ${folder}` }];
  }
  const { bavail, blocks, bsize } = statfsSync(folder);
  const share = bavail / blocks;
  const text = `${formatSize(bavail * bsize)} are free on the file system of ${folder}`;
  const level = share < FREE.error ? 'error' : share < FREE.warning ? 'warning' : 'ok';
  const remedy = 'Free space there: the catalog is in it, and pools that were made without --folder or --device.';
  return [{ check, level, text, ...(level === 'ok' ? {} : { remedy }) }];
}

/** Threads that wait for disks; of a daemon on this machine whose environment we may read. */
function threadFindings({ folder, root }: DoctorOptions): Finding[] {
  const check = 'thread-pool';
  const skipped = (text: string): Finding[] => [{ check, level: 'skipped', text }];
  try {
    const { pid } = JSON.parse(readFileSync(join(folder, RUN_FILE), 'utf8')) as { pid: number };
    const environment = readFileSync(join(root, 'proc', String(pid), 'environ'), 'utf8').split('\0');
    const size = environment.find((each) => each.startsWith('UV_THREADPOOL_SIZE='))?.split('=')[1];
    const cpus = readdirSync(join(root, 'sys/devices/system/cpu')).filter((name) => /^cpu\d+$/.test(name)).length;
    if (Number(size ?? 4) >= 8)
      return [{ check, level: 'ok', text: `${size ?? ''} threads wait for disks, ${String(cpus)} processors` }];
    const text = `only ${size ?? '4'} threads wait for disks`;
    return [
      { check, level: 'warning', text, remedy: 'Start it with gemeld, not with node; or set UV_THREADPOOL_SIZE.' },
    ];
  } catch {
    return skipped('the daemon is not on this machine, or you may not look at it');
  }
}
