// From one version of the format to the next. Each step makes its changes of the metadata in one commit; then the superblock
// says the new version. A crash in between repeats the step, so a step that finds its work done leaves it as it is.
import type { Log } from '../base/log.ts';
import { FORMAT_VERSION } from './format.ts';
import type { Superblock } from './format.ts';
import type { MetaContent, PoolMeta, PoolState } from './pool-meta.ts';

interface Step {
  /** Version it starts from; it ends with the next one. */
  readonly from: number;
  readonly run: (state: PoolState, superblock: Superblock) => PoolState;
}

const STEPS: readonly Step[] = [
  {
    // Version 2: a pool may have several disks. The metadata knows them, and which pool it belongs to.
    from: 1,
    run: (state, { poolId }) => ({ ...state, poolId: poolId.toString('hex'), members: state.members ?? [] }),
  },
];

/** Brings superblock and metadata to the version of this program. Rejects when that cannot be written. */
export async function upgrade(
  found: { readonly superblock: Superblock; readonly content: MetaContent },
  meta: PoolMeta,
  write: (superblock: Superblock) => Promise<void>,
  log: Log,
): Promise<{ superblock: Superblock; content: MetaContent }> {
  let { superblock, content } = found;
  const from = superblock.version;
  for (const step of STEPS) {
    if (step.from !== superblock.version) continue;
    const state = step.run(content.state, superblock);
    await meta.commit({ state, volumes: [], leaves: [] });
    superblock = { ...superblock, version: step.from + 1, serial: superblock.serial + 1 };
    await write(superblock);
    content = { ...content, state };
  }
  if (from < FORMAT_VERSION) log.info({ from, to: superblock.version }, 'the format of the pool was upgraded');
  return { superblock, content };
}
