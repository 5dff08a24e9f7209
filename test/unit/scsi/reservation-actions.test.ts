// The service actions of PERSISTENT RESERVE OUT case by case, against SPC-4 5.13 and 6.16 (tables 65 to 72, 216).
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ReservationStore, SavedReservations } from '../../../core/scsi/reservations/store.ts';
import { Status, TaskAttribute } from '../../../core/scsi/task.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { MAX_REGISTRATIONS } from '../../../core/base/limits.ts';
import { ALL_COMMANDS, HOST_A, HOST_B, TARGET, scsiFixture } from '../../support/scsi-fixture.ts';
import type { Fixture, FixtureOptions, Initiator } from '../../support/scsi-fixture.ts';

const HOST_C = 'iqn.2025-01.example:host-c';
const Action = { register: 0, reserve: 1, release: 2, clear: 3, preempt: 4, preemptAbort: 5, ignore: 6, move: 7 };
const Type = { we: 1, ea: 3, weRo: 5, eaRo: 6, weAr: 7, eaAr: 8 };
const CONFLICT = 'status 18';
const TUR = [0, 0, 0, 0, 0, 0];
const ports = [1, 2].map((id) => ({ name: TARGET, portalGroup: id, relativeId: id }));

const fixture = (options: FixtureOptions = {}): Fixture => scsiFixture({ ports, commands: ALL_COMMANDS, ...options });

function parameters(key: number, actionKey: number, flags = 0): Buffer {
  const list = Buffer.alloc(24);
  list.writeUInt32BE(key, 4);
  list.writeUInt32BE(actionKey, 12);
  list[20] = flags;
  return list;
}

function send(host: Initiator, action: number, list: Buffer, scopeAndType = 0): Promise<string> {
  const cdb = Buffer.from([0x5f, action, scopeAndType, 0, 0, 0, 0, 0, 0, 0]);
  cdb.writeUInt32BE(list.length, 5);
  return host.status(cdb, { data: list });
}

const out = (host: Initiator, action: number, key: number, actionKey: number, type = 0, flags = 0): Promise<string> =>
  send(host, action, parameters(key, actionKey, flags), type);

const register = async (host: Initiator, key: number): Promise<void> => {
  assert.equal(await out(host, Action.register, 0, key), 'GOOD');
};

/** TransportID of an initiator port; 4 + 44 bytes. */
function transportId(name: string, isid: string): Buffer {
  const text = `${name},i,0x${isid}`;
  const id = Buffer.alloc(4 + 48);
  id[0] = 0x45;
  id.writeUInt16BE(48, 2);
  id.write(text, 4);
  return id;
}

const isid = (session: number): string => session.toString(16).padStart(12, '0');

function withPorts(list: Buffer, ...ids: Buffer[]): Buffer {
  const body = Buffer.concat(ids);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([list, length, body]);
}

function moveTo(key: number, actionKey: number, id: Buffer, port = 1, flags = 0): Buffer {
  const list = parameters(key, actionKey);
  list[17] = flags;
  list.writeUInt16BE(port, 18);
  list.writeUInt32BE(id.length, 20);
  return Buffer.concat([list, id]);
}

/** PRGENERATION and keys. */
async function keys(host: Initiator): Promise<string> {
  const data = await host.data([0x5e, 0, 0, 0, 0, 0, 0, 0x10, 0, 0]);
  const list = data.subarray(8).toString('hex').match(/.{16}/g) ?? [];
  assert.equal(data.readUInt32BE(4), 8 * list.length);
  return `${data.readUInt32BE(0)}: ${list.map((key) => parseInt(key, 16).toString(16)).join(' ')}`;
}

/** Type of the reservation and key of its holder. */
async function held(host: Initiator): Promise<string> {
  const data = await host.data([0x5e, 1, 0, 0, 0, 0, 0, 0x10, 0, 0]);
  return data.length === 8 ? 'none' : `${data[21]} by ${data.readUInt32BE(12).toString(16)}`;
}

/** The unit attentions of all hosts, which end with it. */
async function told(...hosts: Initiator[]): Promise<string[]> {
  const found = [];
  for (const host of hosts) {
    const status = await host.status(TUR);
    found.push(status);
    if (status !== 'GOOD') assert.equal(await host.status(TUR), 'GOOD');
  }
  return found;
}

