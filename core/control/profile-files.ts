// The settings hosts need, as files and commands that can be used as they are: with the portals of this node and, when a
// volume has been chosen, with its names.

/** What is filled in. */
export interface Site {
  /** HOST:PORT, at least one. */
  readonly portals: readonly string[];
  /** Of the chosen volume, or words that stand for it. */
  readonly volume: string;
  readonly iqn: string;
  /** As in /dev/disk/by-id: `naa.6…`. */
  readonly naa: string;
  readonly lun: number;
}

export interface SettingsFile {
  readonly name: string;
  readonly content: string;
}

const lines = (...all: string[]): string => `${all.join('\n')}\n`;
/** What VPD page 83h gives udev and SM: type 3 (NAA) before the digits. */
export const scsiId = ({ naa }: Site): string => naa.replace(/^naa\./, '3');
const first = ({ portals }: Site): string => portals[0] ?? 'PORTAL:3260';
/** Address and port apart; IPv6 addresses are in brackets. */
function split(portal: string): { host: string; port: string } {
  const at = portal.lastIndexOf(':');
  return { host: portal.slice(0, at).replace(/^\[|\]$/g, ''), port: portal.slice(at + 1) };
}

export const multipathConf = (): SettingsFile => ({
  name: 'gemel-multipath.conf',
  content: lines(
    '# /etc/multipath/conf.d/gemel.conf   (XCP-ng, XenServer: /etc/multipath/conf.d/custom.conf)',
    '# Then: systemctl reload multipathd; multipathd show paths',
    'devices {',
    '  device {',
    '    vendor "GEMEL"',
    '    product "SHARED DISK"',
    '    hardware_handler "1 alua"',
    '    prio alua',
    '    path_grouping_policy group_by_prio',
    '    path_selector "service-time 0"',
    '    path_checker tur',
    '    failback immediate',
    '    no_path_retry 30',
    '    fast_io_fail_tmo 1',
    '    dev_loss_tmo 120',
    '  }',
    '}',
  ),
});

export const iscsidConf = (): SettingsFile => ({
  name: 'iscsid-gemel.conf',
  content: lines(
    '# Lines for /etc/iscsi/iscsid.conf of a host with several paths: a node that is silent is given up after 3 s, and multipath',
    '# goes on by another path 1 s later (fast_io_fail_tmo in the settings of multipath says the same). Do not go below.',
    '# Without multipath leave replacement_timeout at its 120 seconds.',
    'node.startup = automatic',
    'node.session.timeo.replacement_timeout = 1',
    'node.conn[0].timeo.noop_out_interval = 1',
    'node.conn[0].timeo.noop_out_timeout = 2',
    '# With CHAP (the secret is the one entered for this host under Hosts and sessions):',
    '#node.session.auth.authmethod = CHAP',
    '#node.session.auth.username = USER',
    '#node.session.auth.password = SECRET',
  ),
});

export const openIscsi = (site: Site): SettingsFile => ({
  name: 'connect-linux.sh',
  content: lines(
    '#!/bin/sh -e',
    '# As root on every host. Debian: apt-get install open-iscsi multipath-tools',
    'grep InitiatorName= /etc/iscsi/initiatorname.iscsi   # this name has to be mapped to the volume',
    `iscsiadm -m discovery -t sendtargets -p ${first(site)}`,
    ...site.portals.map((portal) => `iscsiadm -m node -T ${site.iqn} -p ${portal} --login`),
    `iscsiadm -m node -T ${site.iqn} -o update -n node.startup -v automatic`,
    `ls -l /dev/disk/by-id/wwn-0x${site.naa.replace(/^naa\./, '')} || multipath -ll ${scsiId(site)}`,
  ),
});

export const esxi = (site: Site): SettingsFile => ({
  name: 'connect-esxi.sh',
  content: lines(
    '# In the ESXi shell (or by esxcli from elsewhere), on every host of the cluster.',
    'esxcli iscsi software set --enabled=true',
    "HBA=$(esxcli iscsi adapter list | awk '/iscsi_vmk/ {print $1; exit}')",
    'esxcli iscsi adapter get -A $HBA | grep -i "Name: iqn"      # this name has to be mapped to the volume',
    ...site.portals.map((portal) => `esxcli iscsi adapter discovery sendtarget add -A $HBA -a ${portal}`),
    'esxcli iscsi adapter param set -A $HBA -k DelayedAck -v false',
    'esxcli iscsi adapter param set -A $HBA -k LoginTimeout -v 60',
    '# Before the first volume is seen, so that all paths are used, each command on the next one:',
    'esxcli storage nmp satp rule add -s VMW_SATP_ALUA -P VMW_PSP_RR -O iops=1 -c tpgs_on -V GEMEL -M "SHARED DISK" -e "Gemel"',
    'esxcli storage core adapter rescan -A $HBA',
    `esxcli storage core device list -d ${site.naa}`,
    '# What is offloaded: ATS, Clone, Zero and Delete say "supported" after the first use.',
    `esxcli storage core device vaai status get -d ${site.naa}`,
  ),
});

