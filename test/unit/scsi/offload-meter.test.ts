// The truth meter: nothing that a host asks for and does not get goes by unseen.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { offloadKindOf } from '../../../core/scsi/offload-meter.ts';
import type { OffloadKind } from '../../../core/scsi/offload-meter.ts';
import { SENSE, ScsiError } from '../../../core/scsi/sense.ts';
import { GOOD } from '../../../core/scsi/task.ts';
import { CommandTable } from '../../../core/scsi/command-table.ts';
import { OK_ORDINARY } from '../../../core/scsi/command-spec.ts';
import type { CommandSpec } from '../../../core/scsi/command-spec.ts';
import { OffloadMeter } from '../../../core/scsi/offload-meter.ts';
import { ALL_COMMANDS, HOST_A, HOST_B, scsiFixture, stoppedClock } from '../../support/scsi-fixture.ts';
import type { Fixture, Initiator } from '../../support/scsi-fixture.ts';

/** `used/refused reason=count …`, and what was told last. */
function seen({ lu }: Fixture, kind: OffloadKind, host = HOST_A): string {
  const meter = lu.offload.hosts.get(host)?.kinds.get(kind);
  if (meter === undefined) return 'never';
  const reasons = [...meter.reasons].map(([reason, count]) => ` ${reason}=${String(count)}`).join('');
  return `${String(meter.used)}/${String(meter.refused)}${reasons} ${meter.last?.told ?? '-'}`;
}

const sixteen = (opcode: number, flags: number, lba: number, blocks: number): number[] => [
  ...[opcode, flags, 0, 0, 0, 0, 0, 0, lba >> 8, lba & 0xff, 0, 0, blocks >> 8, blocks & 0xff, 0, 0],
];
const caw = (lba: number, blocks: number): number[] => [
  ...[0x89, 0, 0, 0, 0, 0, 0, 0, lba >> 8, lba & 0xff, 0, 0, 0, blocks, 0, 0],
];
const zeros = Buffer.alloc(512);

function thin(): { fixture: Fixture; host: Initiator } {
  const fixture = scsiFixture({ commands: ALL_COMMANDS, info: { thin: true } });
  return { fixture, host: fixture.login() };
}

