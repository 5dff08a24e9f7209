// Which unit attention is established for which nexuses (SAM-5 5.14), and in which order they are told.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ScsiDevice } from '../../../core/scsi/device.ts';
import { SENSE } from '../../../core/scsi/sense.ts';
import { UnitAttentions } from '../../../core/scsi/unit-attention.ts';
import { ALL_COMMANDS, HOST_A, HOST_B, Initiator, TARGET, scsiFixture } from '../../support/scsi-fixture.ts';
import type { Fixture } from '../../support/scsi-fixture.ts';

const TUR = [0, 0, 0, 0, 0, 0];

/** All unit attentions of a host, in order; they end with it. */
async function told(host: Initiator): Promise<string[]> {
  const found = [];
  for (let status = await host.status(TUR); status !== 'GOOD'; status = await host.status(TUR)) found.push(status);
  assert.deepEqual([host.lunNexus.readOk, host.lunNexus.writeOk], [true, true]);
  return found;
}

const hosts = (): { disk: Fixture; a: Initiator; b: Initiator } => {
  const disk = scsiFixture({ commands: ALL_COMMANDS });
  return { disk, a: disk.login(HOST_A), b: disk.login(HOST_B) };
};

describe('unit attentions', () => {
  test('a new nexus is told of the power on, the others of nothing', async () => {
    const { disk, a } = hosts();
    const visitor = { initiator: { name: HOST_B, isid: 'ffffffffffff' }, local: false };
    const fresh = new Initiator(disk.device.attach(visitor, { name: TARGET, portalGroup: 1, relativeId: 1 }), 0);
    assert.deepEqual([fresh.lunNexus.readOk, fresh.lunNexus.writeOk], [false, false]);
    assert.deepEqual([await told(fresh), await told(a)], [['06/29/00'], []]);
  });

  test('a reset reaches every nexus and supersedes what is older', async () => {
    const { disk, a, b } = hosts();
    disk.lu.capacityChanged();
    disk.lu.reset(SENSE.busDeviceReset);
    assert.deepEqual([await told(a), await told(b)], [['06/29/03'], ['06/29/03']]);
  });

  test('a new capacity is told to all, and holds at once', async () => {
    const { disk, a, b } = hosts();
    await disk.volume.resize(1024 * 512);
    disk.lu.capacityChanged();
    assert.deepEqual([a.lunNexus.readOk, b.lunNexus.writeOk], [false, false]);
    assert.deepEqual([await told(a), await told(b)], [['06/2A/09'], ['06/2A/09']]);
    assert.equal(await a.status([0x28, 0, 0, 0, 4, 0, 0, 0, 1, 0]), '05/21/00 info 1024');
  });

  test('changed mode parameters are told to the others', async () => {
    const { a, b } = hosts();
    const list = Buffer.from([0, 0, 0, 0, 0x0a, 0x0a, 0x06, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert.equal(await a.status([0x15, 0x10, 0, 0, list.length, 0], { data: list }), 'GOOD');
    assert.deepEqual([await told(a), await told(b)], [[], ['06/2A/01']]);
  });

  test('a new LUN is told to those who see it', async () => {
    const disk = scsiFixture({ commands: ALL_COMMANDS });
    const device = new ScsiDevice(TARGET, disk.device.ports);
    device.setLun(0, { lun: 0, lu: disk.lu, visibility: () => 'read-write' });
    const [a, b] = [HOST_A, HOST_B].map((name, i) => {
      const visitor = { initiator: { name, isid: `00000000000${i}` }, local: false };
      const host = new Initiator(device.attach(visitor, disk.device.ports[0] ?? assert.fail()), 0);
      host.clearAttentions();
      return host;
    });
    assert.ok(a !== undefined && b !== undefined);
    const second = scsiFixture({ commands: ALL_COMMANDS }).lu;
    device.setLun(1, {
      lun: 1,
      lu: second,
      visibility: ({ initiator }) => (initiator.name === HOST_A ? 'read-only' : 'hidden'),
    });
    assert.deepEqual([await told(a), await told(b)], [['06/3F/0E'], []]);
    assert.equal(await new Initiator(a.nexus, 1).status(TUR), '06/29/00');
  });

  test('each condition is kept once, in order of arrival', () => {
    const attentions = new UnitAttentions();
    for (const row of [SENSE.capacityChanged, SENSE.reportedLunsChanged, SENSE.capacityChanged]) attentions.add(row);
    assert.deepEqual(
      [attentions.take(), attentions.take(), attentions.take()],
      [SENSE.capacityChanged, SENSE.reportedLunsChanged, undefined],
    );
  });
});
