// Portals that come and go while the server runs.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ServiceError } from '../../../core/base/errors.ts';
import { Portals, settlePortals } from '../../../core/control/portals.ts';
import type { PortalSetting } from '../../../core/control/portals.ts';
import { Initiator } from '../../support/initiator.ts';
import { freePorts } from '../../support/net.ts';
import { IQN, startTarget } from '../../support/target.ts';
import type { TestTarget } from '../../support/target.ts';
import { until } from '../../support/until.ts';
import { withPlane } from '../control/fixture.ts';
import type { Plane } from '../control/fixture.ts';

const refused = (code: string) => (error: unknown) => error instanceof ServiceError && error.code === code;
const setting = (port: number, more: Partial<PortalSetting> = {}): PortalSetting => ({
  ...{ host: '127.0.0.1', port, group: 1 },
  ...more,
});

function showPorts(portals: Portals, target: TestTarget): void {
  target.device.ports = portals.tags().map((group) => ({ name: IQN, portalGroup: group, relativeId: group }));
}

/** `posted` gets the text of events. */
function portalsOf({ catalog }: Plane, target: TestTarget, posted: string[] = []): Portals {
  const { server, world } = target;
  const portals: Portals = new Portals({
    ...{ catalog, clock: world.clock, log: server.log, server: () => server },
    events: { post: ({ text }) => posted.push(text) },
    tagOf: (group) => group,
    changed: () => {
      showPorts(portals, target);
    },
  });
  return portals;
}

/** The portals of a plane over a real server, instead of those nobody can reach. */
async function withPortals(
  body: (parts: { plane: Plane; portals: Portals; target: TestTarget; first: number }) => Promise<void>,
): Promise<void> {
  await withPlane(async (plane) => {
    const { catalog } = plane;
    const target = await startTarget({ portals: [] });
    const [first = 0] = await freePorts(1);
    await settlePortals(catalog, 1, [setting(first)], []);
    const others = catalog.portals.values().filter(({ port }) => port !== first);
    await catalog.apply(...others.map(({ name }) => catalog.portals.edit(name, undefined)));
    const portals = portalsOf(plane, target);
    try {
      await portals.start(new Set());
      showPorts(portals, target);
      await body({ plane, portals, target, first });
    } finally {
      portals.stop();
      await target.close();
    }
  });
}

