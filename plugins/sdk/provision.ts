// The one way in which every console gets a disk for its hosts: made by us, mapped, found by its NAA identifier, formatted
// once, and reachable by every path - or not there at all.
import { ServiceError } from '../../core/base/errors.ts';
import { runFlow } from './flow.ts';
import type { FlowJournal, FlowOptions, FlowStep } from './flow.ts';
import type { HostAdapter, HostDisk, HostIdentity } from './host-adapter.ts';
import type { Storage, StoredVolume } from './storage.ts';

/** Milliseconds a disk may take to appear at a host, or its paths, and between two looks. */
const PATIENCE = 60_000;
const INTERVAL = 1000;

export interface ProvisionRequest {
  /** Name of the volume, and of what is made on it. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly pool?: string;
  /** Names of the hosts, as the console has them. */
  readonly hosts: readonly string[];
}

/** What the flow knows so far. */
export interface Provisioning {
  readonly hosts: readonly HostIdentity[];
  readonly volume: StoredVolume | undefined;
  /** By host, in their order. */
  readonly disks: readonly HostDisk[];
}

export interface ProvisionTools {
  readonly storage: Storage;
  readonly adapter: HostAdapter;
  readonly journal: FlowJournal<Provisioning>;
  /** Resolves after so many milliseconds. */
  readonly pause: (ms: number) => Promise<void>;
  readonly now: () => number;
  readonly patiently?: FlowOptions<Provisioning>['patiently'];
}

/**
 * Provides a disk. The same `key` and request again: the same disk, also after a crash in between. Rejects with FlowFailed
 * after undoing everything, or naming what could not be undone.
 */
export async function provision(
  tools: ProvisionTools,
  request: ProvisionRequest,
  key: string,
  options: Pick<FlowOptions<Provisioning>, 'progress' | 'signal'> = {},
): Promise<{ readonly volume: StoredVolume; readonly disks: readonly HostDisk[] }> {
  if (request.hosts.length === 0) throw new ServiceError('bad-request', 'a disk is provided to at least one host');
  const first: Provisioning = { hosts: [], volume: undefined, disks: [] };
  const { name, size, pool, hosts } = request;
  const text = JSON.stringify({ name, size, pool, hosts });
  const all = { ...options, ...patience(tools), key, request: text, journal: tools.journal };
  const { volume, disks } = await runFlow(provisionSteps(tools, request, key), first, all);
  return { volume: made(volume), disks };
}

/**
 * Takes a disk away again: out of use at its hosts, then from the storage, which keeps it for a while like every deleted volume.
 * Rejects with FlowFailed where it cannot go on; the same key goes on there.
 */
export async function withdraw(
  tools: ProvisionTools,
  request: Pick<ProvisionRequest, 'name' | 'hosts'>,
  key: string,
  options: Pick<FlowOptions<Provisioning>, 'progress'> = {},
): Promise<void> {
  const { name, hosts } = request;
  const { storage, adapter } = tools;
  const nothing: Provisioning = { hosts: [], volume: undefined, disks: [] };
  const look: Step = {
    name: 'look up the volume',
    looks: true,
    do: async () => {
      const volume = await storage.volume(name);
      return { hosts: await adapter.hosts(hosts), volume, disks: [] };
    },
  };
  // What undoes a step of providing takes it away, too.
  const back = [format(tools, name), connect(tools), map(tools)].map(({ name: what, undo }): Step => ({
    name: `undo: ${what}`,
    do: async (state) => {
      if (state.volume !== undefined) await undo?.(state);
      return state;
    },
  }));
  const remove: Step = {
    name: 'delete the volume',
    do: async (state) => {
      await storage.deleteVolume(name);
      return state;
    },
  };
  const text = JSON.stringify({ withdraw: name, hosts });
  const all = { ...options, ...patience(tools), key, request: text, journal: tools.journal };
  await runFlow([look, ...back, remove], nothing, { ...all, forward: true });
}

const patience = ({ patiently }: ProvisionTools): Pick<FlowOptions<Provisioning>, 'patiently'> =>
  patiently === undefined ? {} : { patiently };

type Step = FlowStep<Provisioning>;

function provisionSteps(tools: ProvisionTools, request: ProvisionRequest, key: string): Step[] {
  return [
    reserve(tools, request),
    create(tools, request, key),
    map(tools),
    connect(tools),
    find(tools),
    format(tools, request.name),
    verify(tools),
  ];
}

/** Looks before anything is changed. */
function reserve({ storage, adapter }: ProvisionTools, { name, hosts }: ProvisionRequest): Step {
  return {
    name: 'look up the hosts',
    looks: true,
    do: async (state) => {
      if ((await storage.volume(name)) !== undefined) {
        throw new ServiceError('exists', `there is a volume ${name} already`);
      }
      const found = await adapter.hosts(hosts);
      const mute = found.filter(({ iqns }) => iqns.length === 0).map((host) => host.name);
      if (mute.length > 0) throw new ServiceError('not-found', `no iSCSI initiator: ${mute.join(', ')}`);
      return { ...state, hosts: found };
    },
  };
}

