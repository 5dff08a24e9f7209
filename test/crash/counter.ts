// Two volumes that must be seen at one instant: a counter is written to the first, and when that is acknowledged to the second.
import assert from 'node:assert/strict';
import type { CachedVolume } from '../../core/cache/cached-volume.ts';
import type { Running } from './machine.ts';
import { GRAIN, SECTOR, idle, readVersions, stamp, unlessFull } from './record.ts';

const AT = 60 * GRAIN;

/** Reads the counters of a pair and says what is wrong with them. */
async function counters(running: Running, ids: readonly number[], what: string): Promise<number[]> {
  const found: number[] = [];
  for (const id of ids) {
    const volume = running.open(id);
    found.push(...(await readVersions(volume, AT / SECTOR, 1, what)));
    await volume.close();
  }
  check(found, what);
  return found;
}

function check(found: readonly number[], what: string): void {
  const [first = 0, second = 0] = found;
  assert.ok(
    first === second || first === second + 1,
    `${what}: the counters are ${String(first)} and ${String(second)}`,
  );
}

export class Counter {
  readonly #ids: readonly number[];
  #acknowledged = [0, 0];
  #next = 1;
  readonly #pairs: { readonly ids: readonly number[]; readonly found: readonly number[] }[] = [];

  constructor(ids: readonly number[]) {
    this.#ids = ids;
  }

  get snapshots(): number[] {
    return this.#pairs.flatMap(({ ids }) => ids);
  }

  /** Counts until `steps` are done. */
  async count(volumes: readonly CachedVolume[], steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      const value = this.#next;
      for (const [i, volume] of volumes.entries()) {
        let patience = 100;
        while (!(await unlessFull(() => volume.write(AT, stamp(value, 1), 0, SECTOR, false)))) {
          if (patience-- === 0) return;
          await idle(1);
        }
        this.#acknowledged[i] = value;
      }
      this.#next = value + 1;
    }
  }

  /** A snapshot of both volumes, while the counting goes on. */
  async snapshot(running: Running): Promise<void> {
    const ids = await running.pool.copy(this.#ids, false, 0);
    const found = await counters(running, ids, 'a group snapshot');
    this.#pairs.push({ ids, found });
  }

  /** Deletes the oldest pair when there are more than `keep`. */
  async prune({ pool }: Running, keep: number): Promise<void> {
    if (this.#pairs.length <= keep) return;
    const pair = this.#pairs.shift();
    for (const id of pair?.ids ?? []) await pool.delete(id);
  }

  async verify(running: Running): Promise<void> {
    const found = await counters(running, this.#ids, 'after a crash');
    found.forEach((value, i) => {
      assert.ok(value >= (this.#acknowledged[i] ?? 0), `counter ${String(i)} went back to ${String(value)}`);
    });
    this.#acknowledged = found;
    this.#next = Math.max(...found) + (found[0] === found[1] ? 1 : 0);
    for (const { ids, found: before } of this.#pairs) {
      assert.deepEqual(await counters(running, ids, 'an old group snapshot'), before);
    }
  }
}
