// `npm run kvm [-- failover|quiesce|vhost|proxmox]`: what takes minutes under a real guest, most of it of a real libvirtd. Root only.
import process from 'node:process';
import { prepareGuest } from '../guest/guest.ts';
import { needsAll } from '../support/needs.ts';
import type { Need } from '../support/needs.ts';
import { needsLibvirtd } from '../support/libvirtd.ts';
import { failover } from './failover.ts';
import { proxmox } from './proxmox.ts';
import { quiesce } from './quiesce.ts';
import { vhost } from './vhost.ts';

const PARTS: Readonly<Record<string, { readonly run: typeof failover; readonly needs: readonly Need[] }>> = {
  failover: {
    run: failover,
    needs: [
      ['keepalived', 'keepalived'],
      ['gcc', 'gcc libc6-dev'],
      ['ip', 'iproute2'],
      ['sysctl', 'procps'],
      ['/usr/bin/etcd', 'etcd-server'],
    ],
  },
  vhost: {
    run: vhost,
    needs: [
      ['qemu-storage-daemon', 'qemu-system-common'],
      ['gcc', 'gcc libc6-dev'],
    ],
  },
  proxmox: {
    run: proxmox,
    needs: [
      ['perl', 'perl'],
      ['multipathd', 'multipath-tools'],
      ['iscsiadm', 'open-iscsi'],
    ],
  },
  quiesce: {
    run: quiesce,
    needs: [
      ['debugfs', 'e2fsprogs'],
      ['qemu-img', 'qemu-utils'],
    ],
  },
};

const wanted = process.argv.slice(2);
const guest = await prepareGuest();
for (const [name, { run, needs }] of Object.entries(PARTS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const missing = needsLibvirtd() || needsAll(...needs);
  if ('skip' in guest || missing !== false) {
    console.log(`${name}: skipped: ${'skip' in guest ? guest.skip : String(missing)}`);
    continue;
  }
  const start = performance.now();
  await run(guest);
  console.log(`${name}: passed, ${((performance.now() - start) / 1000).toFixed(0)} s`);
}
