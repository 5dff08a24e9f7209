import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AluaCause, AluaState, AluaStates, groupIdOf } from '../../../core/scsi/alua.ts';
import type { TargetPort } from '../../../core/scsi/lun-nexus.ts';
import { ALL_COMMANDS, HOST_B, TARGET, describeSense, scsiFixture } from '../../support/scsi-fixture.ts';
import type { Fixture, Initiator } from '../../support/scsi-fixture.ts';

const port = (relativeId: number, group?: number): TargetPort => {
  const base = { name: 'iqn.2025-01.example:disk', portalGroup: relativeId, relativeId };
  return group === undefined ? base : { ...base, group };
};

describe('asymmetric access states', () => {
  test('ports form groups; a new group is Active/Optimized', () => {
    assert.equal(groupIdOf(port(3)), 1);
    assert.deepEqual(new AluaStates().groups([port(9, 5), port(2), port(1), port(3, 5)]), [
      { id: 1, state: AluaState.activeOptimized, preferred: false, cause: AluaCause.none, ports: [2, 1] },
      { id: 5, state: AluaState.activeOptimized, preferred: false, cause: AluaCause.none, ports: [9, 3] },
    ]);
    assert.deepEqual(new AluaStates().groups([]), []);
  });

  test('only a change counts as one', () => {
    const states = new AluaStates();
    assert.equal(states.set(1, AluaState.activeOptimized), false);
    assert.equal(states.set(1, AluaState.unavailable), true);
    assert.equal(states.set(1, AluaState.unavailable), false);
    assert.equal(states.set(1, AluaState.unavailable, true), true);
    assert.equal(states.set(2, AluaState.transitioning), false);
    assert.equal(states.set(2, AluaState.activeOptimized), true);
    assert.equal(states.stateOf(1), AluaState.unavailable);
    assert.equal(states.stateOf(2), AluaState.activeOptimized);
    assert.deepEqual(states.groups([port(1)]), [
      { id: 1, state: AluaState.unavailable, preferred: true, cause: AluaCause.implicit, ports: [1] },
    ]);
  });
});