describe('portals', () => {
  it('begin to listen when they are added, and are left by their sessions when they are removed', async () => {
    await withPortals(async ({ plane, portals, target, first }) => {
      const [second = 0] = await freePorts(1);
      const made = await portals.add({ address: `127.0.0.1:${String(second)}`, group: 7, name: 'cable-b' });
      assert.equal(made.open?.port, second);
      assert.deepEqual(plane.catalog.node.portalGroups, [1, 7]);
      const login = (port: number, isid: string) => Initiator.login('127.0.0.1', port, { target: IQN, isid });
      const stays = await login(first, '800000000001');
      const goes = await login(second, '800000000002');
      await until(() => portals.get('cable-b').sessions.length === 1);
      await assert.rejects(portals.remove('cable-b', false), (error: unknown) => {
        assert.ok(refused('in-use')(error));
        assert.match(String(error), /a session is on portal 'cable-b', and would end: iqn\./);
        return true;
      });
      assert.equal(portals.get('cable-b').sessions.length, 1, 'a refusal ends nothing');
      await portals.remove('cable-b', true);
      await assert.rejects(login(second, '800000000003'), 'nobody gets in any more');
      assert.deepEqual(
        portals.list().map(({ record, problem }) => [record.name, problem]),
        [[portals.list()[0]?.record.name, undefined]],
      );
      assert.deepEqual(plane.catalog.node.portalGroups, [1]);
      await goes.closed;
      await until(() => target.server.sessions().length === 1);
      assert.equal(await stays.logout(), 0);
      await assert.rejects(portals.remove(portals.list()[0]?.record.name ?? '', true), refused('last-portal'));
    });
  });

  it('are refused when nobody can listen there, and leave nothing behind', async () => {
    await withPortals(async ({ plane, portals, first }) => {
      const before = portals.list().length;
      const add = (address: string, more = {}) => portals.add({ address, ...more });
      await assert.rejects(add(`127.0.0.1:${String(first)}`), refused('exists'));
      await assert.rejects(add('127.0.0.1:0'), refused('bad-request'));
      await assert.rejects(add('nonsense'), refused('bad-request'));
      await assert.rejects(add(`0.0.0.0:${String(first)}`, { group: 3 }), refused('port-taken'));
      await assert.rejects(add('192.0.2.77:3260'), refused('address-unusable'));
      await assert.rejects(portals.remove('nobody', false), refused('not-found'));
      assert.equal(portals.list().length, before);
      assert.deepEqual(plane.catalog.node.portalGroups, [1]);
    });
  });

  it('are there as before when removing them cannot be kept', async () => {
    await withPortals(async ({ plane, portals, target }) => {
      const [second = 0] = await freePorts(1);
      await portals.add({ address: `127.0.0.1:${String(second)}`, name: 'cable-b' });
      const { catalog } = plane;
      const apply = catalog.apply.bind(catalog);
      catalog.apply = () => Promise.reject(new ServiceError('no-space', 'full'));
      await assert.rejects(portals.remove('cable-b', false), refused('no-space'));
      catalog.apply = apply;
      assert.equal(portals.get('cable-b').open?.port, second);
      await portals.remove('cable-b', false);
      assert.ok(!target.server.portals.some(({ port }) => port === second), 'it listens no more');
    });
  });

  it('do not begin to listen at the end of the server', async () => {
    const target = await startTarget();
    const [port = 0] = await freePorts(1);
    const opening = target.server.openPortal({ host: '127.0.0.1', port, group: 1 });
    await Promise.all([assert.rejects(opening, /at its end/), target.close()]);
    const again = await target.world.net.listen('127.0.0.1', port, () => undefined);
    await again.close();
  });

  it('of settings change with the settings, and those that were added or removed meanwhile stay so', async () => {
    await withPlane(async ({ catalog }) => {
      const ports = (): number[] =>
        catalog.portals
          .values()
          .map(({ port }) => port)
          .sort((a, b) => a - b);
      await catalog.apply(...catalog.portals.ids().map((id) => catalog.portals.edit(id, undefined)));
      await settlePortals(catalog, 1, [setting(1001), setting(1002, { group: 2 })], []);
      assert.deepEqual(ports(), [1001, 1002]);
      const removed = catalog.portals.values().find(({ port }) => port === 1001)?.name ?? '';
      const added = { name: 'mine', host: '127.0.0.1', port: 1003, group: 1, order: 9, created: 1 };
      await catalog.apply(catalog.portals.edit(removed, undefined), catalog.portals.edit('mine', added));
      // The same settings, or none: nothing new is said.
      const names = await settlePortals(catalog, 2, [setting(1001), setting(1002, { group: 2 })], []);
      assert.deepEqual(ports(), [1002, 1003]);
      assert.equal(names.size, 1, 'what is set has to listen, what was added need not');
      await settlePortals(catalog, 3, undefined, [setting(3260)]);
      assert.deepEqual(ports(), [1002, 1003]);
      await settlePortals(catalog, 4, [setting(1001), setting(1004)], []);
      assert.deepEqual(ports(), [1003, 1004], 'one gone, one new, and one that was removed stays so');
      assert.deepEqual(catalog.node.portalGroups, [1]);
    });
  });

  it('that cannot listen do not keep the others from it', async () => {
    await withPortals(async ({ plane, portals, target }) => {
      portals.stop();
      const { catalog } = plane;
      const lost = { name: 'lost', host: '192.0.2.77', port: 3260, group: 1, order: 50, created: 1 };
      await catalog.apply(catalog.portals.edit('lost', lost));
      const close = (): void => {
        for (const each of target.server.portals) target.server.closePortal(each);
      };
      close();
      const posted: string[] = [];
      const again = portalsOf(plane, target, posted);
      await again.start(new Set());
      again.stop();
      assert.match(again.get('lost').problem ?? '', /no such address/);
      assert.match(posted.join(), /portal 'lost' \(192\.0\.2\.77:3260\) does not listen/);
      close();
      // What is set for this start has to listen.
      await assert.rejects(portalsOf(plane, target).start(new Set(['lost'])), refused('address-unusable'));
    });
  });
});
