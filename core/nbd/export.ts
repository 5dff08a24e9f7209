// What a NBD server serves: a volume under a name, with the locks it shares with whoever else uses that volume.
import { MAX_NBD_PAYLOAD } from '../base/nbd-limits.ts';
import type { RangeLocks } from '../volume/range-locks.ts';
import { VolumeError, VolumeFault } from '../volume/volume.ts';
import type { Volume } from '../volume/volume.ts';
import type { BlockSizes } from './wire/options.ts';
import { ExportFlag, NbdError } from './wire/protocol.ts';

export interface NbdExport {
  readonly name: string;
  readonly description: string;
  readonly volume: Volume;
  /** The locks all commands to the volume take, by whichever protocol they come. */
  readonly locks: RangeLocks;
  readonly readOnly: boolean;
  /** True once the volume is no longer served under this name: requests end with an error, connections close. */
  readonly gone: boolean;
  /** Counts a request that has been answered; bytes. */
  count?(kind: 'read' | 'write', bytes: number, failed: boolean): void;
}

/** Where the server looks exports up. */
export interface NbdExports {
  /** Names for LIST. */
  names(): readonly string[];
  /** '' is the default export, if there is one. */
  find(name: string): NbdExport | undefined;
  opened(served: NbdExport): void;
  closed(served: NbdExport): void;
}

/** Transmission flags of an export. */
export function flagsOf({ volume, readOnly }: NbdExport): number {
  const { info } = volume;
  let flags = ExportFlag.hasFlags | ExportFlag.flush | ExportFlag.fua | ExportFlag.df;
  // A flush is over when everything acknowledged is stable, on whichever connection it came.
  flags |= ExportFlag.multiConn;
  if (readOnly || info.readOnly) return flags | ExportFlag.readOnly;
  flags |= ExportFlag.writeZeroes | ExportFlag.fastZero;
  return info.thin ? flags | ExportFlag.trim : flags;
}

export function blockSizesOf({ volume: { info } }: NbdExport): BlockSizes {
  const preferred = Math.max(4096, info.blockSize);
  return { minimum: info.blockSize, preferred, maximum: MAX_NBD_PAYLOAD };
}

const FAULTS: Record<VolumeFault, number> = {
  [VolumeFault.readError]: NbdError.io,
  [VolumeFault.writeError]: NbdError.io,
  [VolumeFault.noSpace]: NbdError.noSpace,
  [VolumeFault.readOnly]: NbdError.permission,
  [VolumeFault.notReady]: NbdError.io,
  // Whoever asks again is told by somebody else.
  [VolumeFault.moved]: NbdError.shutdown,
};

/** The error number for what a volume threw. */
export const errorNumber = (error: unknown): number =>
  error instanceof VolumeError ? FAULTS[error.fault] : NbdError.io;