describe('commands through a port in each access state', () => {
  const LIST_24 = [0, 0, 0, 24];
  /** What SPC-4 5.15.2.4.4 wants in standby, beyond what 5.15.2.4.5 wants in every state. */
  const standbyCommands: Readonly<Record<string, readonly number[]>> = {
    'LOG SENSE': [0x4d, 0, 0x40, 0, 0, 0, 0, 0, 8, 0],
    'MODE SENSE': [0x1a, 0, 0x3f, 0, 255, 0],
    'MODE SELECT': [0x15, 0x10, 0, 0, 0, 0],
    'SEND DIAGNOSTIC': [0x1d, 0x04, 0, 0, 0, 0],
    'PERSISTENT RESERVE IN': [0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0],
    'PERSISTENT RESERVE OUT': [0x5f, 0, 0, 0, 0, ...LIST_24, 0],
  };
  const alwaysCommands: Readonly<Record<string, readonly number[]>> = {
    INQUIRY: [0x12, 0, 0, 0, 96, 0],
    'REQUEST SENSE': [0x03, 0, 0, 0, 18, 0],
    'REPORT LUNS': [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0],
    'REPORT TARGET PORT GROUPS': [0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0],
  };
  const mediumCommands: Readonly<Record<string, readonly number[]>> = {
    'TEST UNIT READY': [0, 0, 0, 0, 0, 0],
    READ: [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0],
    WRITE: [0x2a, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    'READ CAPACITY': [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    'START STOP UNIT': [0x1b, 0, 0, 0, 1, 0],
    'RELEASE (6)': [0x17, 0, 0, 0, 0, 0],
  };
  const ports = [1, 2].map((id) => ({ name: TARGET, portalGroup: id, relativeId: id, group: id }));
  const setUp = (): { disk: Fixture; here: Initiator; there: Initiator } => {
    const disk = scsiFixture({ ports, commands: ALL_COMMANDS });
    return { disk, here: disk.login(undefined, 0), there: disk.login(HOST_B, 1) };
  };
  const settle = (...hosts: Initiator[]): void => {
    for (const host of hosts) host.clearAttentions();
  };

  async function check(host: Initiator, commands: Readonly<Record<string, readonly number[]>>, expected: string) {
    for (const [name, cdb] of Object.entries(commands)) {
      assert.equal(await host.status(cdb, { data: Buffer.alloc(24) }), expected, name);
    }
  }

  test('active, optimized or not: everything', async () => {
    const { disk, here, there } = setUp();
    for (const state of [AluaState.activeNonOptimized, AluaState.activeOptimized]) {
      disk.lu.setAccessState(1, state);
      settle(here, there);
      assert.deepEqual([here.lunNexus.readOk, here.lunNexus.writeOk], [true, true]);
      for (const commands of [standbyCommands, alwaysCommands, mediumCommands]) await check(here, commands, 'GOOD');
    }
  });

  test('standby, unavailable and transition bar the medium, and only through their ports', async () => {
    const rules: [AluaState, string, boolean][] = [
      [AluaState.standby, '02/04/0B', true],
      [AluaState.unavailable, '02/04/0C', false],
      [AluaState.transitioning, '02/04/0A', false],
    ];
    for (const [state, refusal, standbyRuns] of rules) {
      const { disk, here, there } = setUp();
      disk.lu.setAccessState(1, state);
      settle(here, there);
      await check(here, mediumCommands, refusal);
      await check(here, standbyCommands, standbyRuns ? 'GOOD' : refusal);
      await check(here, alwaysCommands, 'GOOD');
      assert.deepEqual([here.lunNexus.readOk, here.lunNexus.writeOk], [false, false]);
      assert.equal(describeSense(await here.data([0x03, 0, 0, 0, 18, 0])), refusal);
      for (const commands of [standbyCommands, alwaysCommands, mediumCommands]) await check(there, commands, 'GOOD');
      disk.logout(here);
      const late = disk.login(undefined, 0);
      assert.equal(late.lunNexus.readOk, false);
    }
  });

  test('through an unavailable port the peripheral is not connected (001b)', async () => {
    const { disk, here, there } = setUp();
    disk.lu.setAccessState(1, AluaState.unavailable);
    settle(here, there);
    assert.equal((await here.data([0x12, 0, 0, 0, 96, 0]))[0], 0x20);
    assert.equal((await here.data([0x12, 1, 0x83, 0, 96, 0]))[0], 0x20);
    assert.equal((await there.data([0x12, 0, 0, 0, 96, 0]))[0], 0x00);
    disk.lu.setAccessState(1, AluaState.standby);
    assert.equal((await here.data([0x12, 0, 0, 0, 96, 0]))[0], 0x00);
  });

  test('every nexus is told of a change once, of a transition when it is over', async () => {
    const { disk, here, there } = setUp();
    const tur = mediumCommands['TEST UNIT READY'] ?? [];
    disk.lu.setAccessState(2, AluaState.activeNonOptimized);
    assert.deepEqual([here.lunNexus.readOk, there.lunNexus.readOk], [false, false]);
    for (const host of [here, there]) {
      assert.equal(await host.status(tur), '06/2A/06');
      assert.equal(await host.status(tur), 'GOOD');
      assert.equal(host.lunNexus.readOk, true);
    }
    disk.lu.setAccessState(2, AluaState.activeNonOptimized);
    assert.equal(await here.status(tur), 'GOOD');
    disk.lu.setAccessState(1, AluaState.transitioning);
    assert.equal(await here.status(tur), '02/04/0A');
    assert.equal(await there.status(tur), 'GOOD');
    disk.lu.setAccessState(1, AluaState.activeOptimized);
    for (const host of [here, there]) {
      assert.equal(await host.status(tur), '06/2A/06');
      assert.equal(await host.status(tur), 'GOOD');
    }
  });
});
