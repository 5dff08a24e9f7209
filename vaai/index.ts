import type { CommandSpec } from '../core/scsi/command-spec.ts';
import { COMPARE_AND_WRITE } from './compare-and-write.ts';
import { UNMAP } from './unmap.ts';
import { WRITE_SAME } from './write-same.ts';

/** What ESXi offloads, as far as it is there: Zero, Delete and ATS. */
export const VAAI_COMMANDS: readonly CommandSpec[] = [...WRITE_SAME, ...UNMAP, ...COMPARE_AND_WRITE];
