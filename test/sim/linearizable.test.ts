import assert from 'node:assert/strict';
import { test } from 'node:test';
import { violation } from './linearizable.ts';
import type { Operation } from './linearizable.ts';

const op = (kind: 'read' | 'write', value: number, start: number, end = Number.POSITIVE_INFINITY): Operation => ({
  ...{ kind, value, start, end, by: 'h' },
});

test('what one block explains is no violation', () => {
  assert.equal(violation([], 0), undefined);
  assert.equal(violation([op('read', 0, 0, 1), op('write', 1, 0, 3), op('read', 1, 2, 4)], 0), undefined);
  // Two writes at the same time may be in any order.
  assert.equal(violation([op('write', 1, 0, 5), op('write', 2, 0, 5), op('read', 1, 6, 7)], 0), undefined);
  // One without an answer may happen late, or never.
  assert.equal(
    violation([op('write', 1, 0), op('write', 2, 1, 2), op('read', 2, 3, 4), op('read', 1, 5, 6)], 0),
    undefined,
  );
  assert.equal(violation([op('write', 1, 0), op('write', 2, 1, 2), op('read', 2, 3, 4)], 0), undefined);
});

test('values that are written again and again, by nobody knows whom, are decided', () => {
  const zeros = Array.from({ length: 40 }, (_, index) => op('write', 0, index));
  const seen = Array.from({ length: 30 }, (_, index): Operation[] => [
    op('write', index + 1, 100 + 4 * index, 101 + 4 * index),
    op('read', 0, 102 + 4 * index, 103 + 4 * index),
  ]).flat();
  assert.equal(violation([...zeros, ...seen], 0), undefined);
  // One of them cannot have happened twice, and none before it began.
  assert.notEqual(violation([...zeros.slice(0, 29), ...seen], 0), undefined);
  assert.notEqual(violation([op('write', 1, 0, 1), op('read', 0, 2, 3), op('write', 0, 4)], 0), undefined);
  // It may have been before a write that began later.
  const late = [
    op('write', 0, 0),
    op('write', 1, 1, 2),
    op('read', 1, 3, 4),
    op('write', 2, 5, 6),
    op('read', 0, 7, 8),
  ];
  assert.equal(violation(late, 0), undefined);
});

test('a lost write, a stale read, a read that is unread, a value from nowhere', () => {
  assert.notEqual(violation([op('write', 1, 0, 1), op('read', 0, 2, 3)], 0), undefined);
  assert.notEqual(violation([op('write', 1, 0, 1), op('write', 2, 2, 3), op('read', 1, 4, 5)], 0), undefined);
  const unread = [op('write', 1, 0), op('read', 1, 1, 2), op('read', 0, 3, 4)];
  assert.notEqual(violation(unread, 0), undefined);
  assert.notEqual(violation([op('read', 7, 0, 1)], 0), undefined);
  // Both orders of the writes are refuted by one of the reads.
  const torn = [
    op('write', 1, 0, 9),
    op('write', 2, 0, 9),
    op('read', 1, 1, 2),
    op('read', 2, 3, 4),
    op('read', 1, 5, 6),
  ];
  assert.notEqual(violation(torn, 0), undefined);
});
