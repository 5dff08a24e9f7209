// What initiators see of the room that thin volumes share (SBC-3 4.7.3): the units, the threshold, where it is described.
import { MAX_QUICK_WRITE_SAME, MAX_WRITE_SAME } from '../base/limits.ts';
import type { SpaceResources } from '../volume/volume.ts';
import type { LogicalUnit } from './logical-unit.ts';

/**
 * Byte of the one threshold descriptor in the Logical Block Provisioning mode page (SBC-3 6.5.7). The unit attention about
 * the threshold names the descriptor by it, in INFORMATION (SBC-3 4.7.3.8).
 */
export const THRESHOLD_DESCRIPTOR_AT = 16;

/** The room of a logical unit; undefined: it is thick, or takes its space from room that nobody can count. */
export function resourcesOf(lu: LogicalUnit): SpaceResources | undefined {
  return lu.volume.info.thin ? lu.volume.resources : undefined;
}

/** Bytes of one WRITE SAME (VPD B0 MAXIMUM WRITE SAME LENGTH). */
export function maxWriteSame(lu: LogicalUnit): number {
  return lu.volume.info.quickZero === true ? MAX_QUICK_WRITE_SAME : MAX_WRITE_SAME;
}

/** VPD B2 THRESHOLD EXPONENT (SBC-3 6.6.4): a threshold set has 2^n logical blocks. 0: there are no thresholds. */
export function thresholdExponent(lu: LogicalUnit): number {
  const resources = resourcesOf(lu);
  return resources === undefined ? 0 : Math.log2(resources.setBytes / lu.blockSize);
}
