// What a command ends with when several things are wrong with it, and what is counted when it has failed.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { DATA_OUT_TIMEOUT } from '../../../core/base/limits.ts';
import { Opcode, RESERVED_TAG, RejectReason } from '../../../core/iscsi/wire/constants.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { VolumeError, VolumeFault, WriteNow } from '../../../core/volume/volume.ts';
import type { StableWaiter } from '../../../core/volume/volume.ts';
import { FUA, TUR, pattern, read16, write16 } from '../../support/cdb.ts';
import { Initiator } from '../../support/initiator.ts';
import type { LoginOptions } from '../../support/initiator.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { IQN, startTarget } from '../../support/target.ts';
import type { TestTarget } from '../../support/target.ts';

const HOST = '127.0.0.1';
const WRITES = 0xa1;
const READS = 0xc1;
const UNKNOWN = Buffer.from([0xc7, 0, 0, 0, 0, 0]);
/** OVERWRITE whose service action nobody knows. */
const UNKNOWN_ACTION = Buffer.from([0x48, 0x1e, 0, 0, 0, 0, 0, 0, 0, 0]);

/** A durable volume whose group commit fails or succeeds as a test wants. */
class PlacingVolume extends MemoryVolume {
  broken = false;

  override writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    super.writeNow(position, source, at, length);
    return WriteNow.placed;
  }
  override whenStable(waiter: StableWaiter): void {
    const error = this.broken ? new VolumeError(VolumeFault.writeError, 'broken') : undefined;
    setImmediate(() => {
      waiter.stable(error);
    });
  }
}

