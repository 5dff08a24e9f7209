import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HOT_DOUBT_BYTES } from '../../../core/base/limits.ts';
import { HotMap } from '../../../core/volume/hot-map.ts';

const PAGE = 4096;

describe('hot map', () => {
  test('only pages that were used are hot, and a range needs all of its pages', () => {
    const map = new HotMap(64 * PAGE);
    map.heat(PAGE, 2 * PAGE);
    assert.equal(map.isHot(PAGE, 2 * PAGE), true);
    assert.equal(map.isHot(PAGE + 512, 512), true);
    assert.equal(map.isHot(2 * PAGE + 512, PAGE), false);
    assert.equal(map.isHot(0, PAGE), false);
    assert.equal(map.isHot(PAGE * (1 + 64), PAGE), false, 'the page that shares its slot');
    assert.equal(map.isHot(2 ** 46 + PAGE, PAGE), false, 'nor one far away');
  });

  test('never remembers more than its budget', () => {
    const map = new HotMap(16 * PAGE);
    for (let page = 0; page < 1000; page++) map.heat(page * PAGE, PAGE);
    let hot = 0;
    for (let page = 0; page < 1000; page++) if (map.isHot(page * PAGE, PAGE)) hot++;
    assert.equal(hot, 16);
  });

  test('a doubt takes what is around it, and nothing else', () => {
    const map = new HotMap(3 * HOT_DOUBT_BYTES);
    map.heat(0, 3 * HOT_DOUBT_BYTES);
    map.doubt(2 * HOT_DOUBT_BYTES - 1);
    assert.equal(map.isHot(0, HOT_DOUBT_BYTES), true);
    assert.equal(map.isHot(HOT_DOUBT_BYTES, PAGE), false);
    assert.equal(map.isHot(2 * HOT_DOUBT_BYTES - PAGE, PAGE), false);
    assert.equal(map.isHot(2 * HOT_DOUBT_BYTES, HOT_DOUBT_BYTES), true);
    map.heat(HOT_DOUBT_BYTES, PAGE);
    assert.equal(map.isHot(HOT_DOUBT_BYTES, PAGE), true, 'used again');
    // Pages far away have the same slots.
    map.doubt(4 * HOT_DOUBT_BYTES);
    assert.equal(map.isHot(HOT_DOUBT_BYTES, PAGE), true);
  });

  test('one scan does not push out what is used again and again, but what is not used any more goes', () => {
    const map = new HotMap(16 * PAGE);
    map.heat(0, 16 * PAGE);
    assert.equal(map.isHot(0, 8 * PAGE), true);
    map.heat(16 * PAGE, 16 * PAGE);
    assert.equal(map.isHot(0, 8 * PAGE), true, 'used: stays');
    assert.equal(map.isHot(8 * PAGE, PAGE), false, 'not used: gone');
    map.heat(32 * PAGE, 16 * PAGE);
    map.heat(48 * PAGE, 16 * PAGE);
    assert.equal(map.isHot(0, PAGE), false, 'not used between two challenges: gone');
  });
});
