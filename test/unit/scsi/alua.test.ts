import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AluaCause, AluaState, AluaStates, groupIdOf } from '../../../core/scsi/alua.ts';
import type { TargetPort } from '../../../core/scsi/lun-nexus.ts';

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
    assert.equal(states.stateOf(1), AluaState.unavailable);
    assert.equal(states.stateOf(2), AluaState.activeOptimized);
    assert.deepEqual(states.groups([port(1)]), [
      { id: 1, state: AluaState.unavailable, preferred: true, cause: AluaCause.implicit, ports: [1] },
    ]);
  });
});
