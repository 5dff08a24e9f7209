// Everything a layer below control/ may know of the outside: time, network, disk, randomness. The daemon passes the
// Node implementation (core/world/), the simulator passes its own. Nothing here does I/O.
import type { Gather } from './gather.ts';

/** A pending call made by Clock.after. */
export interface Timer {
  /** Forgets the call. Harmless when it has already happened. */
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds with fraction; only differences mean anything. */
  now(): number;
  /** Milliseconds since 1970 by the wall clock; for people and certificates, never for decisions. */
  wall(): number;
  /** Calls `fn` once, about `ms` milliseconds from now. */
  after(ms: number, fn: () => void): Timer;
  /** Calls `fn` after the events that are already waiting; used to collect answers of one turn into one write. */
  soon(fn: () => void): void;
}

export interface RandomSource {
  /** `length` unpredictable bytes (cryptographic quality in the Node implementation). */
  bytes(length: number): Buffer;
}

/** Who receives what arrives on a Socket. All calls come from the event loop, never from inside Socket methods. */
export interface SocketSink {
  /** The memory the next bytes go to; asked anew before every read. Must not be empty. */
  buffer(): Buffer;
  /** `bytes` have been stored at the start of the buffer offered last. False stops reading until Socket.resume(). */
  received(bytes: number): boolean;
  /** Everything written has been accepted by the network; only called after Socket.unsent was above 0. */
  drained(): void;
  /** The connection is gone (peer closed, reset, or destroy()). Called exactly once. */
  closed(reason: string): void;
}

export interface Socket {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  /** Common name of the peer's certificate, which the authority of TlsIdentity has signed. Undefined: no TLS. */
  readonly peerName?: string | undefined;
  /** Bytes written but not yet accepted by the operating system. While above 0 the written buffers stay in use. */
  readonly unsent: number;
  /** Starts delivery to `sink`. Must be called once. */
  start(sink: SocketSink): void;
  /** Queues `data` without copying; `done` is called when the memory may be used again. */
  write(data: Buffer, done?: () => void): void;
  /** Queues several pieces, which leave in one system call where they fit. */
  writeAll(pieces: readonly Buffer[]): void;
  /** What sendGathered() sends, shared by all sockets of the event loop. Undefined or absent: it cannot be used. */
  readonly gather?: Gather | undefined;
  /** writeAll() of what has been gathered in this turn. The caller clears it. */
  sendGathered?(gather: Gather): void;
  /** Reading goes on after SocketSink.received returned false. */
  resume(): void;
  /** Sends what is queued, then closes. */
  end(): void;
  /** Closes at once; what is queued is lost. */
  destroy(reason?: string): void;
  /**
   * Begins TLS on a connection that has spoken in plain text: this socket is used no more, the one that resolves has to be
   * started in the same turn. Rejects with a ServiceError peer-untrusted. Absent: it cannot.
   */
  secure?(tls: TlsStart): Promise<Socket>;
}

/** TLS on a connection that stands; with `server` a certificate of the authority is asked of the client. */
export type TlsStart = TlsIdentity & { readonly server: boolean; readonly expect?: string };

export interface Listener {
  readonly address: string;
  readonly port: number;
  /** Stops accepting; existing sockets live on. */
  close(): Promise<void>;
}

/** Who we are to the other machines of a cluster, and whose word we take for who they are (PEM). TLS 1.3, both sides. */
export interface TlsIdentity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Where a connection goes: an address (literal or name) and port, or the path of a unix socket. */
export type Destination = { readonly host: string; readonly port: number } | { readonly path: string };

export interface ConnectOptions {
  /** Milliseconds until the connection, with TLS its handshake too, has to stand. */
  readonly timeout: number;
  /** TLS; `expect`: the common name the peer's certificate has to have. */
  readonly tls?: TlsIdentity & { readonly expect: string };
}

