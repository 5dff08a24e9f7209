// The reconciler of the agent, against a libvirt in memory: what it makes, changes, heals and leaves alone.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { targetsOf } from '../../../plugins/kvm/agent/agent.ts';
import { HEAL_MAX, Reconciler } from '../../../plugins/kvm/agent/reconciler.ts';
import type { WantedTarget } from '../../../plugins/kvm/agent/reconciler.ts';
import { wantedPool } from '../../../plugins/kvm/ensure.ts';
import { kernelFindings, machineFindings } from '../../../plugins/kvm/doctor.ts';
import { disksOf, parseDomain } from '../../../plugins/kvm/model/domain.ts';
import type { Caller } from '../../../plugins/kvm/libvirt.ts';
import { parsePool } from '../../../plugins/kvm/model/pool.ts';
import { LibvirtError } from '../../../plugins/kvm/rpc/errors.ts';
import type { Procedure } from '../../../plugins/kvm/rpc/procedures.ts';
import type { StoredDisk } from '../../../plugins/kvm/storage.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

interface FakePool {
  readonly name: string;
  readonly uuid: string;
  xml: string;
  active: boolean;
}

/** Pools in memory; `refuse` has starting a target's pool fail. */
class FakeLibvirt implements Caller {
  readonly pools = new Map<string, FakePool>();
  readonly calls: string[] = [];
  refuse = new Set<string>();

  async call<A, R>({ name }: Procedure<A, R>, args: A): Promise<R> {
    this.calls.push(name);
    await Promise.resolve();
    const answer: unknown = this.#answer(name, args as never);
    return answer as R;
  }

  #answer(name: string, args: { pool: { uuid: string }; uuid: string; name: string; xml: string }): unknown {
    const find = (uuid: string): FakePool => {
      const found = this.pools.get(uuid);
      if (found === undefined) throw new LibvirtError(49, 18, 'no pool');
      return found;
    };
    switch (name) {
      case 'list_all_storage_pools':
        return { pools: [...this.pools.values()], count: this.pools.size };
      case 'pool_lookup_by_uuid':
        return { pool: find(args.uuid) };
      case 'pool_lookup_by_name':
        return { pool: find([...this.pools.values()].find((each) => each.name === args.name)?.uuid ?? '') };
      case 'pool_get_xml_desc':
        return { xml: find(args.pool.uuid).xml };
      case 'pool_is_active':
        return { active: find(args.pool.uuid).active ? 1 : 0 };
      case 'pool_get_autostart':
        return { autostart: 1 };
      case 'pool_define_xml': {
        const { name: poolName = '', uuid = '' } = parsePool(args.xml) ?? {};
        const pool = { name: poolName, uuid, xml: args.xml, active: false };
        this.pools.set(uuid, pool);
        return { pool };
      }
      case 'pool_create': {
        const pool = find(args.pool.uuid);
        if (this.refuse.has(parsePool(pool.xml)?.target ?? '')) throw new LibvirtError(38, 18, 'the portal is away');
        pool.active = true;
        return {};
      }
      case 'pool_destroy':
        find(args.pool.uuid).active = false;
        return {};
      case 'pool_undefine':
        this.pools.delete(args.pool.uuid);
        return {};
      case 'pool_refresh':
        return {};
      default:
        throw new Error(`nobody answers ${name}`);
    }
  }
}

const target = (name: string, content = '0:1', portal = '10.0.0.1:3260'): WantedTarget => ({
  pool: wantedPool(`iqn.2026-01.example:n:${name}`, portal, 'iqn.2026-01.example:h', undefined),
  content,
});
const wanted = (...targets: WantedTarget[]): { targets: WantedTarget[]; secret: undefined } => ({
  targets,
  secret: undefined,
});

describe('the reconciler', () => {
  test('makes, leaves alone, changes and takes away pools', async () => {
    const libvirt = new FakeLibvirt();
    const reconciler = new Reconciler({ now: () => 0, log: () => undefined });
    const names = (): string[] => [...libvirt.pools.values()].map((pool) => pool.name);
    libvirt.pools.set('x', {
      name: 'gemel-foreign',
      uuid: 'x',
      xml: '<pool type="dir"><name>gemel-foreign</name></pool>',
      active: true,
    });
    assert.equal((await reconciler.run(libvirt, wanted(target('a'), target('b')))).changed, 2);
    assert.deepEqual(names(), ['gemel-foreign', 'gemel-n-a', 'gemel-n-b']);
    // What was made is read once more, and then known.
    await reconciler.run(libvirt, wanted(target('a'), target('b')));
    libvirt.calls.length = 0;
    assert.equal((await reconciler.run(libvirt, wanted(target('a'), target('b')))).changed, 0);
    assert.ok(!libvirt.calls.some((call) => /define|create|refresh|xml/.test(call)), libvirt.calls.join(' '));
    assert.equal((await reconciler.run(libvirt, wanted(target('a', '0:1 1:1'), target('b')))).changed, 1, 'a LUN more');
    assert.ok(libvirt.calls.includes('pool_refresh'));
    assert.equal((await reconciler.run(libvirt, wanted(target('a', '0:1', '10.0.0.2:3260'), target('b')))).changed, 1);
    assert.equal(
      parsePool([...libvirt.pools.values()].find(({ name }) => name === 'gemel-n-a')!.xml)?.host,
      '10.0.0.2',
    );
    await reconciler.run(libvirt, wanted(target('b')));
    assert.deepEqual(names(), ['gemel-foreign', 'gemel-n-b']);
  });

  test('tries a pool again after 1 s, 2 s … 60 s, and the others at once', async () => {
    const libvirt = new FakeLibvirt();
    let now = 0;
    const reconciler = new Reconciler({ now: () => now, log: () => undefined });
    libvirt.refuse.add('iqn.2026-01.example:n:a');
    const pauses: (number | undefined)[] = [];
    for (let i = 0; i < 9; i++) {
      const { failed, again } = await reconciler.run(libvirt, wanted(target('a'), target('b')));
      assert.equal(failed, 1);
      pauses.push(again);
      const before = libvirt.calls.filter((call) => call === 'pool_create').length;
      now += (again ?? 0) - 1;
      await reconciler.run(libvirt, wanted(target('a'), target('b')));
      assert.equal(libvirt.calls.filter((call) => call === 'pool_create').length, before, 'not earlier');
      now += 1;
    }
    assert.deepEqual(
      pauses,
      [1, 2, 4, 8, 16, 32, 60, 60, 60].map((seconds) => seconds * 1000),
    );
    libvirt.refuse.clear();
    now += HEAL_MAX;
    assert.deepEqual(await reconciler.run(libvirt, wanted(target('a'), target('b'))), {
      changed: 1,
      failed: 0,
      again: undefined,
    });
    assert.ok([...libvirt.pools.values()].every(({ active }) => active));
  });

  test('counts only on volumes that are served', () => {
    const disk = (name: string, state: string, lun: number): StoredDisk =>
      ({ name, state, lun, size: 1, iqn: 'iqn.2026-01.example:n:t', url: 'iscsi://10.0.0.1:3260/x/0' }) as StoredDisk;
    const settings = { initiator: 'iqn.2026-01.example:h', portal: undefined, chap: undefined };
    const [found] = targetsOf(
      [disk('a', 'online', 0), disk('b', 'failed', 1), disk('c', 'online', 2)],
      settings as never,
    );
    assert.equal(found?.content, '0:1 2:1');
  });
});

