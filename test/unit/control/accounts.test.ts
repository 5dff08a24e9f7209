// Passwords, sessions and the delays of logins, on a clock that a test moves.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  LOGIN_MEMORY,
  MAX_ACCOUNT_DELAY,
  MAX_ADDRESS_DELAY,
  MAX_LOGIN_SUBJECTS,
  MAX_USER_SESSIONS,
  SESSION_IDLE,
  SESSION_LIFETIME,
  SESSION_TOUCH_STEP,
} from '../../../core/base/limits.ts';
import { silentLog } from '../../../core/base/log.ts';
import type { World } from '../../../core/base/world.ts';
import { LoginThrottle, Throttled, networkOf } from '../../../core/control/login-throttle.ts';
import { Passwords, checkNewPassword } from '../../../core/control/passwords.ts';
import type { UserRecord } from '../../../core/control/security-records.ts';
import { WebSessions } from '../../../core/control/web-sessions.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { CHEAP, codeOf, withPlane } from './fixture.ts';

const { random } = await nodeWorld();

describe('passwords', () => {
  it('are kept as hashes with their parameters, and have to be good', async () => {
    const passwords = new Passwords(random, CHEAP);
    const kept = await passwords.hash('ein Käse, zwei Käse');
    assert.equal(await passwords.verify('ein Ka\u0308se, zwei Ka\u0308se', kept), true, 'the same in another form');
    assert.equal(await passwords.verify('ein kaese, zwei kaese', kept), false);
    assert.equal(await passwords.verify('anything', undefined), false);
    assert.notEqual((await passwords.hash('ein Käse, zwei Käse')).hash, kept.hash);
    const today = new Passwords(random, { ...CHEAP, cost: 2048 });
    assert.equal(await today.verify('ein Käse, zwei Käse', kept), true, 'by the parameters it was made with');
    assert.deepEqual([passwords.isOutdated(kept), today.isOutdated(kept)], [false, true]);
    for (const bad of ['elevenchars', 'aaaaaaaaaaaaaaa', 'annaannaanna', 'x'.repeat(257), 'Anna-anna-anna']) {
      const check = (): void => {
        checkNewPassword(bad, 'anna');
      };
      assert.equal(await codeOf(check), 'bad-request', bad);
    }
    checkNewPassword('twelve chars', 'anna');
  });

  it('of today take their time, and not all of the memory', async () => {
    const kept = await new Passwords(random).hash('correct horse battery');
    assert.ok(kept.cost * kept.blockSize * 128 >= 32 << 20);
    const passwords = new Passwords(random, CHEAP);
    const all = await Promise.allSettled(Array.from({ length: 40 }, () => passwords.verify('x', kept)));
    assert.ok(all.some(({ status }) => status === 'rejected') && all.some(({ status }) => status === 'fulfilled'));
  });
});

describe('delays of logins', () => {
  const failsAt = (throttle: LoginThrottle, address: string, account?: string): number => {
    try {
      throttle.begin(address, account);
      return 0;
    } catch (error) {
      assert.ok(error instanceof Throttled);
      return error.retryAfter;
    }
  };

  it('grow with each failure of an address, up to a limit, and are forgotten', () => {
    const clock = new ManualClock();
    const throttle = new LoginThrottle(clock);
    const delays: number[] = [];
    for (let i = 0; i < 16; i++) {
      const wait = failsAt(throttle, '192.0.2.1');
      delays.push(wait);
      clock.advance(wait * 1000);
      if (wait > 0) assert.equal(failsAt(throttle, '192.0.2.1'), 0);
    }
    assert.deepEqual(delays.slice(0, 7), [0, 0, 0, 0, 1, 2, 4]);
    assert.equal(delays.at(-1), MAX_ADDRESS_DELAY / 1000);
    assert.equal(failsAt(throttle, '192.0.2.2'), 0, 'others do not wait');
    clock.advance(LOGIN_MEMORY + 1);
    for (let i = 0; i < 4; i++) assert.equal(failsAt(throttle, '192.0.2.1'), 0);
    throttle.succeed('192.0.2.1', undefined);
    assert.equal(failsAt(throttle, '192.0.2.1'), 0);
  });

  it('hold up who guesses one account from many addresses, but not its owner', () => {
    const clock = new ManualClock();
    const throttle = new LoginThrottle(clock);
    throttle.begin('192.0.2.200', 'anna');
    throttle.succeed('192.0.2.200', 'anna');
    let longest = 0;
    for (let i = 1; i < 100; i++) {
      const wait = failsAt(throttle, `198.51.100.${String(i)}`, 'anna');
      longest = Math.max(longest, wait);
      clock.advance(wait * 1000);
    }
    assert.equal(longest, MAX_ACCOUNT_DELAY / 1000);
    assert.ok(failsAt(throttle, '203.0.113.1', 'anna') > 0 || failsAt(throttle, '203.0.113.2', 'anna') > 0);
    assert.equal(failsAt(throttle, '192.0.2.200', 'anna'), 0);
  });

  it('remember a bounded number, those who failed most the longest', () => {
    const throttle = new LoginThrottle(new ManualClock());
    while (failsAt(throttle, '192.0.2.1', 'anna') === 0);
    for (let i = 0; i < MAX_LOGIN_SUBJECTS + 100; i++)
      failsAt(throttle, `10.0.${String(i >> 8)}.${String(i & 255)}`, `u${String(i)}`);
    assert.equal(throttle.size, MAX_LOGIN_SUBJECTS);
    assert.ok(failsAt(throttle, '192.0.2.1') > 0);
    assert.ok(failsAt(throttle, '203.0.113.9', 'anna') > 0);
  });

  it('are of a network, where one machine has as many addresses as it wants', () => {
    assert.equal(networkOf('2001:db8:1:2:3:4:5:6'), networkOf('2001:DB8:1:2::7'));
    assert.notEqual(networkOf('2001:db8:1:2::1'), networkOf('2001:db8:1:3::1'));
    assert.equal(networkOf('::ffff:192.0.2.1'), '192.0.2.1');
    assert.equal(networkOf('fe80::1%eth0'), networkOf('fe80::2'));
  });
});