export interface Net {
  /**
   * Listens on `host` (IPv4 or IPv6 literal) and `port` (0 = any free one). With `tls` only those are accepted who have a
   * certificate of its authority; of who has none only `refused` hears: its address, where that is still known, and why. Rejects
   * with a ServiceError.
   */
  listen(
    host: string,
    port: number,
    accepted: (socket: Socket) => void,
    tls?: TlsIdentity,
    refused?: (address: string, why: string) => void,
  ): Promise<Listener>;
  /** Listens on a unix socket that gets these permissions. One that nobody listens on any more is replaced. */
  listenPath(path: string, mode: number, accepted: (socket: Socket) => void): Promise<Listener>;
  /**
   * Opens a connection; start() has to be called in the turn in which it resolves. Rejects with a ServiceError:
   * peer-unreachable (refused, no route, no answer in time, no such name), peer-untrusted (certificate).
   */
  connect(to: Destination, options: ConnectOptions): Promise<Socket>;
}

/** An open file or block device. Positions and lengths are bytes. */
export interface DiskFile {
  readonly path: string;
  /** True when the data lives in memory (tmpfs, ramfs): a synchronous read never waits for a device. */
  readonly inMemory: boolean;
  /** True for a block device: fixed size, discards go to the device. */
  readonly isDevice: boolean;
  /** Current size in bytes. */
  size(): number;
  /**
   * Reads exactly `length` bytes, in this turn of the event loop; throws on a short read or an error. False: it took so long
   * that a device must have been waited for, or something else was in the way.
   */
  readSync(into: Buffer, at: number, length: number, position: number): boolean;
  /** Writes exactly `length` bytes to the operating system (not to stable media), in this turn. */
  writeSync(from: Buffer, at: number, length: number, position: number): void;
  /** The same two without blocking the event loop. The buffer belongs to the call until it settles. */
  read(into: Buffer, at: number, length: number, position: number): Promise<void>;
  write(from: Buffer, at: number, length: number, position: number): Promise<void>;
  /**
   * write() of what is large and is not read soon: the operating system need not keep it. That takes positions, lengths and
   * memory (alignedMemory) that are multiples of 4096. Absent: write() is no different.
   */
  writeLarge?(from: Buffer, at: number, length: number, position: number): Promise<void>;
  /**
   * Reads into several places, one behind the other in the file, for who has a cache of its own: the operating system need
   * not keep it. That takes positions and lengths that are multiples of 4096; anything else is read like by read().
   */
  readLarge(into: readonly Buffer[], position: number): Promise<void>;
  /** The same for a small read into one place. */
  readSmall(into: Buffer, at: number, length: number, position: number): Promise<void>;
  /**
   * readSmall() without a promise, where that is possible at once. False: nothing was begun, use readSmall. Otherwise `done` is
   * told once, never before this returns, whether all of it was read; if not, use readSmall. Absent: never possible.
   */
  readSoon?(into: Buffer, at: number, length: number, position: number, done: (whole: boolean) => void): boolean;
  /** The same for readLarge(). */
  readLargeSoon?(into: readonly Buffer[], position: number, done: (whole: boolean) => void): boolean;
  /** What was written before this call is on stable media when it resolves (fdatasync). */
  dataSync(): Promise<void>;
  /** Frees the space behind the range, which reads as zeros afterwards. False: not supported here, nothing changed. */
  punch(position: number, length: number): Promise<boolean>;
  /** Bytes of storage in use (blocks of the file system); for a device its size. */
  allocatedBytes(): number;
  /** A value that every later change of the content changes, whoever makes it; it survives closing and restarts. */
  changeStamp(): bigint;
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

export interface OpenOptions {
  readonly create?: boolean;
  readonly exclusive?: boolean;
  readonly readOnly?: boolean;
  readonly syncWrites?: boolean;
}

export interface Disk {
  /**
   * Opens an existing file or device, or creates the file. A device is ours alone then: one that is mounted or otherwise
   * in use is refused with device-in-use. `syncWrites`: a write is on stable media when its call is over (O_DSYNC).
   * Rejects with a ServiceError.
   */
  open(path: string, options?: OpenOptions): Promise<DiskFile>;
  exists(path: string): Promise<boolean>;
  /** Removes a file if it exists; durable when it resolves. */
  remove(path: string): Promise<void>;
  makeFolder(path: string): Promise<void>;
  /** Whole small file, or undefined when it does not exist. */
  readFile(path: string): Promise<Buffer | undefined>;
  /** Replaces a small file so that a crash leaves the old or the new content, never a mixture; durable when resolved. */
  replaceFile(path: string, content: Buffer, mode?: number): Promise<void>;
}

export interface World {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly net: Net;
  readonly disk: Disk;
}
