// Every limit of the product, in one place. Those that a peer can see are announced from these same constants
// (login keys, VPD pages), so that what is promised and what is enforced cannot drift apart.

export * from './balance-limits.ts';
export * from './copy-limits.ts';
export * from './forward-limits.ts';
export * from './image-limits.ts';
export * from './mirror-limits.ts';

// ---- iSCSI
/** MaxRecvDataSegmentLength we declare, bytes. */
export const MAX_RECV_DATA_SEGMENT = 262_144;
/** FirstBurstLength and MaxBurstLength we offer at most, bytes. */
export const FIRST_BURST = 262_144;
export const MAX_BURST = 1_048_576;
/** R2Ts one command may have outstanding. */
export const MAX_OUTSTANDING_R2T = 8;
/** Commands a session may have in the window (MaxCmdSN - ExpCmdSN + 1) when memory is plentiful, and when it is not. */
export const COMMAND_WINDOW = 256;
export const COMMAND_WINDOW_LOW = 4;
/** Immediate commands (NOP, task management) a connection may have pending besides the window. */
export const MAX_IMMEDIATE_TASKS = 32;
/** Bytes of PDUs one session may send ahead of a command number that has not come yet; they count in DATA_MEMORY. */
export const MAX_EARLY_BYTES = 8_388_608;
/** Bytes of additional header segments accepted (RFC 7143 §11.2.1.5: TotalAHSLength is one byte of 4-byte words). */
export const MAX_AHS = 1020;
/** Receive memory of one connection; larger than any legal PDU (see notes in iscsi/receive.ts). */
export const RECEIVE_BUFFER = 524_288;
/** Bytes of one login or text negotiation over all its PDUs, and rounds of it. */
export const MAX_LOGIN_TEXT = 65_536;
export const MAX_LOGIN_ROUNDS = 24;
/** Milliseconds from accept to full feature phase. */
export const LOGIN_TIMEOUT = 15_000;
/** Connections that may be in login at once, over all portals; and from one address. */
export const MAX_LOGINS_PENDING = 256;
export const MAX_LOGINS_PENDING_PER_ADDRESS = 128;
/** Portals of a node, and portal groups (RFC 7143 §4.4.1) it has at once; milliseconds until one that does not listen is tried again. */
export const MAX_PORTALS = 64;
export const MAX_PORTAL_GROUPS = 64;
export const PORTAL_RETRY = 5_000;
/** Sessions of the daemon, and of one initiator name. */
export const MAX_SESSIONS = 1024;
export const MAX_SESSIONS_PER_INITIATOR = 512;
/**
 * Milliseconds of silence after which a NOP-In asks, and how long the answer may take. More than a minute in all: there
 * are initiators that sleep for a minute without looking at their socket, and every lost session costs them a unit
 * attention. A host that comes back earlier reinstates its session and does not wait for this.
 */
export const NOP_INTERVAL = 30_000;
export const NOP_TIMEOUT = 45_000;
/** Bytes queued to one socket above which we stop reading from it. */
export const SEND_QUEUE_HIGH = 16_777_216;
/** Bytes every connection may have queued, however much the others have: one command of the size we do best. */
export const SEND_QUEUE_LOW = 1_048_576;
/**
 * Bytes of answers, over all connections, that are queued or being read for it. The nearer it comes, the less one connection
 * may have of it, down to SEND_QUEUE_LOW.
 */
export const ANSWER_MEMORY = 536_870_912;
/** Bytes of assembled write data and of asynchronous read buffers, over all sessions. */
export const DATA_MEMORY = 536_870_912;
/**
 * Of these, what one session may hold for write data it has not sent yet, and for asynchronous reads: so that one session
 * does not keep what all others need.
 */
export const SESSION_WRITE_MEMORY = 134_217_728;
export const SESSION_READ_MEMORY = 67_108_864;
/**
 * Several sessions together may still hoard. So, within SESSION_WRITE_MEMORY (and MAX_EARLY_BYTES), whatever waits for an
 * initiator is taken only while no more than half of DATA_MEMORY is in use, unless it has at most so many bytes: the rest
 * is left to reads, which wait in line for it, and to small writes. And READ_RESERVE of it is never taken for data that
 * has not come, however small the pieces: reads end by themselves, hoarders do not.
 */
