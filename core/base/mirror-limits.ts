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
export const MAX_PEER_PAYLOAD = 16_777_216;
/** Requests under way on one connection, and bytes of them: more are not read until some are answered. */
export const MAX_PEER_REQUESTS = 4_096;
export const MAX_PEER_BYTES = 268_435_456;
/** Bytes a connection reads at once. */
export const PEER_RECEIVE_BUFFER = 262_144;
/** Milliseconds between two looks at requests whose patience is over. */
export const PEER_SWEEP = 100;
/** Connections that have not said HELLO; reasons of refusal that are remembered so that each is logged once. */
export const MAX_PEER_STRANGERS = 64;
export const MAX_PEER_REFUSALS = 256;
