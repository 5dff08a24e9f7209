import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import { JOB_RETENTION, JOB_SILENCE, MAX_FINISHED_JOBS, MAX_PURGE } from '../../../core/base/limits.ts';
import { silentLog } from '../../../core/base/log.ts';
import type { World } from '../../../core/base/world.ts';
import type { Change, CommitResult, ConfigStore, Expectation } from '../../../core/cluster/config-store.ts';
import { EmbeddedStore } from '../../../core/cluster/embedded-store.ts';
import { Catalog } from '../../../core/control/catalog.ts';
import { Events } from '../../../core/control/events.ts';
import { jobKind } from '../../../core/control/jobs/job.ts';
import type { AnyKind, JobRecord, JobView, Step } from '../../../core/control/jobs/job.ts';
import { Jobs, canonical } from '../../../core/control/jobs/jobs.ts';
import { SecretBox } from '../../../core/control/secret-box.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { codeOf } from './fixture.ts';

/** A store that dies at its n-th commit: before it is durable, or after. What is written later is refused. */
class DyingStore implements ConfigStore {
  readonly #store: ConfigStore;
  left = Infinity;
  after = false;
  dead = false;
  commits = 0;

  constructor(store: ConfigStore) {
    this.#store = store;
  }
  get(key: string): ReturnType<ConfigStore['get']> {
    return this.#store.get(key);
  }
  list(prefix: string): ReturnType<ConfigStore['list']> {
    return this.#store.list(prefix);
  }
  async commit(changes: readonly Change[], expectations?: readonly Expectation[]): Promise<CommitResult> {
    this.commits += 1;
    this.left -= 1;
    if (this.left > 0) return this.#store.commit(changes, expectations);
    if (this.left === 0 && this.after) await this.#store.commit(changes, expectations);
    this.dead = true;
    // Whoever waits for it waits for ever: the process is gone.
    return new Promise(() => undefined);
  }
  watch(...args: Parameters<ConfigStore['watch']>): () => void {
    return this.#store.watch(...args);
  }
  close(): Promise<void> {
    return this.#store.close();
  }
}

interface Bench {
  readonly jobs: Jobs;
  readonly catalog: Catalog;
  readonly events: Events;
  readonly store: DyingStore;
}

/** What survives a crash: the folder, and the world the steps change. */
class Site {
  readonly folder = temporaryFolder('jobs');
  readonly clock = new ManualClock();
  /** What steps have made. */
  readonly things = new Set<string>();
  readonly done: string[] = [];
  kinds: AnyKind[] = [];
  #open: Bench | undefined;

  async open(): Promise<Bench> {
    const { random, net, disk } = await nodeWorld();
    const world: World = { random, net, disk, clock: this.clock };
    const store = new DyingStore(new EmbeddedStore(this.folder.path));
    const catalog = await Catalog.open(store, random, 'iqn.2026-01.x', 1);
    const events = new Events(catalog, this.clock, silentLog);
    const box = new SecretBox(Buffer.alloc(32, 1), random);
    const jobs = new Jobs({ catalog, events, box, world, log: silentLog });
    jobs.register(this.kinds);
    this.#open = { jobs, catalog, events, store };
    return this.#open;
  }

  async reopen(): Promise<Bench> {
    await this.#open?.catalog.close();
    return this.open();
  }

  async close(): Promise<void> {
    await this.#open?.catalog.close();
    this.folder.remove();
  }

  /** A step that makes a thing; a repetition finds it. */
  make(name: string, extra: Partial<Step<object>> = {}): Step<object> {
    return {
      name,
      do: () => {
        this.done.push(name);
        this.things.add(name);
        return Promise.resolve({ made: name });
      },
      undo: () => {
        this.done.push(`-${name}`);
        this.things.delete(name);
        return Promise.resolve();
      },
      ...extra,
    };
  }

  kind(kind: string, steps: Step<object>[], resume: 'continue' | 'undo' = 'continue', cancellable = true): void {
    const row = { kind, resume, cancellable, title: () => kind, object: () => ({ kind: 'thing', name: kind }) };
    this.kinds.push(jobKind<object>({ ...row, prepare: (asked) => asked, steps: () => steps }));
  }
}

async function withSite(body: (site: Site) => Promise<void>): Promise<void> {
  const site = new Site();
  try {
    await body(site);
  } finally {
    await site.close();
  }
}

const fails = (message: string): Partial<Step<object>> => ({
  do: () => Promise.reject(new ServiceError('io-error', message)),
});
const states = (record: JobRecord): string => record.steps.map(({ state }) => state).join(' ');

