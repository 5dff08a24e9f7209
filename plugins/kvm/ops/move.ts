// A disk of a running virtual machine moves into the storage, or out of it, while the machine goes on: QEMU copies it and
// changes over (libvirt's blockcopy).
import { rm, stat } from 'node:fs/promises';
import { ServiceError } from '../../../core/base/errors.ts';
import type { FlowStep } from '../../sdk/flow.ts';
import { ensureSecret } from '../ensure.ts';
import { holderOf } from '../identity.ts';
import { eventually, patiently, settled } from '../libvirt.ts';
import { sourceElement } from '../model/disk.ts';
import type { DomainDisk } from '../model/domain.ts';
import { parseDomain } from '../model/domain.ts';
import { child, element, mapChildren, toXml } from '../model/xml.ts';
import type { Element } from '../model/xml.ts';
import {
  ABORT_PIVOT,
  COPY_REUSE_EXT,
  COPY_TRANSIENT_JOB,
  XML_INACTIVE,
  blockCopy,
  blockInfo,
  blockJobAbort,
  blockJobInfo,
  domainDefine,
  domainXml,
} from '../rpc/procedures.ts';
import type { Domain } from '../rpc/types.ts';
import { readSecret } from '../settings.ts';
import type { StoredDisk } from '../storage.ts';
import { disksIn, domainNamed, isOf, isRunning, machineObject, operate, sourceFor, subjectOf } from './context.ts';
import type { OpsContext } from './context.ts';

/** Milliseconds a copy may stand still before it is given up. */
const STALLED = 120_000;

interface Moving {
  readonly uuid?: string;
  /** Bytes of the disk. */
  readonly size?: number;
}

interface Exporting extends Moving {
  readonly volume?: string;
}

/** The disk of a running domain becomes the new volume. Rejects with FlowFailed, after which it is where it was. */
export async function importDisk(
  context: OpsContext,
  request: {
    readonly domain: string;
    readonly dev: string;
    readonly volume: string;
    readonly pool?: string | undefined;
  },
  key: string,
): Promise<void> {
  const { libvirt, storage, settings } = context;
  const { domain: name, dev, volume, pool } = request;
  const subject = subjectOf(context, 'iscsi');
  const arrived = async (domain: Domain): Promise<boolean> => {
    const disk = await storage.find(volume);
    return disk !== undefined && isOf(await diskOf(context, domain, dev), disk);
  };
  const hasArrived = async (): Promise<boolean> => {
    const domain = await domainNamed(libvirt, name);
    return (await isRunning(libvirt, domain)) && (await arrived(domain));
  };
  /** It had changed over before that was found out: then the volume is its disk, and has to stay. */
  const refuseArrived = async (): Promise<void> => {
    if (await hasArrived()) throw new ServiceError('in-use', `${name} runs on volume '${volume}' already`);
  };
  const steps: FlowStep<Moving>[] = [
    {
      name: 'look',
      looks: true,
      do: async () => {
        const domain = await runningDomain(context, name);
        await diskOf(context, domain, dev);
        if ((await storage.find(volume)) !== undefined) {
          throw new ServiceError('exists', `there is a volume '${volume}' already`);
        }
        const { capacity } = await libvirt.call(blockInfo, { domain, path: dev, flags: 0 });
        return { uuid: domain.uuid, size: capacity };
      },
    },
    {
      name: 'create the volume',
      do: async (state) => {
        await storage.create(volume, state.size ?? 0, pool, key);
        return state;
      },
      undo: async ({ size = 0 }) => {
        await refuseArrived();
        const made = await storage.create(volume, size, pool, key).catch((error: unknown) => {
          if (error instanceof ServiceError && error.code !== 'daemon-unreachable') return undefined;
          throw error;
        });
        if (made !== undefined) await storage.remove(volume);
      },
    },
    {
      name: 'take the lease',
      do: async (state) => {
        await storage.lease(volume, holderOf(settings.host, state.uuid ?? ''));
        return state;
      },
      undo: async ({ uuid = '' }) => {
        await refuseArrived();
        await storage.release(volume, holderOf(settings.host, uuid));
      },
    },
    {
      name: 'map it',
      do: async (state) => {
        await storage.map(volume, subject);
        const { chap, initiator } = settings;
        if (chap !== undefined) await ensureSecret(libvirt, initiator, readSecret(chap.secretFile));
        return state;
      },
      undo: async () => {
        await refuseArrived();
        await storage.unmap(volume, subject);
      },
    },
    {
      name: 'copy',
      do: async (state, signal) => {
        const domain = await runningDomain(context, name);
        if (await arrived(domain)) return state;
        const to = diskFrom(context, await storage.volume(volume));
        await copyAndPivot(context, domain, dev, to, () => arrived(domain), signal);
        return state;
      },
      undo: async () => {
        await abandon(context, await domainNamed(libvirt, name), dev);
        await refuseArrived();
      },
    },
  ];
  // Once the machine runs on the volume there is no way back: what is behind that goes forward only.
  const after: FlowStep<Moving>[] = [
    {
      name: 'remember it',
      do: async (state) => {
        const source = diskFrom(context, await storage.volume(volume));
        await redefine(context, await domainNamed(libvirt, name), dev, source);
        return state;
      },
    },
  ];
  const title = `import ${dev} of ${name} as ${volume}`;
  const asked = { what: 'import', args: request, title, object: machineObject(name) };
  const rest = { steps: after, request: { imported: request }, passed: hasArrived };
  await operate(context, asked, steps, {}, { import: request }, key, { after: rest });
}

