import type { ScsiDevice } from '../scsi/device.ts';
import type { RemotePortal } from './forwarding.ts';
import type { Hosts } from './hosts.ts';
import type { InitiatorCredentials, Initiators } from './initiators.ts';
import type { Units } from './units.ts';

/** Who may log in where, for the transport. Everything is answered from memory. */
export class Access {
  readonly #units: Units;
  readonly #initiators: Initiators;

  readonly #hosts: Hosts;

  constructor(units: Units, initiators: Initiators, hosts: Hosts) {
    this.#hosts = hosts;
    this.#units = units;
    this.#initiators = initiators;
  }

  device(iqn: string): ScsiDevice | undefined {
    return this.#units.devices.get(iqn);
  }

  devices(): Iterable<ScsiDevice> {
    return this.#units.devices.values();
  }

  /** Those of the initiator, else those of its host. Discovery wants the same proof as a login: the list of targets is not for everybody. */
  credentials(initiator: string): InitiatorCredentials {
    const own = this.#initiators.credentials(initiator);
    return own.method === 'none' ? this.#hosts.credentials(initiator) : own;
  }

  /** Portals of other nodes of the cluster: every node serves every target. */
  portalsElsewhere(): readonly RemotePortal[] {
    return this.#units.portalsElsewhere();
  }

  /** A node serves everything that comes to it; in a cluster it forwards what another one owns. */
  redirect(): undefined {
    return undefined;
  }
}
