import type { CommandSpec } from '../command-spec.ts';
import { PERSISTENT_IN } from './persistent-in.ts';
import { PERSISTENT_OUT } from './persistent-out.ts';
import { RESERVE_RELEASE } from './reserve-release.ts';

/** RESERVE, RELEASE and persistent reservations. */
export const RESERVATION_COMMANDS: readonly CommandSpec[] = [...RESERVE_RELEASE, ...PERSISTENT_IN, ...PERSISTENT_OUT];