describe('jobs', () => {
  it('do their steps in order and keep what each gave', async () => {
    await withSite(async (site) => {
      site.kind('three', [
        site.make('a'),
        site.make('b', { do: ({ result }) => Promise.resolve({ got: result('a') ?? null }) }),
        site.make('c'),
      ]);
      const { jobs } = await site.open();
      const { id } = await jobs.submit('three', { x: 1 });
      const over = await jobs.wait(id);
      assert.deepEqual([over.state, states(over), over.result], ['done', 'done done done', { made: 'c' }]);
      assert.deepEqual(over.steps[1]?.result, { got: { made: 'a' } });
      assert.equal(jobs.view(over).progress, 1);
      assert.equal(jobs.view(over).etaSeconds, null);
      assert.equal(await codeOf(() => jobs.submit('none', {})), 'bad-request');
      assert.equal(await codeOf(() => jobs.get('0')), 'not-found');
    });
  });

  it('undo in reverse when a step fails, and name what could not be undone', async () => {
    await withSite(async (site) => {
      const stays = { undo: () => Promise.reject(new Error('it is in use')) };
      site.kind('bad', [site.make('a'), site.make('b', stays), site.make('c'), site.make('d', fails('no luck'))]);
      const { jobs, events } = await site.open();
      const { id } = await jobs.submit('bad', {});
      const over = await jobs.wait(id);
      assert.deepEqual([over.state, states(over)], ['failed', 'undone not-undone undone undone']);
      assert.deepEqual(over.error, { code: 'io-error', message: 'no luck' });
      assert.deepEqual(jobs.view(over).notUndone, [{ step: 'b', error: 'it is in use' }]);
      assert.deepEqual(site.done, ['a', 'b', 'c', '-d', '-c', '-a']);
      await events.settled();
      const told = events.list().map(({ severity, code }) => `${severity} ${code}`);
      assert.deepEqual(told.sort(), ['critical job-not-undone', 'error job-failed']);
      assert.equal(await codeOf(() => jobs.through('bad', {}, 'd')), 'io-error');
    });
  });

  it('are the same job for the same key and request, and refuse the key for another', async () => {
    await withSite(async (site) => {
      site.kind('k', [site.make('a')]);
      const { jobs } = await site.open();
      const [one, two] = await Promise.all([
        jobs.submit('k', { x: 1, y: [{ b: 2, a: 1 }] }, 'key'),
        jobs.submit('k', { y: [{ a: 1, b: 2 }], x: 1 }, 'key'),
      ]);
      assert.equal(one.id, two.id);
      await jobs.wait(one.id);
      assert.equal((await jobs.submit('k', { x: 1, y: [{ b: 2, a: 1 }] }, 'key')).id, one.id);
      assert.equal(await codeOf(() => jobs.submit('k', { x: 2 }, 'key')), 'key-reused');
      const other = await jobs.submit('k', { x: 2 }, 'other');
      assert.notEqual(other.id, one.id);
      await jobs.wait(other.id);
      assert.deepEqual(site.done, ['a', 'a']);
      const again = await site.reopen();
      assert.equal((await again.jobs.submit('k', { x: 1, y: [{ b: 2, a: 1 }] }, 'key')).id, one.id);
      assert.equal(canonical({ b: [1, { d: null, c: 'x' }], a: undefined }), '{"b":[1,{"c":"x","d":null}]}');
    });
  });

  it('are cancelled at the border of steps and inside a long one, with progress and the time to go', async () => {
    await withSite(async (site) => {
      let go = (): void => undefined;
      const long: Partial<Step<object>> = {
        weight: 3,
        do: async ({ progress, checkpoint }) => {
          for (let i = 1; i <= 4; i++) {
            await new Promise<void>((resolve) => (go = resolve));
            checkpoint();
            progress(i / 4, `part ${String(i)}`);
          }
          return undefined;
        },
      };
      site.kind('slow', [site.make('a'), site.make('b', long)]);
      const { jobs } = await site.open();
      const seen: JobView[] = [];
      jobs.watch((view) => seen.push(view));
      const { id } = await jobs.submit('slow', {});
      await jobs.wait(id, Infinity, ({ steps }) => steps[1]?.state === 'running');
      for (let i = 0; i < 2; i++) {
        await new Promise(setImmediate);
        site.clock.advance(1000);
        go();
      }
      await new Promise(setImmediate);
      const half = jobs.view(jobs.get(id));
      assert.deepEqual([half.progress, half.doing, half.etaSeconds], [0.25 + 0.75 / 2, 'part 2', 1]);
      assert.ok(seen.some(({ doing }) => doing === 'part 1'));
      assert.equal((await jobs.cancel(id)).cancelling, true);
      go();
      const over = await jobs.wait(id);
      assert.deepEqual([over.state, states(over), site.things.size], ['cancelled', 'undone undone', 0]);
      assert.equal(await codeOf(() => jobs.cancel(id)), 'not-found');
    });
  });

  it('cannot be cancelled when their kind does not allow it', async () => {
    await withSite(async (site) => {
      let go = (): void => undefined;
      const waits = {
        do: () =>
          new Promise<undefined>(
            (resolve) =>
              (go = () => {
                resolve(undefined);
              }),
          ),
      };
      site.kind('firm', [site.make('a', waits)], 'continue', false);
      const { jobs } = await site.open();
      const { id } = await jobs.submit('firm', {});
      await jobs.wait(id, Infinity, ({ steps }) => steps[0]?.state === 'running');
      assert.equal(await codeOf(() => jobs.cancel(id)), 'bad-request');
      await new Promise(setImmediate);
      go();
      assert.equal((await jobs.wait(id)).state, 'done');
    });
  });

  it('are kept for a while, and not too many', async () => {
    await withSite(async (site) => {
      site.kind('k', [site.make('a')]);
      const { jobs, catalog } = await site.open();
      for (let i = 0; i < MAX_FINISHED_JOBS + 5; i++) {
        site.clock.advance(1);
        await jobs.wait((await jobs.submit('k', {})).id);
      }
      assert.ok(catalog.jobs.size <= MAX_FINISHED_JOBS + 1, String(catalog.jobs.size));
      site.clock.advance(JOB_RETENTION + 1);
      // Some at a time: they go in one transaction with what is submitted.
      const old = catalog.jobs.size;
      const { id } = await jobs.submit('k', {});
      assert.ok(catalog.jobs.size >= old + 1 - MAX_PURGE, String(catalog.jobs.size));
      await jobs.wait(id);
      const ids = [id];
      for (let i = 0; i < old / MAX_PURGE; i++) {
        site.clock.advance(1);
        const next = await jobs.submit('k', {});
        await jobs.wait(next.id);
        ids.unshift(next.id);
      }
      assert.deepEqual(
        jobs.list().map((job) => job.id),
        ids,
      );
    });
  });

  it('go on at the next start when the daemon stops in the middle', async () => {
    await withSite(async (site) => {
      let stopped = (): boolean => false;
      const long: Partial<Step<object>> = {
        background: true,
        do: async (context) => {
          site.done.push('b');
          ({ stopped } = context);
          while (site.done.length < 3) {
            await new Promise(setImmediate);
            context.checkpoint();
          }
          return undefined;
        },
      };
      site.kind('slow', [site.make('a'), site.make('b', long), site.make('c')]);
      const first = await site.open();
      const { id } = await first.jobs.submit('slow', {});
      await first.jobs.wait(id, Infinity, ({ steps }) => steps[1]?.state === 'running');
      await first.jobs.stop();
      assert.equal(stopped(), true);
      assert.equal(await codeOf(() => first.jobs.submit('slow', {})), 'daemon-unreachable');
      const { jobs } = await site.reopen();
      assert.equal(states(jobs.get(id)), 'done running waiting');
      await jobs.resume();
      assert.equal((await jobs.wait(id)).state, 'done');
      assert.deepEqual(site.done, ['a', 'b', 'b', 'c']);
    });
  });

  for (const [what, resume, bad] of [
    ['continue', 'continue', false],
    ['are taken back', 'undo', false],
    ['fail and are taken back', 'continue', true],
  ] as const) {
    it(`${what} after a crash at every commit, before and after it`, async () => {
      let commits = 0;
      for (let at = 1; at <= Math.max(commits, 1) + 1; at++) {
        for (const after of [false, true]) {
          await withSite(async (site) => {
            site.kind('k', [site.make('a'), site.make('b'), site.make('c', bad ? fails('no') : {})], resume);
            const first = await site.open();
            first.store.left = at;
            first.store.after = after;
            const submitted = first.jobs.submit('k', {});
            // Until the job is over, or the process has died.
            const ended = async (): Promise<void> => {
              while (!first.store.dead && ![...first.catalog.jobs.values()].some(({ ended }) => ended !== undefined)) {
                await new Promise(setImmediate);
              }
            };
            await ended();
            void submitted.catch(() => undefined);
            await new Promise(setImmediate);
            commits = Math.max(commits, first.store.commits);
            const { jobs } = await site.reopen();
            await jobs.resume();
            const [job, ...others] = jobs.list();
            assert.equal(others.length, 0);
            const where = `commit ${String(at)}, ${after ? 'after' : 'before'}`;
            if (job === undefined) {
              assert.ok(at === 1 && !after, `${where}: only what was never durable is lost`);
              assert.equal(site.things.size, 0, where);
              return;
            }
            const over = await jobs.wait(job.id);
            const things = [...site.things].sort().join('');
            if (over.state === 'done') assert.equal(things, 'abc', where);
            else assert.deepEqual([over.state, things], ['failed', ''], where);
            if (resume === 'continue') assert.equal(over.state, bad ? 'failed' : 'done', where);
          });
        }
      }
      assert.ok(commits >= 7, `${String(commits)} commits were tried`);
    });
  }

  it('of others are kept as they are told, until nobody tells of them any more', async () => {
    await withSite(async (site) => {
      site.kind('own', [site.make('a')]);
      const { jobs } = await site.open();
      const id = '0123456789abcdef';
      const object = { kind: 'volume', name: 'v' };
      const report = (state: JobRecord['state'], step: JobRecord['steps'][number]['state']) =>
        jobs.report(
          id,
          {
            kind: 'kvm-attach',
            title: 't',
            object,
            host: 'h',
            cancellable: true,
            state,
            steps: [{ name: 's', state: step }],
          },
          'agent',
        );
      const own = await jobs.submit('own', {});
      await jobs.wait(own.id);
      const first = {
        kind: 'own',
        title: 't',
        object,
        host: 'h',
        cancellable: true,
        state: 'running',
        steps: [],
      } as const;
      assert.equal(await codeOf(() => jobs.report(own.id, first, 'agent')), 'exists');
      assert.equal(await codeOf(() => jobs.report(id, first, 'agent')), 'bad-request');

      await report('running', 'running');
      const seen = jobs.view(jobs.get(id));
      assert.deepEqual(
        [seen.doing, seen.reported?.host, seen.reported?.by, seen.cancellable],
        ['s', 'h', 'agent', true],
      );
      // A start does nothing with it, and does not wait.
      const again = await site.reopen();
      await again.jobs.resume();
      assert.equal(again.jobs.get(id).state, 'running');
      await again.jobs.cancel(id);
      site.clock.advance(JOB_SILENCE);
      const silent = again.jobs.view(again.jobs.get(id));
      assert.match(silent.doing ?? '', /^s; nothing heard from h for 2 min/);
      assert.equal(silent.cancelling, true);
      const told = await again.jobs.report(
        id,
        { ...first, kind: 'kvm-attach', state: 'undoing', steps: [{ name: 's', state: 'failed' }] },
        'agent',
      );
      assert.equal(told.cancelling, true, 'whoever does it learns of that');
      assert.equal(again.jobs.view(told).doing, 'undoing: s');
      const waiting = again.jobs.wait(id);
      await again.jobs.report(id, { ...first, kind: 'kvm-attach', state: 'cancelled', steps: [] }, 'agent');
      assert.equal((await waiting).state, 'cancelled');

      const late = '1'.repeat(16);
      const other = { ...first, kind: 'kvm-attach', title: 't\u001b[2J\nx' };
      await again.jobs.report(late, other, 'agent');
      assert.equal(again.jobs.get(late).title, 't [2J x', 'nothing a terminal obeys');
      assert.equal(await codeOf(() => again.jobs.report(late, { ...other, host: 'h2' }, 'agent')), 'exists');
      assert.equal(await codeOf(() => again.jobs.report(late, { ...other, kind: 'kvm-grow' }, 'agent')), 'exists');
      site.clock.advance(JOB_RETENTION + 1);
      await again.jobs.report(late, other, 'somebody else of that host');
      const waited = again.jobs.wait(late);
      await again.jobs.stop();
      assert.equal((await waited).state, 'running', 'nobody waits on when the daemon stops');
      const last = await site.reopen();
      assert.equal(last.jobs.get(late).reported?.by, 'somebody else of that host', 'it is heard of again');
      site.clock.advance(JOB_RETENTION + 1);
      await last.jobs.submit('own', { x: 2 });
      assert.equal(last.jobs.list({ kind: 'kvm-attach' }).length, 0);
    });
  });
});
