// EXTENDED COPY between logical units: who may copy what, what ends a copy, what is told of it.
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { silentLog } from '../../../core/base/log.ts';
import { CommandTable } from '../../../core/scsi/command-table.ts';
import { ScsiDevice } from '../../../core/scsi/device.ts';
import type { Visibility } from '../../../core/scsi/device.ts';
import { identityOf } from '../../../core/scsi/identity.ts';
import { LogicalUnit } from '../../../core/scsi/logical-unit.ts';
import { noReservationStore } from '../../../core/scsi/reservations/store.ts';
import { SENSE } from '../../../core/scsi/sense.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import {
  ALL_COMMANDS,
  HOST_A,
  HOST_B,
  Initiator,
  describeResult,
  describeSense,
  hastyClock,
} from '../../support/scsi-fixture.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const commands = new CommandTable(ALL_COMMANDS);

function unit(name: string, digit: string, blockSize = 512): LogicalUnit {
  return new LogicalUnit({
    ...{ name, volume: new MemoryVolume(16 * MIB, blockSize), identity: identityOf(digit.repeat(32)) },
    ...{ physicalBlockSize: 4096, commands, clock: hastyClock, log: silentLog, reservationStore: noReservationStore },
  });
}

interface Node {
  readonly source: LogicalUnit;
  readonly target: LogicalUnit;
  readonly coarse: LogicalUnit;
  readonly devices: readonly ScsiDevice[];
  /** What an initiator name may do with the target unit. */
  see: (initiator: string) => Visibility;
}

/** Two targets: `source` is LUN 0 of the one, `target` and `coarse` (4096-byte blocks) are LUN 0 and 1 of the other. */
function node(): Node {
  const [source, target, coarse] = [unit('source', '1'), unit('target', '2'), unit('coarse', '3', 4096)];
  const devices = ['a', 'b'].map((letter) => {
    const name = `iqn.2025-01.example:${letter}`;
    return new ScsiDevice(name, [{ name, portalGroup: 1, relativeId: 1 }]);
  });
  const made: Node = { source, target, coarse, devices, see: () => 'read-write' };
  devices[0]?.setLun(0, { lun: 0, lu: source, visibility: () => 'read-write' });
  devices[1]?.setLun(0, { lun: 0, lu: target, visibility: ({ initiator }) => made.see(initiator.name) });
  devices[1]?.setLun(1, { lun: 1, lu: coarse, visibility: () => 'read-write' });
  return made;
}

function login({ devices }: Node, device: number, name = HOST_A, isid = '000000000001'): Initiator {
  const at = devices[device];
  const port = at?.ports[0];
  assert.ok(at !== undefined && port !== undefined);
  const nexus = at.attach({ initiator: { name, isid }, local: true }, port);
  nexus.devices = () => devices;
  const initiator = new Initiator(nexus, 0);
  initiator.clearAttentions();
  return initiator;
}

const cscd = ({ identity, blockSize }: LogicalUnit): Buffer => {
  const out = Buffer.alloc(32);
  Buffer.from([0xe4, 0, 0, 0, 1, 3, 0, 16]).copy(out);
  identity.naa.copy(out, 8);
  out.writeUIntBE(blockSize, 29, 3);
  return out;
};

function segment(
  blocks: number,
  from: number,
  to: number,
  // IDs of a list of LID4, whose header counts as the first descriptor (SPC-4 6.4.2).
  ends: readonly [number, number] = [1, 2],
  flags = 0,
): Buffer {
  const out = Buffer.alloc(28);
  Buffer.from([0x02, flags, 0, 0x18]).copy(out);
  out.writeUInt16BE(ends[0], 4);
  out.writeUInt16BE(ends[1], 6);
  out.writeUInt16BE(blocks, 10);
  out.writeUInt32BE(from, 16);
  out.writeUInt32BE(to, 24);
  return out;
}

