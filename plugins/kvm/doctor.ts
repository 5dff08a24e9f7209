// Checks of a KVM host: what libvirt, its virtual machines and the kernel say, against what the catalog says, with the remedy.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../core/base/errors.ts';
import { isOurPool, holderOf } from './identity.ts';
import { lunOf, parsePool } from './model/pool.ts';
import type { PoolModel } from './model/pool.ts';
import type { DomainDisk } from './model/domain.ts';
import { disksIn, isOf } from './ops/context.ts';
import type { OpsContext } from './ops/context.ts';
import { listAllDomains, listAllPools, listVolumes, poolActive, poolAutostart, poolXml } from './rpc/procedures.ts';
import type { Domain, Pool } from './rpc/types.ts';
import type { KvmSettings } from './settings.ts';
import type { StoredDisk } from './storage.ts';
import { isVhostServed } from './vhost.ts';

export interface HostFinding {
  readonly check: string;
  readonly level: 'ok' | 'warning' | 'error' | 'skipped';
  readonly text: string;
  readonly remedy?: string;
}

/** Commands a path should be able to have under way, and seconds the kernel gives one before it resets everything. */
const QUEUE_DEPTH = 32;
const TIMEOUT = { least: 30, most: 180 };

interface Machine {
  readonly domain: Domain;
  readonly disks: readonly DomainDisk[];
}

interface Shown {
  readonly pool: Pool;
  readonly model: PoolModel;
  readonly active: boolean;
}

/** All findings. Never rejects: what cannot be asked is a finding too. `root`: where the file system begins. */
export async function examineHost(context: OpsContext, root: string): Promise<HostFinding[]> {
  const { storage, settings } = context;
  const findings: HostFinding[] = [];
  let volumes: StoredDisk[];
  try {
    volumes = await storage.volumes();
  } catch (error) {
    findings.push({ check: 'daemon', level: 'error', text: messageOf(error), remedy: 'See gemel doctor.' });
    volumes = [];
  }
  const known = new Set(await storage.visibleTo(settings.host).catch(() => []));
  const mine = volumes.filter(
    (each) => known.has(each.name) || each.maps.some((map) => map.initiator === settings.initiator),
  );
  try {
    findings.push(...(await poolFindings(context, mine)));
    const machines = await machinesOf(context);
    findings.push(...machineFindings(machines, volumes, settings.host));
    findings.push(...vhostFindings(machines, settings));
  } catch (error) {
    findings.push({
      check: 'libvirt',
      level: 'error',
      text: messageOf(error),
      remedy: 'Start libvirtd, or correct --libvirt.',
    });
  }
  return [...findings, ...kernelFindings(root, mine)];
}

async function poolsOf({ libvirt }: OpsContext): Promise<Shown[]> {
  const { pools } = await libvirt.call(listAllPools, { needed: 1, flags: 0 });
  const found: Shown[] = [];
  for (const pool of pools) {
    const model = parsePool((await libvirt.call(poolXml, { pool, flags: 0 })).xml);
    if (model === undefined || !isOurPool(pool, model.target)) continue;
    found.push({ pool, model, active: (await libvirt.call(poolActive, { pool })).active !== 0 });
  }
  return found;
}

async function poolFindings(context: OpsContext, mine: readonly StoredDisk[]): Promise<HostFinding[]> {
  const { libvirt } = context;
  const check = 'pools';
  const findings: HostFinding[] = [];
  const shown = await poolsOf(context);
  for (const { pool, model, active } of shown) {
    const disks = mine.filter(({ iqn }) => iqn === model.target);
    if (disks.length === 0) {
      const text = `pool ${pool.name} shows a target that has nothing for this host`;
      findings.push({
        check,
        level: 'warning',
        text,
        remedy: 'Run gemel kvm agent, or virsh pool-destroy and pool-undefine it.',
      });
      continue;
    }
    if (!active) {
      const text = `pool ${pool.name} is not active: machines that start now do not find their disks in it`;
      const remedy = `Run gemel kvm agent, which starts it again, or virsh pool-start ${pool.name}; its message says why it ended.`;
      findings.push({ check, level: 'error', text, remedy });
      continue;
    }
    if ((await libvirt.call(poolAutostart, { pool })).autostart === 0) {
      const text = `pool ${pool.name} does not start with the host`;
      findings.push({ check, level: 'warning', text, remedy: `virsh pool-autostart ${pool.name}` });
    }
    const { volumes } = await libvirt.call(listVolumes, { pool, needed: 1, flags: 0 });
    const there = new Set(volumes.map(({ name }) => lunOf(name)));
    const missing = disks.filter(({ lun }) => !there.has(lun)).map(({ name }) => name);
    const gone = [...there].filter((lun) => !disks.some((each) => each.lun === lun));
    if (missing.length === 0 && gone.length === 0) continue;
    const text = `pool ${pool.name} is stale: ${missing.length > 0 ? `${missing.join(', ')} not shown` : `LUN ${gone.join(', ')} is gone`}`;
    findings.push({
      check,
      level: 'warning',
      text,
      remedy: `virsh pool-refresh ${pool.name}, or run gemel kvm agent.`,
    });
  }
  const unseen = mine.filter(
    ({ iqn, state }) => state === 'online' && !shown.some(({ model }) => model.target === iqn),
  );
  if (unseen.length > 0) {
    const text = `no pool shows ${unseen
      .map(({ name }) => name)
      .slice(0, 5)
      .join(', ')}${unseen.length > 5 ? ' and others' : ''}`;
    findings.push({
      check,
      level: 'warning',
      text,
      remedy: 'Run gemel kvm agent (manifests/systemd/gemel-kvm-agent.service).',
    });
  }
  if (findings.length === 0)
    findings.push({ check, level: 'ok', text: `${String(shown.length)} pools are as the catalog says` });
  return findings;
}

