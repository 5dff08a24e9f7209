// `npm run bench:kvm [-- operations|agent]`: how long operations on virtual machines take, and what the agent costs when nothing happens.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { attachDisk, detachDisk } from '../../../plugins/kvm/ops/attach.ts';
import { cloneDomain } from '../../../plugins/kvm/ops/clone.ts';
import { domainNamed } from '../../../plugins/kvm/ops/context.ts';
import { provisionDisk } from '../../../plugins/kvm/provisioning.ts';
import { domainDestroy, domainUndefine, listAllPools } from '../../../plugins/kvm/rpc/procedures.ts';
import { atExit } from '../../support/cleanup.ts';
import { withKvmHost } from '../../support/kvm-host.ts';
import type { KvmHost } from '../../support/kvm-host.ts';
import { needsLibvirtd } from '../../support/libvirtd.ts';
import { projectFile } from '../../support/project.ts';

const ROUNDS = 10;
/** LUNs the agent looks after, and targets they are in. */
const LUNS = 500;
const TARGETS = 10;
/** Milliseconds it is watched while nothing happens. */
const WATCHED = 20_000;
const ATTACH = { way: 'iscsi', form: 'disk', bus: 'scsi' } as const;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;
const row = (what: string, value: string, wanted: string): void => {
  console.log(`${what.padEnd(44)} ${value.padStart(12)}   wanted ${wanted}`);
};

async function operations(host: KvmHost): Promise<void> {
  const { context, libvirt, settings, call } = host;
  const provision: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const wanted = { name: `p${String(i)}`, size: 20 * 2 ** 30 };
    provision.push(await timed(() => provisionDisk(wanted, libvirt, settings, call, randomUUID())));
  }
  row('provision to visible in the pool', `${median(provision).toFixed(0)} ms`, '< 500 ms');
  await host.machine('one');
  const attach: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const request = { domain: 'one', volume: `p${String(i)}` };
    attach.push(await timed(() => attachDisk(context, { ...request, ...ATTACH }, randomUUID())));
    if (i > 0) await detachDisk(context, { ...request, keepMap: true }, randomUUID());
  }
  row('hot attach', `${median(attach).toFixed(0)} ms`, '< 200 ms');
  const clone: number[] = [];
  for (let i = 0; i < 3; i++) {
    clone.push(
      await timed(() => cloneDomain(context, { from: 'one', name: `c${String(i)}`, start: true }, randomUUID())),
    );
    const domain = await domainNamed(libvirt, `c${String(i)}`);
    await libvirt.call(domainDestroy, { domain });
    await libvirt.call(domainUndefine, { domain, flags: 0 });
  }
  row('clone of a machine with 20 GiB, to running', `${median(clone).toFixed(0)} ms`, '< 3000 ms');
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
    row(`agent: ${String(LUNS)} LUNs shown after`, `${((performance.now() - start) / 1000).toFixed(1)} s`, '');
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    const before = usageOf(pid);
    await new Promise((resolve) => setTimeout(resolve, WATCHED));
    const after = usageOf(pid);
    row('agent idle: memory', `${after.rss.toFixed(1)} MiB`, '< 60 MiB');
    row('agent idle: processor', `${(((after.cpu - before.cpu) / WATCHED) * 100_000).toFixed(2)} %`, '< 0.5 %');
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