function create(tools: ProvisionTools, { name, size, pool }: ProvisionRequest, key: string): Step {
  const { storage } = tools;
  const wanted = { name, size, pool };
  return {
    name: 'create the volume',
    do: async (state) => {
      await storage.createVolume(wanted, key);
      const volume = await eventually(tools, async () => {
        const now = await storage.volume(name);
        if (now === undefined) throw new ServiceError('not-found', `volume ${name} has been deleted meanwhile`);
        return now.ready ? now : (now.problem ?? 'it is not in step yet');
      });
      return { ...state, volume };
    },
    undo: async () => {
      // When the answer got lost nobody knows whether it is there. The same key finds our own, or makes it; the name of
      // somebody else's is refused, and that one stays.
      const ours = await storage.createVolume(wanted, key).catch((error: unknown) => {
        if (error instanceof ServiceError && error.code !== 'daemon-unreachable') return undefined;
        throw error;
      });
      if (ours !== undefined) await storage.deleteVolume(name);
    },
  };
}

function map({ storage }: ProvisionTools): Step {
  const each = async (state: Provisioning, work: (name: string, iqn: string) => Promise<void>): Promise<void> => {
    if (state.volume === undefined) return;
    for (const { iqns } of state.hosts) for (const iqn of iqns) await work(state.volume.name, iqn);
  };
  return {
    name: 'map it to the hosts',
    do: async (state) => {
      await each(state, (name, iqn) => storage.map(name, iqn));
      return state;
    },
    undo: (state) => each(state, (name, iqn) => storage.unmap(name, iqn)),
  };
}

function connect({ adapter }: ProvisionTools): Step {
  return {
    name: 'connect the hosts',
    do: async (state) => {
      const volume = made(state.volume);
      for (const host of state.hosts) await adapter.connect(host, volume);
      return state;
    },
    undo: async (state) => {
      const volume = made(state.volume);
      await allOf(state.hosts, (host) => adapter.disconnect(host, volume));
    },
  };
}

function find(tools: ProvisionTools): Step {
  const { adapter } = tools;
  return {
    name: 'find the disk',
    do: async (state) => {
      const { naa, size } = made(state.volume);
      const disks: HostDisk[] = [];
      for (const host of state.hosts) {
        const disk = await eventually(tools, async () => {
          await adapter.rescan(host);
          return (await adapter.findDisk(host, naa)) ?? `host ${host.name} does not see disk naa.${naa}`;
        });
        // By its identity and nothing else: names and numbers are of whatever came first.
        if (disk.naa !== naa || disk.size !== size) {
          throw new ServiceError('internal', `host ${host.name} takes ${disk.id} for disk naa.${naa}, which it is not`);
        }
        disks.push(disk);
      }
      return { ...state, disks };
    },
  };
}

function format({ adapter, ...tools }: ProvisionTools, label: string): Step {
  return {
    name: 'format the disk',
    do: async (state) => {
      const [host] = state.hosts as [HostIdentity];
      const { naa } = made(state.volume);
      const disk = await adapter.findDisk(host, naa);
      if (disk === undefined) throw new ServiceError('not-found', `host ${host.name} has lost disk naa.${naa}`);
      // What a flow that died had begun has this label. Nothing else is ever overwritten.
      if (disk.content !== undefined && disk.content !== label) {
        throw new ServiceError('in-use', `disk naa.${naa} is not empty: ${disk.content}`);
      }
      if (disk.content === undefined) await adapter.format(host, disk, label);
      const disks: HostDisk[] = [];
      for (const each of state.hosts) {
        const seen = await eventually({ adapter, ...tools }, async () => {
          await adapter.rescan(each);
          const now = await adapter.findDisk(each, naa);
          return now?.content === label ? now : `host ${each.name} does not see ${label}`;
        });
        disks.push(seen);
      }
      return { ...state, disks };
    },
    undo: async (state) => {
      const [host] = state.hosts as [HostIdentity];
      const disk = await adapter.findDisk(host, made(state.volume).naa);
      if (disk?.content === label) await adapter.unformat(host, disk, label);
    },
  };
}

function verify(tools: ProvisionTools): Step {
  const { adapter } = tools;
  return {
    name: 'verify every path',
    do: async (state) => {
      const { portals } = made(state.volume);
      for (const [i, host] of state.hosts.entries()) {
        await eventually(tools, async () => {
          const paths = await adapter.paths(host, state.disks[i] as HostDisk);
          const usable = new Set(paths.filter((path) => path.usable).map((path) => path.portal));
          const missing = portals.filter((portal) => !usable.has(portal));
          return missing.length === 0 ? true : `host ${host.name} has no path through ${missing.join(', ')}`;
        });
      }
      return state;
    },
  };
}

function made(volume: StoredVolume | undefined): StoredVolume {
  if (volume === undefined) throw new ServiceError('not-found', 'the volume was not made');
  return volume;
}

/** Does it for all, and then rejects with what failed. */
async function allOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  for (const item of items) await work(item).catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

/** Looks until there is something else than a text, which says what is missing; that is the error after a while. */
async function eventually<T extends object | true>(tools: ProvisionTools, look: () => Promise<T | string>): Promise<T> {
  const end = tools.now() + PATIENCE;
  for (;;) {
    const found = await look();
    if (typeof found !== 'string') return found;
    if (tools.now() >= end) throw new ServiceError('not-found', `${found} (after ${String(PATIENCE / 1000)} s)`);
    await tools.pause(INTERVAL);
  }
}
