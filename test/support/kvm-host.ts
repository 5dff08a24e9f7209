// A KVM host for tests: a daemon, a libvirtd of its own, and the operations between them, with failures wherever they are wanted.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { ServiceError } from '../../core/base/errors.ts';
import type { Caller } from '../../plugins/kvm/libvirt.ts';
import { child } from '../../plugins/kvm/model/xml.ts';
import { disksIn } from '../../plugins/kvm/ops/context.ts';
import type { OpsContext } from '../../plugins/kvm/ops/context.ts';
import {
  domainDefine,
  domainStart,
  domainState,
  listAllDomains,
  listAllPools,
} from '../../plugins/kvm/rpc/procedures.ts';
import type { Procedure } from '../../plugins/kvm/rpc/procedures.ts';
import type { Domain } from '../../plugins/kvm/rpc/types.ts';
import { readSettings } from '../../plugins/kvm/settings.ts';
import type { KvmSettings } from '../../plugins/kvm/settings.ts';
import { KvmStorage } from '../../plugins/kvm/storage.ts';
import type { StoredDisk } from '../../plugins/kvm/storage.ts';
import { ApiClient } from '../../plugins/sdk/client.ts';
import type { ApiCall } from '../../plugins/sdk/typed-api.ts';
import { atExit, temporaryFolder } from './cleanup.ts';
import { withDaemon, type Daemon } from './daemon.ts';
import { withLibvirtd, type Libvirtd } from './libvirtd.ts';

export const HOST_IQN = 'iqn.2026-11.example:kvm1';
export const CHAP_SECRET = 'kvm-host-secret-1';

/**
 * What goes wrong at call number `at` (from 0) of libvirt and the API together: it fails before it is made; it is carried out and its answer
 * is lost; the same because libvirtd is killed and started again; whoever made it dies before, or behind it (it never returns).
 */
export interface Fault {
  readonly at: number;
  readonly when: 'before' | 'after' | 'restart' | 'death before' | 'death after';
}

export class KvmHost {
  readonly daemon: Daemon;
  readonly libvirtd: Libvirtd;
  readonly settings: KvmSettings;
  readonly settingsFile: string;
  readonly client: ApiClient;
  /** Calls since the last plan(). */
  calls = 0;
  /** Resolves when a planned death has come. */
  died = Promise.resolve();
  #die = (): void => undefined;
  #fault: Fault | undefined;

  constructor(daemon: Daemon, libvirtd: Libvirtd, folder: string, chap: boolean) {
    this.daemon = daemon;
    this.libvirtd = libvirtd;
    this.client = new ApiClient(daemon.ready.api, daemon.ready.token);
    const secretFile = join(folder, 'chap');
    writeFileSync(secretFile, `${CHAP_SECRET}\n`, { mode: 0o600 });
    const credentials = chap ? { chapUser: 'kvm1', chapSecretFile: secretFile } : {};
    const given = { host: 'kvm1', initiator: HOST_IQN, libvirt: libvirtd.uri, state: join(folder, 'state') };
    this.settingsFile = join(folder, 'kvm.json');
    writeFileSync(
      this.settingsFile,
      JSON.stringify({
        ...given,
        ...credentials,
        nbdSocket: join(daemon.dataFolder, 'nbd.sock'),
        vhostFolder: join(folder, 'gemel-vhost'),
      }),
    );
    this.settings = readSettings(this.settingsFile, {});
  }

  get libvirt(): Caller {
    return {
      call: <A, R>(procedure: Procedure<A, R>, args: A): Promise<R> =>
        this.#faulty(() => this.libvirtd.libvirt.call(procedure, args), 'hypervisor-unreachable'),
    };
  }

  readonly call: ApiCall = (...request) => this.#faulty(() => this.client.call(...request), 'daemon-unreachable');

  get context(): OpsContext {
    const list = (path: string): Promise<unknown[]> => this.#faulty(() => this.client.list(path), 'daemon-unreachable');
    return { libvirt: this.libvirt, storage: new KvmStorage(this.call, list), settings: this.settings };
  }