interface List {
  readonly listId?: number;
  /** LIST ID USAGE. */
  readonly usage?: 0 | 2 | 3;
  readonly immediate?: boolean;
}

function lid4(
  units: readonly LogicalUnit[],
  segments: readonly Buffer[],
  { listId = 7, usage = 0, immediate }: List = {},
): Buffer {
  const head = Buffer.alloc(48);
  Buffer.from([0x01, usage << 3, 0, 0x20]).copy(head);
  head[15] = immediate === true ? 1 : 0;
  head[16] = 0xff;
  head.writeUInt32BE(listId, 20);
  head.writeUInt16BE(units.length * 32, 42);
  const bytes = Buffer.concat(segments);
  head.writeUInt16BE(bytes.length, 44);
  return Buffer.concat([head, ...units.map(cscd), bytes]);
}

/** With list identifier 7. */
function lid1(units: readonly LogicalUnit[], segments: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(16);
  const bytes = Buffer.concat(segments);
  head[0] = 7;
  head.writeUInt16BE(units.length * 32, 2);
  head.writeUInt32BE(bytes.length, 8);
  return Buffer.concat([head, ...units.map(cscd), bytes]);
}

/** EXTENDED COPY; `action` 0: LID1. */
const out = (list: Buffer, action = 1): Buffer => {
  const cdb = Buffer.alloc(16);
  cdb[0] = 0x83;
  cdb[1] = action;
  cdb.writeUInt32BE(list.length, 10);
  return cdb;
};