function three(disk: Fixture): [Initiator, Initiator, Initiator] {
  return [disk.login(HOST_A), disk.login(HOST_B), disk.login(HOST_C)];
}

describe('REGISTER', () => {
  test('scope and type are ignored, the key is not', async () => {
    const [a] = three(fixture());
    assert.equal(await send(a, Action.register, parameters(0, 0xa), 0xff), 'GOOD');
    assert.equal(await send(a, Action.register, parameters(0xb, 0xc), 0xff), CONFLICT);
    assert.equal(await send(a, Action.ignore, parameters(0xb, 0xc), 0xff), 'GOOD');
    assert.equal(await keys(a), '2: c');
  });

  test('unregistering what is not registered does nothing', async () => {
    const [a] = three(fixture());
    assert.equal(await out(a, Action.register, 0, 0), 'GOOD');
    assert.equal(await out(a, Action.ignore, 5, 0), 'GOOD');
    assert.equal(await keys(a), '0: ');
  });

  test('SPEC_I_PT registers the named ports too, all or none', async () => {
    const disk = fixture();
    const [a, b, c] = three(disk);
    const list = withPorts(parameters(0, 0xa, 0x08), transportId(HOST_B, isid(2)), transportId(HOST_C, isid(3)));
    for (let cut = 24; cut < list.length; cut++) {
      const status = await send(a, Action.register, list.subarray(0, cut));
      assert.ok(status.startsWith('05/1A/00') || status.startsWith('05/26/00'), `${cut}: ${status}`);
    }
    await register(c, 0xc);
    assert.equal(await send(a, Action.register, list), '05/26/00 data 80');
    assert.equal(await keys(a), '1: c');
    await out(c, Action.register, 0xc, 0);
    assert.equal(await send(a, Action.register, list), 'GOOD');
    assert.equal(await keys(a), '3: a a a');
    assert.equal(await out(b, Action.reserve, 0xa, 0, Type.ea), 'GOOD');
    // A registered nexus cannot ask again, and with a wrong key that is the answer.
    assert.equal(await send(a, Action.register, withPorts(parameters(0xa, 0xb, 0x08))), '05/26/00 data 20 bit 3');
    assert.equal(await send(a, Action.register, withPorts(parameters(0xd, 0xb, 0x08))), CONFLICT);
  });

  test('SPEC_I_PT is for REGISTER only, and other lists have 24 bytes', async () => {
    const [a] = three(fixture());
    await register(a, 0xa);
    const list = withPorts(parameters(0xa, 0xa, 0x08), transportId(HOST_B, isid(2)));
    for (const action of [1, 2, 3, 4, 5, 6]) {
      assert.equal(await send(a, action, list, Type.ea), '05/26/00 data 20 bit 3');
      assert.equal(await send(a, action, Buffer.alloc(28), Type.ea), '05/1A/00');
      assert.equal(await send(a, action, Buffer.alloc(23), Type.ea), '05/1A/00');
    }
    assert.equal(await keys(a), '1: a');
  });

  test('ALL_TG_PT acts through every target port', async () => {
    const disk = fixture();
    const [a, b] = three(disk);
    assert.equal((await a.data([0x5e, 2, 0, 0, 0, 0, 0, 0, 8, 0]))[2], 0x0d); // SIP_C, ATP_C, PTPL_C
    assert.equal(await out(a, Action.register, 0, 0xa, 0, 0x04), 'GOOD');
    assert.equal(await keys(b), '1: a a');
    const full = await b.data([0x5e, 3, 0, 0, 0, 0, 0, 0x10, 0, 0]);
    const second = 8 + 24 + full.readUInt32BE(8 + 20);
    assert.deepEqual([full.readUInt16BE(8 + 18), full.readUInt16BE(second + 18)], [1, 2]);
    assert.equal(await out(a, Action.register, 0xa, 0), 'GOOD');
    assert.equal(await keys(b), '2: a');
    assert.equal(await out(a, Action.register, 0, 0xa, 0, 0x04), CONFLICT); // the other port has a key
    assert.equal(await out(a, Action.ignore, 0, 0xa, 0, 0x04), 'GOOD');
    assert.equal(await out(a, Action.register, 0xa, 0, 0, 0x04), 'GOOD');
    assert.equal(await keys(b), '4: ');
  });

  test('there is room for so many', async () => {
    const disk = fixture();
    const [a] = three(disk);
    const many = Array.from({ length: MAX_REGISTRATIONS }, (_, i) => transportId(HOST_B, isid(i + 100)));
    assert.equal(await send(a, Action.register, withPorts(parameters(0, 0xa, 0x08), ...many)), '05/55/04');
    assert.equal(await keys(a), '0: ');
    assert.equal(await send(a, Action.register, withPorts(parameters(0, 0xa, 0x08), ...many.slice(1))), 'GOOD');
    await out(a, Action.reserve, 0xa, 0, Type.ea);
    assert.equal(await send(a, Action.move, moveTo(0xa, 1, transportId(HOST_C, isid(1)))), '05/55/04');
  });
});

