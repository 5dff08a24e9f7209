import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GroupCommit } from '../../../core/volume/group-commit.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Syncs that end when told. */
class Disk {
  readonly running: { resolve: () => void; reject: (error: Error) => void }[] = [];
  started = 0;
  readonly sync = (): Promise<void> => {
    this.started++;
    return new Promise((resolve, reject) => this.running.push({ resolve, reject }));
  };
  async finish(error?: Error): Promise<void> {
    const sync = this.running.shift()!;
    if (error === undefined) sync.resolve();
    else sync.reject(error);
    await turn();
  }
}

describe('group commit', () => {
  test('one sync at a time; who arrives while it runs waits for the next one', async () => {
    const disk = new Disk();
    const commit = new GroupCommit(disk.sync);
    const done: string[] = [];
    const wait = (name: string): void => {
      commit.wait({ stable: (error) => done.push(error === undefined ? name : `${name} failed`) });
    };
    wait('a');
    wait('b');
    assert.deepEqual([disk.started, done], [0, []], 'never calls back, nor syncs, before it returns');
    await turn();
    assert.equal(disk.started, 1);
    wait('c');
    await turn();
    assert.equal(disk.started, 1);
    await disk.finish();
    assert.deepEqual([disk.started, done], [2, ['a', 'b']]);
    await disk.finish();
    assert.deepEqual([disk.started, done], [2, ['a', 'b', 'c']]);
    wait('d');
    await turn();
    await disk.finish();
    assert.deepEqual([disk.started, done], [3, ['a', 'b', 'c', 'd']]);
  });

  test('a waiter that waits again from its own callback is served by a later sync', async () => {
    const disk = new Disk();
    const commit = new GroupCommit(disk.sync);
    let served = 0;
    const again = {
      stable: () => {
        if (++served < 3) commit.wait(again);
      },
    };
    commit.wait(again);
    for (let i = 1; i <= 3; i++) {
      await turn();
      await disk.finish();
      assert.deepEqual([served, disk.started], [i, Math.min(3, i + 1)]);
    }
  });

  test('a failed sync fails its waiters and everybody after them, and is never tried again', async () => {
    const disk = new Disk();
    const commit = new GroupCommit(disk.sync);
    const first = commit.stable();
    await turn();
    const second = commit.stable();
    const both = Promise.all([
      assert.rejects(first, { name: 'VolumeError', fault: 'write-error' }),
      assert.rejects(second, { name: 'VolumeError', fault: 'write-error' }),
    ]);
    await disk.finish(new Error('EIO'));
    await both;
    await assert.rejects(commit.stable(), { fault: 'write-error' });
    assert.equal(disk.started, 1);
    assert.equal((commit.poison?.cause as Error).message, 'EIO');
  });
});
