// A volume that has something in the journal is deleted, and the power fails at every write of that.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkPool } from '../../core/pool/check.ts';
import { Machine } from './machine.ts';

const MIB = 1_048_576;

describe('a deletion that the power interrupts', () => {
  test('is finished by the next start, whatever the journal says of the volume', async () => {
    let interrupted = 0;
    for (let failAfter = 1; failAfter < 40; failAfter++) {
      const machine = new Machine(() => 0.5);
      await machine.create(2);
      const running = await machine.start();
      assert.ok(running !== undefined);
      const id = await running.pool.create({ size: 8 * MIB, thick: false, created: 0 });
      const volume = running.open(id);
      await volume.write(0, Buffer.alloc(20_480, 7), 0, 20_480, false);
      await volume.close();
      running.power.failAt = running.power.operations + failAfter;
      const over = running.pool.delete(id).then(
        () => true,
        () => false,
      );
      if (await Promise.race([over, running.power.failed.then(() => false)])) break;
      interrupted++;
      machine.crash();
      const next = await machine.start();
      assert.ok(next !== undefined);
      while (next.pool.entries.get(id)?.record.deleting === true)
        await new Promise((resolve) => setTimeout(resolve, 1));
      assert.deepEqual(checkPool(next.pool).findings, []);
      await next.pool.close();
    }
    assert.ok(interrupted > 3, `${String(interrupted)} interruptions`);
  });
});
