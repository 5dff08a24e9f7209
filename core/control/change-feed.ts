// What changes in the catalog, for whoever shows it live (event streams, the console, alerts).
import type { SavedReservations } from '../scsi/reservations/store.ts';
import type { SavedSanitize } from '../scsi/sanitize-store.ts';
import type { Edit } from './collection.ts';
import type { AlertRuleRecord, AlertStateRecord, AlertTargetRecord } from './alerts/records.ts';
import type { EventRecord } from './events.ts';
import type { JobRecord } from './jobs/job.ts';
import type { KeptRequestRecord } from './kept-requests.ts';
import type {
  ApiAuthorityRecord,
  BackendRecord,
  DeletedVolume,
  HostGroupRecord,
  HostRecord,
  InitiatorRecord,
  NodeRecord,
  ObservationRecord,
  PolicyRecord,
  PoolRecord,
  PortalRecord,
  ScheduleRecord,
  SnapshotRecord,
  TargetRecord,
  TokenRecord,
  VolumeRecord,
} from './records.ts';
import type { AuditAnchorRecord, SecuritySettingsRecord, UserRecord, WebSessionRecord } from './security-records.ts';

/** The record of each collection, by the name of the collection (the prefix of its keys). */
export interface CatalogRecords {
  readonly volumes: VolumeRecord;
  readonly pools: PoolRecord;
  readonly portals: PortalRecord;
  readonly policies: PolicyRecord;
  readonly backends: BackendRecord;
  readonly snapshots: SnapshotRecord;
  readonly targets: TargetRecord;
  readonly initiators: InitiatorRecord;
  readonly tokens: TokenRecord;
  readonly 'node-tokens': TokenRecord;
  readonly users: UserRecord;
  readonly 'web-sessions': WebSessionRecord;
  readonly 'security-settings': SecuritySettingsRecord;
  readonly 'audit-anchor': AuditAnchorRecord;
  readonly 'api-authority': ApiAuthorityRecord;
  readonly reservations: SavedReservations;
  readonly sanitizing: SavedSanitize;
  readonly events: EventRecord;
  readonly jobs: JobRecord;
  readonly hosts: HostRecord;
  readonly 'host-groups': HostGroupRecord;
  readonly schedules: ScheduleRecord;
  readonly deleted: DeletedVolume;
  readonly 'alert-targets': AlertTargetRecord;
  readonly 'alert-rules': AlertRuleRecord;
  readonly 'alert-states': AlertStateRecord;
  readonly observations: ObservationRecord;
  readonly requests: KeptRequestRecord;
  readonly node: NodeRecord;
}

/** One record as it is now; `value` undefined: it is gone. */
export type CatalogChange = {
  readonly [K in keyof CatalogRecords]: {
    readonly kind: K;
    readonly id: string;
    readonly value: CatalogRecords[K] | undefined;
    /** Of the transaction; changes of one transaction share it. */
    readonly revision: number;
  };
}[keyof CatalogRecords];

export class ChangeFeed {
  readonly #listeners = new Set<(change: CatalogChange) => void>();

  watch(listener: (change: CatalogChange) => void): () => void {
    // Two calls with the same function are two watchers.
    const own = (change: CatalogChange): void => {
      listener(change);
    };
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** The edits have been made. */
  tell(edits: readonly Pick<Edit, 'prefix' | 'id' | 'change'>[], revision: number): void {
    if (this.#listeners.size === 0) return;
    for (const { prefix, id, change } of edits) {
      // An Edit comes from the collection with this prefix, which decides the type of the value.
      const told = { kind: prefix.slice(0, -1), id, value: change.value, revision } as unknown as CatalogChange;
      for (const listener of [...this.#listeners]) listener(told);
    }
  }
}