describe('order of checks, counters, patience', () => {
  let target: TestTarget;
  let clock: ManualClock;
  const volume = new PlacingVolume(1_048_576);
  const open: Initiator[] = [];
  const login = async (options: LoginOptions = {}): Promise<Initiator> => {
    const initiator = await Initiator.login(HOST, target.port, { target: IQN, ...options });
    open.push(initiator);
    return initiator;
  };
  before(async () => {
    clock = new ManualClock();
    target = await startTarget({ clock, volumes: [volume] });
  });
  after(() => clock.during(target.close()));
  afterEach(async () => {
    for (const each of open.splice(0)) {
      each.destroy();
      await each.closed;
    }
  });

  for (const [what, cdb, code] of [
    ['an unknown command', UNKNOWN, '05/20/00'],
    ['an unknown service action', UNKNOWN_ACTION, '05/24/00'],
  ] as const) {
    test(`${what} does not hide a unit attention`, async () => {
      const initiator = await login();
      assert.equal((await initiator.scsi(cdb)).senseCode, '06/29/00');
      assert.equal((await initiator.scsi(cdb)).senseCode, code);
      assert.equal((await initiator.scsi(TUR)).status, 0);
    });
  }

  test('neither does a task attribute nobody knows; INQUIRY leaves it pending', async () => {
    const initiator = await login();
    const inquiry = Buffer.from([0x12, 0, 0, 0, 36, 0]);
    assert.equal((await initiator.scsi(inquiry, { read: 36, attribute: 5 })).senseCode, '05/49/00');
    assert.equal((await initiator.scsi(inquiry, { read: 36 })).status, 0);
    assert.equal((await initiator.scsi(TUR, { attribute: 5 })).senseCode, '06/29/00');
    assert.equal((await initiator.scsi(TUR, { attribute: 5 })).senseCode, '05/49/00');
  });

  test('a command with the reserved tag is rejected, whatever it is; its number does not count', async () => {
    const initiator = await login();
    await initiator.scsi(TUR);
    await initiator.scsi(write16(0, 1), { write: pattern(512, 1) });
    for (const [cdb, flags, length] of [
      [read16(0, 1), READS, 512],
      [write16(0, 1), WRITES, 512],
      [TUR, 0x81, 0],
    ] as const) {
      const header = initiator.command(cdb, { flags, length, cmdSN: initiator.cmdSN });
      header.writeUInt32BE(RESERVED_TAG, 16);
      initiator.send(header, flags === WRITES ? pattern(512, 2) : Buffer.alloc(0));
      const reject = await initiator.receive();
      assert.equal(reject.opcode, Opcode.reject);
      assert.equal(reject.header[2], RejectReason.invalidPduField);
      assert.ok(
        reject.data.equals(initiator.pdu(header, flags === WRITES ? pattern(512, 2) : undefined).subarray(0, 48)),
      );
      assert.equal(reject.header.readUInt32BE(28), initiator.cmdSN, 'ExpCmdSN');
    }
    assert.ok((await initiator.scsi(read16(0, 1), { read: 512 })).data.equals(pattern(512, 1)));
  });

  test('only writes that were acknowledged GOOD are counted', async () => {
    const initiator = await login();
    await initiator.scsi(TUR);
    const counters = target.units[0]?.counters;
    assert.ok(counters !== undefined);
    const seen = (): number[] => [
      counters.writes,
      counters.writtenBytes,
      target.server.sessions()[0]?.writtenBytes ?? -1,
    ];
    const [writes, bytes] = [counters.writes, counters.writtenBytes];
    volume.broken = true;
    assert.equal((await initiator.scsi(write16(0, 2), { write: Buffer.alloc(1024) })).senseCode, '03/0c/00');
    assert.deepEqual(seen(), [writes, bytes, 0]);
    volume.broken = false;
    assert.equal((await initiator.scsi(write16(0, 2), { write: Buffer.alloc(1024) })).status, 0);
    assert.deepEqual(seen(), [writes + 1, bytes + 1024, 1024]);
  });

  test('how long reads and writes took is known of each LUN and of each session, whichever way they went', async () => {
    const data = pattern(1024, 1);
    const ways: ((initiator: Initiator) => Promise<{ status: number }>)[] = [
      (i) => i.scsi(write16(0, 2), { write: data }),
      (i) => i.scsi(write16(0, 2, FUA), { write: data }),
      (i) => i.scsi(read16(0, 2), { read: 1024 }),
      (i) => i.scsi(read16(0, 2, FUA), { read: 1024 }),
    ];
    const unit = target.units[0]?.counters;
    assert.ok(unit !== undefined);
    for (const immediate of ['Yes', 'No']) {
      const initiator = await login({ keys: { ImmediateData: immediate, InitialR2T: 'Yes' } });
      await initiator.scsi(TUR);
      const tsih = target.server.sessions().at(-1)?.tsih ?? -1;
      const seen = (): number[] => {
        const own = target.server.latencies().get(tsih);
        return [own?.reads.count ?? -1, own?.writes.count ?? -1, unit.readLatency.count, unit.writeLatency.count];
      };
      const [, , reads = 0, writes = 0] = seen();
      for (const way of ways) assert.equal((await way(initiator)).status, 0);
      assert.deepEqual(seen(), [2, 2, reads + 2, writes + 2], `ImmediateData=${immediate}`);
    }
  });

  test('a write whose data never comes ends, though its initiator answers NOPs; one that goes on does not', async () => {
    const keys = { ImmediateData: 'No', InitialR2T: 'Yes', MaxBurstLength: '512', MaxOutstandingR2T: '1' };
    const initiator = await login({ keys });
    await initiator.scsi(TUR);
    const used = target.server.memory.used;
    const never = initiator.command(write16(0, 2, FUA), { flags: WRITES, length: 1024 });
    const slow = initiator.command(write16(8, 2), { flags: WRITES, length: 1024 });
    for (const each of [never, slow]) {
      initiator.send(each);
      await initiator.receiveKind(Opcode.r2t);
    }
    // The clock may only go on when the PDU has been seen; the answer to a NOP says so.
    clock.advance(DATA_OUT_TIMEOUT / 2);
    initiator.send(initiator.dataOut(slow, 0, 0, 0, true), pattern(512, 1));
    const next = await initiator.receiveKind(Opcode.r2t);
    assert.equal(next.header.readUInt32BE(40), 512);
    for (let passed = 0; passed <= DATA_OUT_TIMEOUT / 2 + 2000; passed += 10_000) {
      await initiator.nop();
      clock.advance(10_000);
    }
    const answer = await initiator.answer(never);
    assert.deepEqual([answer.status, answer.senseCode], [2, '0b/4b/06']);
    initiator.send(initiator.dataOut(never, 0, 0, 0, true), pattern(512, 9));
    initiator.send(initiator.dataOut(slow, 1, 0, 512, true), pattern(512, 2));
    assert.equal((await initiator.answer(slow)).status, 0);
    assert.equal(target.server.memory.used, used);
  });
});
