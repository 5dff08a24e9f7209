// A block device. Files, devices, memory, pool volumes, snapshots, mirrors and remote peers all look like this.
// Positions and lengths are bytes and multiples of info.blockSize; the caller has checked them against info.size.

import type { Gather } from '../base/gather.ts';

/** When a write counts as acknowledged (DESIGN §6). */
export const Durability = {
  /** On stable media before the acknowledgement. The write cache is reported off (WCE=0). */
  durable: 'durable',
  /** In RAM of two nodes before the acknowledgement (part of the mirror). */
  mirroredRam: 'mirrored-ram',
  /** In RAM before the acknowledgement; flush and FUA reach stable media. WCE=1. For labs. */
  volatile: 'volatile',
} as const;
export type Durability = (typeof Durability)[keyof typeof Durability];

export interface VolumeInfo {
  /** Bytes. Changes only through resize. */
  readonly size: number;
  /** Logical block size in bytes: 512 or 4096. */
  readonly blockSize: number;
  readonly durability: Durability;
  readonly readOnly: boolean;
  /** True when unmap really frees space. */
  readonly thin: boolean;
  /** Unit in bytes in which space is freed best (VPD B0 OPTIMAL UNMAP GRANULARITY). */
  readonly unmapGranularity: number;
  /** True when zero() moves no data, so that its time does not grow with the length. */
  readonly quickZero?: boolean;
}

/** The room a thin volume takes its space from and shares with others (SBC-3 4.7.3). Numbers are threshold sets. */
export interface SpaceResources {
  /** Bytes of a threshold set: the unit room is counted in. A power of two. */
  readonly setBytes: number;
  /** Sets that are neither used nor promised to anybody. */
  readonly available: number;
  /** Who uses the room is told when no more than so many are available. */
  readonly threshold: number;
  /** That has happened, and there is not much more room since. */
  readonly crossed: boolean;
}

/** What writeNow made of the data. */
export const WriteNow = {
  /** Not taken: it would block. Use write(). */
  refused: 0,
  /** Taken and as stable as the durability policy wants. */
  done: 1,
  /** Taken, readable, not yet stable: acknowledge when whenStable calls back. */
  placed: 2,
} as const;
export type WriteNow = (typeof WriteNow)[keyof typeof WriteNow];

/** Somebody who waits for the group commit. A task of its own, so that waiting allocates nothing. */
export interface StableWaiter {
  /** Everything placed before whenStable was called is stable, or (with an error) must not be acknowledged. */
  stable(error: Error | undefined): void;
}

/** A run of blocks in one state; bytes. */
export interface Extent {
  readonly position: number;
  readonly length: number;
  /** False: reads as zeros and uses no space. */
  readonly mapped: boolean;
}

/** Memory for bytes of a volume that lie within one grain. */
export interface Place {
  readonly position: number;
  readonly length: number;
  readonly memory: Buffer;
  readonly at: number;
}

/**
 * The log of a volume that makes data stable by writing it down in order, and puts it into its place later. Whoever keeps
 * data above such a volume logs it first, and places it when it likes.
 */
export interface WriteLog {
  /** Sets aside what placing this write will need. False: the log has no room now, see room(). Throws a VolumeError. */
  admit(position: number, length: number): boolean;
  /** Logs whole blocks (BLOCK) that were admitted in this very turn. */
  append(position: number, source: Buffer, at: number, length: number): void;
  /** Resolves when what was appended so far is stable. Rejects with a VolumeError. */
  stable(): Promise<void>;
  /** True when something that was appended, cleared or written in the range may not be stable yet. */
  unstable(position: number, length: number): boolean;
  /** What is appended next in this very turn, up to `length` bytes, is stable as a whole or not at all. False: no room now. */
  together(length: number): boolean;
  /** Resolves when admit, together or clear may say something else. */
  room(): Promise<void>;
  /** Puts stable data into its place. Whole blocks; never two calls for the same block at a time. */
  place(position: number, source: Buffer, at: number, length: number): Promise<void>;
  /** Logs that whole blocks read as zeros from now on, and makes it so. False: the log has no room now. */
  clear(position: number, length: number): boolean;
  /** Writes whole grains past the log: stable and in its place when it resolves. False: it cannot; log the data instead. */
  writeGrains(position: number, source: Buffer, at: number, length: number): Promise<boolean>;
  attach(upper: LogUpper): void;
}

/** Who keeps data of a volume with a log, as the volume below sees it. */
export interface LogUpper {
  /** Places what is kept in the range, then runs `work` while nothing is being placed. Bytes. */
  settled<T>(position: number, length: number, work: () => T | Promise<T>): Promise<T>;
  /** True when nothing of the range is kept or being placed. */
  quiet(position: number, length: number): boolean;
  /**
   * The volume below has other content in this range now: whole grains, or up to the end of the volume. When it is settled or
   * quiet, and in the very turn in which the log took note of it: what is logged behind that stays.
   */
  replaced(position: number, length: number): void;
  /**
   * Appends to the log everything that is kept. False: that is more than `limit` bytes, or `more` said so. `ready`: the log
   * takes a grain in this turn; `more` waits for that, false: it will not.
   */
  logAgain(limit: number, ready: () => boolean, more: () => Promise<boolean>): Promise<boolean>;
  /** No write is taken until the returned function is called. */
  pause(): () => void;
  /**
   * Lets go of everything that is kept. The volume below calls it once it has been closed: at once when nothing waits for its
   * place, else when that is there.
   */
  release(): void;
}

