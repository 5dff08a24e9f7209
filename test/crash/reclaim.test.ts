// Volumes come and go while another one is written; the space of freed grains goes back to the disk, and the power fails at
// any operation of that. What was acknowledged is there afterwards, and what is written then is what is read.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkPool } from '../../core/pool/check.ts';
import { GRAIN } from '../../core/volume/grain.ts';
import { Machine } from './machine.ts';
import type { Running } from './machine.ts';
import { seeded } from './record.ts';

const MIB = 1_048_576;
const SIZE = 4 * MIB;
/** Less than a unit: grains that are free lie beside some that are not. */
const RANGE = 4 * GRAIN;

/** By range of RANGE bytes: the byte it is full of, or those it may be full of. */
type Content = number[][];

async function churn(running: Running, id: number, content: Content, random: () => number): Promise<void> {
  const { pool } = running;
  const volume = running.open(id);
  for (let step = 1; ; step++) {
    const range = Math.floor(random() * content.length);
    const byte = random() < 0.4 ? 0 : 1 + (step % 250);
    content[range]?.push(byte);
    if (byte === 0) await volume.unmap(range * RANGE, RANGE);
    else await volume.write(range * RANGE, Buffer.alloc(RANGE, byte), 0, RANGE, false);
    content[range] = [byte];
    if (random() < 0.5) continue;
    const other = await pool.create({ size: SIZE, thick: false, created: 0 });
    const filled = running.open(other);
    await filled.write(0, Buffer.alloc(2 * MIB, 0xee), 0, 2 * MIB, false);
    await filled.close();
    await pool.delete(other);
  }
}

async function verify(running: Running, id: number, content: Content, seen: string): Promise<void> {
  const volume = running.open(id);
  const data = Buffer.alloc(RANGE);
  for (const [range, allowed] of content.entries()) {
    await volume.read(range * RANGE, RANGE, data, 0);
    for (let at = 0; at < RANGE; at += 4096) {
      const block = data.subarray(at, at + 4096);
      const byte = block[0] as number;
      const whole = block.equals(Buffer.alloc(4096, byte));
      assert.ok(
        whole && allowed.includes(byte),
        `${seen}: range ${String(range)} has ${String(byte)}, not ${String(allowed)}`,
      );
    }
    // The next round begins with something known.
    await volume.write(range * RANGE, Buffer.alloc(RANGE, 0xaa), 0, RANGE, false);
    content[range] = [0xaa];
  }
  await volume.close();
}

describe('giving space back', () => {
  test('and crashing at any point of it loses nothing', { timeout: 120_000 }, async () => {
    let reclaimed = 0;
    for (let seed = 1; seed <= 12; seed++) {
      const random = seeded(seed);
      const machine = new Machine(random);
      await machine.create(8);
      let running = await machine.start();
      assert.ok(running !== undefined);
      const id = await running.pool.create({ size: SIZE, thick: false, created: 0 });
      const content: Content = Array.from({ length: SIZE / RANGE }, () => [0]);
      for (let crash = 0; crash < 3; crash++) {
        running.power.failAt = running.power.operations + 40 + Math.floor(random() * 400);
        await Promise.race([churn(running, id, content, random), running.power.failed]);
        reclaimed += running.pool.reclaim.bytes;
        machine.crash();
        running = await machine.start();
        assert.ok(running !== undefined);
        await verify(running, id, content, `seed ${String(seed)}, crash ${String(crash)}`);
        assert.deepEqual(checkPool(running.pool).findings, []);
      }
      await running.pool.close();
    }
    assert.ok(reclaimed > 2 * MIB, `${String(reclaimed)} bytes were given back`);
  });
});