  /** Counts calls from now on; the one the fault names fails. */
  plan(fault?: Fault): void {
    this.calls = 0;
    this.#fault = fault;
    this.died = new Promise((resolve) => (this.#die = resolve));
  }

  /** Everything there is that the operations make: what has to be the same when one has failed. */
  async state(): Promise<unknown> {
    const { libvirt } = this.libvirtd;
    const { pools } = await libvirt.call(listAllPools, { needed: 1, flags: 0 });
    const { domains } = await libvirt.call(listAllDomains, { needed: 1, flags: 0 });
    const disksOf = async (domain: Domain, inactive: boolean): Promise<unknown[]> =>
      (await disksIn(libvirt, domain, inactive)).map(({ dev, element, mirrored }) => {
        const { name, file, path } = child(element, 'source')?.attributes ?? {};
        return [dev, name ?? file ?? path, mirrored];
      });
    const byName = [...domains].sort((a, b) => (a.name < b.name ? -1 : 1));
    const machines = byName.map(async (domain) => {
      const { state } = await libvirt.call(domainState, { domain, flags: 0 });
      return [domain.name, state, await disksOf(domain, false), await disksOf(domain, true)];
    });
    const volumes = ((await this.client.list('/volumes')) as StoredDisk[]).map(async ({ name, size, lease, maps }) => {
      const snapshots = (await this.client.list(`/snapshots?volume=${name}`)) as { name: string }[];
      // UUIDs of machines are made anew each time.
      const holder = domains.find(({ uuid }) => lease?.holder.endsWith(uuid) === true)?.name ?? lease?.holder;
      const mapped = maps.map(({ initiator }) => initiator).sort();
      return [name, size, holder, mapped, snapshots.map((each) => each.name).sort()];
    });
    return {
      pools: pools.map(({ name }) => name).sort(),
      volumes: await Promise.all(volumes),
      domains: await Promise.all(machines),
    };
  }

  /** The test itself may use these volumes. */
  async allowLoopback(volumes: readonly string[]): Promise<void> {
    for (const name of volumes) await this.daemon.gemelJson(['map', name, 'loopback']);
  }

  /** A machine without a system: its firmware waits for ever, its devices work. */
  async machine(name: string, disks = '', memory = ''): Promise<Domain> {
    const root = "<controller type='pci' index='0' model='pcie-root'/>";
    const ports = Array.from({ length: 4 }, () => "<controller type='pci' model='pcie-root-port'/>").join('');
    const devices = `${root}${ports}<controller type='scsi' model='virtio-scsi'/>${disks}`;
    const os = "<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>";
    const xml = `<domain type='qemu'><name>${name}</name><memory unit='MiB'>32</memory>${memory}<vcpu>1</vcpu>${os}<devices>${devices}</devices></domain>`;
    const { libvirt } = this.libvirtd;
    const { domain } = await libvirt.call(domainDefine, { xml, flags: 0 });
    return (await libvirt.call(domainStart, { domain, flags: 0 })).domain;
  }

  async #faulty<T>(work: () => Promise<T>, code: 'hypervisor-unreachable' | 'daemon-unreachable'): Promise<T> {
    const number = this.calls++;
    const when = this.#fault?.at === number ? this.#fault.when : undefined;
    if (when === undefined) return work();
    this.#fault = undefined;
    const over = new Promise<never>(() => undefined);
    const lost = new ServiceError(code, 'the line went dead');
    if (when === 'before') throw lost;
    if (when === 'death before') {
      this.#die();
      return over;
    }
    const answer = await work();
    if (when === 'death after') {
      this.#die();
      return over;
    }
    if (when === 'restart') {
      await this.libvirtd.stop();
      await this.libvirtd.start();
      // Whoever waited for the daemon has its answer.
      if (code === 'daemon-unreachable') return answer;
    }
    throw lost;
  }
}

/** Ends the qemu-storage-daemons of disks that nobody has detached. */
function endServers(sockets: string): void {
  for (const name of existsSync(sockets) ? readdirSync(sockets).filter((each) => each.endsWith('.pid')) : []) {
    try {
      process.kill(Number(readFileSync(join(sockets, name), 'utf8')), 'SIGKILL');
    } catch {
      // Already gone.
    }
  }
}

/** Runs `body` with a host of its own. */
export async function withKvmHost(
  options: { readonly chap: boolean },
  body: (host: KvmHost) => Promise<void>,
): Promise<void> {
  const folder = temporaryFolder('kvm');
  const clear = (): void => {
    endServers(join(folder.path, 'gemel-vhost'));
  };
  const forget = atExit(clear);
  try {
    await withDaemon({ args: ['--no-demo'] }, (daemon) =>
      withLibvirtd(async (libvirtd) => {
        await daemon.gemelJson(['pool', 'create', 'tank', '--size', '2G']);
        await body(new KvmHost(daemon, libvirtd, folder.path, options.chap));
      }),
    );
  } finally {
    forget();
    clear();
    folder.remove();
  }
}