describe('the doctor of a KVM host', () => {
  const volume = {
    name: 'a',
    iqn: 'iqn.2026-01.example:n:a',
    lun: 0,
    target: 'a',
    thin: true,
    lease: null,
    urls: ['iscsi://h:1/iqn.2026-01.example:n:a/0'],
  } as unknown as StoredDisk;
  const machine = (name: string, driver: string) => {
    const source = "<source protocol='iscsi' name='iqn.2026-01.example:n:a/0'><host name='h' port='1'/></source>";
    const xml = `<domain><devices><disk type='network' device='disk'><driver ${driver}/>${source}<target dev='sda' bus='scsi'/></disk></devices></domain>`;
    return { domain: { name, uuid: name, id: 1 }, disks: disksOf(parseDomain(xml)) };
  };

  test('finds disks of two machines, missing leases, and settings that lose data or space', () => {
    const findings = machineFindings(
      [machine('one', "cache='unsafe'"), machine('two', "cache='none' discard='unmap'")],
      [volume],
      'h',
    );
    const told = findings.map(({ check, level }) => `${level} ${check}`);
    for (const each of [
      'error double-attach',
      'warning leases',
      'error cache',
      'warning discard',
      'warning initiator',
    ]) {
      assert.ok(told.includes(each), `${each} in ${told.join(', ')}`);
    }
    assert.ok(findings.every(({ remedy }) => remedy !== undefined));
    assert.ok(!told.includes('warning paths'), 'there is one node only');
    const mirrored = { ...volume, urls: [...volume.urls, 'iscsi://other:1/iqn.2026-01.example:n:a/0'] };
    const onePath = machineFindings([machine('one', "cache='none' discard='unmap'")], [mirrored], 'h');
    assert.ok(onePath.some(({ check, text }) => check === 'paths' && text.includes('portal of one node')));
    const leased = { ...volume, lease: { holder: 'kvm:other:x', since: '' } };
    const [first] = machineFindings([machine('one', "cache='none' discard='unmap'")], [leased], 'h');
    assert.equal(first?.level, 'error');
    assert.match(first.text, /lease is held by kvm:other:x/);
  });

  test('finds what is wrong with disks the kernel has logged in to', () => {
    const folder = temporaryFolder('sysfs');
    try {
      const put = (disk: string, name: string, text: string): void => {
        const path = join(folder.path, 'sys', 'class', 'block', disk, name);
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, `${text}\n`);
      };
      const settings = { 'device/queue_depth': '64', 'device/timeout': '60', 'queue/discard_max_bytes': '4194304' };
      const disk = (name: string, wwid: string, changed: Readonly<Record<string, string>> = {}): void => {
        const all = { 'device/vendor': 'GEMEL', 'device/wwid': wwid, ...settings, ...changed };
        for (const [file, text] of Object.entries(all)) put(name, file, text);
      };
      const mine = [
        { name: 'a', naa: 'naa.6a' },
        { name: 'b', naa: 'naa.6b' },
      ] as unknown as StoredDisk[];
      disk('sda', 'naa.6a');
      disk('sdb', 'naa.6a');
      disk('sdc', 'naa.other', { 'device/vendor': 'ATA', 'device/queue_depth': '1' });
      assert.deepEqual(
        kernelFindings(folder.path, mine).map(({ level }) => level),
        ['ok'],
      );
      disk('sdd', 'naa.6b', { 'device/queue_depth': '8', 'device/timeout': '5', 'queue/discard_max_bytes': '0' });
      const found = kernelFindings(folder.path, mine);
      assert.deepEqual(
        found.map(({ check }) => check),
        ['queue-depth', 'timeouts', 'discard', 'paths'],
      );
      assert.ok(found.every(({ text, remedy }) => /\(b\)|^b /.test(text) && remedy !== undefined));
    } finally {
      folder.remove();
    }
  });

  test('has nothing to say where the kernel uses no disk of ours', () => {
    assert.deepEqual(
      kernelFindings('/nowhere', []).map(({ level }) => level),
      ['ok'],
    );
  });
});
