import type { ScsiDevice } from '../scsi/device.ts';
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

  /** One node serves everything itself; a cluster will answer with the owner's portal. */
  redirect(): undefined {
    return undefined;
  }
}
