// The copy engine: what EXTENDED COPY, WRITE USING TOKEN and every other copy of a range come down to. Whole grains are
// shared where both volumes can; everything else is read and written in steps, several at a time.
//
// Overlap: SPC-4 6.4 does not say what a copy gives whose destination overlaps its source. Here it is what reading all of
// the source before writing would give: steps go from that end at which nothing unread is overwritten.
//
// Others: each step holds both of its ranges, so that what is written to them meanwhile is either before or after the step.
// Between the steps everybody else goes on.
import { COPY_DEPTH, COPY_EXTENTS, COPY_MIN_HOLE, COPY_STEP } from '../base/limits.ts';
import { copyBuffers } from './copy-buffers.ts';
import { lockBoth } from './copy-locks.ts';
import { copyPace } from './copy-pace.ts';
import type { CopyClock } from './copy-pace.ts';
import { GRAIN } from './grain.ts';
import type { RangeLocks } from './range-locks.ts';
import { VolumeError, VolumeFault } from './volume.ts';
import type { Extent, Volume } from './volume.ts';

/** Bytes that are the target's now. */
export interface CopyCount {
  /** Without moving data: shared grains, and holes. */
  readonly shared: number;
  /** Read and written. */
  readonly copied: number;
}

export interface CopyRequest {
  readonly source: Volume;
  /** Bytes, as are all numbers here; multiples of the block sizes of both volumes, and inside the volumes. */
  readonly from: number;
  readonly target: Volume;
  readonly to: number;
  readonly length: number;
  /** Of the logical units of the volumes. undefined: nobody else uses the volume. */
  readonly sourceLocks: RangeLocks | undefined;
  readonly targetLocks: RangeLocks | undefined;
  readonly clock: CopyClock;
  /** Asked before every step; when true, the copy ends as soon as the steps that have begun are over. */
  readonly isAborted: () => boolean;
  /** Told after every step: bytes of this step, and bytes from the beginning of the range that are done without a gap. */
  readonly progress?: ((step: CopyCount, inOrder: number) => void) | undefined;
}

/** A copy failed: on which side. */
export class CopyError extends VolumeError {
  readonly side: 'source' | 'target';

  constructor(side: 'source' | 'target', error: VolumeError) {
    super(error.fault, error.message, error.position, { cause: error });
    this.name = 'CopyError';
    this.side = side;
  }
}

/**
 * Copies a range. Resolves with what has been copied, which is all of it unless it was aborted; as durable as a write to the
 * target. Rejects with a CopyError (then any part of the range may have been copied), or a VolumeError of the locks.
 */
export function copyRange(request: CopyRequest): Promise<CopyCount> {
  return new Copy(request).run();
}

/** Whether all but the ragged edges of the range can be shared. */
export function isShareable({
  source,
  from,
  target,
  to,
  length,
}: Pick<CopyRequest, 'source' | 'from' | 'target' | 'to' | 'length'>): boolean {
  if (from % GRAIN !== to % GRAIN || grainsOf(to, length).whole <= 0) return false;
  return target.sharesWith?.(source) === true;
}

/** Bytes before the first whole grain of [to, to+length), and of whole grains. */
function grainsOf(to: number, length: number): { head: number; whole: number } {
  const head = (GRAIN - (to % GRAIN)) % GRAIN;
  return { head, whole: Math.floor((length - head) / GRAIN) * GRAIN };
}

/** Bytes [at, at+length) of the copy. */
interface Piece {
  readonly at: number;
  readonly length: number;
  /** `share`: whole grains; `hole`: the source has nothing there, when looked at. */
  readonly kind: 'share' | 'hole' | 'data';
}

class Copy {
  readonly #request: CopyRequest;
  readonly #overlaps: boolean;
  /** From the end to the beginning. */
  readonly #backwards: boolean;
  #shared = 0;
  #copied = 0;
  /** Bytes from the beginning that are done, and what is done behind them: where each piece begins and ends. */
  #inOrder = 0;
  readonly #ahead = new Map<number, number>();
  #failure: unknown;
  #failed = false;

  constructor(request: CopyRequest) {
    const { source, from, target, to, length } = request;
    this.#request = request;
    this.#overlaps = source === target && Math.abs(to - from) < length;
    this.#backwards = this.#overlaps && to > from;
  }

