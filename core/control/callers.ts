import { ROLES } from './records.ts';
import type { Role } from './records.ts';

/** Who sent a request. */
export interface Caller {
  readonly kind: 'user' | 'token';
  /** Of the user or the token. */
  readonly name: string;
  readonly role: Role;
  /** Of a user: the session in the console. */
  readonly session?: {
    readonly id: string;
    readonly csrf: string;
    /** Milliseconds since 1970. */
    readonly created: number;
    readonly expires: number;
  };
  /** Of a token: milliseconds since 1970. */
  readonly token?: { readonly created: number; readonly expires: number | undefined };
}

/** True when `role` may do what `needed` may. */
export const mayAct = (role: Role, needed: Role): boolean => ROLES.indexOf(role) >= ROLES.indexOf(needed);
