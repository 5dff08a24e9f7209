import type { Log } from '../base/log.ts';
import type { World } from '../base/world.ts';
import type { InitiatorPort, TargetPort } from '../scsi/lun-nexus.ts';
import type { ScsiDevice } from '../scsi/device.ts';
import type { AnswerMemory } from './answer-memory.ts';
import type { Connection } from './connection.ts';
import type { DataMemory } from './data-memory.ts';
import type { ReceivePool } from './receive.ts';
import type { SlabPool } from './send-buffer.ts';
import type { Courtesy } from './courtesy.ts';
import type { Wakefulness } from './wakefulness.ts';

/** What one initiator has to prove, and what we prove to it (RFC 7143 §12.1.3). */
export type Credentials =
  | { readonly method: 'none' }
  | {
      readonly method: 'chap';
      readonly user: string;
      readonly secret: Buffer;
      readonly mutual?: { readonly user: string; readonly secret: Buffer };
    };

/** Who may log in where. Answered by the control plane from its catalog, at once and from memory. */
export interface AccessPolicy {
  /** The target device of this name. */
  device(name: string): ScsiDevice | undefined;
  devices(): Iterable<ScsiDevice>;
  /** What `initiator` has to prove to log in to `target` (undefined: to a discovery session). */
  credentials(initiator: string, target: string | undefined): Credentials;
  /** Portals of other nodes that serve the same targets, for discovery; none when absent. */
  portalsElsewhere?(): readonly { readonly address: string; readonly group: number }[];
  /** Another portal that should serve this target (RFC 7143 §11.13.5 target moved), or undefined to serve it here. */
  redirect(target: string, initiator: string): { readonly portal: string; readonly permanent: boolean } | undefined;
}

/** A listening address, and what discovery says about it. */
export interface PortalOptions {
  readonly host: string;
  readonly port: number;
  readonly group: number;
  /** `HOST:PORT` told to initiators instead of the listening address. */
  readonly advertised?: string;
}

/** A portal that listens. */
export interface OpenPortal {
  readonly address: string;
  readonly port: number;
  readonly group: number;
  readonly advertised: string | undefined;
}

/** What all connections of a server share. */
export interface IscsiContext {
  readonly world: World;
  readonly log: Log;
  readonly receivePool: ReceivePool;
  readonly slabs: SlabPool;
  readonly memory: DataMemory;
  readonly answers: AnswerMemory;
  readonly wakefulness: Wakefulness;
  readonly courtesy: Courtesy;
  readonly policy: AccessPolicy;
  readonly portals: readonly OpenPortal[];
  readonly connections: ReadonlySet<Connection>;
  /** True when there is room for one more session of this initiator. */
  mayEnter(connection: Connection, initiatorName: string): boolean;
  /**
   * Session of this initiator port on this target port, if there is one (RFC 7143 §6.3.5); without a target port, its
   * discovery session in this portal group.
   */
  existing(initiator: InitiatorPort, target: TargetPort | undefined, portalGroup: number): Connection | undefined;
  nextTsih(): number;
  /** The connection is closed. */
  forget(connection: Connection, reason: string): void;
}