describe('RESERVE and RELEASE', () => {
  test('only the logical unit scope and the six types exist', async () => {
    const [a, b] = three(fixture());
    await register(a, 0xa);
    for (const type of [0, 2, 4, 9, 15]) {
      assert.equal(await out(a, Action.reserve, 0xa, 0, type), '05/24/00 cdb 2 bit 3');
    }
    assert.equal(await out(a, Action.reserve, 0xa, 0, 0x10 | Type.ea), '05/24/00 cdb 2 bit 7');
    assert.equal(await out(b, Action.reserve, 0, 0, Type.ea), CONFLICT);
    assert.equal(await out(a, Action.reserve, 0xa, 0, Type.ea), 'GOOD');
    assert.equal(await out(a, Action.reserve, 0xa, 0, Type.ea), 'GOOD');
    assert.equal(await out(a, Action.reserve, 0xa, 0, Type.we), CONFLICT);
    assert.equal(await out(a, Action.release, 0xa, 0, Type.we), '05/26/04');
    assert.equal(await out(a, Action.release, 0xa, 0, 0x10 | Type.ea), '05/26/04');
    assert.equal(await held(b), '3 by a');
    assert.equal(await keys(b), '1: a'); // reserving is no new generation
  });

  test('a registrant that is no holder releases nothing', async () => {
    const [a, b] = three(fixture());
    await register(a, 0xa);
    await register(b, 0xb);
    await out(a, Action.reserve, 0xa, 0, Type.weRo);
    assert.equal(await out(b, Action.release, 0xb, 0, Type.weRo), 'GOOD');
    assert.equal(await held(b), '5 by a');
    assert.equal(await out(b, Action.release, 0xa, 0, Type.weRo), CONFLICT);
  });

  test('of an all registrants reservation everybody is a holder; it ends with the last', async () => {
    const [a, b, c] = three(fixture());
    await register(a, 0xa);
    await register(b, 0xb);
    await out(a, Action.reserve, 0xa, 0, Type.eaAr);
    assert.equal(await out(b, Action.reserve, 0xb, 0, Type.eaAr), 'GOOD');
    assert.equal(await held(c), '8 by 0');
    await out(a, Action.register, 0xa, 0);
    assert.equal(await held(c), '8 by 0');
    assert.deepEqual(await told(a, b, c), ['GOOD', 'GOOD', 'GOOD']);
    await out(b, Action.register, 0xb, 0);
    assert.equal(await held(c), 'none');
  });
});

