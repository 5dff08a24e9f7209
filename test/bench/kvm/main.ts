// `npm run bench:kvm [-- operations|agent]`: how long operations on virtual machines take, and what the agent costs when nothing happens; each
// against what is wanted of it. Ends with status 1 when something is not as wanted.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { attachDisk, detachDisk } from '../../../plugins/kvm/ops/attach.ts';
import { cloneDomain } from '../../../plugins/kvm/ops/clone.ts';
import { domainNamed } from '../../../plugins/kvm/ops/context.ts';
import { provisionDisk } from '../../../plugins/kvm/provisioning.ts';
import { Reports, leftFolder } from '../../../plugins/kvm/reports.ts';
import { domainDestroy, domainUndefine, listAllPools } from '../../../plugins/kvm/rpc/procedures.ts';
import { atExit } from '../../support/cleanup.ts';
import { withKvmHost } from '../../support/kvm-host.ts';
import type { KvmHost } from '../../support/kvm-host.ts';
import { needsLibvirtd } from '../../support/libvirtd.ts';
import { projectFile } from '../../support/project.ts';

const ROUNDS = 5;
/** LUNs the agent looks after, and targets they are in. */
const LUNS = 500;
const TARGETS = 10;
/** Milliseconds after which nothing of its beginning is left, and for which it is watched while nothing happens. */
const SETTLED = 10_000;
const WATCHED = 60_000;
const KINDS = [
  ['network disk', { way: 'iscsi', form: 'disk', bus: 'scsi' }],
  ["device='lun'", { way: 'iscsi', form: 'lun', bus: 'scsi' }],
  ['NBD unix socket', { way: 'nbd', form: 'disk', bus: 'scsi' }],
  ['vhost-user-blk', { way: 'vhost-user', form: 'disk', bus: 'virtio' }],
] as const;
const SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>";
const GIB = 2 ** 30;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;

/** Prints a figure with its verdict. `digits` behind the point. */
function judge(what: string, value: number, limit: number, unit: string, digits = 0): void {
  const verdict = value < limit ? 'met' : 'MISSED';
  if (!(value < limit)) process.exitCode = 1;
  const shown = `${value.toFixed(digits)} ${unit}`;
  console.log(`${what.padEnd(44)} ${shown.padStart(12)}   wanted < ${String(limit)} ${unit}   ${verdict}`);
}

async function operations(host: KvmHost): Promise<void> {
  const { libvirt, settings, call } = host;
  // As on the command line: the daemon is told of each, as its job.
  const reports = new Reports({ folder: leftFolder(settings.state), host: settings.host, call });
  const context = { ...host.context, reports };
  await context.storage.knowHost(settings.host, settings.initiator, undefined);
  const provision: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const wanted = { name: `p${String(i)}`, size: 20 * GIB };
    provision.push(await timed(() => provisionDisk(wanted, libvirt, settings, call, randomUUID(), reports)));
  }
  judge('provision to visible in the pool', median(provision), 500, 'ms');
  mkdirSync(settings.vhostFolder, { recursive: true });
  for (const [number, [what, how]] of KINDS.entries()) {
    const times: number[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      // A machine for each: firmware lets go of nothing on PCI.
      const name = `m${String(number)}-${String(i)}`;
      const domain = await host.machine(name, '', SHARED);
      const request = { domain: name, volume: `p${String(i)}` };
      times.push(await timed(() => attachDisk(context, { ...request, ...how }, randomUUID())));
      await reports.settled();
      await libvirt.call(domainDestroy, { domain });
      await detachDisk(context, { ...request, keepMap: false }, randomUUID());
      await libvirt.call(domainUndefine, { domain, flags: 0 });
    }
    judge(`hot attach, ${what}`, median(times), 200, 'ms');
  }
  await host.machine('one');
  const { form, bus, way } = KINDS[0][1];
  await attachDisk(context, { domain: 'one', volume: 'p0', form, bus, way }, randomUUID());
  const clone: number[] = [];
  for (let i = 0; i < 3; i++) {
    const name = `c${String(i)}`;
    clone.push(await timed(() => cloneDomain(context, { from: 'one', name, start: true }, randomUUID())));
    const domain = await domainNamed(libvirt, name);
    await libvirt.call(domainDestroy, { domain });
    await libvirt.call(domainUndefine, { domain, flags: 0 });
  }
  judge('clone of a machine with 20 GiB, to running', median(clone), 3000, 'ms');
  await reports.settled();
}

interface Usage {
  /** MiB. */
  readonly rss: number;
  /** Seconds of processor. */
  readonly cpu: number;
}

function usageOf(pid: number): Usage {
  const status = readFileSync(`/proc/${String(pid)}/status`, 'utf8');
  const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
  // proc(5): utime and stime, in hundredths of a second, are fields 14 and 15; the name before them may contain anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return {
    rss: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024,
    cpu: (Number(fields[11]) + Number(fields[12])) / 100,
  };
}

async function agent(host: KvmHost): Promise<void> {
  const call = host.client.call.bind(host.client);
  for (let target = 0; target < TARGETS; target++) {
    for (let lun = 0; lun < LUNS / TARGETS; lun++) {
      const name = `t${String(target)}-${String(lun)}`;
      const body = {
        name,
        size: 2 ** 30,
        target: `t${String(target)}`,
        maps: [{ initiator: host.settings.initiator }],
      };
      await call('POST', '/volumes', body);
    }
  }
  const token = join(host.settings.state, '..', 'token');
  writeFileSync(token, host.daemon.ready.token, { mode: 0o600 });
  const settings = {
    ...(JSON.parse(readFileSync(host.settingsFile, 'utf8')) as object),
    api: host.daemon.ready.api,
    tokenFile: token,
  };
  writeFileSync(host.settingsFile, JSON.stringify(settings));
  const flags = ['--max-old-space-size=64', '--max-semi-space-size=1'];
  const args = [...flags, projectFile('dist', 'plugins', 'kvm', 'agent', 'main.js'), host.settingsFile];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const forget = atExit(() => child.kill('SIGKILL'));
  const { pid = 0 } = child;
  try {
    const start = performance.now();
    for (;;) {
      const { count } = await host.libvirtd.libvirt.call(listAllPools, { needed: 1, flags: 0 });
      if (count >= TARGETS) break;
      if (performance.now() - start > 120_000) throw new Error('the agent does not make the pools');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    console.log(`agent: ${String(LUNS)} LUNs shown after ${((performance.now() - start) / 1000).toFixed(1)} s`);
    await new Promise((resolve) => setTimeout(resolve, SETTLED));
    const before = usageOf(pid);
    await new Promise((resolve) => setTimeout(resolve, WATCHED));
    const after = usageOf(pid);
    judge('agent idle: memory', after.rss, 60, 'MiB', 1);
    judge('agent idle: processor', ((after.cpu - before.cpu) / WATCHED) * 100_000, 0.5, '%', 2);
  } finally {
    child.kill('SIGTERM');
    forget();
  }
}

const missing = needsLibvirtd();
if (missing !== false) console.log(`skipped: ${missing}`);
else {
  const [only] = process.argv.slice(2);
  if (only !== 'agent') await withKvmHost({ chap: false }, operations);
  if (only !== 'operations') await withKvmHost({ chap: false }, agent);
}
