// What is said of a journal that is not whole: which volumes, and which of their blocks.
import { ServiceError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { BLOCK } from '../volume/grain.ts';
import type { BlockRange, Replay } from './replay.ts';

/** What people call a volume of the pool. */
type NameOf = (volume: number) => string;

/** Bytes of the logical blocks that are counted; a volume with larger ones has an eighth of these. */
const SECTOR = 512;

function named(ranges: readonly BlockRange[], nameOf: NameOf): string {
  return ranges
    .map(({ volume, block, blocks }) => {
      const [first, last] = [(block * BLOCK) / SECTOR, ((block + blocks) * BLOCK) / SECTOR - 1];
      return `volume ${nameOf(volume)} LBA ${String(first)} to ${String(last)}`;
    })
    .join(', ');
}

/**
 * Throws ServiceError io-error where a batch that was acknowledged cannot be read, unless that loss is accepted: nobody knows what
 * else it said, about which grain is whose above all.
 */
export function refuseDamaged(
  { damaged, next }: Replay,
  nameOf: NameOf,
  { acceptLoss, log }: { readonly acceptLoss?: boolean; readonly log: Log },
): void {
  if (damaged === undefined) return;
  const { seq, had, behind } = damaged;
  const what = had.length === 0 ? '' : `, about ${named(had, nameOf)}`;
  const more = behind.length === 0 ? '' : ` (of what is behind it: ${named(behind, nameOf)})`;
  const where = `the journal of the pool is damaged at byte ${String(next.position)} (batch ${String(seq)}${what})`;
  if (acceptLoss !== true) {
    throw new ServiceError('io-error', `${where}: writes that were acknowledged after it would be lost${more}`);
  }
  log.error({ batch: seq }, `${where}; writes that were acknowledged after it are lost${more}`);
}

/** An append that a crash cut off is nothing to tell; one that looks like damage is. */
export function tellCutOff({ cutOff }: Replay, nameOf: NameOf, log: Log): void {
  if (cutOff === undefined) return;
  const { seq, had, flipped } = cutOff;
  const what = `the last batch of the journal is not whole: ${named(had, nameOf)} stay as they were before it`;
  if (flipped.length === 0) {
    log.info({ batch: seq }, `${what}; it was not acknowledged`);
    return;
  }
  const [first] = flipped;
  const lba = ((first?.block ?? 0) * BLOCK) / SECTOR;
  log.error(
    { batch: seq, volume: first === undefined ? undefined : nameOf(first.volume), lba },
    `${what}. It looks like damage rather than an append that was cut off (one bit differs in ${named(flipped, nameOf)}): then writes that were acknowledged are lost`,
  );
}
