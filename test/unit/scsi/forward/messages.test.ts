// What nodes say to each other about commands, as bytes.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProtocolError } from '../../../../core/base/errors.ts';
import {
  Outcome,
  decodeAnswer,
  decodeNexus,
  decodePair,
  decodeTask,
  encodeAnswer,
  encodeNexus,
  encodePair,
  encodeTask,
} from '../../../../core/scsi/forward/messages.ts';
import { decodeUnitState, encodeUnitState } from '../../../../core/scsi/forward/unit-state.ts';
import { defaultModes } from '../../../../core/scsi/mode-state.ts';
import type { UnitState } from '../../../../core/scsi/reservations/store.ts';
import { SENSE } from '../../../../core/scsi/sense.ts';
import { Status } from '../../../../core/scsi/task.ts';

const NEXUS = {
  number: 0xffff_fffe,
  unit: '7'.repeat(32),
  lun: 255,
  readOnly: true,
  local: false,
  initiator: { name: 'iqn.2026-11.org.example:hôte', isid: '80000000abcd' },
  target: { name: 'iqn.2026-11.org.example:unit', portalGroup: 0x301, relativeId: 0x301, group: 4 },
};
const TASK = {
  number: 7,
  task: 0x8000_0000,
  attribute: 2,
  expectedDataOut: 16_777_216,
  expectedDataIn: 0xffff_ffff,
  deadline: 123_456.75,
  cdb: Buffer.from('8a000000000000000010000000080000', 'hex'),
};
const ANSWER = {
  outcome: Outcome.done,
  clock: 987_654.125,
  status: Status.checkCondition,
  sense: Buffer.from('70000200000000000a0000000004' + '0a00000000', 'hex'),
};
const STATE: UnitState = {
  generation: 3,
  registrations: [
    {
      nexus: 'iqn.a,i,0x800000000001|1',
      initiatorPort: 'iqn.a,i,0x800000000001',
      relativeTargetPort: 1,
      key: '000000000000000a',
    },
  ],
  reservation: { type: 5, holder: 'iqn.a,i,0x800000000001|1' },
  persistent: true,
  legacy: 'iqn.b,i,0x800000000002|257',
  modes: { ...defaultModes(), softwareWriteProtect: true, queueErrorManagement: 3 },
  attentions: new Map([['iqn.b,i,0x800000000002|257', [SENSE.reservationsPreempted, SENSE.capacityChanged]]]),
};

/** Every message, and how it is read. */
const MESSAGES: readonly (readonly [string, Buffer, (bytes: Buffer) => unknown, unknown])[] = [
  ['a nexus', encodeNexus(NEXUS), decodeNexus, NEXUS],
  ['a command', encodeTask(TASK), decodeTask, TASK],
  ['an answer', encodeAnswer(ANSWER), decodeAnswer, ANSWER],
  [
    'an answer without sense data',
    encodeAnswer({ ...ANSWER, sense: undefined }),
    decodeAnswer,
    { ...ANSWER, sense: undefined },
  ],
  ['a pair', encodePair(1, 0xffff_ffff), decodePair, [1, 0xffff_ffff]],
];

describe('forwarded messages', () => {
  for (const [name, bytes, decode, image] of MESSAGES) {
    it(`${name} comes back as it was, and nothing shorter or longer passes for it`, () => {
      assert.deepEqual(decode(bytes), image);
      for (let length = 0; length < bytes.length; length++) {
        assert.throws(() => decode(bytes.subarray(0, length)), ProtocolError, `${length} bytes`);
      }
      assert.throws(() => decode(Buffer.concat([bytes, Buffer.alloc(1)])), ProtocolError);
    });
  }

  it('what cannot be is refused', () => {
    for (const wrong of [
      { ...NEXUS, unit: 'no id at all, of twenty-five or more' },
      { ...NEXUS, initiator: { ...NEXUS.initiator, isid: '8000' } },
      { ...NEXUS, initiator: { ...NEXUS.initiator, name: 'x'.repeat(600) } },
      { ...NEXUS, target: { ...NEXUS.target, relativeId: 0 } },
    ]) {
      assert.throws(() => decodeNexus(encodeNexus(wrong)), ProtocolError);
    }
    assert.throws(() => decodeTask(encodeTask({ ...TASK, cdb: Buffer.alloc(6) })), ProtocolError);
    assert.throws(() => decodeTask(encodeTask({ ...TASK, cdb: Buffer.alloc(300) })), ProtocolError);
    assert.throws(() => decodeTask(encodeTask({ ...TASK, deadline: NaN })), ProtocolError);
    const unknown = encodeAnswer(ANSWER);
    unknown[0] = 99;
    assert.throws(() => decodeAnswer(unknown), ProtocolError);
  });

  it('the memory of a message may be used again', () => {
    const bytes = encodeTask(TASK);
    const { cdb } = decodeTask(bytes);
    bytes.fill(0);
    assert.equal(cdb[0], 0x8a);
  });
});

describe('the state of a unit', () => {
  it('comes back as it was', () => {
    assert.deepEqual(decodeUnitState(encodeUnitState(STATE)), STATE);
  });

  it('of a later version is read as far as it is known', () => {
    const later = { ...(JSON.parse(encodeUnitState(STATE).toString()) as object), version: 2, novelty: [1] };
    const attentions = [['iqn.b,i,0x800000000002|257', ['6/2a/3', '6/77/77', '6/2a/9', 5]], 'odd'];
    assert.deepEqual(decodeUnitState(Buffer.from(JSON.stringify({ ...later, attentions }))), STATE);
  });

  it('that is none is refused', () => {
    for (const text of ['', '{', '[]', 'null', '{"generation":1}', '{"registrations":[]}']) {
      assert.throws(() => decodeUnitState(Buffer.from(text)), ProtocolError, text);
    }
  });

  it('has a limit', () => {
    const many = Array.from({ length: 5_000 }, () => STATE.registrations[0]).flatMap((each) => each ?? []);
    assert.throws(() => encodeUnitState({ ...STATE, registrations: many }), ProtocolError);
  });
});
