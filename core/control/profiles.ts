// The deployment matrix: how each hypervisor is connected, with settings that can be used as they are, and what has been
// shown to work. Whoever shows it (console, plugins) adds nothing of its own.
import {
  csv,
  esxi,
  hyperv,
  iscsidConf,
  libvirtDisk,
  libvirtPool,
  multipathConf,
  nfsExport,
  openIscsi,
  proxmoxLvm,
  proxmoxPlugin,
  sofs,
  xen,
} from './profile-files.ts';
import type { SettingsFile, Site } from './profile-files.ts';

/** `tested`: by `npm test`, against the program named. `replayed`: its commands are, not the program itself. */
export type Evidence = 'tested' | 'replayed' | 'written' | 'missing';

export interface ProfileView {
  readonly id: string;
  readonly title: string;
  readonly hypervisors: readonly string[];
  /** Where the storage runs. */
  readonly storage: string;
  readonly path: string;
  readonly offload: string;
  /** When to take it. */
  readonly when: string;
  readonly verified: readonly { readonly evidence: Evidence; readonly text: string }[];
  readonly steps: readonly { readonly title: string; readonly text: string; readonly files: readonly SettingsFile[] }[];
}

type Step = ProfileView['steps'][number];
const step = (title: string, text: string, ...files: SettingsFile[]): Step => ({ title, text, files });

const MAP =
  'Create a volume, and map it to the iSCSI names of all hosts that share it. Names are enough in a closed storage network; with CHAP, hosts prove them (Hosts and sessions).';
const CHECK =
  'Volume page: as many sessions as hosts times portals; after the first copy the offload truth meter says what was offloaded.';
const FAILOVER = {
  evidence: 'tested',
  text: 'A node that dies, under a Linux host with dm-multipath (npm run faults), and under a guest of libvirt (npm run kvm)',
} as const;
const NO_FAILOVER = {
  evidence: 'missing',
  text: 'A node that dies was tried with Linux hosts only, not with this hypervisor',
} as const;
const PROXMOX = {
  evidence: 'replayed',
  text: 'The plugin for Proxmox VE against the real daemon, called as Proxmox VE calls it; no Proxmox VE has been connected yet',
} as const;
const LINUX = [
  {
    evidence: 'tested',
    text: 'Linux open-iscsi, dm-multipath over two portals with a path cut under load, UNMAP, growth, mutual CHAP (guest stage of npm test)',
  },
] as const;
const ESX = [
  {
    evidence: 'replayed',
    text: 'The commands ESXi sends for cloning, zeroing, locking and giving back (XCOPY, WRITE SAME, ATS, UNMAP); no ESXi host has been connected yet',
  },
] as const;
const WINDOWS = [
  {
    evidence: 'replayed',
    text: 'The commands Windows sends for offloaded copies (ODX), and ddpt as ODX client on Linux; no Windows host has been connected yet',
  },
] as const;
const QEMU = {
  evidence: 'tested',
  text: 'QEMU with its own initiator (libiscsi): images, I/O, a guest that boots from a volume',
} as const;