export const SMALL_GATHER = 65_536;
export const READ_RESERVE = 134_217_728;
/**
 * Milliseconds without a byte of its data after which a write ends with CHECK CONDITION: an initiator that answers NOPs but
 * never sends what it announced must not keep memory and tasks for ever. Longer than any initiator waits for its command.
 */
export const DATA_OUT_TIMEOUT = 120_000;
/** Milliseconds a task management function waits for running I/O before it is answered anyway. */
export const TASK_MANAGEMENT_PATIENCE = 500;
/** Milliseconds a closing daemon waits for initiators to log out. */
export const LOGOUT_PATIENCE = 3_000;

/** An event with at least so many commands keeps the event loop awake for so many milliseconds, and turns, after it. */
export const AWAKE_FROM_COMMANDS = 8;
export const AWAKE_MS = 0.03;
export const AWAKE_TURNS = 64;

/**
 * While other sessions had at least COURTESY_FROM_COMMANDS commands answered out of memory in the last one to two times
 * COURTESY_MS milliseconds, reads from disks begin only as fast as this share of the event loop can take them, and so many
 * milliseconds ahead.
 */
export const COURTESY_MS = 10;
export const COURTESY_FROM_COMMANDS = 8;
export const COURTESY_SHARE = 0.1;
export const COURTESY_AHEAD_MS = 0.1;

/** Pieces of written data, MAX_RECV_DATA_SEGMENT each, whose memory is kept for others: 16 MiB. */
export const SPARE_PIECES = 64;

// ---- SCSI
/** Largest READ/WRITE, bytes (VPD B0 MAXIMUM TRANSFER LENGTH). */
export const MAX_TRANSFER = 16_777_216;
/**
 * READ/WRITE size we do best, bytes (VPD B0 OPTIMAL TRANSFER LENGTH). QEMU takes it as the size of its copies, Linux reads twice
 * as much ahead.
 */
export const OPTIMAL_TRANSFER = 4_194_304;
/** Largest parameter list of any command without media data, bytes. */
export const MAX_PARAMETER_LIST = 65_536;
/** LUNs of one target. */
export const MAX_LUNS = 256;
/** Unit attentions kept per I_T_L nexus; older ones of the same kind are merged. */
export const MAX_UNIT_ATTENTIONS = 16;
/** Persistent reservation registrations per logical unit. */
export const MAX_REGISTRATIONS = 256;
/** Tasks waiting in one task set behind an ordered task. */
export const MAX_WAITING_TASKS = 4096;
/** UNMAP: descriptors of a list, and blocks of a list (conformance suites take more than 2^20 for a mistake). */
export const MAX_UNMAP_DESCRIPTORS = 256;
export const MAX_UNMAP_BLOCKS = 1_048_576;
/**
 * WRITE SAME: bytes of one command (VPD B0 MAXIMUM WRITE SAME LENGTH, as blocks): where zeros are data, and where they are
 * an entry of a map. Bytes of zeros, or given back, and of other data, between two looks at whether the command was aborted.
 */