const copy = (host: Initiator, list: Buffer): Promise<string> => host.status(out(list), { data: list });
const statusOf = async (host: Initiator, listId = 7): Promise<Buffer> =>
  host.data([0x84, 0x05, 0, 0, 0, listId, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);

async function fill({ volume }: LogicalUnit): Promise<Buffer> {
  const data = Buffer.alloc(volume.info.size);
  for (let at = 0; at < data.length; at += 512) data.writeUInt32BE(at + 1, at);
  await volume.write(0, data, 0, data.length, false);
  return data;
}

async function read({ volume }: LogicalUnit, position: number, length: number): Promise<Buffer> {
  const data = Buffer.alloc(length);
  await volume.read(position, length, data, 0);
  return data;
}

/** The segments of a long copy: 16 MiB, all of the unit. */
const LONG = [segment(16 * 2048, 0, 0)];

/** Runs `work` once, when the copy has begun to write to the unit. */
function midway({ volume }: LogicalUnit, work: () => void): void {
  const write = volume.write.bind(volume);
  volume.write = async (...all) => {
    volume.write = write;
    work();
    await write(...all);
  };
}

/** What the sense data forwards: the side, the status and the sense. */
async function forwarded(host: Initiator, list: Buffer): Promise<string> {
  const { sense } = await host.run(out(list), { data: list });
  assert.ok(sense, 'it was carried out');
  assert.equal(describeSense(sense.subarray(0, 18)).slice(0, 8), '0A/0D/01');
  const side = sense[8] === 0 ? 'target' : 'source';
  const at = sense[side === 'source' ? 8 : 9] ?? 0;
  const inner = sense.subarray(at + 1);
  return `${side} ${(sense[at] ?? 0).toString(16)} ${inner.length > 0 ? describeSense(inner) : ''}`.trim();
}

describe('EXTENDED COPY', () => {
  let all: Node;
  let host: Initiator;
  beforeEach(() => {
    all = node();
    host = login(all, 0);
  });

  test('from one target of the node to another, without a session there', async () => {
    const data = await fill(all.source);
    assert.equal(await copy(host, lid4([all.source, all.target], [segment(9, 3, 5), segment(4096, 100, 200)])), 'GOOD');
    assert.ok((await read(all.target, 5 * 512, 9 * 512)).equals(data.subarray(3 * 512, 12 * 512)));
    assert.ok((await read(all.target, 200 * 512, 4096 * 512)).equals(data.subarray(100 * 512, 4196 * 512)));
  });

  test('the number of blocks is of the source, or (DC) of the destination; parts of a block are refused', async () => {
    const data = await fill(all.source);
    const units = [all.source, all.coarse];
    assert.equal(await copy(host, lid4(units, [segment(16, 8, 1)])), 'GOOD');
    assert.ok((await read(all.coarse, 4096, 2 * 4096)).equals(data.subarray(4096, 3 * 4096)));
    assert.equal(await copy(host, lid4(units, [segment(3, 0, 8, [1, 2], 0x02)])), 'GOOD');
    assert.ok((await read(all.coarse, 8 * 4096, 3 * 4096)).equals(data.subarray(0, 3 * 4096)));
    // SPC-4 table 116: UNEXPECTED INEXACT SEGMENT.
    assert.match(await copy(host, lid4(units, [segment(9, 0, 1)])), /^0A\/26\/0A/);
  });

  test('reaches nothing that is not mapped to the initiator (CVE-2020-28374), be it source or destination', async () => {
    await fill(all.target);
    all.see = (initiator) => (initiator === HOST_B ? 'read-write' : 'hidden');
    login(all, 1, HOST_B);
    const units = [all.source, all.target];
    const not = { one: '0A/0D/02', sense: await copy(host, lid4(units, [segment(1, 0, 0)])) };
    assert.ok(not.sense.startsWith(not.one), not.sense);
    assert.ok((await copy(host, lid4(units, [segment(1, 0, 0, [2, 1])]))).startsWith(not.one));
    assert.ok((await read(all.source, 0, 512)).equals(Buffer.alloc(512)));
  });

  test('where a unit was found once, it is not found any more when it is hidden, gone, or somewhere else', async () => {
    const list = lid4([all.source, all.target], [segment(1, 0, 0)]);
    const [a, b] = all.devices as [ScsiDevice, ScsiDevice];
    const hidden = (): Visibility => 'hidden';
    const seen = (): Visibility => 'read-write';
    assert.equal(await copy(host, list), 'GOOD');
    all.see = hidden;
    assert.match(await copy(host, list), /^0A\/0D\/02/);
    all.see = seen;
    assert.equal(await copy(host, list), 'GOOD');
    b.setLun(0, undefined);
    assert.match(await copy(host, list), /^0A\/0D\/02/);
    // The same unit through another target, and with another entry that hides it.
    a.setLun(5, { lun: 5, lu: all.target, visibility: seen });
    host.clearAttentions();
    assert.equal(await copy(host, list), 'GOOD');
    a.setLun(5, { lun: 5, lu: all.target, visibility: hidden });
    host.clearAttentions();
    assert.match(await copy(host, list), /^0A\/0D\/02/);
    // LUNs are told in order, however often they change.
    for (const lun of [9, 2, 7]) a.setLun(lun, { lun, lu: all.coarse, visibility: seen });
    assert.deepEqual(
      a.entries.map(({ lun }) => lun),
      [0, 2, 5, 7, 9],
    );
  });

  test('a read-only mapping is no destination, and may be a source', async () => {
    await fill(all.target);
    all.see = () => 'read-only';
    for (const withSession of [false, true]) {
      if (withSession) login(all, 1);
      const units = [all.source, all.target];
      assert.equal(await forwarded(host, lid4(units, [segment(1, 0, 9)])), 'target 2 07/27/00');
      assert.equal(await copy(host, lid4(units, [segment(1, 1, 9, [2, 1])])), 'GOOD');
    }
    assert.ok((await read(all.source, 9 * 512, 512)).equals(await read(all.target, 512, 512)));
  });

  test('a reservation of somebody else on the other unit keeps it out, on every path it has there', async () => {
    const other = login(all, 1, HOST_B);
    const list = lid4([all.source, all.target], [segment(1, 0, 9)]);
    assert.equal(await register(other, 1), 'GOOD');
    assert.equal(await reserve(other, 5), 'GOOD'); // write exclusive, registrants only
    assert.equal(await forwarded(host, list), 'target 18');
    const path = login(all, 1);
    assert.equal(await forwarded(host, list), 'target 18');
    // To be read, it is free.
    assert.equal(await copy(host, lid4([all.source, all.target], [segment(1, 0, 9, [2, 1])])), 'GOOD');
    assert.equal(await register(path, 2), 'GOOD');
    assert.equal(await copy(host, list), 'GOOD');
  });

  test('a copy ends when the initiator loses the other unit, or the right to write to it', async () => {
    const list = lid4([all.source, all.target], LONG);
    await fill(all.source);
    midway(all.target, () => {
      all.see = () => 'hidden';
    });
    assert.equal(await forwarded(host, list), 'target 2 05/25/00');
    const told = await statusOf(host);
    // SPC-4 6.24: the field of the sense data is a multiple of four bytes.
    const [field = 0, length = 0] = told.subarray(13);
    assert.ok(length % 4 !== 0 && field === length + 4 - (length % 4) && told.length === 32 + field, `${field} bytes`);
    const done = told.readBigUInt64BE(16);
    assert.ok(done > 0n && done < 16n * 2048n, `${done} blocks`);
    all.see = () => 'read-write';
    midway(all.target, () => {
      all.target.modes.softwareWriteProtect = true;
    });
    assert.equal(await forwarded(host, list), 'target 2 07/27/02');
  });

  test('LOGICAL UNIT RESET and what aborts the tasks of a nexus end it on the other unit as well, and wait for it', async () => {
    const path = login(all, 1);
    await fill(all.source);
    for (const end of [
      () => {
        all.target.reset(SENSE.busDeviceReset);
      },
      () => void all.target.tasks.end((task) => task.nexus === path.lunNexus, false),
    ]) {
      let gone: Promise<void> | undefined;
      midway(all.target, () => {
        end();
        gone = all.target.tasks.end(() => true, false);
      });
      assert.match(await copy(host, lid4([all.source, all.target], LONG)), /^0A\/2F\/02/);
      await gone;
      assert.equal(all.target.tasks.running, 0);
      assert.ok(all.target.locks.idle && all.source.locks.idle);
    }
  });

  test('ABORT TASK ends the copy itself, which has stopped everywhere when that is answered', async () => {
    await fill(all.source);
    let gone: Promise<void> | undefined;
    let running = -1;
    midway(all.target, () => {
      gone = all.source.tasks.end((task) => task.nexus === host.lunNexus, false);
      void gone.then(() => (running = all.target.tasks.running));
    });
    assert.match(await copy(host, lid4([all.source, all.target], LONG)), /^0A\/2F\/02/);
    await gone;
    assert.equal(running, 0);
    assert.ok(all.target.locks.idle && all.source.locks.idle);
    assert.ok((await read(all.target, 15 * MIB, MIB)).equals(Buffer.alloc(MIB)), 'it went on to the end');
  });

  test('goes on in the background with IMMED, can be asked about, and aborted', async () => {
    await fill(all.source);
    const list = lid4([all.source, all.target], LONG, { immediate: true });
    assert.equal(await copy(host, list), 'GOOD');
    assert.equal((await statusOf(host))[5], 0x12);
    assert.equal(await copy(host, list), '05/00/16');
    assert.equal(await host.status([0x83, 0x1c, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 'GOOD');
    const aborted = await statusOf(host);
    assert.equal(aborted[5], 0x60);
    // SPC-4 6.24: TASK ABORTED, without sense data.
    assert.deepEqual([aborted[12], aborted[13], aborted.length], [0x40, 0, 32]);
    assert.equal(all.source.tasks.running, 0);
    assert.equal(await copy(host, list), 'GOOD');
    while ((await statusOf(host))[5] === 0x12) await new Promise((resolve) => setImmediate(resolve));
    assert.equal((await statusOf(host))[5], 0x01);
    assert.ok((await read(all.target, 0, 16 * MIB)).equals(await read(all.source, 0, 16 * MIB)));
  });

  test('ends with its nexus, also in the background', async () => {
    await fill(all.source);
    assert.equal(await copy(host, lid4([all.source, all.target], LONG, { immediate: true })), 'GOOD');
    all.devices[0]?.detach(host.nexus);
    for (let turn = 0; turn < 200 && all.target.tasks.running > 0; turn++) await new Promise((r) => setImmediate(r));
    assert.equal(all.target.tasks.running, 0);
    assert.ok(!(await read(all.target, 0, 16 * MIB)).equals(await read(all.source, 0, 16 * MIB)));
  });

  test('several at once, with list identifiers of their own, or with one that nobody will ask about', async () => {
    const data = await fill(all.source);
    const parts = Array.from({ length: 16 }, (_, n) => segment(2048, n * 2048, n * 2048));
    const lists = parts.map((part, n) =>
      lid4([all.source, all.target], [part], n % 2 === 0 ? { listId: n } : { listId: 99, usage: 2 }),
    );
    assert.deepEqual(new Set(await Promise.all(lists.map((list) => copy(host, list)))), new Set(['GOOD']));
    assert.ok((await read(all.target, 0, 16 * MIB)).equals(data));
    const twice = await Promise.all([0, 1].map(() => copy(host, lid4([all.source, all.target], LONG))));
    assert.deepEqual(twice.sort(), ['05/00/16', 'GOOD']);
  });

  test('of a copy that fails half way it is told what is missing; of its end, each thing once', async () => {
    await fill(all.source);
    midway(all.target, () => {
      all.see = () => 'hidden';
    });
    const list = lid1([all.source, all.target], [segment(2, 0, 0, [0, 0]), segment(8 * 2048, 0, 0, [0, 1])]);
    const { sense } = await host.run(out(list, 0), { data: list });
    assert.ok(sense);
    const ask = (action: number, length: number): Promise<string> =>
      host.status([0x84, action, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, length, 0, 0]);
    const tell = (action: number): Promise<Buffer> =>
      host.data([0x84, action, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0]);
    // SPC-4 5.17.7.4: VALID, the blocks that are missing, the descriptor of the unit that is to blame, the segment.
    const missing = sense.readUInt32BE(3);
    assert.equal(sense[0], 0xf0);
    assert.ok(missing > 0 && missing < 8 * 2048, `${missing} blocks`);
    assert.deepEqual([...sense.subarray(15, 18)], [0x80, 0, 48]);
    assert.equal(sense.readUInt16BE(10), 1);
    const status = await tell(0x00);
    assert.equal(status[4], 0x02);
    assert.equal(status.readUInt16BE(5), 2, 'segments processed, with the one that failed');
    assert.equal(status.readUInt32BE(8), 2 + 8 * 2048 - missing, 'transfer count');
    assert.equal(await ask(0x00, 200), '05/24/00 cdb 2');
    assert.equal(await ask(0x04, 20), 'GOOD');
    assert.ok((await tell(0x04)).subarray(60).equals(sense), 'the details stay until all of them have been told');
    assert.deepEqual(await tell(0x04), Buffer.alloc(4));
    assert.equal((await statusOf(host))[5], 0x02);
    all.source.reset(SENSE.busDeviceReset);
    host.clearAttentions();
    assert.match(await host.status([0x84, 0x05, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]), /^05\/24\/00/);
  });

  test('segments that go on where the one before ends are one copy where blocks are shared, and fail one by one', async () => {
    const data = await fill(all.source);
    const calls: string[] = [];
    let mayShare = true;
    Object.assign(all.target.volume, {
      sharesWith: () => true,
      shareFrom: async (from: LogicalUnit['volume'], position: number, to: number, length: number) => {
        if (!mayShare) return false;
        calls.push(`${position / MIB} ${to / MIB} ${length / MIB}`);
        const bytes = Buffer.alloc(length);
        await from.read(position, length, bytes, 0);
        await all.target.volume.write(to, bytes, 0, length, false);
        return true;
      },
    });
    const part = 2 * 2048;
    const parts = [0, 1, 2].map((i) => segment(part, i * part, (i + 1) * part));
    // Neither what leaves a gap on one side, nor what comes back to where one has been.
    const list = lid4(
      [all.source, all.target],
      [...parts, segment(part, 3 * part, 5 * part), segment(part, 0, 6 * part)],
    );
    assert.equal(await copy(host, list), 'GOOD');
    assert.deepEqual(calls, ['0 2 6', '6 10 2', '0 12 2']);
    assert.ok((await read(all.target, 2 * MIB, 6 * MIB)).equals(data.subarray(0, 6 * MIB)));
    assert.equal((await statusOf(host)).readUInt16BE(24), 5);
    // It turns out that nothing can be shared, and somewhere in the middle the unit is gone.
    mayShare = false;
    const seen = new Set<number>();
    for (let last = 1; last <= 6; last++) {
      all.see = () => 'read-write';
      const { volume } = all.target;
      const write = volume.write.bind(volume);
      let writes = 0;
      volume.write = async (...of) => {
        if (++writes === last) all.see = () => 'hidden';
        await write(...of);
      };
      const { sense } = await host.run(out(list), { data: list });
      volume.write = write;
      assert.ok(sense);
      const told = await statusOf(host);
      const done = Number(told.readBigUInt64BE(16));
      const [number, missing] = [sense.readUInt16BE(10), sense.readUInt32BE(3)];
      seen.add(number);
      assert.equal(number, Math.floor(done / part));
      assert.equal(told.readUInt16BE(24), number + 1, 'segments processed, with the one that failed');
      assert.equal(missing, sense[0] === 0xf0 ? (number + 1) * part - done : 0);
      assert.equal(sense[0] === 0xf0, done > number * part);
    }
    assert.ok(seen.size > 1, [...seen].join());
  });

  test('counts in kibibytes where the destinations have blocks of several sizes, and the segment that runs', async () => {
    await fill(all.source);
    const parts = [segment(16, 0, 0), segment(16, 0, 0, [1, 3]), ...LONG];
    let running: Promise<Buffer> | undefined;
    midway(all.coarse, () => {
      running = statusOf(host);
    });
    assert.equal(await copy(host, lid4([all.source, all.target, all.coarse], parts)), 'GOOD');
    assert.equal((await running)?.readUInt16BE(24), 2);
    const told = await statusOf(host);
    assert.deepEqual([told[15], told.readBigUInt64BE(16), told.readUInt16BE(24)], [0x01, 8n + 8n + 16384n, 3]);
  });

  test('failure in the storage: which side, and the segment', async () => {
    await fill(all.source);
    await all.target.volume.resize(MIB);
    const list = lid4([all.source, all.target], [segment(2, 0, 0), segment(2, 0, 4096)]);
    const { sense } = await host.run(out(list), { data: list });
    assert.ok(sense);
    assert.equal(sense.readUInt16BE(10), 1, 'the segment');
    assert.equal((await statusOf(host)).readUInt16BE(24), 2, 'segments processed, with the one that failed');
    all.source.modes.descriptorSense = true;
    const described = describeResult(await host.run(out(list), { data: list }));
    assert.ok(described.startsWith('0A/0D/01'), described);
  });
});

async function register(host: Initiator, key: number): Promise<string> {
  const data = Buffer.alloc(24);
  data.writeBigUInt64BE(BigInt(key), 8);
  return host.status([0x5f, 0x06, 0, 0, 0, 0, 0, 0, 24, 0], { data });
}

async function reserve(host: Initiator, type: number): Promise<string> {
  const data = Buffer.alloc(24);
  data.writeBigUInt64BE(1n, 0);
  return host.status([0x5f, 0x01, type, 0, 0, 0, 0, 0, 24, 0], { data });
}