  async run(): Promise<CopyCount> {
    const { source, from, target, to, length } = this.#request;
    if (source === target && from === to) {
      this.#count({ at: 0, length }, length);
      return { shared: length, copied: 0 };
    }
    const parts = this.#parts();
    if (this.#backwards) parts.reverse();
    for (const part of parts) {
      if (part.length === 0) continue;
      const left = part.kind === 'share' ? await this.#share(part) : part;
      if (left.length > 0) await this.#pipeline(left);
    }
    return { shared: this.#shared, copied: this.#copied };
  }

  /** Ragged beginning, whole grains, ragged end; all of it is data where grains do not lie alike. */
  #parts(): Piece[] {
    const { from, target, to, length } = this.#request;
    const { head, whole } = grainsOf(to, length);
    if (target.shareFrom === undefined || from % GRAIN !== to % GRAIN || whole <= 0) {
      return [{ at: 0, length, kind: 'data' }];
    }
    return [
      { at: 0, length: head, kind: 'data' },
      { at: head, length: whole, kind: 'share' },
      { at: head + whole, length: length - head - whole, kind: 'data' },
    ];
  }

  /** Shares a part; returns what could not be shared. */
  async #share({ at, length }: Piece): Promise<Piece> {
    let left = { at, length };
    while (left.length > 0) {
      await copyPace.turn(this.#request.clock);
      const size = Math.min(copyPace.step(this.#request.clock, 'share'), left.length);
      const step = { at: this.#backwards ? left.at + left.length - size : left.at, length: size };
      const outcome = await this.#shareStep(step);
      if (outcome === 'aborted') return { ...left, length: 0, kind: 'data' };
      if (outcome === 'refused') break;
      left = { at: this.#backwards ? left.at : left.at + size, length: left.length - size };
    }
    return { ...left, kind: 'data' };
  }

  async #shareStep({ at, length }: Pick<Piece, 'at' | 'length'>): Promise<'done' | 'refused' | 'aborted'> {
    const { source, from, target, to, clock } = this.#request;
    copyPace.begin(clock, 'share', length);
    // What the source still keeps is put into its place before others have to wait for it.
    await ofSide('source', source.extents(from + at, length, 1));
    const release = await this.#lock(at, length);
    if (release === undefined) return 'aborted';
    try {
      const done = await ofSide('target', target.shareFrom?.(source, from + at, to + at, length));
      if (done !== true) return 'refused';
    } finally {
      release();
    }
    this.#count({ at, length }, length);
    return 'done';
  }

  /** Copies a part by reading and writing. */
  async #pipeline(part: Piece): Promise<void> {
    const depth = this.#overlaps ? 1 : COPY_DEPTH;
    const running = new Set<Promise<void>>();
    for (let left = part; left.length > 0;) {
      if (running.size >= depth) await Promise.race(running);
      await copyPace.turn(this.#request.clock);
      if (this.#failed || this.#request.isAborted()) break;
      const step = await this.#nextStep(left).catch((error: unknown) => {
        this.#fail(error);
        return undefined;
      });
      if (step === undefined) break;
      left = {
        at: this.#backwards ? left.at : left.at + step.length,
        length: left.length - step.length,
        kind: 'data',
      };
      copyPace.begin(this.#request.clock, step.kind === 'hole' ? 'share' : 'data', step.length);
      const mine = (step.kind === 'hole' ? this.#holeStep(step) : this.#dataStep(step))
        .catch((error: unknown) => {
          this.#fail(error);
        })
        .finally(() => running.delete(mine));
      running.add(mine);
    }
    await Promise.all(running);
    if (this.#failed) throw this.#failure;
  }

  #fail(error: unknown): void {
    if (!this.#failed) this.#failure = error;
    this.#failed = true;
  }

  /** The first step of what is left (the last one, backwards): a long hole, or a piece that ends at a step of the target. */
  async #nextStep({ at, length }: Piece): Promise<Piece> {
    const { source, from, to, clock } = this.#request;
    const most = copyPace.step(clock, 'data');
    if (this.#backwards) {
      const size = Math.min(length, (to + at + length) % most || most);
      return { at: at + length - size, length: size, kind: 'data' };
    }
    const size = Math.min(length, most - ((to + at) % most));
    const look = Math.min(length, copyPace.step(clock, 'share'));
    // What lies in a hole that is shorter is found by the step itself.
    if (source.info.thin && look > size) {
      const [first] = await ofSide('source', source.extents(from + at, look, 1));
      const hole = first?.mapped === false ? this.#inBlocks(at, first.length) : { at, length: 0 };
      if (hole.at === at && hole.length > size) return { ...hole, kind: 'hole' };
    }
    return { at, length: size, kind: 'data' };
  }

  async #holeStep(step: Piece): Promise<void> {
    const { source, from } = this.#request;
    const release = await this.#lock(step.at, step.length);
    if (release === undefined) return;
    try {
      const [first] = await ofSide('source', source.extents(from + step.at, step.length, 1));
      if (first?.mapped === false && first.length >= step.length) {
        await this.#clear(step.at, step.length);
        this.#count(step, step.length);
        return;
      }
    } finally {
      release();
    }
    // Somebody has written to it meanwhile.
    for (let done = 0; done < step.length; done += COPY_STEP) {
      await this.#dataStep({ at: step.at + done, length: Math.min(COPY_STEP, step.length - done), kind: 'data' });
    }
  }

  async #dataStep({ at, length }: Piece): Promise<void> {
    const { source, from, target, to } = this.#request;
    let buffer = await copyBuffers.take();
    try {
      const release = await this.#lock(at, length);
      if (release === undefined) return;
      try {
        const runs = await this.#runs(at, length);
        for (const run of runs) {
          if (run.kind === 'data') await ofSide('source', source.read(from + run.at, run.length, buffer, run.at - at));
        }
        let cleared = 0;
        for (const run of runs) {
          if (run.kind === 'data') {
            await ofSide('target', target.write(to + run.at, buffer, run.at - at, run.length, false));
            continue;
          }
          await this.#clear(run.at, run.length);
          cleared += run.length;
        }
        this.#count({ at, length }, cleared);
      } finally {
        release();
      }
    } catch (error) {
      // What has failed may go on below, as a write nobody waits for any more: its memory is left to it.
      buffer = Buffer.allocUnsafeSlow(COPY_STEP);
      throw error;
    } finally {
      copyBuffers.give(buffer);
    }
  }

  /** The step in runs of data and holes. Short holes, and what is behind the first few, count as data. */
  async #runs(at: number, length: number): Promise<Piece[]> {
    const { source, from } = this.#request;
    if (!source.info.thin) return [{ at, length, kind: 'data' }];
    const extents = await ofSide('source', source.extents(from + at, length, COPY_EXTENTS));
    const runs: Piece[] = [];
    let next = at;
    for (const extent of extents) {
      const hole = this.#holeOf(extent);
      if (hole === undefined) continue;
      if (hole.at > next) runs.push({ at: next, length: hole.at - next, kind: 'data' });
      runs.push(hole);
      next = hole.at + hole.length;
    }
    if (next < at + length) runs.push({ at: next, length: at + length - next, kind: 'data' });
    return runs;
  }

  #holeOf({ position, length, mapped }: Extent): Piece | undefined {
    if (mapped) return undefined;
    const hole = this.#inBlocks(position - this.#request.from, length);
    return hole.length >= COPY_MIN_HOLE ? { ...hole, kind: 'hole' } : undefined;
  }

  /** The part of the range that is whole blocks of the target. */
  #inBlocks(at: number, length: number): { at: number; length: number } {
    const { to, target } = this.#request;
    const { blockSize } = target.info;
    const first = Math.ceil((to + at) / blockSize) * blockSize - to;
    const end = Math.floor((to + at + length) / blockSize) * blockSize - to;
    return { at: first, length: Math.max(0, end - first) };
  }

