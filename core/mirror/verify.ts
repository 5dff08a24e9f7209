// Compares the copies of a volume by checksum while hosts go on, and gives replicas what they have differently. What the
// owner has counts: it is what hosts read.
import { MAX_VERIFY_RANGES, MIRROR_CONTROL_PATIENCE, RESYNC_RUN } from '../base/limits.ts';
import { DIGEST_BYTES, digests, readOnce } from './digest.ts';
import { PeerRefusal } from './link/peer-link.ts';
import { MirrorMessage, Operation, json } from './messages.ts';
import type { ByteRange } from './messages.ts';
import type { Member } from './member.ts';
import type { Term } from './term.ts';

export interface VerifyOptions {
  /** Replicas get what the owner has. */
  readonly repair: boolean;
  /** Bytes a second; undefined: as fast as it goes. */
  readonly rate?: number | undefined;
  /** Told after every step. Bytes. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What was found. */
export interface VerifyReport {
  /** Bytes that were compared, with how many replicas at the end. */
  readonly bytes: number;
  readonly replicas: number;
  /** Ranges that were different, and where; the first MAX_VERIFY_RANGES. */
  readonly different: readonly { readonly node: string; readonly position: number; readonly length: number }[];
  readonly differentBytes: number;
  readonly repairedBytes: number;
}

/** Compares everything with all replicas that are in sync. Rejects with a VolumeError when the term ends meanwhile. */
export async function verifyCopies(term: Term, options: VerifyOptions): Promise<VerifyReport> {
  const { backing, regions, clock } = term.options;
  const different: { node: string; position: number; length: number }[] = [];
  let [differentBytes, repairedBytes, replicas] = [0, 0, 0];
  const start = clock.now();
  for (let position = 0; position < backing.info.size; position += RESYNC_RUN) {
    const length = Math.min(RESYNC_RUN, backing.info.size - position);
    const lock = await term.lock(position, length, true);
    try {
      term.check();
      const ranges: ByteRange[] = [];
      for (let at = position; at < position + length; at += regions.regionBytes) {
        ranges.push([at, Math.min(regions.regionBytes, position + length - at)]);
      }
      const ours = await digests(backing, ranges);
      const members = [...term.members.values()].filter(({ state }) => state === 'sync');
      replicas = members.length;
      for (const member of members) {
        for (const range of await differing(term, member, ranges, ours)) {
          differentBytes += range[1];
          if (different.length < MAX_VERIFY_RANGES) {
            different.push({ node: member.node, position: range[0], length: range[1] });
          }
          if (!options.repair) continue;
          await repair(term, member, range);
          repairedBytes += range[1];
        }
      }
    } finally {
      lock.release();
    }
    options.onProgress?.(position + length, backing.info.size);
    await keepPace(term, options.rate, position + length, start);
  }
  return { bytes: backing.info.size, replicas, different, differentBytes, repairedBytes };
}

/** What a replica has differently, or cannot read. Rejects when it says nothing, or does not follow any more. */
async function differing(term: Term, member: Member, ranges: readonly ByteRange[], ours: Buffer): Promise<ByteRange[]> {
  const link = term.options.linkTo(member.node);
  if (link === undefined) return [];
  const message = { volume: term.options.volume, epoch: term.epoch, session: member.session, ranges };
  const sumOf = (sums: Buffer, index: number): Buffer =>
    sums.subarray(index * DIGEST_BYTES, (index + 1) * DIGEST_BYTES);
  let theirs: Buffer;
  try {
    theirs = (await link.request(MirrorMessage.digest, json(message), [], MIRROR_CONTROL_PATIENCE)).data;
  } catch (error) {
    // It follows, and cannot: one of the ranges at least cannot be read there.
    if (!(error instanceof PeerRefusal && error.code === 'internal')) throw error;
    term.check();
    if (ranges.length === 1) return [...ranges];
    const found: ByteRange[] = [];
    for (const [index, range] of ranges.entries()) {
      found.push(...(await differing(term, member, [range], sumOf(ours, index))));
    }
    return found;
  }
  term.check();
  return ranges.filter((_, index) => !sumOf(theirs, index).equals(sumOf(ours, index)));
}

async function repair(term: Term, member: Member, [position, length]: ByteRange): Promise<void> {
  const data = Buffer.allocUnsafe(length);
  await readOnce(term.options.backing, position, length, data);
  term.check();
  await term.send(member, { operation: Operation.write, fua: true, position, length, data }, MIRROR_CONTROL_PATIENCE);
  term.check();
}

/** Waits as long as `bytes` since `start` take at the rate. */
async function keepPace(term: Term, rate: number | undefined, bytes: number, start: number): Promise<void> {
  const { clock } = term.options;
  if (rate === undefined) return;
  const wait = start + (bytes / rate) * 1000 - clock.now();
  if (wait > 0) await new Promise<void>((resolve) => clock.after(wait, resolve));
}
