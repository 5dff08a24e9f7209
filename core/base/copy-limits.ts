// Limits of copies and tokens; limits.ts has them all.

// ---- offloaded data transfer (ODX)
/** Range descriptors of POPULATE TOKEN and WRITE USING TOKEN. */
export const MAX_ODX_RANGES = 64;
/**
 * Bytes one token stands for, and bytes a transfer does best with: Windows sends no more than 256 MiB in one command, and
 * what cannot be done within ODX_PATIENCE ends as a partial transfer, which it goes on from.
 */
export const MAX_TOKEN_TRANSFER = 1_073_741_824;
export const OPTIMAL_TOKEN_TRANSFER = 268_435_456;
/** Seconds a token lives without being used: by default, and at most. */
export const TOKEN_TIMEOUT = 60;
export const MAX_TOKEN_TIMEOUT = 600;
/** Seconds a token lives at most, however often it is used, counted anew when its pool is opened. */
export const MAX_TOKEN_LIFETIME = 3600;
/** Milliseconds of one WRITE USING TOKEN in the foreground; Windows gives up after four seconds in all. */
export const ODX_PATIENCE = 1_000;
/** Bytes of a transfer between two looks at the clock and at whether it has been aborted. */
export const ODX_STEP = 67_108_864;
/** Tokens of one pool, and bytes they stand for. */
export const MAX_TOKENS = 1024;
export const MAX_TOKEN_BYTES = 1_099_511_627_776;
/** Milliseconds after its last use from which on a token may be revoked: for another one, or when the pool is short of space. */
export const TOKEN_GRACE = 5_000;
/** Percent of a pool that must be free, or tokens that nobody uses are revoked. */
export const TOKEN_FREE_SPACE = 5;
/** Milliseconds between two looks for tokens that have expired. */
export const TOKEN_CHECK_INTERVAL = 1_000;
/** Tokens that are gone of which it is remembered why. */
export const MAX_GONE_TOKENS = 1024;

// ---- copies
/** Bytes of buffers of all copies together; of one step; steps of one copy that are under way at once. */
export const COPY_MEMORY = 67_108_864;
export const COPY_STEP = 1_048_576;
export const COPY_DEPTH = 4;
/** Bytes of buffers kept while nothing is copied. */
export const COPY_IDLE_MEMORY = 8_388_608;
/** Bytes that change hands at once where nothing is moved: grains that are shared (POOL_SHARE_GRAINS of them), and holes. */
export const COPY_SHARE_STEP = 264_241_152;
/**
 * The same two, and bytes that are given back at once, while hosts are being served (at least COPY_YIELDS_TO commands in the last
 * one to two times COURTESY_MS milliseconds): steps that others hardly notice, and the share of the event loop copies get.
 */
export const COPY_YIELDS_TO = 4;
export const COPY_SMALL_STEP = 131_072;
export const COPY_SMALL_SHARE_STEP = 16_777_216;
export const SMALL_ZERO_STEP = 16_777_216;
export const COPY_LOOP_SHARE = 0.2;
/** A hole is copied as a hole from this length on, bytes; extents of one step that are looked at. */
export const COPY_MIN_HOLE = 65_536;
export const COPY_EXTENTS = 32;
/** Tries to lock both ranges of a step without waiting with one of them in hand. */
export const COPY_LOCK_TRIES = 16;