export const MAX_WRITE_SAME = 16_777_216;
export const MAX_QUICK_WRITE_SAME = 17_179_869_184;
export const WRITE_SAME_ZERO_STEP = 268_435_456;
export const WRITE_SAME_STEP = 1_048_576;
/** UNMAP: descriptors that are worked on at a time. */
export const UNMAP_PARALLEL = 16;
/** WRITE ATOMIC: bytes of one command. On a pool all of it goes into one batch of the journal. */
export const MAX_ATOMIC = 1_048_576;
/** PRE-FETCH: bytes one command brings in; more is more than we promise to keep. */
export const MAX_PREFETCH = 67_108_864;
/** GET LBA STATUS: descriptors of an answer, and bytes of the volume one command looks at; the next answer goes on. */
export const MAX_LBA_STATUS_DESCRIPTORS = 1024;
export const MAX_LBA_STATUS_LOOK = 68_719_476_736;
/** Milliseconds between two lines of the log about the same trouble with the storage of one logical unit. */
export const STORAGE_TROUBLE_INTERVAL = 30_000;
/** Hosts and reasons of refusal the truth meter of a logical unit keeps apart. */
export const MAX_OFFLOAD_HOSTS = 64;
export const MAX_OFFLOAD_REASONS = 32;
/** Bytes below which a copy, or what a host does within an interval, says nothing about its rate. */
export const MIN_RATE_SAMPLE = 1_048_576;
/** Bytes of copies that are remembered for their rate, and milliseconds after which it is no longer known. */
export const COPY_RATE_MEMORY = 4_294_967_296;
export const COPY_RATE_STALE = 300_000;
/** Milliseconds between two looks at what hosts read and write, and seconds in which the best of it counts half. */
export const HOST_RATE_INTERVAL = 1_000;
export const HOST_RATE_HALF_LIFE = 600;
/** COMPARE AND WRITE: blocks of one command. */
export const MAX_COMPARE_AND_WRITE_BLOCKS = 128;
/** Copy operations of one logical unit that run or can still be asked about. */
export const MAX_COPY_OPERATIONS = 256;
/** EXTENDED COPY: descriptors of copy sources and destinations, segments, bytes of all these descriptors. */
export const MAX_COPY_CSCDS = 64;
export const MAX_COPY_SEGMENTS = 64;
export const MAX_COPY_DESCRIPTORS = 8192;
/** Bytes of one segment: what a 16-bit number of 4096-byte blocks can say. */
export const MAX_COPY_SEGMENT = 268_431_360;

// ---- volumes
export const MAX_VOLUMES = 16_384;
/** Smallest and largest volume, bytes. */
export const MIN_VOLUME = 1_048_576;
export const MAX_VOLUME = 70_368_744_177_664;
/** Range locks of one logical unit, held or waited for; more than 256 sessions with 128 commands each can want. */
export const MAX_RANGE_LOCKS = 65_536;
/** Bytes of one volume remembered as being in the page cache (and so read without leaving the event loop). */
export const HOT_BYTES = 2_147_483_648;
/**
 * A read that should be from the page cache but takes longer than so many milliseconds, and so many more for each byte, was not:
 * so many bytes around it are no longer taken for being there.
 */
export const HOT_READ_MS = 0.06;
export const HOT_READ_BYTE_MS = 6e-7;
export const HOT_DOUBT_BYTES = 67_108_864;
/** Written bytes of a volatile volume after which they are made stable in the background, and above which a write waits:
 * the kernel would otherwise stop the event loop to write back. */
export const VOLATILE_SYNC_AFTER = 268_435_456;
export const VOLATILE_WAIT_ABOVE = 1_073_741_824;
/** Requests to free space that wait for the helper program of one file; further ones write zeros instead. */
export const MAX_WAITING_PUNCHES = 4096;
/** Bytes adjacent requests to free space are merged up to. */
export const MAX_PUNCH = 1_073_741_824;
/** Milliseconds without requests after which the helper program of a file ends: a pool has many files. */
export const PUNCH_IDLE = 2000;
/** Bytes of the memory for what a socket receives though reading has been stopped. */
export const OFFERED_OVERFLOW = 65_536;
/** Bytes from which a write goes past the page cache where its memory allows that. */
export const LARGE_WRITE = 131_072;
/** Bytes of a piece that is sent by itself where there is TLS. */
export const LARGE_PIECE = 65_536;
/** Milliseconds a socket has to send what is queued when it is closed. */
export const SEND_REST_PATIENCE = 10_000;

