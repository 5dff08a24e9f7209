// What the disk of a pool says when it cannot write, as the volumes say it.
import { VolumeError, VolumeFault } from '../volume/volume.ts';

/** ENOSPC as a number: that is how the metadata store says it. */
const ENOSPC = 28;

export const isDiskFull = (error: unknown): boolean =>
  ['ENOSPC', 'EDQUOT', ENOSPC].includes((error as { code?: string | number }).code ?? '') || isNoSpace(error);

export const isNoSpace = (error: unknown): boolean =>
  error instanceof VolumeError && error.fault === VolumeFault.noSpace;

export function diskError(error: unknown): VolumeError {
  const fault = isDiskFull(error) ? VolumeFault.noSpace : VolumeFault.writeError;
  return new VolumeError(fault, 'the disk of the pool cannot write', undefined, { cause: error });
}

/** A sync has failed: nobody knows what the disk has, and asking again would not tell. */
export function unstable(cause: unknown): VolumeError {
  const message =
    'the disk of the pool could not make data stable; the pool takes no more writes until it is opened again';
  return new VolumeError(VolumeFault.writeError, message, undefined, { cause });
}
