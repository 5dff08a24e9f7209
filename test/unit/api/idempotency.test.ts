import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_KEYS_OF_CALLER, MAX_PURGE } from '../../../core/base/limits.ts';
import { KeptRequests } from '../../../core/control/kept-requests.ts';
import type { KeptAnswer } from '../../../core/control/kept-requests.ts';
import { SecretBox } from '../../../core/control/secret-box.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { silentLog } from '../../../core/base/log.ts';
import { codeOf, withPlane } from '../control/fixture.ts';
import type { Plane } from '../control/fixture.ts';
import { withApi } from './fixture.ts';

const PATH = '/api/v1/volumes';
const BODY = JSON.stringify({ name: 'v', size: 8 << 20 });

describe('Idempotency-Key', () => {
  it('gives the same answer again, and does nothing twice', async () => {
    await withApi(async ({ ask, plane, admin: token }) => {
      const post = (key: string, body = BODY, path = PATH) =>
        ask('POST', path, { token, body, headers: { 'Idempotency-Key': key } });
      const first = await post('k1');
      assert.equal(first.status, 201, first.text);
      const again = await post('k1');
      assert.deepEqual([again.status, again.text, again.type], [201, first.text, first.type]);
      assert.deepEqual(
        [first.headers['idempotency-replayed'], again.headers['idempotency-replayed']],
        [undefined, 'true'],
      );
      await plane.provisioner.delete('v', false, false);
      assert.equal((await post('k1')).status, 201);
      assert.equal(plane.catalog.volumes.size, 0, 'the answer is from then; nothing was done');
      for (const reused of [await post('k1', BODY.replace('"v"', '"w"')), await post('k1', BODY, `${PATH}/v/clone`)]) {
        // The other path has another schema, which comes first.
        assert.ok([422, 400].includes(reused.status), reused.text);
      }
      assert.equal((await post('k1', BODY.replace('"v"', '"w"'))).json['code'], 'key-reused');
      assert.equal((await post('k1', BODY, `${PATH}?`)).status, 422);
      for (const bad of ['', 'a b', 'x'.repeat(129)]) assert.equal((await post(bad)).status, 400, bad);
      const other = await plane.tokens.issue('other', 'admin', token.split('.')[2] ?? '');
      const theirs = await ask('POST', PATH, { token: other, body: BODY, headers: { 'Idempotency-Key': 'k1' } });
      assert.deepEqual([theirs.status, theirs.headers['idempotency-replayed']], [201, undefined]);
      assert.equal((await post('k2')).status, 409);
      await plane.provisioner.delete('v', false, false);
      const refused = await post('k2');
      assert.deepEqual([refused.status, refused.json['code']], [409, 'exists'], 'a refusal is an answer, too');
    });
  });

  it('answers requests that come at the same time once', async () => {
    await withApi(async ({ ask, plane, admin: token }) => {
      const headers = { 'Idempotency-Key': 'k' };
      const answers = await Promise.all([1, 2, 3, 4].map(() => ask('POST', PATH, { token, body: BODY, headers })));
      assert.deepEqual(
        answers.map(({ status }) => status),
        [201, 201, 201, 201],
      );
      assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
      assert.equal(answers.filter((answer) => answer.headers['idempotency-replayed'] === 'true').length, 3);
      assert.equal(plane.catalog.volumes.size, 1);
    });
  });
});

const ANSWER: KeptAnswer = { status: 201, type: 'application/json', body: '{"secret":"s3cret"}', etag: '"1.x"' };
const ASKED = { caller: 'token a', key: 'k', request: '["POST","/x",{"password":"hunter2"}]' };

/** Keeps requests in the catalog of `plane`; `key` is that of the data folder. */
function keeper(plane: Plane, clock: ManualClock): KeptRequests {
  const random = { bytes: (count: number) => Buffer.alloc(count, 7) };
  return new KeptRequests(plane.catalog, new SecretBox(Buffer.alloc(32, 1), random), clock, silentLog);
}

const done =
  (answer: KeptAnswer, keep = true) =>
  () =>
    Promise.resolve({ answer, keep });
const mustNot = (): Promise<never> => Promise.reject(new Error('done twice'));