describe('the truth meter', () => {
  test('counts what was done, and how', async () => {
    const { fixture, host } = thin();
    assert.equal(await host.status(sixteen(0x93, 0, 0, 4), { data: Buffer.alloc(512, 7) }), 'GOOD');
    assert.equal(await host.status(sixteen(0x93, 0x08, 0, 2), { data: zeros }), 'GOOD');
    const list = Buffer.from(`0016001000000000${'00'.repeat(8)}0000000300000000`, 'hex');
    assert.equal(await host.status([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], { data: list }), 'GOOD');
    assert.equal(await host.status(caw(0, 1), { data: Buffer.alloc(1024) }), 'GOOD');
    const kinds = fixture.lu.offload.hosts.get(HOST_A)?.kinds;
    const { used, sharedBytes, copiedBytes } = kinds?.get('write-same') ?? {};
    assert.deepEqual([used, sharedBytes, copiedBytes], [2, 1024, 2048]);
    assert.deepEqual(kinds?.get('unmap')?.sharedBytes, 1536);
    assert.equal(seen(fixture, 'compare-and-write'), '1/0 -');
    assert.equal(seen(fixture, 'compare-and-write', HOST_B), 'never');
  });

  test('counts every refusal, wherever it comes from, with its reason', async () => {
    const commands = ALL_COMMANDS.filter((row) => row.opcode !== 0x83);
    const fixture = scsiFixture({ commands, info: { thin: false } });
    const host = fixture.login();
    const step = async (cdb: number[], data: Buffer, kind: OffloadKind, expected: string): Promise<void> => {
      await host.run(cdb, { data });
      assert.equal(seen(fixture, kind), expected);
    };
    // No such command.
    await step([0x83, 0, ...Array<number>(14).fill(0)], zeros, 'extended-copy', '0/1 not-offered=1 05/20/00');
    await step([0x83, 0x10, ...Array<number>(14).fill(0)], zeros, 'populate-token', '0/1 not-offered=1 05/20/00');
    // In precheck.
    await step([0x42, 0, 0, 0, 0, 0, 0, 0, 8, 0], Buffer.alloc(8), 'unmap', '0/1 not-offered=1 05/20/00');
    await step(sixteen(0x93, 0, 2047, 2), zeros, 'write-same', '0/1 out-of-range=1 05/21/00');
    // By the command itself, and before it, when asked for its data.
    await step(sixteen(0x93, 0x08, 0, 1), zeros, 'write-same', '0/2 out-of-range=1 bad-command=1 05/24/00');
    await step(caw(0, 200), zeros, 'compare-and-write', '0/1 bad-command=1 05/24/00');
    await step(caw(0, 1), Buffer.alloc(1024, 1), 'compare-and-write', '0/2 bad-command=1 miscompare=1 0E/1D/00');
    // A unit attention is about something else.
    fixture.lu.attentionAll(SENSE.capacityChanged);
    await step(caw(0, 1), Buffer.alloc(1024, 1), 'compare-and-write', '0/2 bad-command=1 miscompare=1 0E/1D/00');
  });

  test('reservations, aborts, and reasons only the command knows', async () => {
    const reason: CommandSpec = {
      ...{ name: 'EXTENDED COPY', opcode: 0x83, serviceAction: 0, access: 'write', reserved: 'conflict' },
      ...{ cdbUsage: [0x83, ...Array<number>(15).fill(0)], okWhen: OK_ORDINARY, order: 'free', clause: '-' },
      run: () => {
        throw new ScsiError(SENSE.invalidFieldInParameterList, { reason: 'not-mapped' });
      },
    };
    const aborted: CommandSpec = {
      ...{
        ...reason,
        name: 'EXTENDED COPY (LID4)',
        serviceAction: 1,
        cdbUsage: [0x83, 1, ...Array<number>(14).fill(0)],
      },
      run: (task) => {
        (task as { aborted: boolean }).aborted = true;
        return GOOD;
      },
    };
    const fixture = scsiFixture({ commands: [...ALL_COMMANDS.filter((row) => row.opcode !== 0x83), reason, aborted] });
    const host = fixture.login();
    await host.run([0x83, 0, ...Array<number>(14).fill(0)]);
    await host.run([0x83, 1, ...Array<number>(14).fill(0)]);
    await host.run([0x83, 0x11, ...Array<number>(14).fill(0)]);
    assert.equal(seen(fixture, 'extended-copy'), '0/2 not-mapped=1 aborted=1 TASK ABORTED');
    assert.equal(seen(fixture, 'write-using-token'), '0/1 not-offered=1 05/24/00');
    const other = fixture.login(HOST_B);
    assert.equal(await other.status([0x16, 0, 0, 0, 0, 0]), 'GOOD');
    await host.run(caw(0, 1), { data: Buffer.alloc(1024) });
    assert.equal(seen(fixture, 'compare-and-write'), '0/1 reserved=1 RESERVATION CONFLICT');
  });

  test('keeps a bounded number of hosts, and drops the one that was silent longest', () => {
    let now = 0;
    const clock = { ...stoppedClock, wall: () => now++ };
    const meter = new OffloadMeter(clock, 3);
    const from = (name: string): Parameters<OffloadMeter['refused']>[0] => {
      return scsiFixture().login(name).lunNexus;
    };
    for (const name of ['a', 'b', 'c', 'a', 'd']) meter.refused(from(name), 'unmap', 'busy');
    assert.deepEqual([...meter.hosts.keys()].sort(), ['a', 'c', 'd']);
    assert.equal(meter.hosts.get('a')?.kinds.get('unmap')?.refused, 2);
  });

  test('tells the copy routes how fast copies were, and nothing of what is no copy', () => {
    const told: number[] = [];
    const meter = new OffloadMeter(stoppedClock);
    const route = { copied: (bytes: number, micros: number) => told.push(bytes, micros) };
    const nexus = scsiFixture().login().lunNexus;
    meter.used(nexus, 'extended-copy', { shared: 5, copied: 7, micros: 3 }, [route]);
    meter.used(nexus, 'write-same', { shared: 5, copied: 8, micros: 3 });
    assert.deepEqual(told, [7, 3]);
  });

  test('the kinds of all opcodes', () => {
    const known = new CommandTable(ALL_COMMANDS).specs.filter((row) =>
      offloadKindOf(row.opcode, row.serviceAction ?? 0),
    );
    const names = known.map((row) => row.name);
    for (const name of ['WRITE SAME (10)', 'WRITE SAME (16)', 'UNMAP', 'COMPARE AND WRITE']) {
      assert.ok(names.includes(name), name);
    }
    assert.equal(offloadKindOf(0x83, 0x01), 'extended-copy');
    assert.equal(offloadKindOf(0x83, 0x1c), undefined, 'COPY OPERATION ABORT is none');
    assert.equal(offloadKindOf(0x2a, 0), undefined);
  });
});
