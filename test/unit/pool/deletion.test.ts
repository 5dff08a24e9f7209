// A deletion that a crash interrupts, with the writes to the deleted volume still in the journal.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkPool } from '../../../core/pool/check.ts';
import { GRAIN } from '../../../core/volume/grain.ts';
import { Machine } from '../../crash/machine.ts';

const MIB = 1024 * 1024;

describe('deleting a volume of a pool', () => {
  it('goes on after a crash, and the pool opens although the journal has writes to the volume', async (t) => {
    const machine = new Machine(() => 0.5);
    await machine.create(2);
    const first = await machine.start();
    assert.ok(first);
    const id = await first.pool.create({ size: 4 * MIB, thick: false, created: 0, tag: 'gone' });
    const kept = await first.pool.create({ size: 4 * MIB, thick: false, created: 0, tag: 'kept' });
    for (const each of [id, kept]) {
      const volume = first.open(each);
      await volume.write(0, Buffer.alloc(4096, each), 0, 4096, false);
      if (each === id) await volume.close();
    }
    await first.pool.beginDelete(id);
    first.power.failAt = 0;
    first.power.tick();
    machine.crash();

    const second = await machine.start();
    assert.ok(second, 'the pool opens');
    const back = Buffer.alloc(4096);
    // Its clock would run on.
    t.after(() => {
      second.power.failAt = 0;
      second.power.tick();
    });
    await second.open(kept).read(0, 4096, back, 0);
    assert.ok(back.equals(Buffer.alloc(4096, kept)));
    while (second.pool.entries.has(id)) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(checkPool(second.pool).findings, []);
    assert.equal(second.pool.allocator.used * GRAIN <= GRAIN, true);
    assert.equal(second.pool.entry(kept).record.tag, 'kept');
  });
});
