// Backends and images of them over the API, with the real qemu-storage-daemon over a folder.
import assert from 'node:assert/strict';
import { readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../support/cleanup.ts';
import { needs } from '../../support/needs.ts';
import { withApi } from './fixture.ts';

const MIB = 1_048_576;

test(
  'backends are added, listed and removed; volumes are images of them',
  { skip: needs('qemu-storage-daemon', 'qemu-system-common') },
  async () => {
    const folder = temporaryFolder('backend');
    const images = (): string[] => readdirSync(folder.path).filter((name) => name.endsWith('.raw'));
    try {
      await withApi(async ({ ask, admin, viewer, plane }) => {
        const call = async (
          method: string,
          path: string,
          body?: object,
          token = admin,
        ): Promise<[number, Record<string, unknown>]> => {
          const { status, text, json } = await ask(method, `/api/v1${path}`, {
            token,
            ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          });
          return [status, text === '' ? {} : json];
        };
        const add = (body: object, token?: string) => call('POST', '/backends', body, token);
        const good = { name: 'f1', kind: 'folder', folder: folder.path };
        for (const [body, status, said] of [
          [{ ...good, folder: 'relative' }, 400, /absolute path/],
          [{ ...good, folder: '/nowhere' }, 400, /no folder here/],
          [{ name: 'c1', kind: 'ceph', pool: 'a/b' }, 400, /no name of a pool/],
          [{ name: 'c1', kind: 'ceph', user: 'x y' }, 400, /no name of a user/],
          [
            { name: 'c1', kind: 'ceph', conf: '/nowhere/ceph.conf' },
            400,
            /there is no \/nowhere\/ceph.conf|not installed/,
          ],
          [{ name: 'UPPER', kind: 'folder', folder: folder.path }, 400, /cannot name a backend/],
        ] as const) {
          const [found, problem] = await add(body);
          // Without the packages of Ceph that is what is said.
          assert.ok(found === status || found === 500, `${found} ${String(problem.detail)}`);
          assert.match(String(problem.detail), said);
        }
        assert.equal((await add(good, viewer))[0], 403);
        assert.equal((await add(good))[0], 201);
        assert.equal((await add(good))[0], 409);
        assert.equal((await call('GET', '/backends/f1'))[1].folder, folder.path);

        for (const [body, status] of [
          [{ name: 'v1', size: MIB, backend: 'f2' }, 404],
          [{ name: 'v1', backend: 'f1' }, 400],
          [{ name: 'v1', size: MIB, kind: 'image' }, 400],
          [{ name: 'v1', size: MIB, kind: 'file', backend: 'f1' }, 400],
          [{ name: 'v1', size: MIB, backend: 'f1', durability: 'volatile' }, 400],
          [{ name: 'v1', backend: 'f1', path: '../etc/passwd' }, 400],
          [{ name: 'v1', backend: 'f1', path: 'missing' }, 500],
        ] as const) {
          assert.equal((await call('POST', '/volumes', body))[0], status, JSON.stringify(body));
        }
        assert.deepEqual(images(), []);
        const [made, disk] = await call('POST', '/volumes', { name: 'v1', size: 8 * MIB, backend: 'f1' });
        assert.deepEqual([made, disk.kind, disk.backend, disk.state], [201, 'image', 'f1', 'online']);
        assert.equal(images().length, 1);
        const volume = plane.units.unit('v1')?.volume;
        assert.ok(volume);
        await volume.write(4096, Buffer.alloc(512, 7), 0, 512, false);
        assert.deepEqual((await call('GET', '/backends'))[1].items?.[0 as never]?.['volumes' as never], ['v1']);
        assert.equal((await call('DELETE', '/backends/f1'))[0], 409);
        assert.equal((await call('PATCH', '/volumes/v1', { size: 16 * MIB }))[1].size, 16 * MIB);
        const back = Buffer.alloc(1024);
        await volume.read(4096, 1024, back, 0);
        assert.deepEqual(back, Buffer.concat([Buffer.alloc(512, 7), Buffer.alloc(512)]));
        assert.equal((await call('DELETE', '/volumes/v1?purge=true'))[0], 204);
        assert.deepEqual(images(), []);

        // One that was there before stays, and is one volume only.
        writeFileSync(join(folder.path, 'mine.raw'), '');
        truncateSync(join(folder.path, 'mine.raw'), 4 * MIB);
        const [adopted, mine] = await call('POST', '/volumes', { name: 'v2', backend: 'f1', path: 'mine' });
        assert.deepEqual([adopted, mine.size], [201, 4 * MIB]);
        assert.equal((await call('POST', '/volumes', { name: 'v3', backend: 'f1', path: 'mine' }))[0], 409);
        assert.equal((await call('DELETE', '/volumes/v2?purge=true'))[0], 204);
        assert.deepEqual(images(), ['mine.raw']);
        assert.equal((await call('DELETE', '/backends/f1'))[0], 204);
        assert.equal((await call('DELETE', '/backends/f1'))[0], 404);
      });
    } finally {
      folder.remove();
    }
  },
);
