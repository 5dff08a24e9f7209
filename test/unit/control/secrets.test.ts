import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Writable } from 'node:stream';
import { SecretBox } from '../../../core/control/secret-box.ts';
import { logTo } from '../../../core/daemon/logger.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { codeOf, openPlane, withPlane } from './fixture.ts';

const ALICE = 'iqn.2026-01.example.host:alice';
const SECRET = 'correct-horse-battery';
const MUTUAL = 'staple-of-the-target';

describe('secrets', () => {
  it('are encrypted in the store, and in no view and no log line', async () => {
    await withPlane(async (plane, reopen) => {
      const request = { chap: { user: 'alice', secret: SECRET }, mutual: { user: 'gemel', secret: MUTUAL } };
      await plane.initiators.put({ iqn: ALICE.toUpperCase(), ...request });
      const again = await reopen();
      assert.deepEqual(again.initiators.credentials(ALICE), {
        method: 'chap',
        user: 'alice',
        secret: Buffer.from(SECRET),
        mutual: { user: 'gemel', secret: Buffer.from(MUTUAL) },
      });
      const shown = JSON.stringify(again.initiators.list().map((record) => again.views.initiator(record)));
      await again.close();
      const folder = join(again.folder, 'catalog');
      const stored = readdirSync(folder)
        .map((name) => readFileSync(join(folder, name), 'latin1'))
        .join('');
      assert.ok(stored.includes('alice'), 'the test looks at the right files');
      for (const secret of [SECRET, MUTUAL]) {
        for (const form of [
          secret,
          Buffer.from(secret).toString('base64').slice(0, 20),
          Buffer.from(secret).toString('hex'),
        ]) {
          assert.ok(!stored.includes(form) && !shown.includes(form) && !plane.logged.join().includes(form));
        }
      }
      // A folder with another key is refused, not served without secrets.
      assert.equal(await codeOf(() => openPlane(again.folder, Buffer.alloc(32, 8))), 'folder-unusable');
      await reopen().catch(() => undefined);
    });
  });

  it('follow the rules of RFC 7143', async () => {
    await withPlane(async ({ initiators, provisioner }) => {
      const chap = { user: 'alice', secret: SECRET };
      const refused = [
        { iqn: 'alice' },
        { iqn: ALICE, chap: { user: 'alice', secret: 'short' } },
        { iqn: ALICE, chap: { user: 'with space', secret: SECRET } },
        { iqn: ALICE, mutual: chap },
        { iqn: ALICE, chap, mutual: { user: 'gemel', secret: SECRET } },
      ];
      for (const request of refused) assert.equal(await codeOf(() => initiators.put(request)), 'bad-request');
      assert.deepEqual(initiators.credentials(ALICE), { method: 'none' });
      await initiators.put({ iqn: ALICE, chap });
      await provisioner.create({ name: 'v', size: 1 << 20, maps: [{ who: ALICE, readOnly: false }] });
      assert.equal(await codeOf(() => initiators.remove(ALICE)), 'in-use');
      await provisioner.unmap('v', ALICE);
      await initiators.remove(ALICE);
      assert.equal(await codeOf(() => initiators.remove(ALICE)), 'not-found');
    });
  });

  it('cannot be moved to another purpose or changed', async () => {
    const { random } = await nodeWorld();
    const box = new SecretBox(Buffer.alloc(32, 1), random);
    const sealed = box.seal(Buffer.from(SECRET), 'a');
    assert.equal(box.open(sealed, 'a').toString(), SECRET);
    assert.equal(await codeOf(() => box.open(sealed, 'b')), 'folder-unusable');
    const data = Buffer.from(sealed.data, 'base64');
    data[0] = (data[0] ?? 0) ^ 1;
    assert.equal(await codeOf(() => box.open({ ...sealed, data: data.toString('base64') }, 'a')), 'folder-unusable');
    assert.notEqual(box.seal(Buffer.from(SECRET), 'a').data, sealed.data);
  });

  it('are struck out of the log, whoever puts them there', () => {
    let text = '';
    const stream = new Writable({
      write: (chunk, _encoding, done) => {
        text += String(chunk);
        done();
      },
    });
    logTo(stream, 'info').child({ token: SECRET }).info({ secret: SECRET, initiator: ALICE }, 'said');
    assert.ok(text.includes(ALICE) && !text.includes(SECRET), text);
  });
});
