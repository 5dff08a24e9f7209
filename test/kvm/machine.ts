// A virtual machine of libvirt's that boots a Linux of ours, with a script in it, and its console.
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { isRunning } from '../../plugins/kvm/ops/context.ts';
import { domainDefine, domainStart } from '../../plugins/kvm/rpc/procedures.ts';
import type { Domain } from '../../plugins/kvm/rpc/types.ts';
import { Console, KERNEL_ARGUMENTS, initramfsWith } from '../guest/guest.ts';
import type { BootOptions, GuestScript, PreparedGuest } from '../guest/guest.ts';
import type { Libvirtd } from '../support/libvirtd.ts';

export interface LinuxMachine {
  readonly name: string;
  /** Given to libvirtd, not started. */
  readonly domain: Domain;
  /** Starts it; its console calls what `options` say. */
  start(options: BootOptions): Promise<Console>;
  /** Resolves when it has shut itself down; false: not within so many milliseconds. */
  ended(patience: number): Promise<boolean>;
}

/** `devices`: more XML of devices; `memory`: more elements of the domain. */
export async function linuxMachine(
  libvirtd: Libvirtd,
  guest: PreparedGuest,
  script: GuestScript,
  { name, devices = '', memory = '' }: { readonly name: string; readonly devices?: string; readonly memory?: string },
): Promise<LinuxMachine> {
  const { folder, libvirt } = libvirtd;
  const initrd = join(folder, `${name}.initrd`);
  writeFileSync(initrd, initramfsWith(guest, script));
  const socket = join(folder, `${name}.console`);
  const boot = `<kernel>${guest.kernel}</kernel><initrd>${initrd}</initrd><cmdline>${KERNEL_ARGUMENTS}</cmdline>`;
  const os = `<os><type arch='x86_64' machine='q35'>hvm</type>${boot}</os><features><acpi/></features><cpu mode='maximum'/>`;
  const serial = `<serial type='unix'><source mode='bind' path='${socket}'/><target port='0'/></serial>`;
  const root = "<controller type='pci' index='0' model='pcie-root'/>";
  const ports = Array.from({ length: 6 }, () => "<controller type='pci' model='pcie-root-port'/>").join('');
  const net = "<interface type='user'><model type='virtio'/><rom enabled='no'/></interface>";
  const all = `<devices>${root}${ports}<controller type='scsi' model='virtio-scsi'/>${net}${serial}${devices}</devices>`;
  const xml = `<domain type='qemu'><name>${name}</name><memory unit='MiB'>512</memory>${memory}<vcpu>1</vcpu>${os}${all}</domain>`;
  const { domain } = await libvirt.call(domainDefine, { xml, flags: 0 });
  return {
    ...{ name, domain },
    start: async (options) => {
      await libvirt.call(domainStart, { domain, flags: 0 });
      const line = connect(socket);
      line.on('error', () => undefined);
      return new Console({ outputs: [line], input: line }, options);
    },
    ended: async (patience) => {
      for (const end = Date.now() + patience; await isRunning(libvirt, domain);) {
        if (Date.now() > end) return false;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      return true;
    },
  };
}
