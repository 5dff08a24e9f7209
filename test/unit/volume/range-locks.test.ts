import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { RangeLocks } from '../../../core/volume/range-locks.ts';
import type { RangeLock } from '../../../core/volume/range-locks.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The rule in its plainest form: one is granted when nobody who came earlier and is still there conflicts. */
class Model {
  readonly line: { id: number; position: number; end: number; exclusive: boolean }[] = [];

  conflicts(position: number, end: number, exclusive: boolean, before = this.line.length): boolean {
    return this.line
      .slice(0, before)
      .some((each) => (each.exclusive || exclusive) && each.position < end && position < each.end);
  }

  granted(): number[] {
    return this.line
      .filter((each, i) => !this.conflicts(each.position, each.end, each.exclusive, i))
      .map(({ id }) => id)
      .sort((a, b) => a - b);
  }
}

describe('range locks', () => {
  test('shared ones run together, an exclusive one alone, and nobody overtakes it', async () => {
    const locks = new RangeLocks();
    assert.equal(locks.idle, true);
    const first = await locks.acquire(0, 100, false);
    const second = await locks.acquire(50, 100, false);
    const order: string[] = [];
    const exclusive = locks.acquire(60, 10, true).then((lock) => (order.push('exclusive'), lock));
    const late = locks.acquire(0, 100, false).then((lock) => (order.push('late'), lock));
    const elsewhere = await locks.acquire(1000, 10, true);
    await turn();
    assert.deepEqual(order, []);
    assert.equal(locks.blocks(60, 1, false), true, 'a waiting exclusive one blocks the synchronous way too');
    assert.equal(locks.blocks(200, 1, true), false);
    first.release();
    first.release();
    await turn();
    assert.deepEqual(order, []);
    second.release();
    await turn();
    assert.deepEqual(order, ['exclusive']);
    (await exclusive).release();
    (await late).release();
    assert.deepEqual(order, ['exclusive', 'late']);
    elsewhere.release();
    assert.equal(locks.idle, true);
  });

  test('the limit counts those who wait, and leaves nothing behind', async () => {
    const locks = new RangeLocks(2);
    const first = await locks.acquire(0, 1, true);
    const second = locks.acquire(0, 1, true);
    await assert.rejects(locks.acquire(500, 1, false), { name: 'VolumeError', fault: 'not-ready' });
    assert.equal(locks.tryAcquire(500, 1, false), undefined);
    first.release();
    (await second).release();
    assert.equal(locks.idle, true);
    locks.tryAcquire(500, 1, false)!.release();
  });

  test('who waits since before a lock became exclusive has to wait for that one, too', async () => {
    const locks = new RangeLocks();
    const first = await locks.acquire(0, 10, true);
    let granted = false;
    const waits = locks.acquire(5, 10, false).then((lock) => ((granted = true), lock));
    // Shares with the one that waits, so it is not in its way yet.
    const aborted = await locks.acquire(12, 8, false);
    aborted.makeExclusive();
    first.release();
    await turn();
    assert.equal(granted, false, 'what was aborted may still take effect');
    aborted.release();
    (await waits).release();
    assert.equal(locks.idle, true);
  });

  test('agree with a simple model over any sequence', async () => {
    // Within one region, over some, and over so many that they are kept apart.
    const unit = fc.constantFrom(1, 60_000, 262_144, 1_048_576);
    const range = fc
      .record({ unit, position: fc.nat(30), length: fc.integer({ min: 1, max: 12 }), exclusive: fc.boolean() })
      .map((each) => ({ ...each, position: each.position * each.unit, length: each.length * each.unit }));
    const step = fc.oneof(
      range.map((each) => ({ kind: 'acquire' as const, ...each })),
      range.map((each) => ({ kind: 'try' as const, ...each })),
      fc.nat(100).map((pick) => ({ kind: 'release' as const, pick })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
        const locks = new RangeLocks();
        const model = new Model();
        const held = new Map<number, RangeLock>();
        let next = 0;
        for (const each of steps) {
          if (each.kind === 'release') {
            const ids = [...held.keys()];
            const id = ids[each.pick % ids.length];
            if (id === undefined) continue;
            held.get(id)!.release();
            held.delete(id);
            model.line.splice(
              model.line.findIndex((entry) => entry.id === id),
              1,
            );
          } else {
            const { position, length, exclusive } = each;
            const id = next++;
            const conflicts = model.conflicts(position, position + length, exclusive);
            assert.equal(locks.blocks(position, length, exclusive), conflicts);
            if (each.kind === 'acquire') {
              void locks.acquire(position, length, exclusive).then((lock) => held.set(id, lock));
            } else {
              const lock = locks.tryAcquire(position, length, exclusive);
              assert.equal(lock === undefined, conflicts);
              if (lock === undefined) continue;
              held.set(id, lock);
            }
            model.line.push({ id, position, end: position + length, exclusive });
          }
          await turn();
          assert.deepEqual(
            [...held.keys()].sort((a, b) => a - b),
            model.granted(),
          );
          assert.equal(locks.length, model.line.length);
        }
      }),
      { numRuns: 120 },
    );
  });
});