export const hyperv = (site: Site): SettingsFile => ({
  name: 'Connect-Gemel.ps1',
  content: lines(
    '# In an elevated PowerShell, on every host of the cluster. The first run may ask for a restart because of MPIO.',
    "$ErrorActionPreference = 'Stop'",
    'Install-WindowsFeature Multipath-IO | Out-Null',
    'Enable-MSDSMAutomaticClaim -BusType iSCSI | Out-Null',
    'Set-MSDSMGlobalDefaultLoadBalancePolicy -Policy RR',
    'Set-MPIOSetting -NewDiskTimeout 60 -CustomPathRecovery Enabled -NewPathRecoveryInterval 20 -NewPDORemovePeriod 20',
    'Set-Service MSiSCSI -StartupType Automatic; Start-Service MSiSCSI',
    "(Get-InitiatorPort | Where-Object ConnectionType -eq 'iSCSI').NodeAddress   # this name has to be mapped to the volume",
    ...site.portals.flatMap((portal) => {
      const { host, port } = split(portal);
      return [
        `New-IscsiTargetPortal -TargetPortalAddress ${host} -TargetPortalPortNumber ${port} | Out-Null`,
        `Connect-IscsiTarget -NodeAddress '${site.iqn}' -TargetPortalAddress ${host} -TargetPortalPortNumber ${port} ` +
          '-IsMultipathEnabled $true -IsPersistent $true | Out-Null',
      ];
    }),
    '# By its identifier, never by its number: numbers change at a restart.',
    `$disk = Get-Disk | Where-Object UniqueId -like '*${site.naa.replace(/^naa\./, '').toUpperCase()}*'`,
    '$disk | Format-List Number, FriendlyName, UniqueId, Size, PartitionStyle',
  ),
});

export const csv = (site: Site): SettingsFile => ({
  name: 'Add-GemelCsv.ps1',
  content: lines(
    '# Once, on one node of the failover cluster, for a volume that is still empty.',
    "$ErrorActionPreference = 'Stop'",
    `$disk = Get-Disk | Where-Object UniqueId -like '*${site.naa.replace(/^naa\./, '').toUpperCase()}*'`,
    "if ($disk.PartitionStyle -ne 'RAW') { throw 'This disk is not empty.' }",
    '$disk | Initialize-Disk -PartitionStyle GPT -PassThru | New-Partition -UseMaximumSize |',
    `  Format-Volume -FileSystem NTFS -AllocationUnitSize 65536 -NewFileSystemLabel '${site.volume}'`,
    'Get-ClusterAvailableDisk | Add-ClusterDisk | Add-ClusterSharedVolume',
  ),
});

export const sofs = (): SettingsFile => ({
  name: 'Add-GemelSofs.ps1',
  content: lines(
    '# Once, on the cluster of file servers, after the volume has become a cluster shared volume.',
    "$ErrorActionPreference = 'Stop'",
    'Install-WindowsFeature FS-FileServer, Failover-Clustering | Out-Null',
    'Add-ClusterScaleOutFileServerRole -Name VMSTORE',
    'New-Item C:\\ClusterStorage\\Volume1\\vms -ItemType Directory | Out-Null',
    "New-SmbShare -Name vms -Path C:\\ClusterStorage\\Volume1\\vms -ContinuouslyAvailable $true -FullAccess 'DOMAIN\\Hyper-V hosts$'",
  ),
});

