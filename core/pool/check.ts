// `gemel pool check`: counts every reference anew from the maps and compares with what the pool believes.
import { GRAIN, countBlocks } from '../volume/grain.ts';
import type { Pool } from './pool.ts';
import type { Leaf } from './volume-map.ts';

export interface CheckResult {
  /** Distinct leaves, and grains that lie somewhere. */
  readonly leaves: number;
  readonly grains: number;
  /** What is wrong, in words; empty when nothing is. At most MAX_FINDINGS. */
  readonly findings: readonly string[];
}

const MAX_FINDINGS = 100;

/** Compares maps, reference counts and free space. Everything happens in one turn, so that nothing moves meanwhile. */
export function checkPool(pool: Pool): CheckResult {
  const findings: string[] = [];
  const say = (text: string): void => {
    if (findings.length < MAX_FINDINGS) findings.push(text);
  };
  const { allocator } = pool;
  const counted = new Uint32Array(allocator.total);
  const leafRefs = new Map<Leaf, number>();
  let setAside = 0;
  for (const { record, map } of pool.entries.values()) {
    for (const leaf of map.leaves) if (leaf !== undefined) leafRefs.set(leaf, (leafRefs.get(leaf) ?? 0) + 1);
    let blocks = 0;
    for (const leaf of map.leaves) blocks += leaf?.blocks ?? 0;
    if (blocks !== map.blocks)
      say(`volume ${String(record.id)} has ${String(blocks)} blocks, not ${String(map.blocks)}`);
    if (record.thick && !record.deleting) setAside += Math.ceil(record.size / GRAIN) - map.grains();
  }
  for (const [leaf, refs] of leafRefs) {
    if (refs !== leaf.refs) say(`leaf ${String(leaf.id)} has ${String(refs)} users, not ${String(leaf.refs)}`);
    let blocks = 0;
    for (const mask of leaf.valid) blocks += countBlocks(mask);
    if (blocks !== leaf.blocks) say(`leaf ${String(leaf.id)} has ${String(blocks)} blocks, not ${String(leaf.blocks)}`);
    leaf.places.forEach((place, i) => {
      if (place > allocator.total)
        say(`leaf ${String(leaf.id)} names grain ${String(place - 1)}, which is outside the pool`);
      else if (place !== 0) counted[place - 1] = (counted[place - 1] as number) + 1;
      // The reverse is allowed: a grain without blocks waits for what the journal has of it.
      if (place === 0 && leaf.valid[i] !== 0) say(`leaf ${String(leaf.id)} has blocks without a grain`);
    });
  }
  let grains = 0;
  counted.forEach((count, grain) => {
    if (count > 0) grains++;
    if (count !== allocator.refs(grain)) {
      say(`grain ${String(grain)} has ${String(count)} users, not ${String(allocator.refs(grain))}`);
    }
  });
  if (grains !== allocator.used) say(`${String(grains)} grains are in use, not ${String(allocator.used)}`);
  if (setAside > allocator.reserved)
    say(`${String(setAside)} grains should be set aside, not ${String(allocator.reserved)}`);
  return { leaves: leafRefs.size, grains, findings };
}
