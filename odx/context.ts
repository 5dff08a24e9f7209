import type { LogicalUnit } from '../core/scsi/logical-unit.ts';
import type { LunNexus } from '../core/scsi/lun-nexus.ts';
import type { RodSource, RodStore } from '../core/volume/rod.ts';
import type { TokenSeal } from './token.ts';

/** What the initiator behind a nexus may do with a logical unit of this node. `gone`: there is none with this identity. */
export type Standing = 'may-read' | 'may-not' | 'gone';

/** What the token commands know of the node. */
export interface OdxContext {
  readonly seal: TokenSeal;
  /** Where points in time of the logical unit are made; undefined: its volume cannot. */
  readonly sourceOf: (lu: LogicalUnit) => RodSource | undefined;
  readonly stores: () => Iterable<RodStore>;
  /** `source`: the NAA designator of a logical unit, in hexadecimal digits. */
  readonly standing: (nexus: LunNexus, source: string) => Standing;
}