export const libvirtDisk = (site: Site): SettingsFile => {
  const { host, port } = split(first(site));
  return {
    name: 'gemel-disk.xml',
    content: lines(
      '<!-- virsh attach-device GUEST gemel-disk.xml: persistent with the flag "config". QEMU itself is the initiator. -->',
      "<disk type='network' device='disk'>",
      "  <driver name='qemu' type='raw' cache='none' discard='unmap'/>",
      `  <source protocol='iscsi' name='${site.iqn}/${String(site.lun)}'>`,
      `    <host name='${host}' port='${port}'/>`,
      "    <initiator><iqn name='iqn.2026-11.org.example:host1'/></initiator>",
      '  </source>',
      "  <target dev='sda' bus='scsi'/>",
      '</disk>',
    ),
  };
};

export const libvirtPool = (site: Site): SettingsFile => {
  const { host, port } = split(first(site));
  return {
    name: 'gemel-pool.xml',
    content: lines(
      '<!-- virsh pool-define gemel-pool.xml; virsh pool-start gemel; every LUN of the target is a volume of this pool. -->',
      "<pool type='iscsi-direct'>",
      '  <name>gemel</name>',
      '  <source>',
      `    <host name='${host}' port='${port}'/>`,
      `    <device path='${site.iqn}'/>`,
      "    <initiator><iqn name='iqn.2026-11.org.example:host1'/></initiator>",
      '  </source>',
      '</pool>',
    ),
  };
};

export const proxmoxPlugin = (): SettingsFile => ({
  name: 'proxmox-plugin.sh',
  content: lines(
    '#!/bin/sh -e',
    '# On every node of the Proxmox VE cluster. The package: npm run package:proxmox',
    'apt-get install ./gemel-proxmox_*_all.deb multipath-tools',
    '# Once, on one node. It asks for a password: the token that "gemel token create proxmox --role operator" prints on a node of Gemel.',
    'pvesm add gemel gemel --gemel-api GEMEL1:7480,GEMEL2:7480 --content images,rootdir --shared 1 --password',
    '# These lines are then in /etc/pve/storage.cfg, and the token is in /etc/pve/priv/storage/gemel.pw:',
    '#   gemel: gemel',
    '#       gemel-api GEMEL1:7480,GEMEL2:7480',
    '#       content images,rootdir',
    '#       shared 1',
    '# More (on the storage host itself: gemel-transport nbd; CHAP: gemel-chap 1): manifests/proxmox/README.md',
  ),
});

export const proxmoxLvm = (site: Site): SettingsFile => ({
  name: 'storage.cfg',
  content: lines(
    '# Lines for /etc/pve/storage.cfg: iSCSI below, LVM above. First: pvcreate and vgcreate gemel on the (multipath) device.',
    'iscsi: gemel-iscsi',
    `\tportal ${first(site)}`,
    `\ttarget ${site.iqn}`,
    '\tcontent none',
    '',
    'lvm: gemel',
    '\tvgname gemel',
    '\tshared 1',
    '\tcontent images,rootdir',
  ),
});

export const xen = (site: Site): SettingsFile => {
  const { host, port } = split(first(site));
  return {
    name: 'create-sr.sh',
    content: lines(
      '#!/bin/sh -e',
      '# Once, on the coordinator of the pool. Before: the multipath file on every host, and multipathing switched on there.',
      '# xe host-list params=other-config   # iscsi_iqn of every host has to be mapped to the volume',
      `xe sr-create name-label=${site.volume} type=lvmoiscsi shared=true content-type=user \\`,
      `  device-config:target=${host} device-config:port=${port} \\`,
      `  device-config:targetIQN=${site.iqn} \\`,
      `  device-config:SCSIid=${scsiId(site)} \\`,
      `  device-config:multihomelist=${site.portals.join(',')}`,
    ),
  };
};

export const nfsExport = (site: Site): SettingsFile => ({
  name: 'nfs-on-gemel.sh',
  content: lines(
    '#!/bin/sh -e',
    '# As root on the one machine that becomes the NFS server; it is a single point of failure unless you cluster it.',
    `DISK=/dev/disk/by-id/wwn-0x${site.naa.replace(/^naa\./, '')}`,
    'blkid "$DISK" && { echo "This disk is not empty." >&2; exit 1; }',
    'mkfs.ext4 -L gemel "$DISK"',
    'mkdir -p /srv/gemel',
    'echo "LABEL=gemel /srv/gemel ext4 _netdev,nofail 0 2" >> /etc/fstab',
    'mount /srv/gemel',
    'echo "/srv/gemel 192.0.2.0/24(rw,sync,no_subtree_check,no_root_squash)" >> /etc/exports   # the network of the hosts',
    'exportfs -ra',
  ),
});