// ---- cache
/** Bytes of the read and write cache by default: this share of the memory of the machine, and at most so many. */
export const CACHE_SHARE = 4;
export const MAX_DEFAULT_CACHE = 4_294_967_296;
/** Largest cache, bytes. */
export const MAX_CACHE = 1_099_511_627_776;
/** Bytes of the cache at least, where there is one: a command of any size has to find frames. */
export const MIN_CACHE = 1_048_576;
/** Of the cache, the share that may hold data the storage below does not have: one in so many. */
export const DIRTY_SHARE = 2;
/** Times a read from below is repeated because the blocks were written meanwhile. */
export const CACHE_READ_RETRIES = 16;
/** Milliseconds data may stay dirty before it is written back in the background. */
export const DESTAGE_AGE = 5_000;
/** Milliseconds between two rounds of writing back, and after a round that failed. */
export const DESTAGE_INTERVAL = 250;
export const DESTAGE_RETRY = 1_000;
/** Of the dirty frames, the share one round writes back (one in so many), and the least number of them. */
export const DESTAGE_SHARE = 16;
export const DESTAGE_FRAMES = 64;
/**
 * Bytes of blocks that are written back together, runs of adjacent ones among them, and such loads at a time. With scattered
 * blocks as many small writes are in front of the next append of a log as four loads have runs: not too many.
 */
export const DESTAGE_RUN = 1_048_576;
export const DESTAGE_RUNS = 16;
export const DESTAGE_PARALLEL = 4;

// ---- pool
/** Bytes of data, and of records, in one batch of the journal: an atomic write that begins within a block touches one more. */
export const JOURNAL_BATCH = 1_052_672;
export const JOURNAL_HEADER = 32_768;
/** Batches that may be filled or on their way to the disk at once, and appends running at a time. */
export const JOURNAL_BATCHES = 4;
export const JOURNAL_PARALLEL = 2;
/** Bytes that go at once when no append is running: then the disk has something to do while the rest of the turn comes in. */
export const JOURNAL_EARLY = 65_536;
/**
 * Milliseconds after which an empty batch says that the last one was stable when no other does; until then, damage in it looks
 * like an append that was cut off. And ranges that are named where the journal is found damaged.
 */
export const JOURNAL_QUIET = 200;
export const MAX_NAMED_RANGES = 16;
/** Smallest journal, bytes: two full batches for every one under way. */
export const MIN_JOURNAL = 16_777_216;
/** Times a read is repeated because the grain moved meanwhile; fresh grains that are tried for one that can be written. */
export const MAX_MOVES = 8;
export const WRITE_TRIES = 4;
/** Large reads of a pool may go past the page cache. They need memory of a special kind: bytes of one read, and reads. */
export const DIRECT_READ_BYTES = 262_144;
export const DIRECT_READ_SLOTS = 32;
/** Reads that are under way at once without a thread for each, and places that one of them reads into. Others get a thread. */
export const ASYNC_READS = 256;
export const ASYNC_READ_PIECES = 16;
/** Of these, how many that have ended are dealt with before what they bring is sent; and about how many bytes. */
export const ASYNC_READ_BATCH = 8;
export const ASYNC_READ_BATCH_BYTES = 524_288;
/**
 * Milliseconds between two large pages that are made; so many rests between them while the event loop is busy for more than
 * such a share of its time, for it may have to wait for each.
 */
export const LARGE_PAGES_REST = 20;
export const LARGE_PAGES_RESTS = 12;
export const LARGE_PAGES_BUSY = 0.2;
/**
 * A disk that takes no longer for a small read, milliseconds (of several at once their share), is read past the page cache:
 * one that takes longer has the page cache as a second cache instead.
 */
export const FAST_READ_MS = 0.25;
/** Small reads of a file whose ends are remembered, to know one that goes on there. */
export const READ_STREAMS = 32;
/** Grains a scrub reads between two pauses. */
export const SCRUB_GRAINS = 64;
/** Writes of at least so many bytes go past the journal where they cover whole grains. */
export const DIRECT_WRITE = 131_072;
/** Grains that change hands in one record of the journal when a range is copied by sharing: nearly JOURNAL_HEADER. */
export const POOL_SHARE_GRAINS = 4032;
/** Milliseconds between two checkpoints while there is something to put into its place. */
export const CHECKPOINT_INTERVAL = 10_000;
/**
 * Space of free grains that is given back to the disk: a unit (grains) all of which must be free, the most grains at a time,
 * milliseconds between two times, units that are looked at in one turn of the event loop, and how many times as many
 * grains have to be free besides.
 */
