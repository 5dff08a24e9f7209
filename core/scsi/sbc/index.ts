import type { CommandSpec } from '../command-spec.ts';
import { READ_CAPACITY } from './read-capacity.ts';
import { READ } from './read.ts';
import { SYNCHRONIZE_CACHE } from './sync-cache.ts';
import { WRITE } from './write.ts';

/** The block commands. */
export const SBC_COMMANDS: readonly CommandSpec[] = [...READ, ...WRITE, ...READ_CAPACITY, ...SYNCHRONIZE_CACHE];
