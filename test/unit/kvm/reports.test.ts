// What the daemon is told of operations on a host, and what is kept of them there.
import assert from 'node:assert/strict';
import { readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import type { OpsContext } from '../../../plugins/kvm/ops/context.ts';
import { operate as begin } from '../../../plugins/kvm/ops/context.ts';
import { LEFT_TOO_LONG, goOnWithLeft } from '../../../plugins/kvm/ops/go-on.ts';
import type { Report } from '../../../plugins/kvm/report.ts';
import { Reports, leftFolder, leftIn } from '../../../plugins/kvm/reports.ts';
import type { FlowStep } from '../../../plugins/sdk/flow.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

const ASKED = { what: 'attach', args: { volume: 'a' }, title: 'attach a', object: { kind: 'volume', name: 'a' } };
type Names = readonly string[];

/** Steps that fail where `fail` says; 'undo b': undoing that. The first one looks. */
const stepsOf = (names: Names, ...fail: string[]): FlowStep<Names>[] =>
  names.map((name, i) => ({
    name,
    looks: i === 0,
    do: (state) => (fail.includes(name) ? Promise.reject(new Error(`no ${name}`)) : Promise.resolve([...state, name])),
    ...(i === 0
      ? {}
      : {
          undo: () => (fail.includes(`undo ${name}`) ? Promise.reject(new Error('stuck')) : Promise.resolve()),
        }),
  }));

class Host {
  readonly told: Report[] = [];
  readonly folder = temporaryFolder('reports');
  away = false;
  refusing = false;
  cancelling = false;

  readonly reports = this.#make();

  #make(): Reports {
    const call = (method: string, path: string, body?: unknown): Promise<unknown> => {
      assert.match(`${method} ${path}`, /^PUT \/jobs\/[0-9a-f]{16}\/report$/);
      if (this.away) return Promise.reject(new ServiceError('daemon-unreachable', 'away'));
      if (this.refusing) return Promise.reject(new ServiceError('bad-request', 'no'));
      this.told.push(body as Report);
      return Promise.resolve({ cancelling: this.cancelling });
    };
    return new Reports({ folder: leftFolder(this.folder.path), host: 'h', call });
  }

  get context(): OpsContext {
    const settings = { state: this.folder.path, host: 'h' };
    return { settings, reports: this.reports } as unknown as OpsContext;
  }

  get left(): ReturnType<typeof leftIn> {
    return leftIn(leftFolder(this.folder.path));
  }

  /** State and states of the steps, as they were told last. */
  get last(): string {
    const { state, steps, error } = this.told.at(-1) as Report;
    const words = steps.map((step) => `${step.name} ${step.state}${step.error === undefined ? '' : `(${step.error})`}`);
    return `${state}${error === undefined ? '' : ` (${error.message})`}: ${words.join(', ')}`;
  }
}

/** `operate`, and until its end is told. */
const operate: typeof begin = async (context, ...rest) => {
  try {
    return await begin(context, ...rest);
  } finally {
    await context.reports?.settled();
  }
};

async function onHost(body: (host: Host) => Promise<void>): Promise<void> {
  const host = new Host();
  try {
    await body(host);
  } finally {
    host.folder.remove();
  }
}