/** The disk becomes a file on the host; the volume is kept, without lease and map. Rejects with FlowFailed. */
export async function exportDisk(
  context: OpsContext,
  request: { readonly domain: string; readonly dev: string; readonly file: string },
  key: string,
): Promise<void> {
  const { libvirt, storage, settings } = context;
  const { domain: name, dev, file } = request;
  if (!/^\/[\x20-\x7e]+$/.test(file)) throw new ServiceError('bad-request', `'${file}' is no absolute path`);
  const arrived = async (domain: Domain): Promise<boolean> =>
    child((await diskOf(context, domain, dev)).element, 'source')?.attributes['file'] === file;
  const hasArrived = async (): Promise<boolean> => {
    const domain = await domainNamed(libvirt, name);
    return (await isRunning(libvirt, domain)) && (await arrived(domain));
  };
  const { kind } = settings.libvirt;
  const target = fileDisk(file);
  const steps: FlowStep<Exporting>[] = [
    {
      name: 'look',
      looks: true,
      do: async () => {
        const domain = await runningDomain(context, name);
        const own = await diskOf(context, domain, dev);
        const disk = (await storage.volumes()).find((each) => isOf(own, each));
        if (disk === undefined) throw new ServiceError('not-found', `${dev} of ${name} is no disk of ours`);
        if (kind === 'unix' && (await isThere(file)))
          throw new ServiceError('exists', `there is a file ${file} already`);
        return { uuid: domain.uuid, size: disk.size, volume: disk.name };
      },
    },
    {
      name: 'copy',
      do: async (state, signal) => {
        const domain = await runningDomain(context, name);
        if (!(await arrived(domain))) await copyAndPivot(context, domain, dev, target, () => arrived(domain), signal);
        return state;
      },
      undo: async () => {
        await abandon(context, await domainNamed(libvirt, name), dev);
        if (await hasArrived()) throw new ServiceError('in-use', `${name} runs on ${file} already`);
        // libvirt made it for the copy; it was not there before. Of another host it stays, and is refused by name next time.
        if (kind === 'unix') await rm(file, { force: true });
      },
    },
  ];
  const after: FlowStep<Exporting>[] = [
    {
      name: 'remember it',
      do: async (state) => {
        await redefine(context, await domainNamed(libvirt, name), dev, target);
        return state;
      },
    },
    {
      name: 'give the volume back',
      do: async (state) => {
        const { volume = '', uuid = '' } = state;
        await storage.unmap(volume, subjectOf(context, 'iscsi'));
        await storage.release(volume, holderOf(settings.host, uuid));
        return state;
      },
    },
  ];
  const title = `export ${dev} of ${name} to ${file}`;
  const asked = { what: 'export', args: request, title, object: machineObject(name) };
  const rest = { steps: after, request: { exported: request }, passed: hasArrived };
  await operate(context, asked, steps, {}, { export: request }, key, { after: rest });
}

async function isThere(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch {
    return false;
  }
}

async function runningDomain({ libvirt }: OpsContext, name: string): Promise<Domain> {
  const domain = await domainNamed(libvirt, name);
  if (await isRunning(libvirt, domain)) return domain;
  throw new ServiceError(
    'hypervisor-refused',
    `${name} does not run: only a running machine's disk is moved like this`,
  );
}

