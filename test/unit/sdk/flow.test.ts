import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import { FileJournal } from '../../../plugins/sdk/file-journal.ts';
import { FlowFailed, runFlow } from '../../../plugins/sdk/flow.ts';
import type { FlowJournal, FlowRecord, FlowStep } from '../../../plugins/sdk/flow.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

type Names = readonly string[];

/** The process dies: nothing comes back, and nothing is saved. */
class Died extends Error {}

/** Keeps flows like a disk; dies at the `dieAt`-th save, before (odd) or after (even) it is durable. */
class Memory implements FlowJournal<Names> {
  readonly kept = new Map<string, string>();
  dieAt = Number.POSITIVE_INFINITY;
  saves = 0;
  load(key: string): Promise<FlowRecord<Names> | undefined> {
    const text = this.kept.get(key);
    return Promise.resolve(text === undefined ? undefined : (JSON.parse(text) as FlowRecord<Names>));
  }
  save(key: string, record: FlowRecord<Names>): Promise<void> {
    const at = (this.saves += 2);
    if (at - 1 === this.dieAt) return Promise.reject(new Died());
    this.kept.set(key, JSON.stringify(record));
    return at === this.dieAt ? Promise.reject(new Died()) : Promise.resolve();
  }
}

/** Steps that leave their names in `there`, as something real would, and take them away again. */
function stepsOf(there: Set<string>, names: Names, fail: { at?: string; undo?: string } = {}): FlowStep<Names>[] {
  return names.map((name) => ({
    name,
    do: (state) => {
      there.add(name);
      return name === fail.at ? Promise.reject(new Error('refused')) : Promise.resolve([...state, name]);
    },
    undo: () => {
      if (name === fail.undo) return Promise.reject(new Error('stuck'));
      there.delete(name);
      return Promise.resolve();
    },
  }));
}

const NAMES = ['a', 'b', 'c'];

