// Limits of the NBD server and client.

/** Bytes of an export name or of a query (the protocol allows 4096), and queries of one option. */
export const MAX_NBD_NAME = 4096;
export const MAX_NBD_QUERIES = 16;
/** Bytes of the data of one option: a name and some queries. */
export const MAX_NBD_OPTION = 16_384;
/** Options of one negotiation. */
export const MAX_NBD_OPTIONS = 64;
/** Bytes of one read or write; every client knows 32 MiB (block size constraints of the protocol). */
export const MAX_NBD_PAYLOAD = 33_554_432;
/** Milliseconds from accept, or connect, to the end of the negotiation. */
export const NBD_NEGOTIATION_TIMEOUT = 15_000;
/** Connections of a server, and requests one of them may have running. */
export const MAX_NBD_CONNECTIONS = 128;
export const MAX_NBD_REQUESTS = 256;
/** Bytes of data of running requests: of one connection, and of all (each may have one request whatever the others have). */
export const NBD_CONNECTION_MEMORY = 67_108_864;
export const NBD_MEMORY = 536_870_912;
/** Receive memory of a connection, bytes; what is longer gets memory of its own. */
export const NBD_RECEIVE_BUFFER = 262_144;
/** Runs of blocks in one answer to BLOCK_STATUS. */
export const MAX_NBD_DESCRIPTORS = 512;
/** Milliseconds a client waits for an answer before it takes the connection for dead. */
export const NBD_REQUEST_TIMEOUT = 20_000;
/** Milliseconds a client tries to come back before the requests that wait for it fail, and between two tries. */
export const NBD_RECONNECT_PATIENCE = 25_000;
export const NBD_RECONNECT_PAUSE = 250;
/** Connections of one client to an export that allows several. */
export const NBD_CLIENT_CONNECTIONS = 4;
/** Requests of a client that wait or run. */
export const MAX_NBD_WAITING = 4096;
