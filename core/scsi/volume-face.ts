// What a transport needs to know of volumes; it sees them only through logical units.
export { WriteNow } from '../volume/volume.ts';
export type { StableWaiter, Volume } from '../volume/volume.ts';
export type { RangeLock } from '../volume/range-locks.ts';