describe('operations that are told to the daemon', () => {
  test('are told done, with every step', async () => {
    await onHost(async (host) => {
      await operate(host.context, ASKED, stepsOf(['look', 'b', 'c']), [], {}, 'k');
      assert.equal(host.last, 'done: look done, b done, c done');
      assert.equal(host.told.length, 1, 'what takes no time is told once');
      const { kind, title, object, host: where, cancellable } = host.told[0] as Report;
      assert.deepEqual([kind, title, object, where, cancellable], ['kvm-attach', 'attach a', ASKED.object, 'h', true]);
      assert.deepEqual(host.left, []);
    });
  });

  test('are told undone, with what could not be', async () => {
    await onHost(async (host) => {
      await assert.rejects(operate(host.context, ASKED, stepsOf(['look', 'b', 'c', 'd'], 'c', 'undo b'), [], {}, 'k'));
      assert.equal(host.last, 'failed (no c): look done, b not-undone(stuck), c undone(no c), d waiting');
      assert.deepEqual(host.left, []);
    });
  });

  test('are nothing as long as they only look', async () => {
    await onHost(async (host) => {
      await assert.rejects(operate(host.context, ASKED, stepsOf(['look', 'b'], 'look'), [], {}, 'k'));
      await assert.rejects(
        operate(host.context, ASKED, stepsOf(['look', 'b'], 'look'), [], {}, 'f', { forward: true }),
      );
      assert.deepEqual([host.told, host.left], [[], []]);
    });
  });

  test('stop where they go forward only, and go on under the same key', async () => {
    await onHost(async (host) => {
      const run = (...fail: string[]) =>
        operate(host.context, ASKED, stepsOf(['look', 'b', 'c'], ...fail), [], {}, 'k', { forward: true });
      await assert.rejects(run('b'));
      assert.equal(host.last, 'failed (b: no b): look done, b failed, c waiting');
      assert.equal(host.told.at(-1)?.cancellable, false);
      await run();
      assert.equal(host.last, 'done: look done, b done, c done');
    });
  });

  test('are taken back when somebody cancels the job', async () => {
    await onHost(async (host) => {
      host.cancelling = true;
      const steps = stepsOf(['look', 'b', 'c']);
      // Until it was told, and has heard the answer.
      const wait: FlowStep<Names> = {
        name: 'b',
        do: async (state) => {
          while (host.told.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
          await new Promise((resolve) => setImmediate(resolve));
          return state;
        },
        undo: () => Promise.resolve(),
      };
      const [look, , last] = steps as [FlowStep<Names>, FlowStep<Names>, FlowStep<Names>];
      await assert.rejects(operate(host.context, ASKED, [look, wait, last], [], {}, 'k'), /cancelled/);
      assert.equal(host.last, 'cancelled: look done, b undone, c undone(cancelled)');
    });
  });

  test('have one job where a part that goes forward follows, also when it was too late to fail', async () => {
    await onHost(async (host) => {
      const after = (passed: boolean) => ({
        after: { steps: stepsOf(['d', 'e']), request: {}, passed: () => Promise.resolve(passed) },
      });
      await operate(host.context, ASKED, stepsOf(['look', 'b']), [], {}, 'k', after(false));
      assert.equal(host.last, 'done: look done, b done, d done, e done');
      const late = stepsOf(['look', 'b'], 'b', 'undo b');
      await operate(host.context, ASKED, late, [], {}, 'late', after(true));
      assert.equal(host.last, 'done: look done, b done, d done, e done');
      assert.ok(!host.told.some(({ state }) => state === 'failed'), 'it never was');
      await assert.rejects(operate(host.context, ASKED, late, [], {}, 'failed', after(false)));
      assert.equal(host.last, 'failed (no b): look done, b not-undone(stuck)');
    });
  });

  test('are told later when the daemon is away at their end', async () => {
    await onHost(async (host) => {
      host.away = true;
      await operate(host.context, ASKED, stepsOf(['look', 'b']), [], {}, 'k');
      assert.deepEqual(
        host.left.map(({ what, args, key, last }) => [what, args, key, last?.state]),
        [['attach', ASKED.args, 'k', 'done']],
      );
      await assert.rejects(host.reports.tellLast(host.left[0]!), { code: 'daemon-unreachable' });
      host.away = false;
      await host.reports.tellLast(host.left[0]!);
      assert.equal(host.last, 'done: look done, b done');
      assert.deepEqual(readdirSync(join(host.folder.path, 'under-way')), []);
    });
  });

  test('are done by one process at a time', async () => {
    await onHost(async (host) => {
      let go = (): void => undefined;
      const gate = new Promise<void>((resolve) => (go = resolve));
      const slow: FlowStep<Names> = { name: 'b', do: (state) => gate.then(() => state) };
      const first = operate(host.context, ASKED, [...stepsOf(['look']), slow], [], {}, 'k');
      while (host.left.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      await assert.rejects(operate(host.context, ASKED, [...stepsOf(['look']), slow], [], {}, 'k'), { code: 'in-use' });
      go();
      await first;
      assert.equal(host.last, 'done: look done, b done');
    });
  });

  test('are told by who comes next when their process died before it could', async () => {
    await onHost(async (host) => {
      const { context } = host;
      const steps = stepsOf(['look', 'b']);
      host.away = true;
      await operate(context, ASKED, steps, [], {}, 'k');
      // As if it had died before it wrote how it ended.
      const { last, ...left } = host.left[0]!;
      assert.equal(last?.state, 'done');
      writeFileSync(join(leftFolder(host.folder.path), `${left.id}.json`), JSON.stringify(left));
      host.away = false;
      await operate(context, ASKED, steps, [], {}, 'k');
      assert.equal(host.last, 'done: look done, b done');
      assert.deepEqual(host.left, []);
      await operate(context, ASKED, steps, [], {}, 'k');
      assert.equal(host.told.length, 1, 'and is only asked for again then');
    });
  });

  test('are told whatever they are called', async () => {
    await onHost(async (host) => {
      const asked = { ...ASKED, title: 't'.repeat(4000), object: { kind: 'virtual-machine', name: 'n'.repeat(300) } };
      await operate(host.context, asked, stepsOf(['look', 'b']), [], {}, 'k');
      // As PUT /jobs/{id}/report takes them.
      assert.deepEqual([host.told[0]?.title.length, host.told[0]?.object.name.length], [300, 223]);
    });
  });

  test('are told once when the daemon will never take it', async () => {
    await onHost(async (host) => {
      host.refusing = true;
      await operate(host.context, ASKED, stepsOf(['look', 'b']), [], {}, 'k');
      await assert.rejects(host.reports.tellLast(host.left[0]!), { code: 'bad-request' });
      assert.deepEqual(host.left, []);
    });
  });

  test('are not gone on with after days, nor when nobody knows what they are', async () => {
    await onHost(async (host) => {
      const folder = leftFolder(host.folder.path);
      host.away = true;
      await operate(host.context, { ...ASKED, what: 'rollback' }, stepsOf(['look', 'b']), [], {}, 'old');
      await operate(host.context, { ...ASKED, what: 'from-later' }, stepsOf(['look', 'b']), [], {}, 'k');
      host.away = false;
      for (const { last, alive, ...left } of host.left) {
        assert.ok(last !== undefined && Math.abs(alive - Date.now()) < 60_000);
        const file = join(folder, `${left.id}.json`);
        writeFileSync(file, JSON.stringify(left));
        if (left.key === 'old') utimesSync(file, new Date(), new Date(Date.now() - LEFT_TOO_LONG - 1000));
      }
      const said: string[] = [];
      const call = (): Promise<unknown> => Promise.reject(new Error('nothing is asked for'));
      // There is no libvirtd: whoever went on with it would fail.
      await goOnWithLeft(host.context, call, (text) => said.push(text));
      assert.deepEqual(host.left, []);
      assert.deepEqual(
        host.told.map(({ kind, state, error }) => [
          kind,
          state,
          /too long ago|does not know/.test(error?.message ?? ''),
        ]),
        host.told.map(({ kind }) => [kind, 'failed', true]),
      );
      assert.equal(host.told.length, 2);
      assert.match(said.join('\n'), /--key old goes on/);
    });
  });

  test('abort what lasts when they are cancelled', async () => {
    await onHost(async (host) => {
      host.cancelling = true;
      const copy: FlowStep<Names> = {
        name: 'copy',
        do: async (_state, signal) => {
          for (;;) {
            signal?.throwIfAborted();
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        },
        undo: () => Promise.resolve(),
      };
      await assert.rejects(operate(host.context, ASKED, [...stepsOf(['look']), copy], [], {}, 'k'), /cancelled/);
      assert.equal(host.last, 'cancelled: look done, copy undone(cancelled)');
    });
  });
});