describe('sessions of people', () => {
  /** A world whose wall clock a test moves. */
  function movable(): { world: World; pass: (ms: number) => void } {
    let wall = 1_800_000_000_000;
    const world = { random, clock: { now: () => wall, wall: () => wall } } as unknown as World;
    return { world, pass: (ms) => (wall += ms) };
  }
  const anna = { name: 'anna', created: 1 } as UserRecord;

  it('end when idle, in any case after their lifetime, and survive a restart until then', async () => {
    await withPlane(async (plane, reopen) => {
      const { world, pass } = movable();
      const sessions = new WebSessions(plane.catalog, world, silentLog);
      const { secret, session } = await sessions.begin(anna);
      assert.equal(sessions.find(secret, true)?.csrf, session.csrf);
      assert.ok(!JSON.stringify(plane.catalog.security.sessions.entries()).includes(secret), 'kept as a hash');
      pass(SESSION_IDLE - 1);
      assert.ok(sessions.find(secret, true));
      pass(SESSION_IDLE - 1);
      assert.ok(sessions.find(secret, false), 'nobody was here');
      pass(2);
      assert.equal(sessions.find(secret, true), undefined);
      const { secret: second } = await sessions.begin(anna);
      pass(SESSION_TOUCH_STEP);
      assert.ok(sessions.find(second, true));
      // Whatever comes next is behind what was noted.
      await sessions.end('none');
      const again = new WebSessions((await reopen()).catalog, world, silentLog);
      pass(SESSION_IDLE - 1);
      assert.ok(again.find(second, false), 'the last request is remembered');
      for (let t = 0; t < SESSION_LIFETIME; t += SESSION_IDLE / 2) {
        again.find(second, true);
        pass(SESSION_IDLE / 2);
      }
      assert.equal(again.find(second, true), undefined);
    });
  });

  it('are a limited number for each user: the one that was idle longest goes', async () => {
    await withPlane(async ({ catalog }) => {
      const { world, pass } = movable();
      const sessions = new WebSessions(catalog, world, silentLog);
      const secrets: string[] = [];
      for (let i = 0; i < MAX_USER_SESSIONS; i++) {
        secrets.push((await sessions.begin(anna)).secret);
        pass(1000);
      }
      assert.ok(sessions.find(secrets[0] ?? '', true));
      const ben = await sessions.begin({ ...anna, name: 'ben' });
      await sessions.begin(anna);
      assert.equal(sessions.count('anna'), MAX_USER_SESSIONS);
      assert.ok(sessions.find(secrets[0] ?? '', true) && sessions.find(ben.secret, true));
      assert.equal(sessions.find(secrets[1] ?? '', true), undefined);
      await sessions.endAll('anna');
      assert.deepEqual([sessions.count('anna'), sessions.count('ben')], [0, 1]);
    });
  });

  it('are not those of another user who has the same name later', async () => {
    await withPlane(async ({ security }) => {
      const password = 'a long enough password';
      await security.users.create({ name: 'root', role: 'admin', password });
      await security.users.create({ name: 'anna', role: 'viewer', password });
      const { secret } = await security.login.withPassword('anna', password, '192.0.2.1');
      assert.equal(security.login.withCookie(secret, true)?.name, 'anna');
      await security.users.remove('anna');
      await security.users.create({ name: 'anna', role: 'admin', password });
      assert.equal(security.login.withCookie(secret, true), undefined);
    });
  });
});
