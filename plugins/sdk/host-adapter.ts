// What a plugin has to say about its hypervisor; everything else of providing a disk is the same for all of them.

/** A computer with a hypervisor, by the name its console has for it. */
export interface HostIdentity {
  readonly name: string;
  /** iSCSI names it logs in with, in lower case. */
  readonly iqns: readonly string[];
}

/** Where a disk is. */
export interface TargetAddress {
  readonly iqn: string;
  readonly lun: number;
  /** HOST:PORT of every portal a host is to have a path through. */
  readonly portals: readonly string[];
}

/** A disk as one host sees it. */
export interface HostDisk {
  /** NAA identifier of VPD page 83h, hexadecimal, in lower case. */
  readonly naa: string;
  /** How the console names it. */
  readonly id: string;
  /** Bytes. */
  readonly size: number;
  /** Name of what is on it already, as far as the console knows; undefined: it is empty. */
  readonly content: string | undefined;
}

/** A way from one host to the disk. */
export interface HostPath {
  /** HOST:PORT of the portal. */
  readonly portal: string;
  readonly usable: boolean;
}

/**
 * The hypervisor's side of the provisioning flow. Every call may come again after a crash of the plugin, and must then find
 * out by itself what is done already. Errors are rejected promises with a message for the administrator.
 */
export interface HostAdapter {
  /** The hosts with these names; all of them, or it rejects. */
  hosts(names: readonly string[]): Promise<readonly HostIdentity[]>;
  /** Has the host log in through every portal, now and after it has started anew. */
  connect(host: HostIdentity, target: TargetAddress): Promise<void>;
  /** Ends what connect() made, unless other disks need it. */
  disconnect(host: HostIdentity, target: TargetAddress): Promise<void>;
  /** Has the host look for disks. */
  rescan(host: HostIdentity): Promise<void>;
  /** The disk with this NAA identifier; undefined: the host does not see it (yet). */
  findDisk(host: HostIdentity, naa: string): Promise<HostDisk | undefined>;
  /** Every path of the host to the disk. */
  paths(host: HostIdentity, disk: HostDisk): Promise<readonly HostPath[]>;
  /** Makes an empty disk usable for virtual machines, under this name. Called for one host only; the others find it. */
  format(host: HostIdentity, disk: HostDisk, label: string): Promise<void>;
  /** Takes it out of use, and removes what format() has made. */
  unformat(host: HostIdentity, disk: HostDisk, label: string): Promise<void>;
}
