import assert from 'node:assert/strict';
import { readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import { silentLog } from '../../../core/base/log.ts';
import {
  AUDIT_FILE,
  AUDIT_REFUSALS,
  AUDIT_REFUSAL_EVERY,
  AUDIT_SUMMARY,
  MAX_AUDIT_FILES,
  MAX_WAITING_AUDIT,
} from '../../../core/base/limits.ts';
import type { World } from '../../../core/base/world.ts';
import { AuditLog } from '../../../core/control/audit/audit-log.ts';
import type { AuditFacts } from '../../../core/control/audit/entry.ts';
import { Refusals } from '../../../core/control/audit/refusals.ts';
import type { AuditAnchorRecord } from '../../../core/control/security-records.ts';
import { difference, redacted } from '../../../core/control/redact.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { codeOf } from './fixture.ts';

const KEY = Buffer.alloc(32, 5);

const facts = (name: string, more: Partial<AuditFacts> = {}): AuditFacts => ({
  ...{ who: { kind: 'user', name: 'anna', role: 'admin' }, address: '192.0.2.1', method: 'POST', route: '/volumes' },
  ...{ object: `/volumes/${name}`, request: null, before: null, after: { name }, status: 201, code: null, ...more },
});

interface Bench {
  readonly folder: string;
  readonly log: AuditLog;
  readonly anchor: { record: AuditAnchorRecord | undefined };
  /** Closes the log and opens it again. */
  readonly reopen: () => Promise<AuditLog>;
  /** From now on nothing (or everything again) can be written. */
  readonly full: (is: boolean) => void;
}

/** nodeWorld() whose disk can be full, for files that are there and for new ones. */
function fillable(world: World, isFull: () => boolean): World {
  const refuse = (): void => {
    if (isFull()) throw new ServiceError('no-space', 'the disk is full');
  };
  const disk: World['disk'] = {
    ...world.disk,
    open: async (path, options) => {
      const file = await world.disk.open(path, options);
      return new Proxy(file, {
        get: (target, name) => {
          if (name === 'write') {
            return async (...args: Parameters<typeof file.write>) => {
              refuse();
              await target.write(...args);
            };
          }
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      });
    },
    replaceFile: async (...args) => {
      refuse();
      await world.disk.replaceFile(...args);
    },
  };
  return { ...world, disk };
}

async function withLog(body: (bench: Bench) => Promise<void>): Promise<void> {
  const folder = temporaryFolder('audit');
  const anchor: Bench['anchor'] = { record: undefined };
  let isFull = false;
  const world = fillable(await nodeWorld(), () => isFull);
  const open = (): Promise<AuditLog> =>
    AuditLog.open({
      ...{ world, log: silentLog, folder: folder.path, key: KEY, anchor: () => anchor.record },
      setAnchor: (record) => {
        anchor.record = record;
        return Promise.resolve();
      },
    });
  let log = await open();
  try {
    const reopen = async (): Promise<AuditLog> => {
      await log.close();
      log = await open();
      return log;
    };
    await body({ folder: folder.path, log, anchor, reopen, full: (is) => (isFull = is) });
  } finally {
    isFull = false;
    await log.close();
    folder.remove();
  }
}

const filesOf = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.jsonl'))
    .sort()
    .map((name) => join(folder, name));

describe('the audit log', () => {
  it('keeps what it was told, over restarts, newest first and filtered', async () => {
    await withLog(async ({ log, reopen }) => {
      const written = await Promise.all(['a', 'b', 'c'].map((name) => log.record(facts(name))));
      assert.deepEqual(written, [true, true, true]);
      const ben = { kind: 'token', name: 'ben', role: 'viewer' } as const;
      await log.record(facts('d', { who: ben, method: 'DELETE', code: 'forbidden', status: 403 }));
      const again = await reopen();
      await again.record(facts('e'));
      const names = async (query: object): Promise<string> =>
        (await again.page(query)).items.map(({ object }) => object.slice(-1)).join('');
      assert.equal(await names({}), 'edcba');
      assert.equal(await names({ who: 'ben' }), 'd');
      assert.equal(await names({ result: 'done', method: 'POST' }), 'ecba');
      assert.equal(await names({ object: '/volumes/c' }), 'c');
      assert.equal(await names({ since: Date.now() + 60_000 }), '');
      assert.equal(await names({ until: Date.now() - 60_000 }), '');
      const first = await again.page({ limit: 2 });
      assert.deepEqual([first.items.map(({ seq }) => seq), first.next], [[5, 4], 4]);
      const second = await again.page({ limit: 2, before: first.next });
      assert.deepEqual([second.items.map(({ seq }) => seq), second.next], [[3, 2], 2]);
      assert.deepEqual((await again.page({ limit: 2, before: second.next })).next, undefined);
      const check = await again.verify();
      assert.deepEqual([check.ok, check.entries, check.first, check.last], [true, 5, 1, 5]);
      assert.equal((await again.verify(check.head)).ok, true);
      assert.match((await again.verify('0'.repeat(64))).findings.join(), /not there/);
    });
  });

  it('finds every kind of edit', async () => {
    await withLog(async ({ folder, log, reopen }) => {
      for (const name of ['a', 'b', 'c', 'd']) await log.record(facts(name));
      let current = await reopen();
      const [path = ''] = filesOf(folder);
      const whole = readFileSync(path, 'utf8');
      const lines = whole.split('\n');
      const [a = '', b = '', c = '', d = ''] = lines;
      const swapped = a.replace('anna', 'eve0');
      const edits: [string, RegExp][] = [
        [[swapped, b, c, d, ''].join('\n'), /entry 1 is not as it was written/],
        [[a, c, d, ''].join('\n'), /entry 3 follows entry 1: some are missing/],
        [[a, c, b, d, ''].join('\n'), /entry 3 follows entry 1/],
        [[a, b, c, d, d, ''].join('\n'), /entry 4 follows entry 4/],
        [[b, c, d, ''].join('\n'), /entries 1 to 1 are missing/],
        [[a, b, 'nonsense', c, d, ''].join('\n'), /line 3 .* is no entry/],
        [[a, b, ''].join('\n'), /entries 3 to 4 are missing/],
        ['', /entries 1 to 4 are missing/],
      ];
      for (const [content, finding] of edits) {
        writeFileSync(path, content);
        const { ok, findings } = await current.verify();
        assert.equal(ok, false, content);
        assert.match(findings.join('\n'), finding);
      }
      // The end cut off while the daemon does not run, and entries after it: the gap stays.
      writeFileSync(path, [a, b, ''].join('\n'));
      current = await reopen();
      assert.match((await current.verify()).findings.join(), /entries 3 to 4 are missing/);
      await current.record(facts('e'));
      assert.match((await current.verify()).findings.join(), /entry 5 follows entry 2: some are missing/);
      rmSync(path);
      current = await reopen();
      await current.record(facts('f'));
      assert.equal((await current.verify()).ok, false);
    });
  });

  it('goes on behind what a crash left of a line', async () => {
    await withLog(async ({ folder, log, reopen }) => {
      await log.record(facts('a'));
      await log.record(facts('b'));
      await log.close();
      const [path = ''] = filesOf(folder);
      const size = readFileSync(path).length;
      writeFileSync(path, `${readFileSync(path, 'utf8')}{"seq":3,"at":"2026`);
      const again = await reopen();
      await again.record(facts('c'));
      assert.deepEqual(await again.verify().then(({ ok, entries }) => [ok, entries]), [true, 3]);
      // A torn entry was never acknowledged, but what was anchored is not torn: that has been cut.
      await again.close();
      truncateSync(path, size - 10);
      assert.equal((await (await reopen()).verify()).ok, false);
    });
  });

  it('is bounded: the oldest file goes, and only that may be missing', async () => {
    await withLog(async ({ folder, log, anchor, reopen }) => {
      const big = { text: 'x'.repeat(AUDIT_FILE / 100) };
      const batch = Array.from({ length: 60 }, (_, i) => facts(String(i), { request: big }));
      for (let i = 0; i < MAX_AUDIT_FILES + 2; i++) await Promise.all(batch.map((each) => log.record(each)));
      const files = filesOf(folder);
      assert.equal(files.length, MAX_AUDIT_FILES);
      const current = await reopen();
      const { ok, first, findings } = await current.verify();
      assert.deepEqual([ok, findings], [true, []]);
      assert.equal(first, anchor.record?.first);
      assert.ok(first > 1);
      rmSync(files[0] ?? '');
      assert.match((await current.verify()).findings.join(), /entries \d+ to \d+ are missing/);
    });
  });

  it('keeps entries in memory while the disk is full, and refuses changes but deletions', async () => {
    await withLog(async ({ log, full, folder }) => {
      await log.record(facts('a'));
      full(true);
      assert.equal(await log.record(facts('b')), false);
      assert.equal(log.waiting, 1);
      assert.ok(!readdirSync(folder).includes('reserve'), 'the reserve was given up');
      assert.equal(await codeOf(() => log.checkWritable(false)), 'audit-unwritable');
      await log.checkWritable(true);
      await Promise.all(Array.from({ length: MAX_WAITING_AUDIT }, () => log.record(facts('c'))));
      assert.equal(await codeOf(() => log.checkWritable(true)), 'audit-unwritable', 'not without end');
      assert.equal((await log.page({})).items.length, 1);
      full(false);
      await log.checkWritable(false);
      assert.equal(log.waiting, 0);
      assert.deepEqual(await log.verify().then(({ ok, entries }) => [ok, entries]), [true, MAX_WAITING_AUDIT + 2]);
    });
  });
});

describe('what the audit log says', () => {
  it('has no secrets, and is bounded', () => {
    const chap = { user: 'u', secret: 'hunter22hunter22' };
    const value = {
      chap,
      list: [{ password: 'x', Passphrase: { deep: 1 } }],
      token: 'gemel.a.b',
      tokens: 3,
      name: 'v',
    };
    assert.deepEqual(redacted(value), {
      chap: { user: 'u', secret: '[secret]' },
      list: [{ password: '[secret]', Passphrase: '[secret]' }],
      ...{ token: '[secret]', tokens: 3, name: 'v' },
    });
    // A file that has certificate and key, given as the certificate.
    const both = '-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\nMA==';
    assert.deepEqual(redacted({ etcd: { cert: both, list: [both] } }), {
      etcd: { cert: '[secret]', list: ['[secret]'] },
    });
    assert.deepEqual(redacted({ text: 'x'.repeat(5000) }), { leftOut: '5011 bytes' });
    assert.equal(redacted(undefined), null);
  });

  it('is what has changed', () => {
    const before = { name: 'v', size: 1, maps: ['a'] };
    assert.deepEqual(difference(before, { name: 'v', size: 2, maps: ['a'] }), {
      before: { size: 1 },
      after: { size: 2 },
    });
    assert.deepEqual(difference(undefined, before), { before: null, after: before });
    assert.deepEqual(difference(before, undefined), { before, after: null });
  });
});

describe('addresses in the audit log', () => {
  it('name the system and nothing that may be a key to it', () => {
    const webhook = { url: 'https://hooks.example.com:8443/services/T0/B0/xyzzy?token=abc#frag' };
    const before = { webhook, note: 'see http://inside' };
    assert.deepEqual(redacted(before), {
      webhook: { url: 'https://hooks.example.com:8443/[secret]' },
      note: 'see http://inside',
    });
    assert.deepEqual(redacted({ url: 'https://anna:xyzzy@hooks.example.com' }), {
      url: 'https://hooks.example.com/[secret]',
    });
    assert.deepEqual(redacted({ origins: ['https://vc.example.com'] }), { origins: ['https://vc.example.com'] });
    assert.deepEqual(redacted({ url: 'https://[xyzzy' }), { url: '[secret]' });
    // That it changed is seen, what it was is not.
    const after = { webhook: { url: 'https://hooks.example.com:8443/services/other' } };
    const { before: was, after: is } = difference({ webhook }, after);
    assert.deepEqual(was, is);
    assert.ok(!JSON.stringify([was, is]).includes('services'));
  });
});

describe('refusals of one caller', () => {
  it('are on record one by one up to a measure, and together beyond it', async () => {
    const clock = new ManualClock(Date.UTC(2026, 10, 27));
    const recorded: AuditFacts[] = [];
    const told: string[] = [];
    const refusals = new Refusals({
      clock,
      record: (each) => {
        recorded.push(each);
        return Promise.resolve(true);
      },
      tell: ({ name }, count) => told.push(`${name} ${String(count)}`),
    });
    const ask = (name: string, code: string): boolean =>
      refusals.admits(facts('x', { who: { kind: 'token', name, role: 'viewer' }, status: 403, code }));
    let admitted = 0;
    for (let i = 0; i < 1000; i++) if (ask('loud', i % 10 === 0 ? 'not-found' : 'forbidden')) admitted++;
    assert.equal(admitted, AUDIT_REFUSALS);
    assert.equal(ask('quiet', 'forbidden'), true, 'one caller does not use up what is others');
    clock.advance(AUDIT_SUMMARY);
    await refusals.flush();
    assert.deepEqual(told, ['loud 940']);
    const [summary] = recorded;
    assert.deepEqual([recorded.length, summary?.route, summary?.who.name], [1, '*', 'loud']);
    assert.deepEqual(summary?.request, {
      refusedMore: 940,
      codes: { forbidden: 846, 'not-found': 94 },
      first: '2026-11-27T00:00:00.000Z',
      last: '2026-11-27T00:00:00.000Z',
      lastObject: '/volumes/x',
    });
    // Later some are told one by one again.
    clock.advance(10 * AUDIT_REFUSAL_EVERY);
    assert.equal(Array.from({ length: 30 }, () => ask('loud', 'forbidden')).filter(Boolean).length, 16);
  });
});