describe('PREEMPT', () => {
  test('takes a reservation over; who stays is told when the type changes', async () => {
    for (const [before, after, rest] of [
      [Type.we, Type.ea, '06/2A/04'],
      [Type.we, Type.we, 'GOOD'],
      [Type.weRo, Type.eaRo, '06/2A/04'],
    ] as const) {
      const [a, b, c] = three(fixture());
      await register(a, 0xa);
      await register(b, 0xb);
      await register(c, 0xc);
      await out(a, Action.reserve, 0xa, 0, before);
      assert.equal(await out(b, Action.preempt, 0xb, 0xa, after), 'GOOD');
      assert.equal(await held(b), `${after} by b`);
      assert.equal(await keys(b), '4: b c');
      assert.deepEqual(await told(a, b, c), ['06/2A/05', 'GOOD', rest]);
    }
  });

  test('a wrong scope or type changes nothing, but is ignored when only keys are removed', async () => {
    const [a, b, c] = three(fixture());
    await register(a, 0xa);
    await register(b, 0xb);
    await register(c, 0xc);
    await out(a, Action.reserve, 0xa, 0, Type.we);
    assert.equal(await out(b, Action.preempt, 0xb, 0xa, 0x2), '05/24/00 cdb 2 bit 3');
    assert.equal(await out(b, Action.preempt, 0xb, 0xa, 0x11), '05/24/00 cdb 2 bit 7');
    assert.equal(await out(b, Action.preempt, 0xb, 0xc, 0xf2), 'GOOD');
    assert.equal(await keys(b), '4: a b');
    assert.equal(await held(b), '1 by a');
    assert.deepEqual(await told(a, b, c), ['GOOD', 'GOOD', '06/2A/05']);
  });

  test('a key that several nexuses use is removed from all of them, the sender included', async () => {
    const [a, b, c] = three(fixture());
    await register(a, 0xa);
    await register(b, 0xb);
    await register(c, 0xb);
    assert.equal(await out(b, Action.preempt, 0xb, 0xb), 'GOOD');
    assert.equal(await keys(a), '4: a');
    assert.deepEqual(await told(a, b, c), ['GOOD', 'GOOD', '06/2A/05']);
  });

  test('a holder may preempt itself and stays registered', async () => {
    const [a, b] = three(fixture());
    await register(a, 0xa);
    await register(b, 0xa);
    await out(a, Action.reserve, 0xa, 0, Type.we);
    assert.equal(await out(a, Action.preempt, 0xa, 0xa, Type.ea), 'GOOD');
    assert.equal(await held(a), '3 by a');
    assert.equal(await keys(a), '3: a');
    assert.deepEqual([await told(a), await b.status(TUR)], [['GOOD'], '06/2A/05']);
  });

  test('key zero preempts an all registrants reservation and nothing else', async () => {
    const [a, b, c] = three(fixture());
    await register(a, 0xa);
    await register(b, 0xb);
    await register(c, 0xc);
    assert.equal(await out(b, Action.preempt, 0xb, 0, Type.we), '05/26/00 data 8');
    await out(a, Action.reserve, 0xa, 0, Type.weAr);
    assert.equal(await out(b, Action.preempt, 0xb, 0xc, Type.ea), 'GOOD');
    assert.equal(await held(b), '7 by 0');
    assert.equal(await out(b, Action.preempt, 0xb, 0, Type.ea), 'GOOD');
    assert.equal(await held(b), '3 by b');
    assert.equal(await keys(b), '5: b');
    assert.deepEqual(await told(a, b, c), ['06/2A/05', 'GOOD', '06/2A/05']);
  });
});

test('PREEMPT AND ABORT is over when no command of the preempted host can write any more', async () => {
  const volume = new MemoryVolume(1_048_576);
  let finish: () => void = () => undefined;
  let written = false;
  volume.write = () =>
    new Promise((resolve) => {
      finish = () => {
        written = true;
        resolve();
      };
    });
  const [a, b] = three(fixture({ volume }));
  await register(a, 0xa);
  await register(b, 0xb);
  b.lunNexus.preventsRemoval = true;
  const write = b.run([0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], { data: Buffer.alloc(512) });
  await new Promise((resolve) => setImmediate(resolve));
  // A command that waits for its turn behind the running one must not hold anything up.
  const waiting = b.run([0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0], {
    data: Buffer.alloc(512),
    attribute: TaskAttribute.ordered,
  });
  let writtenAtAnswer: boolean | undefined;
  const list = parameters(0xa, 0xb);
  const fence = a
    .run([0x5f, Action.preemptAbort, 0, 0, 0, 0, 0, 0, 24, 0], { data: list, attribute: TaskAttribute.headOfQueue })
    .then(() => (writtenAtAnswer = written));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(writtenAtAnswer, undefined);
  assert.equal((await waiting).status, Status.taskAborted);
  assert.equal(b.lunNexus.preventsRemoval, false);
  finish();
  await Promise.all([fence, write]);
  assert.equal(writtenAtAnswer, true);
  assert.deepEqual(await told(a, b), ['GOOD', '06/2A/05']);
});