export interface Volume {
  readonly info: VolumeInfo;
  /** Present when the volume has a log; absent: what is written is in its place. */
  readonly log?: WriteLog | undefined;
  /** Present when the volume takes its space from room that it shares with others, and that can run out. */
  readonly resources?: SpaceResources | undefined;

  /**
   * Reads into `target` at `at` in this turn if no device has to be waited for. False: nothing was read, use read(), which
   * also tells of errors. Never throws.
   */
  readNow(position: number, length: number, target: Buffer, at: number): boolean;
  /**
   * Appends the pieces of memory that hold the range, in order, to `pieces`. False: nothing was appended, use readNow.
   * The caller has a hold of the viewGuard: until it releases it the pieces neither change nor go. Never throws.
   */
  viewNow(position: number, length: number, pieces: Buffer[]): boolean;
  /**
   * viewNow() of a small range into a vector, without an object. False: nothing was added, use readNow. Absent: never possible.
   */
  gatherNow?(position: number, length: number, gather: Gather): boolean;
  /** Reads into `target` at `at`. Rejects with a VolumeError. */
  read(position: number, length: number, target: Buffer, at: number): Promise<void>;
  /**
   * The same for what nobody is going to read again soon: whoever keeps data in memory keeps none of it, so that it drives out
   * nothing. Absent: read() is no different.
   */
  readOnce?(position: number, length: number, target: Buffer, at: number): Promise<void>;

  /**
   * read() into several places, in order of their positions; each lies within one grain. Absent: it is no better than a read
   * for each.
   */
  readPlaces?(places: readonly Place[]): Promise<void>;
  /**
   * Brings the range into memory, where readNow and viewNow have it, unless it has to go again at once. False: it is not
   * there, use read. Rejects like read. Absent: the volume keeps nothing in memory.
   */
  bring?(position: number, length: number): Promise<boolean>;

  /**
   * read() of what takes one read of a device, without a promise. False: nothing was begun, use read. Otherwise `done` is told
   * once, never before this returns, whether `target` has it; if not, use read, which tells why. Absent: never possible.
   */
  readSoon?(position: number, length: number, target: Buffer, at: number, done: (whole: boolean) => void): boolean;
  /** The same for readPlaces(): a few reads of a device. */
  readPlacesSoon?(places: readonly Place[], done: (whole: boolean) => void): boolean;
  /** The same for bring(): `done` is told whether readNow and viewNow have the range now; if not, use read. */
  bringSoon?(position: number, length: number, done: (there: boolean) => void): boolean;

  /** Takes the data in this turn (the source may be reused when it returns), or refuses. Throws a VolumeError. */
  writeNow(position: number, source: Buffer, at: number, length: number): WriteNow;
  /** Calls waiter.stable when everything placed so far is stable. Never calls before it returns. */
  whenStable(waiter: StableWaiter): void;
  /** Writes; resolves when acknowledged by the durability policy, or, with `fua`, when on stable media. */
  write(position: number, source: Buffer, at: number, length: number, fua: boolean): Promise<void>;
  /** True: when write() has resolved nobody has its source any more, so that it may be used again. Absent: one cannot tell. */
  readonly letsGo?: boolean;

  /** The same for up to MAX_ATOMIC bytes, of which a power loss leaves all or nothing. Absent: the storage cannot do that. */
  writeAtomic?(position: number, source: Buffer, at: number, length: number, fua: boolean): Promise<void>;

  /** Everything acknowledged so far is on stable media when it resolves. */
  flush(): Promise<void>;
  /** The range reads as zeros afterwards and stays mapped. */
  zero(position: number, length: number): Promise<void>;
  /** The range reads as zeros afterwards; its space is freed where possible. As durable as a write. */
  unmap(position: number, length: number): Promise<void>;
  /** The states of the blocks from `position` on: at most `limit` extents, in order, adjacent, clipped to the size. */
  extents(position: number, length: number, limit: number): Promise<Extent[]>;

  /** The volume that holds the storage, where this one is in front of it; absent: this one. */
  readonly origin?: Volume;
  /**
   * Makes [to, to+length) of this volume the same storage as [from, from+length) of the source; whole grains on both sides.
   * As durable as a write. Overlapping ranges give what copying by way of a buffer would. False: they cannot share, and
   * nothing has changed. Absent: this volume never can. Rejects with a VolumeError.
   */
  shareFrom?(source: Volume, from: number, to: number, length: number): Promise<boolean>;
  /** Whether shareFrom() can share with this source. Absent: no. */
  sharesWith?(source: Volume): boolean;

  /** Bytes of storage this volume uses now. */
  allocatedBytes(): number;
  /** Grows or shrinks to `size` bytes. */
  resize(size: number): Promise<void>;
  /** Finishes running I/O, makes everything stable and lets go of the storage. */
  close(): Promise<void>;
}

/** Why a volume could not do as asked. `scsi/sense.ts` maps the kind to sense data. */
export const VolumeFault = {
  readError: 'read-error',
  writeError: 'write-error',
  noSpace: 'no-space',
  readOnly: 'read-only',
  notReady: 'not-ready',
  /** Another node serves this volume now, or is about to: it can be repeated there, or here a little later. */
  moved: 'moved',
} as const;
export type VolumeFault = (typeof VolumeFault)[keyof typeof VolumeFault];

export class VolumeError extends Error {
  readonly fault: VolumeFault;
  /** Byte position of the first failed block, when known. */
  readonly position: number | undefined;

  constructor(fault: VolumeFault, message: string, position?: number, options?: ErrorOptions) {
    super(message, options);
    this.name = 'VolumeError';
    this.fault = fault;
    this.position = position;
  }
}
