import type { CommandSpec } from '../core/scsi/command-spec.ts';

/** What ESXi offloads. */
export const VAAI_COMMANDS: readonly CommandSpec[] = [];