describe('REGISTER AND MOVE', () => {
  test('what is refused', async () => {
    const disk = fixture();
    const [a, b] = three(disk);
    const toB = transportId(HOST_B, isid(2));
    assert.equal(await send(a, Action.move, moveTo(0xa, 0xb, toB)), CONFLICT); // not registered
    await register(a, 0xa);
    await register(b, 0xb);
    assert.equal(await send(a, Action.move, moveTo(0xa, 0xb, toB)), '05/24/00 cdb 1 bit 4'); // no reservation
    await out(a, Action.reserve, 0xa, 0, Type.we);
    assert.equal(await send(b, Action.move, moveTo(0xb, 0xb, toB)), CONFLICT); // not the holder
    assert.equal(await send(a, Action.move, moveTo(0xf, 0xb, toB)), CONFLICT); // wrong key
    assert.equal(await send(a, Action.move, moveTo(0xa, 0, toB)), '05/26/00 data 8');
    assert.equal(await send(a, Action.move, moveTo(0xa, 0xb, toB, 3)), '05/26/00 data 18');
    const self = transportId(HOST_A, isid(1));
    for (const port of [1, 2]) {
      assert.equal(await send(a, Action.move, moveTo(0xa, 0xb, self, port)), '05/26/00 data 24');
    }
    const list = moveTo(0xa, 0xb, toB);
    for (let cut = 0; cut < list.length; cut++) {
      const status = await send(a, Action.move, list.subarray(0, cut));
      assert.equal(status, '05/1A/00', `cut at ${cut}`);
    }
    assert.equal(await held(a), '1 by a');
    assert.equal(await keys(a), '2: a b');
  });

  test('an all registrants reservation cannot be moved', async () => {
    const [a] = three(fixture());
    await register(a, 0xa);
    await out(a, Action.reserve, 0xa, 0, Type.eaAr);
    assert.equal(await send(a, Action.move, moveTo(0xa, 0xb, transportId(HOST_B, isid(2)))), CONFLICT);
  });

  test('the source stays registered unless UNREG', async () => {
    const [a, b, c] = three(fixture());
    await register(a, 0xa);
    await out(a, Action.reserve, 0xa, 0, Type.ea);
    assert.equal(await send(a, Action.move, moveTo(0xa, 0xb, transportId(HOST_B, isid(2)))), 'GOOD');
    assert.equal(await held(a), '3 by b');
    assert.equal(await keys(a), '2: a b');
    assert.equal(await send(b, Action.move, moveTo(0xb, 0xd, transportId(HOST_A, isid(1)), 1, 0x02)), 'GOOD');
    assert.equal(await keys(a), '3: d');
    assert.equal(await held(a), '3 by d');
    assert.deepEqual(await told(a, b, c), ['GOOD', 'GOOD', 'GOOD']);
  });
});

describe('persistence', () => {
  class Kept implements ReservationStore {
    state: SavedReservations | undefined;
    broken = false;
    load(): SavedReservations | undefined {
      return this.state;
    }
    save(state: SavedReservations | undefined): Promise<void> {
      if (this.broken) return Promise.reject(new Error('no disk'));
      this.state = structuredClone(state);
      return Promise.resolve();
    }
  }

  test('a restart keeps keys and reservation, and begins the generations anew', async () => {
    const reservationStore = new Kept();
    const [a] = three(fixture({ reservationStore }));
    assert.equal(await out(a, Action.register, 0, 0xa, 0, 0x01), 'GOOD');
    await out(a, Action.reserve, 0xa, 0, Type.ea);
    assert.equal(await keys(a), '1: a');
    const [again] = three(fixture({ reservationStore }));
    assert.equal(await keys(again), '0: a');
    assert.equal(await held(again), '3 by a');
  });

  test('what cannot be made durable has not happened, and nobody is told of it', async () => {
    const reservationStore = new Kept();
    const [a, b] = three(fixture({ reservationStore }));
    assert.equal(await out(a, Action.register, 0, 0xa, 0, 0x01), 'GOOD');
    assert.equal(await out(b, Action.register, 0, 0xb, 0, 0x01), 'GOOD');
    reservationStore.broken = true;
    assert.equal(await out(b, Action.preempt, 0xb, 0xa), '04/44/00');
    assert.equal(await keys(b), '2: a b');
    assert.deepEqual(await told(a, b), ['GOOD', 'GOOD']);
  });
});

