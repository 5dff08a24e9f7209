import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { ReservationStore, SavedReservations } from '../../../core/scsi/reservations/store.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { Initiator } from '../../support/initiator.ts';
import type { ScsiAnswer } from '../../support/initiator.ts';
import { IQN, startTarget } from '../../support/target.ts';
import type { TestTarget } from '../../support/target.ts';

const TUR = Buffer.alloc(6);
const READ = Buffer.from([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
const WRITE = Buffer.from([0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
const CONFLICT = 0x18;
const Action = { register: 0, reserve: 1, release: 2, clear: 3, preempt: 4, preemptAbort: 5, ignore: 6, move: 7 };
const Type = { we: 1, ea: 3, weRo: 5, eaRo: 6, weAr: 7, eaAr: 8 };

/** Keeps what APTPL saves, as the control plane does on disk. */
class Kept implements ReservationStore {
  state: SavedReservations | undefined;
  load(): SavedReservations | undefined {
    return this.state;
  }
  save(state: SavedReservations | undefined): Promise<void> {
    this.state = structuredClone(state);
    return Promise.resolve();
  }
}

let target: TestTarget;
let kept: Kept;
let hosts: Initiator[];

async function connect(): Promise<Initiator[]> {
  const made = [];
  for (const name of ['a', 'b', 'c']) {
    const initiator = `iqn.2026-11.org.example:${name}`;
    const each = await Initiator.login('127.0.0.1', target.port, { target: IQN, initiator });
    await each.scsi(TUR);
    made.push(each);
  }
  return made;
}

const host = (index: number): Initiator => hosts[index] as Initiator;

function out(
  from: Initiator,
  action: number,
  key: number,
  actionKey: number,
  type = 0,
  flags = 0,
): Promise<ScsiAnswer> {
  const list = Buffer.alloc(24);
  list.writeUInt32BE(key, 4);
  list.writeUInt32BE(actionKey, 12);
  list[20] = flags;
  return from.scsi(Buffer.from([0x5f, action, type, 0, 0, 0, 0, 0, 24, 0]), { write: list });
}

async function input(from: Initiator, action: number): Promise<Buffer> {
  const answer = await from.scsi(Buffer.from([0x5e, action, 0, 0, 0, 0, 0, 0x10, 0, 0]), { read: 4096 });
  assert.equal(answer.status, 0);
  return answer.data;
}

const can = async (from: Initiator): Promise<string> => {
  const read = (await from.scsi(READ, { read: 512 })).status;
  const write = (await from.scsi(WRITE, { write: Buffer.alloc(512) })).status;
  for (const status of [read, write]) assert.ok(status === 0 || status === CONFLICT, `status ${String(status)}`);
  return `${read === 0 ? 'r' : '-'}${write === 0 ? 'w' : '-'}`;
};

async function restart(): Promise<void> {
  for (const each of hosts) each.destroy();
  await target.close();
  target = await startTarget({ reservationStore: kept, volumes: [new MemoryVolume(1_048_576)] });
  hosts = await connect();
}

describe('persistent reservations', () => {
  beforeEach(async () => {
    kept = new Kept();
    target = await startTarget({ reservationStore: kept, volumes: [new MemoryVolume(1_048_576)] });
    hosts = await connect();
  });
  afterEach(async () => {
    for (const each of hosts) each.destroy();
    await target.close();
  });

  // SPC-4 tables 62 and 63: what the holder, another registrant and an unregistered host may do.
  const rules: [string, number, string, string, string][] = [
    ['write exclusive', Type.we, 'rw', 'r-', 'r-'],
    ['exclusive access', Type.ea, 'rw', '--', '--'],
    ['write exclusive, registrants only', Type.weRo, 'rw', 'rw', 'r-'],
    ['exclusive access, registrants only', Type.eaRo, 'rw', 'rw', '--'],
    ['write exclusive, all registrants', Type.weAr, 'rw', 'rw', 'r-'],
    ['exclusive access, all registrants', Type.eaAr, 'rw', 'rw', '--'],
  ];
  for (const [name, type, holder, registrant, stranger] of rules) {
    test(name, async () => {
      assert.equal((await out(host(0), Action.register, 0, 0xa)).status, 0);
      assert.equal((await out(host(1), Action.register, 0, 0xb)).status, 0);
      assert.equal((await out(host(0), Action.reserve, 0xa, 0, type)).status, 0);
      assert.deepEqual([await can(host(0)), await can(host(1)), await can(host(2))], [holder, registrant, stranger]);
      const other = await out(host(1), Action.reserve, 0xb, 0, Type.we);
      assert.equal(other.status, CONFLICT);
      assert.equal((await out(host(0), Action.release, 0xa, 0, type)).status, 0);
      // SPC-4 5.13.11.2.1: only with the registrants types are the others told.
      const told = (await host(1).scsi(TUR)).senseCode;
      assert.equal(told, type >= Type.weRo ? '06/2a/04' : '');
      assert.deepEqual([await can(host(0)), await can(host(1)), await can(host(2))], ['rw', 'rw', 'rw']);
    });
  }

  test('keys are checked, and counted in the generation', async () => {
    assert.equal((await out(host(0), Action.register, 0x1, 0xa)).status, CONFLICT);
    assert.equal((await out(host(0), Action.register, 0, 0xa)).status, 0);
    assert.equal((await out(host(0), Action.register, 0xbad, 0xc)).status, CONFLICT);
    assert.equal((await out(host(0), Action.ignore, 0xbad, 0xc)).status, 0);
    assert.equal((await out(host(0), Action.reserve, 0xa, 0, Type.we)).status, CONFLICT);
    const keys = await input(host(1), 0);
    assert.equal(keys.toString('hex'), '00000002' + '00000008' + '000000000000000c');
  });

  test('unregistering ends a reservation and tells the other registrants only', async () => {
    await out(host(0), Action.register, 0, 0xa);
    await out(host(1), Action.register, 0, 0xb);
    await out(host(0), Action.reserve, 0xa, 0, Type.eaRo);
    assert.equal((await out(host(0), Action.register, 0xa, 0)).status, 0);
    assert.equal((await host(0).scsi(TUR)).status, 0);
    assert.equal((await host(1).scsi(TUR)).senseCode, '06/2a/04');
    assert.equal(await can(host(2)), 'rw');
  });

  test('preempt takes the reservation over and throws the old holder out', async () => {
    await out(host(0), Action.register, 0, 0xa);
    await out(host(1), Action.register, 0, 0xb);
    await out(host(0), Action.reserve, 0xa, 0, Type.we);
    assert.equal((await out(host(1), Action.preempt, 0xb, 0xa, Type.ea)).status, 0);
    assert.equal((await host(0).scsi(TUR)).senseCode, '06/2a/05');
    assert.deepEqual([await can(host(0)), await can(host(1)), await can(host(2))], ['--', 'rw', '--']);
    assert.equal((await out(host(1), Action.preempt, 0xb, 0x77, Type.ea)).status, CONFLICT);
    assert.equal((await out(host(1), Action.preempt, 0xb, 0, Type.ea)).senseCode, '05/26/00');
  });

  // With and without FUA: written as it arrives, or gathered first.
  for (const fua of [0x00, 0x08]) {
    test(`PREEMPT AND ABORT ends a write that waits for its data (flags ${String(fua)})`, async () => {
      await out(host(0), Action.register, 0, 0xa);
      await out(host(1), Action.register, 0, 0xb);
      const data = Buffer.alloc(65_536, 0x5a);
      const write = Buffer.from([0x2a, fua, 0, 0, 0, 0, 0, 0, 128, 0]);
      const command = host(1).command(write, { flags: 0xa1, length: data.length });
      host(1).send(command);
      const r2t = await host(1).receiveKind(0x31);
      assert.equal((await out(host(0), Action.preemptAbort, 0xa, 0xb)).status, 0);
      const ttt = r2t.header.readUInt32BE(20);
      host(1).send(host(1).dataOut(command, ttt, 0, 0, true), data);
      // No answer to the write comes before, or in place of, the unit attention.
      assert.equal((await host(1).scsi(TUR)).senseCode, '06/2a/05');
      const found = await host(0).scsi(READ, { read: 512 });
      assert.ok(found.data.equals(Buffer.alloc(512)));
    });
  }

  test('clear removes everything', async () => {
    await out(host(0), Action.register, 0, 0xa);
    await out(host(1), Action.register, 0, 0xb);
    await out(host(0), Action.reserve, 0xa, 0, Type.ea);
    assert.equal((await out(host(1), Action.clear, 0xb, 0)).status, 0);
    assert.equal((await host(0).scsi(TUR)).senseCode, '06/2a/03');
    assert.equal((await input(host(2), 0)).readUInt32BE(4), 0);
    assert.equal(await can(host(2)), 'rw');
  });

  test('REGISTER AND MOVE hands the reservation to a host by name, READ FULL STATUS shows it', async () => {
    await out(host(0), Action.register, 0, 0xa);
    await out(host(0), Action.reserve, 0xa, 0, Type.ea);
    const port = Buffer.from('iqn.2026-11.org.example:b,i,0x800000000001\0\0\0\0').subarray(0, 44);
    const list = Buffer.alloc(24 + 4 + port.length);
    list.writeUInt32BE(0xa, 4);
    list.writeUInt32BE(0xb, 12);
    list[17] = 0x02; // UNREG
    list.writeUInt16BE(1, 18);
    list.writeUInt32BE(4 + port.length, 20);
    list[24] = 0x45;
    list.writeUInt16BE(port.length, 26);
    port.copy(list, 28);
    const cdb = Buffer.from([0x5f, Action.move, 0, 0, 0, 0, 0, 0, list.length, 0]);
    assert.equal((await host(0).scsi(cdb, { write: list })).senseCode, '');
    assert.deepEqual([await can(host(0)), await can(host(1))], ['--', 'rw']);
    const full = await input(host(2), 3);
    assert.equal(full.toString('hex', 8, 16), '000000000000000b');
    assert.deepEqual([full[20], full[21]], [1, Type.ea]);
    assert.equal(full.readUInt16BE(26), 1);
    assert.ok(full.toString('latin1', 36).startsWith('iqn.2026-11.org.example:b,i,0x800000000001\0'));
  });

  test('with APTPL the reservation survives a restart, without it does not', async () => {
    await out(host(0), Action.register, 0, 0xa, 0, 0x01);
    await out(host(0), Action.reserve, 0xa, 0, Type.ea);
    await restart();
    assert.deepEqual([await can(host(0)), await can(host(1))], ['rw', '--']);
    assert.equal((await input(host(1), 2))[3], 0x81);
    await out(host(0), Action.register, 0xa, 0xa);
    assert.equal(kept.state, undefined);
    await restart();
    assert.deepEqual([await can(host(0)), await can(host(1))], ['rw', 'rw']);
  });

  test('RESERVE (6) is lost with its session and refused while keys are registered', async () => {
    const reserve = Buffer.from([0x16, 0, 0, 0, 0, 0]);
    assert.equal((await host(0).scsi(reserve)).status, 0);
    assert.deepEqual([await can(host(0)), await can(host(1))], ['rw', '--']);
    assert.equal((await host(1).scsi(Buffer.from([0x17, 0, 0, 0, 0, 0]))).status, 0);
    assert.equal(await can(host(1)), '--');
    host(0).destroy();
    await host(0).closed;
    while (target.server.sessions().length > 2) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(await can(host(1)), 'rw');
    await out(host(1), Action.register, 0, 0xb);
    assert.equal((await host(2).scsi(reserve)).status, CONFLICT);
  });
});
