// Limits of forwarded SCSI commands; limits.ts has them all.

/**
 * Milliseconds after which a command that came to one node does not begin at another any more, whether it waited for an owner or
 * was on its way; then it ends with 02/04/0A, and the initiator repeats it. Less than initiators take to give a path up and repeat
 * the command on another one (Linux 10 s, Windows 15 s, ESXi 30 s): a copy of it that came later would undo what was written since.
 */
export const FORWARD_HOLD = 5_000;
/**
 * Of these, milliseconds in which the owner begins what was sent to it, or sends it back: usually it does within one. Whoever
 * loses the link waits for so long, and not for all of FORWARD_HOLD, until it can be said that nothing comes of it any more.
 */
export const FORWARD_BEGIN = 2_000;
/** Milliseconds commands wait for a lost owner where nobody but it can become owner; its hosts have other paths. */
export const FORWARD_STRANDED = 1_000;
/**
 * Milliseconds for which a node may stand still. After more of it what has come by its sessions may be older than what their
 * hosts have written by other paths since, and the sessions end. No host gives a path up in less.
 */
export const FORWARD_STALL = 2_000;
/** Milliseconds on top of it before a command whose link broke is told to the initiator: the owner has noticed by then. */
export const FORWARD_SLACK = 500;
/** Milliseconds until a command that found the owner elsewhere than expected is tried again. */
export const FORWARD_RETRY = 50;
/** The owner's clock is asked for anew when the last reading is older than this, milliseconds. */
export const FORWARD_CLOCK_AGE = 10_000;
/** Largest difference of two nodes' clock rates, as a fraction. */
export const MAX_CLOCK_DRIFT = 0.01;
/** Milliseconds the owner has for a forwarded command, the longest there are (SANITIZE, copies) included. */
export const FORWARD_PATIENCE = 86_400_000;
/** Milliseconds the owner, or a forwarding node, has to end tasks of the other; it answers sooner even if a disk hangs. */
export const FORWARD_END_PATIENCE = 5_000;
/** Commands, nexuses and bytes of data one peer may have at the owner at a time. */
export const MAX_FORWARDED_TASKS = 16_384;
export const MAX_FORWARDED_NEXUSES = 65_536;
export const MAX_FORWARDED_BYTES = 536_870_912;
/** Bytes of a name in a forwarded nexus, and of its longest CDB. */
export const MAX_FORWARDED_NAME = 512;
export const MAX_FORWARDED_CDB = 260;
/** Bytes of sense data in an answer (SPC-4 4.5.1: 252 at most). */
export const MAX_SENSE = 252;

/** Bytes of a forwarded READ that is answered in the turn in which it comes; of the memory such answers are cut out of. */
export const FORWARD_READ_NOW = 65_536;
export const FORWARD_READ_SLAB = 262_144;
