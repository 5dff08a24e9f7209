import type { CommandSpec } from '../core/scsi/command-spec.ts';
import { COMPARE_AND_WRITE } from './compare-and-write.ts';
import { EXTENDED_COPY } from './extended-copy.ts';
import { RECEIVE_COPY } from './receive-copy.ts';
import { UNMAP } from './unmap.ts';
import { WRITE_SAME } from './write-same.ts';

/** What ESXi offloads: Zero, Delete, ATS and Clone. */
export const VAAI_COMMANDS: readonly CommandSpec[] = [
  ...WRITE_SAME,
  ...UNMAP,
  ...COMPARE_AND_WRITE,
  ...EXTENDED_COPY,
  ...RECEIVE_COPY,
];
