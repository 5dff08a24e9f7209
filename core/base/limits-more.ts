// Limits of alerts and of images; limits.ts, where everybody looks for them, has them all.

// ---- alerts
/**
 * Alerts: milliseconds between two looks, and for which something has to be so before it is told; fill levels of a pool that
 * are kept, and milliseconds they have to span to say something; commands a disk has to answer between two looks to be judged;
 * milliseconds after which fewer sessions of a host are how it is meant to be.
 */
export const ALERT_INTERVAL = 15_000;
export const ALERT_HOLD = 45_000;
export const ALERT_FULL_SAMPLES = 960;
export const ALERT_FULL_SPAN = 1_800_000;
export const ALERT_MIN_COMMANDS = 20;
export const ALERT_PATH_MEMORY = 86_400_000;
/** Targets of alerts, receivers of one, bytes of a secret, characters of an authority's certificate. */
export const MAX_ALERT_TARGETS = 32;
export const MAX_ALERT_RECEIVERS = 32;
export const MAX_ALERT_SECRET = 1024;
export const MAX_ALERT_CA = 32_768;
/** Alerts that wait for one target; attempts for one; milliseconds for an attempt, after the first one, and between two at most. */
export const ALERT_QUEUE = 200;
export const ALERT_ATTEMPTS = 8;
export const ALERT_TIMEOUT = 10_000;
export const ALERT_BACKOFF = 2_000;
export const MAX_ALERT_BACKOFF = 300_000;
/** Bytes of a syslog message over UDP: what every receiver should take (RFC 5424 §6.1). */
export const MAX_SYSLOG_DATAGRAM = 2048;

// ---- images
/** Requests qemu-img keeps under way while it copies an image. */
export const IMAGE_COROUTINES = 8;
/** Milliseconds qemu-img may look at the header of an image; a crafted one could keep it busy. */
export const IMAGE_LOOK_TIMEOUT = 60_000;
/** Bytes kept of what qemu-img says. */
export const MAX_IMAGE_REPORT = 1_048_576;
/** Bytes of the text that describes a VMDK image; QEMU reads no more either. */
export const MAX_VMDK_DESCRIPTOR = 1_048_576;
/** Milliseconds a portal has to accept a connection before the next one is tried. */
export const PORTAL_PATIENCE = 3_000;
