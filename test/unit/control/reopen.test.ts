import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { describe, it } from 'node:test';
import { withApi } from '../api/fixture.ts';
import { codeOf, withPlane } from './fixture.ts';
import type { Plane } from './fixture.ts';

const MIB = 1024 * 1024;
const NAME = 'iqn.2026-01.example.host:alice';

const attach = (plane: Plane) => {
  const [device] = plane.units.devices.values();
  const port = device?.ports[0];
  assert.ok(device !== undefined && port !== undefined);
  return device.attach({ initiator: { name: NAME, isid: '000000000001' }, local: true }, port);
};

describe('opening a volume again', () => {
  it('serves what could not be served at the start, without a restart', async () => {
    await withPlane(async (plane, reopen) => {
      const { path } = plane.views.disk(
        await plane.provisioner.create({ name: 'v', size: 8 * MIB, maps: [{ who: NAME, readOnly: false }] }),
      );
      assert.ok(path !== null);
      renameSync(path, `${path}.away`);
      const again = await reopen();
      assert.equal(again.views.disks()[0]?.state, 'failed');
      assert.notEqual(await codeOf(() => again.provisioner.reopen('v', false)), 'no error');
      assert.equal(again.views.disks()[0]?.state, 'failed');
      renameSync(`${path}.away`, path);
      const record = await again.provisioner.reopen('v', false);
      assert.equal(again.views.disk(record).state, 'online');
      assert.equal(await codeOf(() => again.provisioner.reopen('none', false)), 'not-found');
    });
  });

  it('keeps the LUN of running sessions, ends what they wait for, and asks for --force', async () => {
    await withPlane(async (plane) => {
      await plane.provisioner.create({ name: 'v', size: 8 * MIB, maps: [{ who: NAME, readOnly: false }] });
      const nexus = attach(plane);
      const told: boolean[] = [];
      nexus.abortUnstarted = (_nexus, tell) => Promise.resolve(told.push(tell) > 0);
      const before = plane.units.unit('v');
      assert.equal(await codeOf(() => plane.provisioner.reopen('v', false)), 'in-use');
      assert.equal(plane.units.unit('v'), before);

      const working = plane.provisioner.reopen('v', true);
      let gaps = 0;
      const over = working.then(() => true);
      while (
        !(await Promise.race([
          over,
          new Promise<false>((resolve) =>
            setImmediate(() => {
              resolve(false);
            }),
          ),
        ]))
      ) {
        if (nexus.luns[0] === undefined) gaps++;
      }
      assert.equal(gaps, 0, 'the LUN was gone for a moment');
      const after = plane.units.unit('v');
      assert.notEqual(after, before);
      assert.equal(nexus.luns[0]?.lu, after);
      assert.deepEqual(told, [true]);
      assert.equal(before?.notReady?.message, 'sense 02/04/01');
      const data = Buffer.alloc(4096, 5);
      await after?.volume.write(0, data, 0, data.length, true);
      assert.deepEqual(nexus.luns[0]?.attentions.peek(), { key: 6, asc: 0x29, ascq: 0 });
    });
  });

  it('withdraws a volume that cannot be opened any more', async () => {
    await withPlane(async (plane) => {
      const record = await plane.provisioner.create({ name: 'v', size: 8 * MIB });
      const path = plane.views.disk(record).path ?? '';
      renameSync(path, `${path}.away`);
      assert.notEqual(await codeOf(() => plane.provisioner.reopen('v', false)), 'no error');
      const disk = plane.views.disk(record);
      assert.equal(disk.state, 'failed');
      assert.ok(disk.problem?.includes(path), disk.problem ?? '');
      assert.equal(plane.units.devices.size, 0);
      renameSync(`${path}.away`, path);
      assert.equal(plane.views.disk(await plane.provisioner.reopen('v', false)).state, 'online');
    });
  });

  it('over the API', async () => {
    await withApi(async ({ ask, admin: token, plane }) => {
      await plane.provisioner.create({ name: 'v', size: 8 * MIB, maps: [{ who: NAME, readOnly: false }] });
      attach(plane);
      const path = '/api/v1/volumes/v/reopen';
      assert.equal((await ask('POST', path, { token })).status, 409);
      const answer = await ask('POST', `${path}?force=true`, { token });
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.json['state'], 'online');
    });
  });
});

describe('an interrupted SANITIZE', () => {
  it('begins again at the next start, before anybody can read, and is forgotten with its volume', async () => {
    await withPlane(async (plane, reopen) => {
      const record = await plane.provisioner.create({ name: 'v', size: 8 * MIB });
      const data = Buffer.alloc(4096, 5);
      await plane.units.unit('v')?.volume.write(0, data, 0, data.length, true);
      const erase = { restricted: true, plan: { kind: 'erase' } } as const;
      await plane.catalog.apply(plane.catalog.sanitizing.edit(record.id, { ...erase, state: 'running' }));
      const again = await reopen();
      const lu = again.units.unit('v');
      assert.ok(lu !== undefined);
      const state = (): string | undefined => lu.notReady?.message;
      assert.equal(state(), 'sense 02/04/1B');
      while (state() !== undefined) await new Promise((resolve) => setImmediate(resolve));
      const found = Buffer.alloc(4096, 1);
      await lu.volume.read(0, found.length, found, 0);
      assert.deepEqual(found, Buffer.alloc(4096));
      assert.equal(again.catalog.sanitizing.size, 0);

      await again.catalog.apply(again.catalog.sanitizing.edit(record.id, { ...erase, state: 'failed' }));
      const third = await reopen();
      assert.equal(third.units.unit('v')?.notReady?.message, 'sense 03/31/03');
      await third.provisioner.delete('v', false);
      assert.equal(third.catalog.sanitizing.size, 0);
    });
  });
});
