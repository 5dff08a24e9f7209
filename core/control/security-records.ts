// What the catalog keeps about people, their sessions, and the audit log. A field that is added later must be optional.
import type { ConfigStore } from '../cluster/config-store.ts';
import { Collection } from './collection.ts';
import type { Role } from './records.ts';

/** A password after scrypt (RFC 7914), with the parameters it was made with: those of new ones may change. */
export interface PasswordHash {
  readonly scheme: 'scrypt';
  /** N, r and p of RFC 7914 §2. */
  readonly cost: number;
  readonly blockSize: number;
  readonly parallelization: number;
  /** base64 */
  readonly salt: string;
  readonly hash: string;
}

export interface UserRecord {
  /** In lower case. */
  readonly name: string;
  readonly role: Role;
  readonly enabled: boolean;
  readonly password: PasswordHash;
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly lastLogin?: number;
}

/** A session of a person, by the SHA-256 of the secret in the cookie. */
export interface WebSessionRecord {
  readonly user: string;
  /** When that user was made: another one with the same name is somebody else. */
  readonly userCreated: number;
  /** Milliseconds since 1970. */
  readonly created: number;
  /** When it ends whatever is done. */
  readonly expires: number;
  /** Kept to SESSION_TOUCH_STEP. */
  readonly lastSeen: number;
}

export interface SecuritySettingsRecord {
  /** Origins that may show the console in a frame. */
  readonly frameOrigins: readonly string[];
  /** Further DNS names of the API. */
  readonly apiNames: readonly string[];
}

/** What the audit log must still contain: an entry, and the first one that was not removed by rotation. */
export interface AuditAnchorRecord {
  readonly seq: number;
  readonly hash: string;
  readonly first: number;
}

/** The records about who may do what. */
export class SecurityRecords {
  readonly users: Collection<UserRecord>;
  readonly sessions: Collection<WebSessionRecord>;
  /** One record: `self`. */
  readonly settings: Collection<SecuritySettingsRecord>;
  /** One record: `self`. */
  readonly anchor: Collection<AuditAnchorRecord>;

  /** Users, their sessions and settings are the same on all nodes of a cluster (`shared`). */
  constructor(store: ConfigStore, shared: ConfigStore) {
    this.users = new Collection(shared, 'users/');
    this.sessions = new Collection(shared, 'web-sessions/');
    this.settings = new Collection(shared, 'security-settings/');
    this.anchor = new Collection(store, 'audit-anchor/');
  }
}
