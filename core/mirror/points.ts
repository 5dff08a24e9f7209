// Points in time of a volume: each replica keeps its own, under an id the whole cluster agrees on. They are taken as an
// operation of the volume, at one place in its order, so what has the same id has the same content. A node that was away then
// gets one later from any node that has it: a point does not change, so neither owner, epoch nor session matter for that.
import { MIRROR_CONTROL_PATIENCE, POINT_LOOK_REGIONS, REGION_BYTES, RESYNC_BUSY_RATE } from '../base/limits.ts';
import { ProtocolError } from '../base/errors.ts';
import type { Clock } from '../base/world.ts';
import type { Volume } from '../volume/volume.ts';
import { DIGEST_BYTES, digests } from './digest.ts';
import type { PeerAnswer, PeerLink } from './link/peer-link.ts';
import { PeerRefusal } from './link/peer-link.ts';
import { MirrorMessage, checkedRanges, json, parseVolumeMessage } from './messages.ts';
import type { ByteRange } from './messages.ts';

/** What keeps points in time of this node's copy of one volume. */
export interface CopyPoints {
  /** The copy has it, whole. */
  has(id: string): boolean;
  /** Keeps the copy as it is now; nothing when it has the point already. `created`: ms since 1970. Rejects when it cannot. */
  make(id: string, created: number): Promise<void>;
  /** The copy becomes what the point is. Nothing has changed when it rejects. */
  rollback(id: string): Promise<void>;
  /** Runs `work` with the content of the point; read-only. */
  read<T>(id: string, work: (content: Volume) => Promise<T>): Promise<T>;
  /**
   * Begins a point this copy has missed: `size` bytes that can be written to, as the point `near` is, which is likely to be
   * close; without it, as the copy is.
   */
  draft(id: string, size: number, near?: string): Promise<PointDraft>;
}

export interface PointDraft {
  readonly content: Volume;
  /** It is the point from now on. */
  keep(created: number): Promise<void>;
  /** As if it had not been begun. */
  drop(): Promise<void>;
}

/** A point this node lacks. */
export interface MissingPoint {
  readonly volume: string;
  readonly id: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly created: number;
  /** A point this node has that is likely to be close. */
  readonly near?: string | undefined;
}

type PointsOf = (volume: string) => CopyPoints | undefined;

function pointIn(header: Buffer, pointsOf: PointsOf): { id: string; points: CopyPoints; ranges: unknown } {
  const { volume, point, ranges } = parseVolumeMessage(header) as { volume: string; point?: unknown; ranges?: unknown };
  const points = pointsOf(volume);
  if (typeof point !== 'string' || points?.has(point) !== true) {
    throw new PeerRefusal('no-such-point', 'this node does not have the snapshot');
  }
  return { id: point, points, ranges };
}

/** What of the point holds data, from a position on, in regions, with their checksums; `next`: where to go on. */
export async function answerLook(header: Buffer, pointsOf: PointsOf): Promise<PeerAnswer> {
  const { id, points, ranges } = pointIn(header, pointsOf);
  return points.read(id, async (content) => {
    const { size } = content.info;
    const [[from] = [0]] = checkedRanges(ranges, size);
    const { found, next } = await dataFrom(content, from);
    return { header: json({ size, ranges: found, next }), pieces: [await digests(content, found)] };
  });
}

/** Blocks of the point. */
export async function answerRead(header: Buffer, pointsOf: PointsOf): Promise<PeerAnswer> {
  const { id, points, ranges } = pointIn(header, pointsOf);
  return points.read(id, async (content) => {
    const [range] = checkedRanges(ranges, content.info.size);
    if (range === undefined || range[1] > POINT_LOOK_REGIONS * REGION_BYTES) throw new ProtocolError('nothing to read');
    const data = Buffer.allocUnsafe(range[1]);
    await content.read(range[0], range[1], data, 0);
    return { header: json({}), pieces: [data] };
  });
}

/** Up to POINT_LOOK_REGIONS regions from `from` on that hold data, and the position up to which that is all. */
async function dataFrom(content: Volume, from: number): Promise<{ found: ByteRange[]; next: number }> {
  const { size } = content.info;
  const found: ByteRange[] = [];
  for (let at = from; at < size;) {
    if (found.length === POINT_LOOK_REGIONS) return { found, next: at };
    const [extent] = await content.extents(at, size - at, 1);
    if (extent === undefined) break;
    if (!extent.mapped) {
      at = extent.position + extent.length;
      continue;
    }
    // Whole regions, so that both sides sum the same.
    const first = Math.floor(at / REGION_BYTES) * REGION_BYTES;
    found.push([first, Math.min(REGION_BYTES, size - first)]);
    at = first + REGION_BYTES;
  }
  return { found, next: size };
}

/**
 * Brings a point here from a node that has it: what the draft has differently is read there. Resolves with the bytes that
 * crossed; rejects when it could not be had, with nothing left behind.
 */
export async function fetchPoint(
  link: PeerLink,
  points: CopyPoints,
  { volume, id, size, created, near }: MissingPoint,
  clock: Clock,
): Promise<number> {
  const ask = (type: number, range: ByteRange): Promise<{ header: Buffer; data: Buffer }> =>
    link.request(type, json({ volume, epoch: 0, session: 0, point: id, ranges: [range] }), [], MIRROR_CONTROL_PATIENCE);
  const draft = await points.draft(id, size, near);
  const begun = clock.now();
  let moved = 0;
  try {
    for (let at = 0; at < size;) {
      const { header, data } = await ask(MirrorMessage.pointLook, [at, size - at]);
      const look = JSON.parse(header.toString()) as { size: number; ranges: unknown; next: number };
      const ranges = checkedRanges(look.ranges, size);
      if (look.size !== size || !(look.next > at) || data.length !== ranges.length * DIGEST_BYTES) {
        throw new ProtocolError('a snapshot that is not what the catalog says');
      }
      await clearBetween(draft.content, at, Math.min(look.next, size), ranges);
      const ours = await digests(draft.content, ranges);
      for (const [index, range] of ranges.entries()) {
        const sum = index * DIGEST_BYTES;
        if (ours.subarray(sum, sum + DIGEST_BYTES).equals(data.subarray(sum, sum + DIGEST_BYTES))) continue;
        const blocks = await ask(MirrorMessage.pointRead, range);
        if (blocks.data.length !== range[1]) throw new ProtocolError('fewer blocks than asked for');
        await draft.content.write(range[0], blocks.data, 0, range[1], true);
        moved += range[1];
      }
      at = look.next;
      // Nobody waits for it: hosts and resyncs come first.
      const wait = begun + (moved / RESYNC_BUSY_RATE) * 1000 - clock.now();
      if (wait > 0) await new Promise<void>((resolve) => clock.after(wait, resolve));
    }
    await draft.content.flush();
    await draft.keep(created);
    return moved;
  } catch (error) {
    await draft.drop().catch(() => undefined);
    throw error;
  }
}

/** What the draft has in [from, to) beside the ranges is taken out of it. */
async function clearBetween(content: Volume, from: number, to: number, ranges: readonly ByteRange[]): Promise<void> {
  let at = from;
  for (const [position, length] of [...ranges, [to, 0] as const]) {
    while (at < position) {
      const [extent] = await content.extents(at, position - at, 1);
      if (extent === undefined) break;
      const end = Math.min(position, extent.position + extent.length);
      if (extent.mapped) await content.unmap(at, end - at);
      at = end;
    }
    at = Math.max(at, position + length);
  }
}
