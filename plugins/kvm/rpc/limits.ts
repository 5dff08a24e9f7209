// Limits of what a libvirtd may send us, and of how long it may take. Those of the protocol are libvirt's own
// (src/rpc/virnetprotocol.x, src/remote/remote_protocol.x).

/** Bytes of a message without its length word, and of the length word with the header. */
export const MAX_MESSAGE = 33_554_432;
export const LENGTH_BYTES = 4;
export const HEADER_BYTES = 24;
/** Bytes of a string (REMOTE_STRING_MAX is 4 MiB since 1.2; an XML document is the longest). */
export const MAX_STRING = 4_194_304;
/** Entries of a list of pools, volumes, secrets, domains. */
export const MAX_LIST = 16_384;
/** Calls under way on one connection; libvirtd itself works on five of a client at a time (max_client_requests). */
export const MAX_CALLS = 256;
/** Milliseconds a call may take: a pool that starts logs in to a target, which may be away. */
export const CALL_TIMEOUT = 60_000;
/** Milliseconds a connection, with its TLS or SSH, may take. */
export const CONNECT_TIMEOUT = 15_000;
/** Milliseconds between attempts to reach a libvirtd that is away: at first, and at most. */
export const RECONNECT_FIRST = 250;
export const RECONNECT_MAX = 10_000;
/** Milliseconds without a message after which a connection is asked whether it lives, and in which it has to answer. */
export const KEEPALIVE_INTERVAL = 30_000;
export const KEEPALIVE_PATIENCE = 15_000;
/** Clients of the gateway at the same time; libvirtd takes 5000 (max_clients). */
export const MAX_CLIENTS = 64;
/** Milliseconds between looks of the gateway at the storage, for clients that want to be told. */
export const POOL_INTERVAL = 5_000;