describe('KeptRequests', () => {
  it('remembers across a restart, for a day, without a secret in the catalog', async () => {
    await withPlane(async (plane, reopen) => {
      const clock = new ManualClock();
      await keeper(plane, clock).once(ASKED, false, done(ANSWER));
      const stored = JSON.stringify(plane.catalog.requests.values());
      for (const secret of ['s3cret', 'hunter2']) assert.ok(!stored.includes(secret));
      const after = keeper(await reopen(), clock);
      assert.deepEqual(await after.once(ASKED, false, mustNot), { answer: ANSWER, repeated: true });
      clock.advance(23 * 3_600_000);
      assert.equal((await after.once(ASKED, false, mustNot)).repeated, true);
      clock.advance(3_600_000);
      assert.equal((await after.once({ ...ASKED, request: 'another' }, false, done(ANSWER))).repeated, false);
    });
  });

  it('says after a crash in the middle that nobody knows, or does again what may be done again', async () => {
    await withPlane(async (plane, reopen) => {
      const clock = new ManualClock();
      let crash: (() => void) | undefined;
      const begun = new Promise<void>((resolve) => (crash = resolve));
      // Its end is that of the process.
      const never = (): Promise<never> => (crash?.(), new Promise<never>(() => undefined));
      void keeper(plane, clock).once(ASKED, true, never);
      await begun;
      const after = keeper(await reopen(), clock);
      assert.equal(await codeOf(() => after.once(ASKED, false, mustNot)), 'outcome-unknown');
      assert.equal(await codeOf(() => after.once({ ...ASKED, request: 'x' }, false, mustNot)), 'key-reused');
      assert.equal((await after.once(ASKED, true, done(ANSWER))).repeated, false);
      assert.equal((await after.once(ASKED, true, mustNot)).repeated, true);
    });
  });

  it('forgets what may go well the next time, and keeps no answer that is too large', async () => {
    await withPlane(async (plane) => {
      const kept = keeper(plane, new ManualClock());
      await kept.once(ASKED, false, done({ ...ANSWER, status: 507 }, false));
      assert.equal((await kept.once(ASKED, false, done(ANSWER))).repeated, false);
      // Random text cannot be compressed.
      const body = Buffer.from(Array.from({ length: 40_000 }, (_, i) => (i * i * 2_654_435_761) >>> 13)).toString(
        'base64',
      );
      const large = { ...ASKED, key: 'large' };
      assert.equal((await kept.once(large, true, done({ ...ANSWER, body }))).answer.body, body);
      assert.equal(await codeOf(() => kept.once(large, true, mustNot)), 'outcome-unknown');
    });
  });

  it('refuses new keys when it holds as many as it may, until the old ones are a day old', async () => {
    await withPlane(async (plane) => {
      const clock = new ManualClock();
      const kept = keeper(plane, clock);
      await kept.once(ASKED, false, done(ANSWER));
      const [record] = plane.catalog.requests.values();
      assert.ok(record);
      const more = Array.from({ length: MAX_KEYS_OF_CALLER - 1 }, (_, i) =>
        plane.catalog.requests.edit(`x${String(i)}`, record),
      );
      await plane.catalog.apply(...more);
      const next = { ...ASKED, key: 'next' };
      assert.equal(await codeOf(() => kept.once(next, false, mustNot)), 'limit-reached');
      assert.equal((await kept.once(ASKED, false, mustNot)).repeated, true);
      assert.equal((await kept.once({ ...next, caller: 'token b' }, false, done(ANSWER))).repeated, false);
      clock.advance(86_400_000);
      assert.equal((await kept.once(next, false, done(ANSWER))).repeated, false);
      // Some at a time: they go in one transaction with the request.
      const { size } = plane.catalog.requests;
      assert.ok(size > MAX_KEYS_OF_CALLER - MAX_PURGE && size <= MAX_KEYS_OF_CALLER + 2 - MAX_PURGE, String(size));
      for (let i = 0; i < MAX_KEYS_OF_CALLER / MAX_PURGE; i++)
        await kept.once({ ...next, key: `next ${String(i)}` }, false, done(ANSWER, false));
      assert.ok(plane.catalog.requests.size <= 2, String(plane.catalog.requests.size));
    });
  });
});