test('SPC-2 and persistent reservations are not mixed, not even by the holder', async () => {
  const [a, b] = three(fixture());
  assert.equal(await a.status([0x16, 0, 0, 0, 0, 0]), 'GOOD');
  for (const host of [a, b]) {
    assert.equal(await out(host, Action.register, 0, 0xa), CONFLICT);
    assert.equal(await host.status([0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0]), CONFLICT);
  }
  assert.equal(await b.status([0x17, 0, 0, 0, 0, 0]), 'GOOD');
  assert.equal(await b.status([0x1a, 0, 0x3f, 0, 255, 0]), CONFLICT);
  assert.equal(await a.status([0x17, 0, 0, 0, 0, 0]), 'GOOD');
  await register(a, 0xa);
  for (const opcode of [0x16, 0x17]) assert.equal(await a.status([opcode, 0, 0, 0, 0, 0]), CONFLICT);
  // Third parties and extents do not exist.
  for (const opcode of [0x16, 0x17, 0x56, 0x57]) {
    for (const bit of [0, 1, 4]) {
      assert.equal(await a.status([opcode, 1 << bit, 0, 0, 0, 0, 0, 0, 0, 0]), `05/24/00 cdb 1 bit ${bit}`);
    }
  }
});

describe('what a reservation allows to others', () => {
  /** SPC-4 table 65 and SBC-3 table 13, by name up to the CDB length. */
  const allowed = [
    ...['INQUIRY', 'LOG SENSE', 'REPORT LUNS', 'REPORT TARGET PORT GROUPS', 'REQUEST SENSE', 'TEST UNIT READY'],
    ...['READ CAPACITY'],
  ];
  const unlessExclusive = [
    ...['MODE SENSE', 'REPORT SUPPORTED OPERATION CODES', 'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS'],
    ...['GET LBA STATUS', 'PRE-FETCH', 'READ', 'READ DEFECT DATA', 'VERIFY', 'POPULATE TOKEN'],
    ...['COPY OPERATION ABORT', 'RECEIVE COPY STATUS', 'RECEIVE COPY DATA', 'RECEIVE COPY OPERATING PARAMETERS'],
    ...['RECEIVE COPY FAILURE DETAILS', 'RECEIVE ROD TOKEN INFORMATION', 'REPORT ALL ROD TOKENS'],
  ];
  const conflict = [
    ...['MODE SELECT', 'SEND DIAGNOSTIC', 'COMPARE AND WRITE', 'ORWRITE', 'SANITIZE', 'SYNCHRONIZE CACHE', 'UNMAP'],
    ...['WRITE', 'WRITE AND VERIFY', 'WRITE ATOMIC', 'WRITE SAME', 'EXTENDED COPY', 'WRITE USING TOKEN'],
  ];
  /** Decide by their parameters, tested where they are. */
  const themselves = [
    ...['PERSISTENT RESERVE IN', 'PERSISTENT RESERVE OUT', 'RESERVE', 'RELEASE'],
    ...['START STOP UNIT', 'PREVENT ALLOW MEDIUM REMOVAL'],
  ];

  test('by command', () => {
    for (const spec of ALL_COMMANDS) {
      const name = spec.name.replace(/( \((LID)?\d+\)|, .*)$/, '');
      const expected = [...allowed, ...themselves].includes(name)
        ? 'allowed'
        : unlessExclusive.includes(name)
          ? 'unless-exclusive'
          : conflict.includes(name)
            ? 'conflict'
            : 'not in the tables';
      assert.equal(spec.reserved, expected, spec.name);
    }
  });

  test('by type, to the holder, a registrant and a stranger', async () => {
    const write = [0x2a, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const read = [0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const sense = [0x1a, 0, 0x3f, 0, 255, 0];
    const can = async (host: Initiator): Promise<string> => {
      const results = [];
      for (const cdb of [write, read, sense, TUR]) results.push((await host.status(cdb)) === 'GOOD' ? '+' : '-');
      return results.join('');
    };
    for (const [type, registrant, stranger] of [
      [Type.we, '-+++', '-+++'],
      [Type.ea, '---+', '---+'],
      [Type.weRo, '++++', '-+++'],
      [Type.eaRo, '++++', '---+'],
      [Type.weAr, '++++', '-+++'],
      [Type.eaAr, '++++', '---+'],
    ] as const) {
      const [a, b, c] = three(fixture());
      await register(a, 0xa);
      await register(b, 0xb);
      await out(a, Action.reserve, 0xa, 0, type);
      assert.deepEqual([await can(a), await can(b), await can(c)], ['++++', registrant, stranger], `type ${type}`);
      for (const host of [a, b, c]) {
        const expected = await can(host);
        assert.equal(`${host.lunNexus.writeOk ? '+' : '-'}${host.lunNexus.readOk ? '+' : '-'}`, expected.slice(0, 2));
      }
    }
  });
});
