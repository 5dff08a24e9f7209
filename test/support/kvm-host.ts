// A KVM host for tests: a daemon, a libvirtd of its own, and the operations between them, with failures wherever they are wanted.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ServiceError } from '../../core/base/errors.ts';
import type { Caller } from '../../plugins/kvm/libvirt.ts';
import type { OpsContext } from '../../plugins/kvm/ops/context.ts';
import { domainDefine, domainStart, listAllPools } from '../../plugins/kvm/rpc/procedures.ts';
import type { Procedure } from '../../plugins/kvm/rpc/procedures.ts';
import type { Domain } from '../../plugins/kvm/rpc/types.ts';
import { readSettings } from '../../plugins/kvm/settings.ts';
import type { KvmSettings } from '../../plugins/kvm/settings.ts';
import { KvmStorage } from '../../plugins/kvm/storage.ts';
import { ApiClient } from '../../plugins/sdk/client.ts';
import type { ApiCall } from '../../plugins/sdk/typed-api.ts';
import { temporaryFolder } from './cleanup.ts';
import { withDaemon, type Daemon } from './daemon.ts';
import { withLibvirtd, type Libvirtd } from './libvirtd.ts';

export const HOST_IQN = 'iqn.2026-11.example:kvm1';
export const CHAP_SECRET = 'kvm-host-secret-1';

/** A failure of call number `at` (from 0) of libvirt and the API together: before it is made, or after it was carried out. */
export interface Fault {
  readonly at: number;
  readonly when: 'before' | 'after';
}

export class KvmHost {
  readonly daemon: Daemon;
  readonly libvirtd: Libvirtd;
  readonly settings: KvmSettings;
  readonly settingsFile: string;
  readonly client: ApiClient;
  /** Calls since the last plan(). */
  calls = 0;
  /** Called instead of failing, when set: to restart libvirtd, for example. */
  onFault: (() => Promise<void>) | undefined;
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
      JSON.stringify({ ...given, ...credentials, nbdSocket: join(daemon.dataFolder, 'nbd.sock') }),
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
  }

  /** Everything there is that the operations make: what has to be the same when one has failed. */
  async state(): Promise<unknown> {
    const { pools } = await this.libvirtd.libvirt.call(listAllPools, { needed: 1, flags: 0 });
    const volumes = (await this.client.list('/volumes')) as {
      name: string;
      lease: unknown;
      maps: { initiator: string }[];
    }[];
    const domains: unknown[] = [];
    const { listAllDomains, domainXml, XML_INACTIVE } = await import('../../plugins/kvm/rpc/procedures.ts');
    for (const domain of (await this.libvirtd.libvirt.call(listAllDomains, { needed: 1, flags: 0 })).domains) {
      const disksOf = async (flags: number): Promise<number> =>
        (await this.libvirtd.libvirt.call(domainXml, { domain, flags })).xml.split('<disk ').length - 1;
      domains.push([domain.name, await disksOf(0), await disksOf(XML_INACTIVE)]);
    }
    return {
      pools: pools.map(({ name }) => name).sort(),
      volumes: volumes.map(({ name, lease, maps }) => [name, lease, maps.map(({ initiator }) => initiator).sort()]),
      domains,
    };
  }

  /** A machine without a system: its firmware waits for ever, its devices work. */
  async machine(name: string, disks = ''): Promise<Domain> {
    const root = "<controller type='pci' index='0' model='pcie-root'/>";
    const ports = Array.from({ length: 4 }, () => "<controller type='pci' model='pcie-root-port'/>").join('');
    const devices = `${root}${ports}<controller type='scsi' model='virtio-scsi'/>${disks}`;
    const os = "<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>";
    const xml = `<domain type='qemu'><name>${name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>${os}<devices>${devices}</devices></domain>`;
    const { libvirt } = this.libvirtd;
    const { domain } = await libvirt.call(domainDefine, { xml, flags: 0 });
    return (await libvirt.call(domainStart, { domain, flags: 0 })).domain;
  }

  async #faulty<T>(work: () => Promise<T>, code: 'hypervisor-unreachable' | 'daemon-unreachable'): Promise<T> {
    const number = this.calls++;
    const fault = this.#fault?.at === number ? this.#fault : undefined;
    if (fault?.when === 'before') await this.#fail(code);
    const answer = await work();
    if (fault?.when === 'after') await this.#fail(code);
    return answer;
  }

  async #fail(code: 'hypervisor-unreachable' | 'daemon-unreachable'): Promise<void> {
    this.#fault = undefined;
    if (this.onFault !== undefined) await this.onFault();
    else throw new ServiceError(code, 'the line went dead');
  }
}

/** Runs `body` with a host of its own. */
export async function withKvmHost(
  options: { readonly chap: boolean },
  body: (host: KvmHost) => Promise<void>,
): Promise<void> {
  const folder = temporaryFolder('kvm');
  try {
    await withDaemon({ args: ['--no-demo'] }, (daemon) =>
      withLibvirtd(async (libvirtd) => {
        await daemon.gemelJson(['pool', 'create', 'tank', '--size', '2G']);
        await body(new KvmHost(daemon, libvirtd, folder.path, options.chap));
      }),
    );
  } finally {
    folder.remove();
  }
}