describe('a flow of steps', () => {
  test('goes through, and is not repeated under the same key', async () => {
    const there = new Set<string>();
    const journal = new Memory();
    const seen: string[] = [];
    const options = { key: 'k', request: 'r', journal, progress: (step: string) => seen.push(step) };
    assert.deepEqual(await runFlow(stepsOf(there, NAMES), [], options), NAMES);
    assert.deepEqual(seen, [...NAMES, 'done']);
    there.clear();
    assert.deepEqual(await runFlow(stepsOf(there, NAMES), [], options), NAMES);
    assert.equal(there.size, 0, 'nothing was done again');
    await assert.rejects(runFlow(stepsOf(there, NAMES), [], { ...options, request: 'other' }), ServiceError);
  });

  test('is undone in reverse, and says what could not be', async () => {
    const there = new Set<string>();
    const options = { key: 'k', request: 'r', journal: new Memory() };
    const failing = runFlow(stepsOf(there, NAMES, { at: 'c', undo: 'a' }), [], options);
    await assert.rejects(failing, (error: unknown) => {
      assert.ok(error instanceof FlowFailed);
      assert.equal(error.step, 'c');
      assert.deepEqual(error.notUndone, [{ step: 'a', reason: 'stuck' }]);
      assert.equal(error.message, 'c: refused. Not undone: a (stuck)');
      return true;
    });
    assert.deepEqual([...there], ['a']);
    await assert.rejects(runFlow(stepsOf(there, NAMES), [], options), FlowFailed, 'the same key, the same outcome');
    assert.deepEqual([...there], ['a']);
  });

  test('is undone when it is cancelled', async () => {
    const there = new Set<string>();
    const stop = new AbortController();
    const progress = (step: string): void => {
      if (step === 'c') stop.abort(new Error('cancelled'));
    };
    const options = { key: 'k', request: 'r', journal: new Memory(), signal: stop.signal, progress };
    await assert.rejects(runFlow(stepsOf(there, NAMES), [], options), /c: cancelled/);
    assert.equal(there.size, 0);
  });

  for (const at of [undefined, 'a', 'b', 'c']) {
    test(`is finished by whoever runs it again, wherever it died (${at === undefined ? 'going well' : `failing in ${at}`})`, async () => {
      for (let dieAt = 1; ; dieAt++) {
        const there = new Set<string>();
        const journal = new Memory();
        journal.dieAt = dieAt;
        const fail = at === undefined ? {} : { at };
        const run = (): Promise<Names | string> =>
          runFlow(stepsOf(there, NAMES, fail), [], { key: 'k', request: 'r', journal }).catch((error: unknown) => {
            if (error instanceof FlowFailed) return error.message;
            throw error;
          });
        const first = await run().catch((error: unknown) => error);
        const outcome = first instanceof Died ? await run() : first;
        assert.deepEqual(outcome, at === undefined ? NAMES : `${at}: refused`, `died at ${String(dieAt)}`);
        assert.deepEqual([...there], at === undefined ? NAMES : [], `died at ${String(dieAt)}`);
        if (!(first instanceof Died)) break;
      }
    });
  }

  test('that only goes forward goes on with the step that failed', async () => {
    const there = new Set<string>();
    const options = { key: 'k', request: 'r', journal: new Memory(), forward: true };
    await assert.rejects(runFlow(stepsOf(there, NAMES, { at: 'b' }), [], options), /b: refused/);
    assert.deepEqual([...there], ['a', 'b']);
    there.clear();
    assert.deepEqual(await runFlow(stepsOf(there, NAMES), [], options), NAMES);
    assert.deepEqual([...there], ['b', 'c']);
  });

  test('insists on what must not be left in the middle, and not on looking', async () => {
    const done: string[] = [];
    /** Fails so often. */
    const step = (name: string, failures: number, looks: boolean): FlowStep<Names> => ({
      ...{ name, looks },
      do: (state) => {
        done.push(name);
        return failures-- > 0 ? Promise.reject(new Error('away')) : Promise.resolve([...state, name]);
      },
    });
    const patiently = async <T>(work: () => Promise<T>): Promise<T> => {
      for (let tries = 3; ; tries--) {
        try {
          return await work();
        } catch (error) {
          if (tries === 0) throw error;
        }
      }
    };
    const run = async (steps: FlowStep<Names>[], forward: boolean): Promise<unknown> => {
      done.length = 0;
      const options = { key: 'k', request: 'r', journal: new Memory(), forward, patiently };
      return runFlow(steps, [], options).catch((error: unknown) => {
        assert.ok(error instanceof FlowFailed);
        return [error.step, error.stopped, error.state];
      });
    };
    assert.deepEqual(await run([step('look', 0, true), step('a', 2, false)], true), ['look', 'a']);
    assert.deepEqual(done, ['look', 'a', 'a', 'a']);
    assert.deepEqual(await run([step('look', 1, true), step('a', 0, false)], true), ['look', false, []]);
    assert.deepEqual(done, ['look']);
    assert.deepEqual(await run([step('look', 0, true), step('a', 9, false)], true), ['a', true, ['look']]);
    // Whoever can undo does that instead.
    assert.deepEqual(await run([step('look', 0, true), step('a', 1, false)], false), ['a', false, ['look']]);
    assert.deepEqual(done, ['look', 'a']);
  });

  test('is kept in a folder', async () => {
    const folder = temporaryFolder('flows');
    try {
      const there = new Set<string>();
      const options = { key: '../../any thing', request: 'r', journal: new FileJournal<Names>(`${folder.path}/flows`) };
      await assert.rejects(runFlow(stepsOf(there, NAMES, { at: 'b' }), [], { ...options, forward: true }), FlowFailed);
      const again = { ...options, journal: new FileJournal<Names>(`${folder.path}/flows`), forward: true };
      assert.deepEqual(await runFlow(stepsOf(there, NAMES), [], again), NAMES);
      assert.equal(await again.journal.load('another'), undefined);
    } finally {
      folder.remove();
    }
  });
});
