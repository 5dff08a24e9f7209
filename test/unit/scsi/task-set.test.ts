import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LunNexus } from '../../../core/scsi/lun-nexus.ts';
import { TaskSet } from '../../../core/scsi/task-set.ts';
import type { SetTask } from '../../../core/scsi/task-set.ts';
import { TaskAttribute } from '../../../core/scsi/task.ts';

/** The task set never looks into a nexus. */
const nobody = Object.create(LunNexus.prototype) as LunNexus;

class Named implements SetTask {
  readonly nexus = nobody;
  readonly attribute: number;
  aborted = false;
  constructor(attribute: number = TaskAttribute.simple) {
    this.attribute = attribute;
  }
  abort(): void {
    this.aborted = true;
  }
}

const set = (): TaskSet => new TaskSet(() => undefined);

describe('task set', () => {
  test('simple tasks run side by side', () => {
    const tasks = set();
    assert.equal(tasks.enter(new Named(), false), undefined);
    assert.equal(tasks.enter(new Named(), false), undefined);
    assert.ok(tasks.open);
  });

  test('an ordered task waits for the earlier ones and holds back the later ones', async () => {
    const tasks = set();
    const [a, ordered, b] = [new Named(), new Named(TaskAttribute.ordered), new Named()];
    const done: string[] = [];
    assert.equal(tasks.enter(a, false), undefined);
    const second = tasks.enter(ordered, false)?.then(() => done.push('ordered'));
    const third = tasks.enter(b, false)?.then(() => done.push('b'));
    assert.ok(second !== undefined && third !== undefined && !tasks.open);
    tasks.leave(a);
    await second;
    assert.deepEqual(done, ['ordered']);
    tasks.leave(ordered);
    await third;
    assert.deepEqual(done, ['ordered', 'b']);
    tasks.leave(b);
    assert.ok(tasks.open);
    assert.equal(tasks.running, 0);
  });

  test('head of queue passes the waiting ones', () => {
    const tasks = set();
    const a = new Named();
    void tasks.enter(a, false);
    void tasks.enter(new Named(TaskAttribute.ordered), false);
    assert.equal(tasks.enter(new Named(TaskAttribute.headOfQueue), false), undefined);
  });

  test('a waiting task that leaves makes room', async () => {
    const tasks = set();
    const [a, ordered, b] = [new Named(), new Named(TaskAttribute.ordered), new Named()];
    void tasks.enter(a, false);
    void tasks.enter(ordered, false);
    const third = tasks.enter(b, false);
    tasks.leave(ordered);
    await third;
    assert.equal(tasks.running, 2);
    assert.ok(tasks.open);
  });

  test('abort reaches running and waiting tasks', () => {
    const tasks = set();
    const [a, ordered] = [new Named(), new Named(TaskAttribute.ordered)];
    void tasks.enter(a, false);
    void tasks.enter(ordered, false);
    assert.equal(
      tasks.abort(() => true),
      2,
    );
    assert.ok(a.aborted && ordered.aborted);
  });

  test('end resolves when the running ones have left; the waiting ones leave at once', async () => {
    const tasks = set();
    const [a, b, ordered, other] = [new Named(), new Named(), new Named(TaskAttribute.ordered), new Named()];
    void tasks.enter(a, false);
    void tasks.enter(b, false);
    const waiting = tasks.enter(ordered, false);
    const later = tasks.enter(other, false);
    let ended = false;
    const end = tasks.end((task) => task !== other, false).then(() => (ended = true));
    await waiting;
    await later; // nothing ordered is in its way any more
    assert.deepEqual([a.aborted, b.aborted, ordered.aborted, other.aborted], [true, true, true, false]);
    tasks.leave(ordered);
    tasks.leave(a);
    await Promise.resolve();
    assert.equal(ended, false);
    tasks.leave(b);
    await end;
    assert.equal(tasks.running, 1);
    await tasks.end((task) => task === a, false);
  });

  test('says when it opens and closes', () => {
    const seen: boolean[] = [];
    const tasks: TaskSet = new TaskSet(() => seen.push(tasks.open));
    const [a, ordered] = [new Named(), new Named(TaskAttribute.ordered)];
    void tasks.enter(a, false);
    void tasks.enter(ordered, false);
    tasks.leave(a);
    tasks.leave(ordered);
    assert.deepEqual(seen, [false, true]);
  });
});
