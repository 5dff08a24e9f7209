// Grains between being given back and being used again, and promises.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Allocator } from '../../../core/pool/allocator.ts';

describe('quarantine', () => {
  it('ends for a grain with the commit that began after it was given back, not with one that was running', () => {
    const allocator = new Allocator(64);
    const [first, second] = [allocator.allocate(false), allocator.allocate(false)];
    allocator.release(first);
    const leaving = allocator.takeQuarantine();
    allocator.release(second);
    allocator.endQuarantine(leaving);
    assert.equal(allocator.quarantined, 1);
    assert.equal(allocator.allocate(false, second) === second, false, 'still named by the metadata');
    assert.equal(allocator.allocate(false, first), first);
    allocator.endQuarantine(allocator.takeQuarantine());
    assert.equal(allocator.allocate(false, second), second);
  });

  it('keeps a grain that has lost a user from being written in place until that commit', () => {
    const allocator = new Allocator(64);
    const grain = allocator.allocate(false);
    const early = allocator.takeQuarantine();
    allocator.retain(grain);
    allocator.release(grain);
    allocator.endQuarantine(early);
    assert.equal(allocator.alone(grain), false);
    const late = allocator.takeQuarantine();
    assert.equal(allocator.alone(grain), false);
    allocator.endQuarantine(late);
    assert.equal(allocator.alone(grain), true);
  });
});

describe('a promise', () => {
  it('is of a grain that is free, not of one that will be', () => {
    const allocator = new Allocator(1);
    const grain = allocator.allocate(false);
    allocator.release(grain);
    allocator.reserveAgain(1);
    assert.equal(allocator.promise(true), false);
    allocator.endQuarantine(allocator.takeQuarantine());
    assert.equal(allocator.promise(true), true);
    assert.equal(allocator.promise(true), false);
    assert.throws(() => allocator.allocateUnpromised(true), /full/);
    assert.equal(allocator.allocate(true), 0);
    assert.deepEqual([allocator.promised, allocator.reserved, allocator.available], [0, 0, 0]);
  });
});