/** All rows, with `site` filled in. */
export function profilesFor(site: Site): ProfileView[] {
  const linuxSteps = [
    step('Volume', MAP),
    step('Paths', 'On every host: multipath, and timeouts that let it take over.', multipathConf(), iscsidConf()),
    step('Log in', 'On every host.', openIscsi(site)),
  ];
  return [
    {
      id: 'converged-hyperv',
      title: 'Hyper-V, storage on the same hosts',
      hypervisors: ['Hyper-V'],
      storage: 'In a guest VM of each host; in the parent partition later',
      path: 'iSCSI over the virtual switch of the host',
      offload: 'ODX, UNMAP',
      when: 'Two or three Hyper-V hosts, and no other machines.',
      verified: [...WINDOWS, { evidence: 'missing', text: 'gemeld in the parent partition of Windows' }, NO_FAILOVER],
      steps: [
        step(
          'Storage VM',
          'A Linux VM on each host, started first and saved last, its disks passed through. Install Gemel there (gemeld --portal ADDRESS:3260).',
        ),
        step('Volume', MAP),
        step('Connect', 'On every host, to the storage VM of each host.', hyperv(site)),
        step('Cluster', 'Once.', csv(site)),
        step('Check', CHECK),
      ],
    },
    {
      id: 'converged-kvm',
      title: 'KVM, storage on the same hosts',
      hypervisors: ['KVM', 'libvirt', 'Proxmox VE'],
      storage: 'gemeld on the host itself',
      path: 'NBD over a unix socket or vhost-user-blk (no TCP), or iSCSI, which live migration needs',
      offload: 'UNMAP, WRITE SAME',
      when: 'Guests that run where their disks are.',
      verified: [
        QEMU,
        { evidence: 'tested', text: 'libvirt: provision, attach, grow, snapshot, clone, import, export (gemel kvm)' },
        PROXMOX,
        { evidence: 'tested', text: 'NBD with qemu-img, qemu-io, nbdinfo, nbdcopy (interop stage of npm test)' },
        { evidence: 'tested', text: 'vhost-user-blk through qemu-storage-daemon, under a Linux guest (npm run kvm)' },
        FAILOVER,
      ],
      steps: [
        step(
          'Volume',
          'Map it to "nbd" (the socket nbd.sock in the data folder) or to "loopback" while only guests of this machine use it. For live migration map it to the iSCSI names of both hosts.',
        ),
        step(
          'Guest',
          'Give it to a guest, or define a pool that shows all volumes of the target.',
          libvirtDisk(site),
          libvirtPool(site),
        ),
        step(
          'Proxmox VE',
          'The storage plugin: a disk made in the dialogs of Proxmox VE is a volume; "gemel-transport nbd" takes the socket of this host.',
          proxmoxPlugin(),
        ),
        step('Check', CHECK),
      ],
    },
    {
      id: 'converged-guest',
      title: 'ESXi or Xen, storage in a VM on each host',
      hypervisors: ['ESXi', 'Xen', 'XCP-ng', 'XenServer'],
      storage: 'In a storage VM on each host',
      path: 'iSCSI over the virtual switch, or NFS layered on a volume',
      offload: 'VAAI on ESXi, UNMAP on Xen',
      when: 'Two or three hosts, and no other machines.',
      verified: [
        ...ESX,
        { evidence: 'written', text: 'The steps for Xen, after its source and documentation' },
        NO_FAILOVER,
      ],
      steps: [
        step(
          'Storage VM',
          'A Linux VM on each host, started first, its disks passed through or on local storage, with all its memory reserved. Install Gemel there (gemeld --portal ADDRESS:3260).',
        ),
        step('Volume', MAP),
        step('Connect ESXi', 'On every host.', esxi(site)),
        step(
          'Connect Xen',
          'The multipath file on every host, then the storage repository once.',
          multipathConf(),
          xen(site),
        ),
        step('Check', CHECK),
      ],
    },
    {
      id: 'separate-hyperv-sofs',
      title: 'Hyper-V over SMB 3 from file servers',
      hypervisors: ['Hyper-V'],
      storage: 'Own servers, and a cluster of Windows file servers in front',
      path: 'Volume, cluster shared volume, Scale-Out File Server, SMB 3',
      offload: 'ODX inside the file server',
      when: 'Hyper-V hosts should see file shares, not disks.',
      verified: [
        ...WINDOWS,
        { evidence: 'written', text: 'The role and the share, after the documentation of Windows Server' },
        NO_FAILOVER,
      ],
      steps: [
        step('Volume', MAP),
        step('Connect', 'On every file server.', hyperv(site)),
        step('Cluster shared volume', 'Once.', csv(site)),
        step('File server', 'Once; the name of the group of hosts is an example.', sofs()),
        step('Check', CHECK),
      ],
    },
    {
      id: 'separate-hyperv-iscsi',
      title: 'Hyper-V over iSCSI',
      hypervisors: ['Hyper-V'],
      storage: 'Own servers',
      path: 'iSCSI and MPIO',
      offload: 'ODX, UNMAP',
      when: 'The usual way for a failover cluster of Hyper-V hosts.',
      verified: [...WINDOWS, NO_FAILOVER],
      steps: [
        step('Volume', MAP),
        step('Connect', 'On every host.', hyperv(site)),
        step('Cluster shared volume', 'Once.', csv(site)),
        step('Check', CHECK),
      ],
    },
    {
      id: 'separate-block',
      title: 'ESXi, Xen or KVM over iSCSI',
      hypervisors: ['ESXi', 'Xen', 'XCP-ng', 'KVM', 'Proxmox VE'],
      storage: 'Own servers',
      path: 'iSCSI and multipath (preferred)',
      offload: 'VAAI on ESXi, UNMAP elsewhere',
      when: 'The first choice when there are machines for storage.',
      verified: [
        ...LINUX,
        ...ESX,
        QEMU,
        PROXMOX,
        { evidence: 'written', text: 'Xen, after its source and documentation' },
        FAILOVER,
      ],
      steps: [
        step('Volume', MAP),
        step('ESXi', 'On every host; then create a VMFS 6 datastore on the device in the vSphere Client.', esxi(site)),
        step(
          'Proxmox VE',
          'The storage plugin, and multipath, on every host. A disk made in the dialogs of Proxmox VE is a volume; snapshots, templates and linked clones are made by the storage.',
          proxmoxPlugin(),
          multipathConf(),
          iscsidConf(),
        ),
        step(
          'KVM, or Proxmox VE with LVM',
          'Multipath and login on every host; LVM on top where volumes are not to be made one by one.',
          ...linuxSteps.flatMap(({ files }) => files),
          proxmoxLvm(site),
        ),
        step('Xen', 'The multipath file on every host, then the storage repository once.', xen(site)),
        step('Check', CHECK),
      ],
    },
    {
      id: 'separate-nfs',
      title: 'ESXi, Xen or KVM over NFS',
      hypervisors: ['ESXi', 'Xen', 'KVM'],
      storage: 'Own servers, and a Linux NFS server in front',
      path: 'NFS layered on a volume',
      offload: 'None: NFS has no VAAI without a certified plug-in of the vendor',
      when: 'Labs and light use. Block storage is faster and has no single server in the way.',
      verified: [...LINUX, { evidence: 'written', text: 'The export, after the documentation of Debian' }],
      steps: [
        step('Volume', 'Map it to the iSCSI name of the NFS server only.'),
        step('Connect', 'On the NFS server.', openIscsi(site)),
        step('Export', 'Once; put the network of your hosts into the last line.', nfsExport(site)),
        step(
          'Mount',
          'In the hypervisor: an NFS datastore, storage repository or storage of the server and /srv/gemel.',
        ),
      ],
    },
    {
      id: 'beyond-a-pair',
      title: 'In front of storage you have',
      hypervisors: ['any'],
      storage: 'Gemel as gateway over a block device (DRBD, ZFS, LVM) or a NBD export (Ceph RBD, qcow2)',
      path: 'iSCSI in front, a block device or NBD behind',
      offload: 'As the rows above; copies are moved, not shared',
      when: 'The data is safe elsewhere already, and hosts need iSCSI with offload.',
      verified: [
        { evidence: 'tested', text: 'Volumes and pools on block devices (interop stage of npm test)' },
        { evidence: 'tested', text: 'Volumes behind qemu-nbd and nbdkit (interop stage of npm test)' },
        { evidence: 'missing', text: 'Two gateways over one image' },
      ],
      steps: [
        step(
          'Device',
          'Make it appear as a block device on the gateway (drbdadm, zfs create -V, lvcreate, rbd map). A device of 4096-byte blocks is served as such.',
        ),
        step(
          'Volume',
          'On the gateway: gemel volume create NAME --device /dev/disk/by-id/…, or a pool on it (Pools), which has snapshots and clones. Only one gateway may have a device open.',
        ),
        step(
          'Ceph',
          'For RBD run qemu-storage-daemon with a rbd block device and a NBD export on a unix socket, then: gemel volume create NAME --nbd "nbd+unix:///EXPORT?socket=PATH". One gateway per image.',
        ),
        step('Connect', 'As in the row of your hypervisor.'),
      ],
    },
  ];
}
