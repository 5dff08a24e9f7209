// Limits of volumes that live on other engines (Ceph RBD, a folder all nodes see).

/** Backends of one cluster. */
export const MAX_BACKENDS = 64;
/** Milliseconds a command of another engine may take, and bytes of what it says that are read. */
export const ENGINE_PATIENCE = 15_000;
export const ENGINE_OUTPUT = 1_048_576;
/** Milliseconds an exporter has to listen after it was started; until it is started again when it has ended. */
export const EXPORT_START = 5_000;
export const EXPORT_RESTART = 250;
/**
 * Milliseconds after which an exporter is killed when its node does not tell it to go on, and between two times of telling: a
 * node that stands still loses its volumes after LEASE_GRACE, and must not write any more soon after that.
 */
export const EXPORT_SWITCH = 3_000;
export const EXPORT_TOLD = 500;
/** Milliseconds within which an image has to be free for its new owner, with everybody else shut out. */
export const IMAGE_ACQUIRE = 12_000;
/** Connections one exporter takes. */
export const EXPORT_CONNECTIONS = 16;
/** Milliseconds for which a removal is tried again while the engine says that the image is in use. */
export const IMAGE_REMOVE = 40_000;
/** Seconds for which who was shut out of a Ceph image stays so: longer than any machine stands still. */
export const FENCE_SECONDS = 604_800;
/** Milliseconds an exporter has for an orderly end. */
export const EXPORT_STOP = 1_000;