  async #clear(at: number, length: number): Promise<void> {
    const { target, to } = this.#request;
    await ofSide('target', target.info.thin ? target.unmap(to + at, length) : target.zero(to + at, length));
  }

  /** Both ranges, and a look at whether they are still there. undefined: aborted. */
  async #lock(at: number, length: number): Promise<(() => void) | undefined> {
    const { source, from, target, to, sourceLocks, targetLocks, isAborted } = this.#request;
    const release = await lockBoth(
      { locks: sourceLocks, position: from + at, length },
      { locks: targetLocks, position: to + at, length },
      isAborted,
    );
    if (release === undefined) return undefined;
    const side = from + at + length > source.info.size ? 'source' : 'target';
    if (side === 'target' && to + at + length <= target.info.size) return release;
    release();
    throw new CopyError(side, new VolumeError(VolumeFault.notReady, 'the volume has become smaller'));
  }

  /** This piece is done, so many bytes of it without moving data. */
  #count({ at, length }: Pick<Piece, 'at' | 'length'>, shared: number): void {
    const copied = length - shared;
    this.#shared += shared;
    this.#copied += copied;
    this.#ahead.set(at, at + length);
    for (let end = this.#ahead.get(this.#inOrder); end !== undefined; end = this.#ahead.get(this.#inOrder)) {
      this.#ahead.delete(this.#inOrder);
      this.#inOrder = end;
    }
    this.#request.progress?.({ shared, copied }, this.#inOrder);
  }
}

/** What fails there is told as of this side. */
async function ofSide<T>(side: 'source' | 'target', work: Promise<T>): Promise<T>;
async function ofSide<T>(side: 'source' | 'target', work: Promise<T> | undefined): Promise<T | undefined>;
async function ofSide<T>(side: 'source' | 'target', work: Promise<T> | undefined): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof VolumeError ? new CopyError(side, error) : error;
  }
}
