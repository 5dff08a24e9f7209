// What the doctor of a KVM host says of pools, against a libvirt in memory: one thing wrong at a time.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { examineHost } from '../../../plugins/kvm/doctor.ts';
import { wantedPool } from '../../../plugins/kvm/ensure.ts';
import { poolXml as xmlOf } from '../../../plugins/kvm/model/pool.ts';
import type { OpsContext } from '../../../plugins/kvm/ops/context.ts';
import { LibvirtError } from '../../../plugins/kvm/rpc/errors.ts';
import type { StoredDisk } from '../../../plugins/kvm/storage.ts';

const IQN = 'iqn.2026-01.example:n:a';
const INITIATOR = 'iqn.2026-01.example:h';
const disk = (name: string, lun: number, iqn = IQN): StoredDisk =>
  ({
    ...{ name, lun, iqn, state: 'online', lease: null, thin: true, urls: ['iscsi://h:1/x/0'], naa: `naa.6${name}` },
    maps: [{ initiator: INITIATOR, access: 'read-write' }],
  }) as unknown as StoredDisk;

interface World {
  volumes: readonly StoredDisk[];
  /** LUNs the pool shows; undefined: there is no pool. */
  shown: readonly number[] | undefined;
  active: number;
  autostart: number;
  domain: string | undefined;
  /** What fails. */
  away: 'libvirt' | 'daemon' | undefined;
}

const RIGHT: World = {
  volumes: [disk('a', 0)],
  shown: [0],
  active: 1,
  autostart: 1,
  domain: undefined,
  away: undefined,
};

/** `level check` of what is found, and of its texts. */
async function found(change: Partial<World>): Promise<{ what: string[]; text: string }> {
  const { volumes, shown, active, autostart, domain, away } = { ...RIGHT, ...change };
  const model = wantedPool(IQN, '10.0.0.1:3260', INITIATOR, undefined);
  const answers: Readonly<Record<string, unknown>> = {
    list_all_storage_pools: { pools: shown === undefined ? [] : [model], count: 1 },
    pool_get_xml_desc: { xml: xmlOf(model) },
    pool_is_active: { active },
    pool_get_autostart: { autostart },
    pool_list_all_volumes: { volumes: (shown ?? []).map((lun) => ({ name: `unit:0:0:${String(lun)}` })), count: 1 },
    list_all_domains: { domains: domain === undefined ? [] : [{ name: 'one', uuid: 'u', id: 1 }], count: 1 },
    domain_get_xml_desc: { xml: domain },
  };
  const call = ({ name }: { name: string }): Promise<unknown> => {
    if (away === 'libvirt') return Promise.reject(new LibvirtError(38, 7, 'nobody listens'));
    assert.ok(name in answers, name);
    return Promise.resolve(answers[name]);
  };
  const list = (): Promise<unknown> =>
    away === 'daemon' ? Promise.reject(new Error('no daemon')) : Promise.resolve(volumes);
  const storage = { volumes: list, visibleTo: () => Promise.resolve([]) };
  const settings = { initiator: INITIATOR, host: 'h', vhostFolder: '/nowhere/gemel-vhost' };
  const context = { libvirt: { call }, storage, settings } as unknown as OpsContext;
  const findings = await examineHost(context, '/nowhere');
  for (const { level, remedy, text } of findings) assert.equal(level === 'ok', remedy === undefined, text);
  return {
    what: findings.filter(({ level }) => level !== 'ok').map(({ level, check }) => `${level} ${check}`),
    text: findings.map(({ text }) => text).join('\n'),
  };
}

describe('the doctor looks at pools', () => {
  test('and has nothing to say when they are as the catalog says', async () => {
    assert.deepEqual((await found({})).what, []);
  });

  for (const [what, change, expected, text] of [
    ['that are not active', { active: 0 }, 'error pools', /gemel-n-a is not active/],
    ['that do not start with the host', { autostart: 0 }, 'warning pools', /does not start with the host/],
    ['that do not show a LUN', { volumes: [disk('a', 0), disk('b', 1)] }, 'warning pools', /is stale: b not shown/],
    ['that show a LUN that is gone', { shown: [0, 3] }, 'warning pools', /is stale: LUN 3 is gone/],
    ['for a target with nothing for us', { volumes: [] }, 'warning pools', /has nothing for this host/],
    ['that are not there', { shown: undefined }, 'warning pools', /no pool shows a/],
    ['of a libvirt that is away', { away: 'libvirt' }, 'error libvirt', /nobody listens/],
    ['of a daemon that is away', { away: 'daemon', shown: undefined }, 'error daemon', /no daemon/],
    [
      'and at disks by vhost-user nobody serves',
      {
        domain:
          "<domain><devices><disk type='vhostuser' device='disk'><source type='unix' path='/nowhere/gemel-vhost/x.sock'/><target dev='vda' bus='virtio'/></disk></devices></domain>",
      },
      'error vhost-user',
      /vda of one \(x\) is served by nobody/,
    ],
  ] as const) {
    test(what, async () => {
      const said = await found(change);
      assert.deepEqual(said.what, [expected]);
      assert.match(said.text, text);
    });
  }
});