export const RECLAIM_UNIT = 16;
export const RECLAIM_RUN = 1024;
export const RECLAIM_PAUSE = 50;
export const RECLAIM_LOOK = 16_384;
export const RECLAIM_SPARE = 7;
/** Appends to the journal between two times above which hosts are busy writing; times that are left out then. */
export const RECLAIM_BUSY_APPENDS = 4;
export const RECLAIM_BUSY_TURNS = 20;
/** Of the journal, the share that data may have which cannot be put into its place: one in so many. */
export const KEPT_SHARE = 4;
/** Grains that are put into their places at a time when a pool is opened; each takes 64 KiB of memory. */
export const REPLAY_PARALLEL = 32;
/** Volumes and snapshots of one pool. */
export const MAX_POOL_VOLUMES = 65_536;
/** Leaves (64 MiB each) of a deleted volume that are given back in one turn of the event loop. */
export const DELETE_STEP = 64;
/** Percent of a pool that may be in use before its initiators are told, by default; percent below which it is over again. */
export const DEFAULT_THRESHOLD = 80;
export const THRESHOLD_HYSTERESIS = 5;
/** Milliseconds of the event loop that counting the space of volumes takes at a time. */
export const SPACE_COUNT_MS = 3;
/** Milliseconds of the event loop that the check of a pool takes at a time; times it counts what changed meanwhile. */
export const CHECK_MS = 3;
export const CHECK_PASSES = 4;
/**
 * Journal and slabs of a new pool, bytes, where the pool is large enough; a journal is at most this share (one in so many). The
 * larger it is, the more often a block is written again before it has to be put into its place, and the longer a start after
 * a crash takes.
 */
export const POOL_JOURNAL = 536_870_912;
export const POOL_JOURNAL_SHARE = 16;
export const POOL_SLAB = 1_073_741_824;
/** Slabs a new pool is made of; they are larger when it is. */
export const MAX_FIRST_SLABS = 1024;
/** The pool of the first start leaves one in so many bytes of its file system free, and has at most so many bytes. */
export const FIRST_POOL_SPARE = 10;
export const MAX_FIRST_POOL = 4_398_046_511_104;
/** Smallest and largest pool, bytes (of volume data). */
export const MIN_POOL = 16_777_216;
export const MAX_POOL = 70_368_744_177_664;
export const MAX_POOLS = 64;
/** Bytes of cache in front of pools when the cache is switched off: what is written rests there until it is in its place. */
export const POOL_CACHE = 67_108_864;
/** Smallest cache that is used for pools; a smaller one could not take a large atomic write at once. */
export const MIN_POOL_CACHE = 4_194_304;
/** Bytes a second a scrub reads by default. */
export const SCRUB_RATE = 104_857_600;
/** Snapshots of one volume. */
export const MAX_SNAPSHOTS = 4096;
/** Volumes of one consistency group. */
export const MAX_GROUP = 256;
/** Pages of checksums kept in memory, 4 KiB each (one covers 4 MiB of data). */
export const POOL_SUM_PAGES = 8192;

