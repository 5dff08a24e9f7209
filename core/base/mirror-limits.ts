// Limits of what the nodes of a cluster say to each other, and of the copies they keep in step.

// ---- links between nodes
/** Milliseconds a connection to another node has to stand, with the handshake of TLS; and from there to HELLO. */
export const PEER_CONNECT_TIMEOUT = 2_000;
export const PEER_HELLO_TIMEOUT = 2_000;
/** Milliseconds between two attempts to reach a node: at first, and at most. */
export const PEER_RETRY = 100;
export const PEER_RETRY_MAX = 1_000;
/** Bytes of the header of a message, and of what comes behind it. */
export const MAX_PEER_HEADER = 65_536;
export const MAX_PEER_PAYLOAD = 16_842_752;
/** Requests under way on one connection, and bytes of them: more are not read until some are answered. */
export const MAX_PEER_REQUESTS = 16_384;
export const MAX_PEER_BYTES = 268_435_456;
/** Bytes of answers a node has not taken yet, from which on it is asked for no more questions. */
export const MAX_PEER_UNSENT = 67_108_864;
/** Bytes a connection reads at once. */
export const PEER_RECEIVE_BUFFER = 262_144;
/**
 * Bytes up to which a payload is small: it is copied, so that many of them are sent and received in one piece; at least a header's.
 * Bytes of the pieces of memory they are put together in, to be sent, and for who receives them.
 */
export const PEER_SMALL_PAYLOAD = 65_536;
export const PEER_SEND_SLAB = 262_144;
export const PEER_PAYLOAD_SLAB = 131_072;
/** Bytes of memory of large payloads that a connection keeps for the next ones. */
export const PEER_SPARE_BYTES = 33_554_432;
/** Milliseconds between two looks at requests whose patience is over. */
export const PEER_SWEEP = 100;
/** Connections that have not said HELLO; reasons of refusal that are remembered so that each is logged once. */
export const MAX_PEER_STRANGERS = 64;
export const MAX_PEER_REFUSALS = 256;

// ---- leases (docs/mirror.md)
/** Milliseconds between beacons; for which one answered beacon lets an owner serve reads; and more for which its peer keeps off. */
export const BEACON_INTERVAL = 250;
export const LEASE_TIME = 2_000;
export const LEASE_GRACE = 2_500;
/** Milliseconds without a sign of life of the loop that serves, after which no beacon is sent for it. */
export const LOOP_LIFE = 2_000;
/** Milliseconds until a beacon thread that has failed is started again. */
export const BEACON_THREAD_RETRY = 1_000;
/** Milliseconds without an answered beacon after which a node counts as gone, though its connection stands. */
export const PEER_SILENCE = 1_500;
/** Milliseconds for which a node whose disk has failed leaves a volume to others. */
export const OWNER_UNFIT = 30_000;
/** Milliseconds for which a node that has played dead (a drill) leaves the volume to others. */
export const DRILL_UNFIT = 5_000;

// ---- replicas
/** Replicas of one volume. */
export const MAX_REPLICAS = 3;
/** Milliseconds a replica has for a write, and for what is about whole volumes. */
export const MIRROR_PATIENCE = 1_500;
export const MIRROR_CONTROL_PATIENCE = 5_000;
/** Milliseconds a command waits for the owner to be known, or for a lease; for a record that cannot be changed. */
export const OWNER_PATIENCE = 5_000;
export const HOLD_PATIENCE = 15_000;
/** Milliseconds between two attempts to change a record, and between two looks at one nobody has told of a change of. */
export const RECORD_RETRY = 100;
export const RECORD_LOOK = 2_000;
/** Bytes of writes of one volume under way to its replicas, above which writes wait. */
export const MIRROR_IN_FLIGHT = 67_108_864;
/** Bytes of what the SCSI side keeps with a volume (reservations). */
export const MAX_UNIT_STATE = 262_144;

// ---- regions
/** Smallest region, bytes, and regions of one volume, above which regions are larger. */
export const REGION_BYTES = 65_536;
export const MAX_REGIONS = 16_777_216;
/** Regions that may be written to without a note first; the least lately used are forgotten, so many at a time. */
export const HOT_REGIONS = 65_536;
export const HOT_FORGET = 4_096;
/** Neighbours that are noted with one another, in aligned runs; of a small volume no more than its share, 1 of so many. */
export const HOT_RUN = 16;
export const HOT_RUN_SHARE = 256;
/** Bytes of an operation from which it is noted as a range of its own. */
export const WIDE_OPERATION = 16_777_216;
/** The latest of those that a replica which is one of three keeps noted. */
export const MAX_WIDE_NOTES = 1_024;
/** Bytes of the log of a volume's regions until it begins anew; of one record of it. */
export const REGION_LOG_BYTES = 4_194_304;
export const REGION_RECORD = 4_096;

// ---- resync
/** Bytes copied at a time, copies at a time, bytes that are cleared at a time. */
export const RESYNC_RUN = 1_048_576;
export const RESYNC_PARALLEL = 12;

/** While hosts are busy: bytes copied at a time, and copies at a time. */
export const RESYNC_BUSY_RUN = 262_144;
export const RESYNC_BUSY_PARALLEL = 1;
/** Bytes a second at most, by default, while hosts are busy; milliseconds since the last command in which they are. */
export const RESYNC_BUSY_RATE = 1_073_741_824;
export const RESYNC_BUSY_MS = 100;
/**
 * While hosts are busy the rate is judged every so many milliseconds: by so many bytes a second it grows as long as writes do not
 * take longer than this times the usual, on average and the slowest of them, else it shrinks to this part of it; never below a rate at which it comes to an end.
 */
export const RESYNC_STEP_MS = 100;
export const RESYNC_STEP = 8_388_608;
export const RESYNC_LATE = 1.5;
export const RESYNC_SLOWER = 0.7;
export const RESYNC_FLOOR = 8_388_608;
/**
 * The slowest writes: which part of all, and how fast what they take is learnt. The part of writes that may take RESYNC_LATE times
 * that while a replica is brought up to date; bytes a second above which it does not go while nobody knows what writes take.
 */
export const SLOW_WRITES = 0.01;
export const SLOW_WRITE_STEP = 0.1;
export const RESYNC_SLOW_SHARE = 0.01;
export const RESYNC_UNKNOWN = 33_554_432;
/** Writes over which their usual time is averaged, and bytes of the largest that counts: large ones take longer anyway. */
export const USUAL_WRITES = 64;
export const USUAL_WRITE_BYTES = 65_536;
/** Regions (REGION_BYTES) of a snapshot another node is told of at a time. */
export const POINT_LOOK_REGIONS = 64;
/** Milliseconds until a replica that failed is tried again: at first, and at most. */
export const REJOIN_RETRY = 1_000;
export const REJOIN_RETRY_MAX = 60_000;
/** Of writes in a row, a replica that takes longer than so many milliseconds for so many of them is slow, and left out. */
export const SLOW_REPLICA_MS = 500;
export const SLOW_REPLICA_WRITES = 16;
/** Ranges a report of a verification names. */
export const MAX_VERIFY_RANGES = 1_000;
