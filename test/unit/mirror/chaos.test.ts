import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import type { MirrorCluster } from '../../support/mirror-cluster.ts';
import { assertSame, get, put, withCluster } from '../../support/mirror-use.ts';

/** Numbers from a seed (mulberry32), so that a failure can be repeated. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** One writer for each block, who goes to whichever node serves, and repeats until it is acknowledged. */
async function host(c: MirrorCluster, n: number, isOver: () => boolean): Promise<number> {
  let version = 0;
  let seen = 0;
  while (!isOver()) {
    const attempt = ++version;
    for (let isDone = false; !isDone;) {
      for (const { name, isUp, mirror } of c.nodes.values()) {
        if (!isUp || mirror.ownership('v')?.role !== 'owner') continue;
        try {
          const found = await get(c, name, n);
          // Never back: what was acknowledged, or seen, stays; what was only tried may be there.
          assert.ok(found >= seen && found <= attempt, `block ${String(n)}: ${String(found)} after ${String(seen)}`);
          seen = found;
          await put(c, name, n, attempt);
          seen = attempt;
          isDone = true;
          break;
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
      if (isOver() && !isDone) return seen;
    }
  }
  return seen;
}

describe('a mirror in trouble', { timeout: 150_000 }, () => {
  for (const [names, seed] of [
    [['a', 'b'], 1],
    [['a', 'b', 'c'], 2],
  ] as const) {
    test(`${String(names.length)} nodes: cuts and losses of power while hosts write; seed ${String(seed)}`, async () => {
      await withCluster(
        names,
        async (c) => {
          await c.inSync(names);
          const next = numbers(seed);
          let isOver = false;
          const hosts = Array.from({ length: 6 }, (_, i) => host(c, i * 9, () => isOver));
          const failed = Promise.all(hosts);
          failed.catch(() => undefined);
          for (let round = 0; round < 6; round++) {
            const victim = names[next(names.length)] ?? 'a';
            const other = names.filter((each) => each !== victim)[next(names.length - 1)] ?? 'b';
            const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
            if (next(2) === 0) {
              await c.kill(victim);
              await wait(next(3_500));
              await c.boot(victim);
            } else if (next(2) === 0) {
              c.cut(victim, other);
              await wait(next(3_500));
              c.heal(victim, other);
            } else {
              c.relay(victim, other).cut();
              await wait(next(2_000));
              c.relay(victim, other).heal();
            }
            await wait(next(300));
          }
          await c.inSync(names);
          isOver = true;
          const seen = await failed;
          const owner = await c.owner();
          for (const [i, version] of seen.entries()) assert.ok((await get(c, owner, i * 9)) >= version);
          for (const each of names) if (each !== owner) await assertSame(c, owner, each);
        },
        (c) => {
          c.size = 1_048_576;
          c.makeCopy = () => new MemoryVolume(c.size, 512);
        },
      );
    });
  }
});