async function machinesOf({ libvirt }: OpsContext): Promise<Machine[]> {
  const { domains } = await libvirt.call(listAllDomains, { needed: 1, flags: 0 });
  const found: Machine[] = [];
  for (const domain of domains) found.push({ domain, disks: await disksIn(libvirt, domain) });
  return found;
}

/** Double attachments, missing leases, and settings that waste space or lose data. */
export function machineFindings(
  machines: readonly Machine[],
  volumes: readonly StoredDisk[],
  host: string,
): HostFinding[] {
  const findings: HostFinding[] = [];
  let ours = 0;
  for (const volume of volumes) {
    const users = machines.flatMap(({ domain, disks }) =>
      disks.filter((each) => isOf(each, volume)).map((disk) => ({ domain, disk })),
    );
    ours += users.length;
    const [first, second] = users;
    if (first === undefined) continue;
    if (second !== undefined) {
      const text = `volume ${volume.name} is a disk of ${users.map(({ domain, disk }) => `${domain.name} (${disk.dev})`).join(' and ')}`;
      const remedy =
        'Shut one of them down at once: two guests that write to one disk destroy it. Then detach it there.';
      findings.push({ check: 'double-attach', level: 'error', text, remedy });
    }
    const holder = holderOf(host, first.domain.uuid);
    if (volume.lease === null) {
      const text = `${first.domain.name} has volume ${volume.name} without its lease: another host may attach it, too`;
      const remedy = `Detach it, and attach it with gemel kvm attach ${first.domain.name} ${volume.name}.`;
      findings.push({ check: 'leases', level: 'warning', text, remedy });
    } else if (volume.lease.holder !== holder) {
      const text = `${first.domain.name} has volume ${volume.name}, whose lease is held by ${volume.lease.holder}`;
      findings.push({
        check: 'leases',
        level: 'error',
        text,
        remedy: 'Find out who uses it before anything is started.',
      });
    }
    for (const { domain, disk } of users) findings.push(...settingFindings(domain, disk, volume));
  }
  if (findings.length === 0)
    findings.push({ check: 'machines', level: 'ok', text: `${String(ours)} disks of ours, each in one machine` });
  return findings;
}

function settingFindings(domain: Domain, disk: DomainDisk, volume: StoredDisk): HostFinding[] {
  const findings: HostFinding[] = [];
  const where = `${disk.dev} of ${domain.name} (${volume.name})`;
  const { cache, discard } = disk.driver;
  const { source } = disk;
  if (volume.thin && disk.device === 'disk' && source?.kind !== 'vhost-user' && discard !== 'unmap') {
    const text = `${where} does not pass discards on: space the guest frees stays in use`;
    findings.push({
      check: 'discard',
      level: 'warning',
      text,
      remedy: "Set <driver discard='unmap' detect_zeroes='unmap'/>.",
    });
  }
  if (cache === 'unsafe') {
    const text = `${where} ignores flushes (cache='unsafe'): a power failure loses what the guest was told is safe`;
    findings.push({ check: 'cache', level: 'error', text, remedy: "Set <driver cache='none'/>." });
  } else if (cache !== undefined && cache !== 'none' && cache !== 'directsync') {
    const text = `${where} keeps data in QEMU's cache (cache='${cache}'): it takes memory twice, and hinders live migration`;
    findings.push({ check: 'cache', level: 'warning', text, remedy: "Set <driver cache='none'/>." });
  }
  // QEMU's own initiator has one path; on the address of one node it waits for that node.
  const portals = volume.urls.map((url) => new URL(url.replace(/^iscsi:/, 'http:')).host);
  if (source?.kind === 'iscsi' && portals.length > 1 && portals.includes(`${source.host}:${String(source.port)}`)) {
    const text = `${where} has the portal of one node as its only path: while that node is away the machine waits for it`;
    const remedy =
      'Have both nodes share an address (manifests/linux/keepalived-gemel.conf), set "portal" to it, and attach it anew.';
    findings.push({ check: 'paths', level: 'warning', text, remedy });
  }
  if (source?.kind === 'iscsi' && source.initiator === undefined) {
    const text = `${where} logs in under a name made of the machine's UUID, which nothing is mapped to after it is defined anew`;
    findings.push({
      check: 'initiator',
      level: 'warning',
      text,
      remedy: 'Write <initiator> into its source (gemel kvm attach does).',
    });
  }
  return findings;
}