// ---- control plane
/** Initiators one volume may be mapped to. */
export const MAX_MAPS = 256;
/** Known initiators. */
export const MAX_INITIATORS = 4096;
/** CHAP secrets, bytes: RFC 7143 §9.2.1 wants 96 bits at least; 128 bits and more are what peers can store. */
export const MIN_CHAP_SECRET = 12;
export const MAX_CHAP_SECRET = 255;
/** Milliseconds a deletion waits for sessions that are just ending. */
export const DELETE_PATIENCE = 1_000;
/** Events that are kept, that may wait to be kept, characters of the text of one; milliseconds in which the same is one event. */
export const MAX_EVENTS = 5_000;
export const MAX_EVENT_QUEUE = 500;
export const MAX_EVENT_TEXT = 500;
export const EVENT_REPEAT = 60_000;
export * from './job-limits.ts';
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
/** Looks between two notes of what a restart must not forget; samples of a series that are kept over it. */
export const ALERT_SAVE = 20;
export const MAX_KEPT_SAMPLES = 96;
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
/** Bytes of an API request body. */
export const MAX_API_BODY = 65_536;
/** Items of a page of a list: when nobody says how many, and at most; characters of a cursor. */
export const DEFAULT_PAGE = 100;
export const MAX_PAGE = 1_000;
export const MAX_CURSOR = 2_000;
/** Characters of a header If-Match or If-None-Match. */
export const MAX_CONDITION = 2_000;
/**
 * Idempotency keys: milliseconds one is remembered, how many of all callers and of one, bytes of an answer that is kept
 * (compressed), milliseconds between looks for expired ones. Who
 * repeats does so within minutes; scripts repeat the next morning.
 */
export const KEY_LIFETIME = 86_400_000;
export const MAX_KEYS = 10_000;
export const MAX_KEYS_OF_CALLER = 5_000;
export const MAX_KEPT_ANSWER = 16_384;
export const KEY_PURGE_INTERVAL = 60_000;
/**
 * Records that are over which go in one transaction with something else: an etcd of somebody else takes 127 changes, and what has to
 * go must not keep from happening what goes with it.
 */
export const MAX_PURGE = 50;
/**
 * While hosts are served: milliseconds a request and a TLS handshake cost the event loop about, the share of it all of them may
 * have, and the longest wait; who would have to wait longer is refused.
 */
export const API_COST_MS = 1;
export const API_HANDSHAKE_MS = 2;
export const API_LOOP_SHARE = 0.02;
export const API_MAX_WAIT = 5_000;
/** Milliseconds for one API request, and for the headers of it. */
export const API_TIMEOUT = 60_000;
export const API_HEADERS_TIMEOUT = 10_000;
/** Milliseconds between two looks at what the pools have in use; samples kept of each: a day of them. */
export const TREND_INTERVAL = 60_000;
export const TREND_SAMPLES = 1440;
/** Looks between two notes of what was seen. */
export const TREND_SAVE = 10;
/** Milliseconds to observe before anybody is told when a pool will be full. */
export const TREND_LEAST = 600_000;
/** Files of the web console that are served. */
export const MAX_CONSOLE_FILES = 200;
/** Connections to the API at once; streams of events among them. */
export const MAX_API_CONNECTIONS = 1_536;
export const MAX_EVENT_STREAMS = 1_024;
/** Events kept for streams that were interrupted or are slow, and their bytes together. */
export const LIVE_RING_EVENTS = 4_096;
export const LIVE_RING_BYTES = 8_388_608;
/** Milliseconds in which changes of the same are one event; between looks at what changes without a record. */
export const LIVE_REST = 50;
export const LIVE_TICK = 1_000;
/** Volumes of one event of statistics. */
export const LIVE_STATS_VOLUMES = 256;
/** Volumes whose copies one look is at; looks between two questions to the nodes; percent of a resync that are told. */
export const LIVE_LOOK_VOLUMES = 512;
export const LIVE_CLUSTER_LOOK = 5;
export const LIVE_RESYNC_STEP = 5;
/** Bytes given to one stream at a time, and streams that are served before others get their turn. */
export const STREAM_CHUNK = 16_384;
export const STREAM_BATCH = 32;
/** Milliseconds between signs of life of a stream, and in which one that takes nothing is ended. */
export const STREAM_HEARTBEAT = 15_000;
export const STREAM_PATIENCE = 30_000;
/** Milliseconds after SIGTERM after which the daemon ends even if something hangs. */
export const SHUTDOWN_LIMIT = 15_000;

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

// ---- the configuration store of a cluster
export * from './cluster-limits.ts';

// ---- security of the API
export * from './security-limits.ts';
