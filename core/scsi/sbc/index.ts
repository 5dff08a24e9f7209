import type { CommandSpec } from '../command-spec.ts';
import { ATOMIC } from './atomic.ts';
import { GET_LBA_STATUS } from './get-lba-status.ts';
import { PREFETCH } from './prefetch.ts';
import { READ_CAPACITY } from './read-capacity.ts';
import { READ_DEFECT_DATA } from './read-defect-data.ts';
import { READ } from './read.ts';
import { SANITIZE } from './sanitize.ts';
import { SYNCHRONIZE_CACHE } from './sync-cache.ts';
import { VERIFY } from './verify.ts';
import { WRITE } from './write.ts';

/** The block commands, one file per family. */
export const SBC_COMMANDS: readonly CommandSpec[] = [
  ...READ,
  ...WRITE,
  ...VERIFY,
  ...ATOMIC,
  ...READ_CAPACITY,
  ...GET_LBA_STATUS,
  ...SYNCHRONIZE_CACHE,
  ...PREFETCH,
  ...READ_DEFECT_DATA,
  ...SANITIZE,
];