async function diskOf({ libvirt }: OpsContext, domain: Domain, dev: string): Promise<DomainDisk> {
  const found = (await disksIn(libvirt, domain)).find((each) => each.dev === dev);
  if (found === undefined) throw new ServiceError('not-found', `${domain.name} has no disk ${dev}`);
  return found;
}

/** A `<disk>` that says where a copy goes. */
function diskFrom(context: OpsContext, disk: StoredDisk): Element {
  const driver = element('driver', {
    name: 'qemu',
    type: 'raw',
    cache: 'none',
    discard: 'unmap',
    detect_zeroes: 'unmap',
  });
  return element('disk', { type: 'network', device: 'disk' }, driver, sourceElement(sourceFor(context, disk, 'iscsi')));
}

function fileDisk(file: string): Element {
  const driver = element('driver', { name: 'qemu', type: 'raw' });
  return element('disk', { type: 'file', device: 'disk' }, driver, element('source', { file }));
}

async function copyAndPivot(
  context: OpsContext,
  domain: Domain,
  dev: string,
  to: Element,
  arrived: () => Promise<boolean>,
  signal?: AbortSignal,
): Promise<void> {
  const { libvirt } = context;
  const changedOver = (): Promise<boolean> => patiently(arrived);
  const job = async (): Promise<{ current: number; end: number } | undefined> => {
    const info = await libvirt.call(blockJobInfo, { domain, path: dev, flags: 0 });
    return info.found === 0 ? undefined : info;
  };
  const reuse = to.attributes['type'] === 'network' ? COPY_REUSE_EXT : 0;
  if ((await job()) === undefined) {
    const flags = COPY_TRANSIENT_JOB | reuse;
    await settled(
      () => libvirt.call(blockCopy, { domain, path: dev, xml: toXml(to), params: [], flags }),
      async () => (await job()) !== undefined,
    );
  }
  let last = -1;
  let moved = Date.now();
  const ready = await eventually(
    async () => {
      // Before it has changed over; a copy takes hours.
      signal?.throwIfAborted();
      const own = await diskOf(context, domain, dev);
      if (own.mirrored === true) return true;
      const info = await job();
      if (info === undefined)
        throw new ServiceError('hypervisor-refused', `the copy of ${dev} of ${domain.name} has failed`);
      if (info.current !== last) moved = Date.now();
      last = info.current;
      return Date.now() - moved > STALLED ? false : undefined;
    },
    Infinity,
    200,
  );
  if (ready !== true) throw new ServiceError('hypervisor-refused', `the copy of ${dev} of ${domain.name} stands still`);
  await settled(() => libvirt.call(blockJobAbort, { domain, path: dev, flags: ABORT_PIVOT }), changedOver);
  const over = await eventually(async () => ((await changedOver()) ? true : undefined), STALLED);
  if (over === undefined) throw new ServiceError('hypervisor-refused', `${domain.name} has not changed over`);
}

/** Ends a copy under way; what was there stays the disk. */
async function abandon({ libvirt }: OpsContext, domain: Domain, dev: string): Promise<void> {
  if (!(await isRunning(libvirt, domain))) return;
  const { found } = await libvirt.call(blockJobInfo, { domain, path: dev, flags: 0 });
  if (found !== 0) await libvirt.call(blockJobAbort, { domain, path: dev, flags: 0 });
}

/** The definition gets the disk the machine runs on. */
async function redefine({ libvirt }: OpsContext, domain: Domain, dev: string, disk: Element): Promise<void> {
  const { xml } = await libvirt.call(domainXml, { domain, flags: XML_INACTIVE });
  const changed = mapChildren(parseDomain(xml), (part) => {
    if (typeof part === 'string' || part.name !== 'devices') return part;
    return mapChildren(part, (device) => {
      if (typeof device === 'string' || device.name !== 'disk') return device;
      if (child(device, 'target')?.attributes['dev'] !== dev) return device;
      const kept = mapChildren(device, (each) =>
        typeof each !== 'string' && ['driver', 'source', 'auth', 'backingStore'].includes(each.name) ? undefined : each,
      );
      const attributes = { ...kept.attributes, type: disk.attributes['type'] ?? 'file' };
      return { ...kept, attributes, children: [...disk.children, ...kept.children] };
    });
  });
  await libvirt.call(domainDefine, { xml: toXml(changed), flags: 0 });
}