/** Disks by vhost-user whose other side is not there. */
function vhostFindings(machines: readonly Machine[], settings: KvmSettings): HostFinding[] {
  return machines.flatMap(({ domain, disks }) =>
    disks.flatMap(({ dev, source }): HostFinding[] => {
      if (source?.kind !== 'vhost-user' || isVhostServed(settings, source.export)) return [];
      const text = `${dev} of ${domain.name} (${source.export}) is served by nobody: the machine waits for it, or does not start`;
      const remedy = `systemctl start gemel-vhost@${source.export}; its journal says why it ended.`;
      return [{ check: 'vhost-user', level: 'error', text, remedy }];
    }),
  );
}

/** Disks of ours the kernel has logged in to: paths, queue depth, timeouts. */
export function kernelFindings(root: string, mine: readonly StoredDisk[]): HostFinding[] {
  const check = 'kernel';
  const folder = join(root, 'sys/class/block');
  const paths = new Map<string, string[]>();
  const findings: HostFinding[] = [];
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => /^sd[a-z]+$/.test(name)) : [];
  for (const name of names) {
    const device = join(folder, name, 'device');
    if (read(join(device, 'vendor')) !== 'GEMEL') continue;
    const wwid = read(join(device, 'wwid')) ?? '';
    const known = mine.find(({ naa }) => wwid === naa)?.name ?? wwid;
    paths.set(known, [...(paths.get(known) ?? []), name]);
    const depth = Number(read(join(device, 'queue_depth')) ?? QUEUE_DEPTH);
    if (depth < QUEUE_DEPTH) {
      const text = `${name} (${known}) takes ${String(depth)} commands at a time`;
      const remedy = `Set node.session.queue_depth = ${String(QUEUE_DEPTH)} or more in /etc/iscsi/iscsid.conf; then log in anew.`;
      findings.push({ check: 'queue-depth', level: 'warning', text, remedy });
    }
    const timeout = Number(read(join(device, 'timeout')) ?? TIMEOUT.least);
    if (timeout < TIMEOUT.least || timeout > TIMEOUT.most) {
      const text = `the kernel gives a command of ${name} (${known}) ${String(timeout)} s`;
      const remedy = 'Install manifests/linux/60-gemel.rules as /etc/udev/rules.d/60-gemel.rules: it sets 60 s.';
      findings.push({ check: 'timeouts', level: 'warning', text, remedy });
    }
    if (read(join(folder, name, 'queue/discard_max_bytes')) === '0') {
      const text = `${name} (${known}) takes no discards`;
      const remedy = 'Install manifests/linux/60-gemel.rules, and echo unmap into its provisioning_mode.';
      findings.push({ check: 'discard', level: 'warning', text, remedy });
    }
  }
  for (const [known, devices] of paths) {
    if (devices.length > 1) continue;
    const text = `${known} has one path (${devices.join('')}): when its portal is away, so is the disk`;
    const remedy = 'Log in through every portal, and install manifests/linux/multipath-gemel.conf.';
    findings.push({ check: 'paths', level: 'warning', text, remedy });
  }
  if (names.length === 0 || paths.size === 0)
    findings.push({ check, level: 'ok', text: 'no disk of ours is used through the kernel' });
  else if (findings.length === 0)
    findings.push({ check, level: 'ok', text: `${String(paths.size)} disks, each with several paths` });
  return findings;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
      .trim()
      .replace(/^naa\./, 'naa.');
  } catch {
    return undefined;
  }
}

export function findingsText(findings: readonly HostFinding[]): string {
  return findings
    .map(
      ({ check, level, text, remedy }) =>
        `${level.padEnd(8)} ${check.padEnd(14)} ${text}${remedy === undefined ? '' : `\n${' '.repeat(24)}-> ${remedy}`}`,
    )
    .join('\n');
}
