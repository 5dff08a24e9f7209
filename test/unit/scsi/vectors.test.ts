// Every row of the command table against golden bytes written from the standards: CDBs in, data, sense and medium out.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ScsiError, SENSE, encodeSense } from '../../../core/scsi/sense.ts';
import type { TaskResult } from '../../../core/scsi/task.ts';
import { HOST_A, HOST_B, scsiFixture } from '../../support/scsi-fixture.ts';
import type { Fixture, Initiator } from '../../support/scsi-fixture.ts';
import { resetOdx } from '../../support/odx.ts';
import { COMMANDS } from '../../support/target.ts';
import { fixed, invalidCdb } from '../../vectors/cdb.ts';
import type { CdbVector, RowVectors } from '../../vectors/cdb.ts';
import { COPY_VECTORS } from '../../vectors/cdb-copy.ts';
import { ODX_VECTORS } from '../../vectors/cdb-odx.ts';
import { RESERVATION_VECTORS } from '../../vectors/cdb-reservations.ts';
import { SBC_VECTORS } from '../../vectors/cdb-sbc.ts';
import { SPC_VECTORS, UNKNOWN_CDBS } from '../../vectors/cdb-spc.ts';

const ROWS: readonly RowVectors[] = [
  ...SPC_VECTORS,
  ...SBC_VECTORS,
  ...RESERVATION_VECTORS,
  ...COPY_VECTORS,
  ...ODX_VECTORS,
];
const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const show = (buffer: Buffer): string => (buffer.toString('hex').match(/.{1,8}/g) ?? []).join(' ');

interface Hosts {
  readonly fixture: Fixture;
  readonly a: Initiator;
  readonly b: Initiator;
}

/** Host b is only there when it takes part: a unit that two hosts see cannot be stopped by one of them. */
function hosts(withB = false): Hosts {
  resetOdx();
  const fixture = scsiFixture({ commands: COMMANDS.specs, physicalBlockSize: 4096 });
  const a = fixture.login(HOST_A);
  return { fixture, a, b: withB ? fixture.login(HOST_B) : a };
}

/** Runs `[b:]cdb[|data]`. */
function runText({ a, b }: Hosts, text: string): Promise<TaskResult> {
  const [cdb = '', data] = text.replace(/^b:/, '').split('|');
  const from = text.startsWith('b:') ? b : a;
  return from.run(bytes(cdb), data === undefined ? {} : { data: bytes(data) });
}

const dataOf = (result: TaskResult): string => show(Buffer.concat(result.dataIn ?? []));

/** One line that says all: status, sense, data-in. */
function describeAll(result: TaskResult): string {
  const status = result.status.toString(16).padStart(2, '0');
  return `${status} sense ${show(result.sense ?? Buffer.alloc(0))} data ${dataOf(result)}`;
}

const expected = (status: string, sense = '', data = ''): string =>
  `${status} sense ${show(bytes(sense))} data ${show(bytes(data))}`;

async function prepared(vector: CdbVector): Promise<Hosts> {
  const texts = [...(vector.before ?? []), ...(vector.then ?? [])];
  const all = hosts(vector.from === 'b' || texts.some((each) => each.startsWith('b:')));
  for (const each of vector.before ?? []) {
    assert.equal((await runText(all, each)).status, 0, `before: ${each.slice(0, 60)}`);
  }
  return all;
}

function run(all: Hosts, vector: CdbVector, data = vector.data): Promise<TaskResult> {
  const options = data === undefined ? {} : { data: bytes(data) };
  return (vector.from === 'b' ? all.b : all.a).run(bytes(vector.cdb), options);
}

async function checkMedium({ fixture }: Hosts, vector: CdbVector): Promise<void> {
  for (const [lba, byte] of vector.medium ?? []) {
    const found = Buffer.alloc(512);
    await fixture.volume.read(lba * 512, 512, found, 0);
    assert.equal(show(found), show(bytes(byte.repeat(512))), `LBA ${lba.toString(16)}`);
  }
}

async function checkThen(all: Hosts, step: string): Promise<void> {
  const [, command = '', kind, rest = ''] = /^([^=!#]*)([=!#])(.*)$/.exec(step) ?? [];
  const result = await runText(all, command);
  const wanted = {
    '=': expected('00', '', rest),
    '!': expected('02', rest),
    '#': expected(rest.trim()),
  }[kind ?? ''];
  assert.equal(describeAll(result), wanted, `then ${command}`);
}

test('every row of the command table has vectors, and every vector a row', () => {
  assert.deepEqual(ROWS.map(({ row }) => row).sort(), COMMANDS.specs.map(({ name }) => name).sort());
  for (const { row, vectors } of ROWS)
    assert.ok(
      vectors.some(({ sense }) => sense === undefined),
      row,
    );
});

describe('golden CDBs', () => {
  for (const { row, vectors } of ROWS) {
    for (const vector of vectors) {
      test(`${row}: ${vector.shows}`, async () => {
        const all = await prepared(vector);
        const result = await run(all, vector);
        const status = vector.status ?? (vector.sense === undefined ? '00' : '02');
        assert.equal(describeAll(result), expected(status, vector.sense, vector.in));
        // SANITIZE goes on behind its answer.
        for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
        await checkMedium(all, vector);
        for (const step of vector.then ?? []) await checkThen(all, step);
      });
    }
  }

  for (const { cdb, sense } of UNKNOWN_CDBS) {
    test(`unknown: ${cdb}`, async () => {
      assert.equal(describeAll(await hosts().a.run(bytes(cdb))), expected('02', sense));
    });
  }
});

describe('CDB usage data', () => {
  for (const { row, usage } of ROWS) {
    const mask = bytes(usage);
    const shared = COMMANDS.ofOpcode(mask.readUInt8(0)).some(({ serviceAction }) => serviceAction !== undefined);

    test(`${row}: REPORT SUPPORTED OPERATION CODES tells it`, async () => {
      const action = shared ? mask.readUInt8(1) & 0x1f : 0;
      const opcode = mask.readUInt8(0);
      const ask = Buffer.from([0xa3, 0x0c, shared ? 2 : 1, opcode, 0, action, 0, 0, 0, 0xff, 0, 0]);
      const header = Buffer.from([0, 0x03, 0, mask.length]);
      assert.equal(show(await hosts().a.data(ask)), show(Buffer.concat([header, mask])));
    });

    test(`${row}: every other bit is refused, with its place`, async () => {
      for (let byte = 1; byte < mask.length; byte++) {
        for (let bit = 0; bit < 8; bit++) {
          const isAction = shared && byte === 1 && bit < 5;
          if (isAction || (mask.readUInt8(byte) & (1 << bit)) !== 0) continue;
          const cdb = Buffer.alloc(mask.length);
          cdb[0] = mask.readUInt8(0);
          if (shared) cdb[1] = mask.readUInt8(1) & 0x1f;
          cdb[byte] = cdb.readUInt8(byte) | (1 << bit);
          const all = hosts();
          assert.equal(describeAll(await all.a.run(cdb)), expected('02', invalidCdb(byte, bit)), show(cdb));
        }
      }
    });
  }
});

describe('data-out cut short', () => {
  for (const { row, vectors } of ROWS) {
    for (const vector of vectors.filter(({ whole }) => whole === true)) {
      test(`${row}: ${vector.shows}`, async () => {
        const full = bytes(vector.data ?? '');
        const step = Math.max(1, Math.floor(full.length / 100));
        for (let length = 0; length < full.length; length += step) {
          const all = await prepared(vector);
          const before = await state(all);
          const result = await run(all, vector, full.toString('hex', 0, length));
          assert.equal(result.status, 0x02, `${String(length)} of ${String(full.length)} bytes`);
          assert.equal((result.sense?.readUInt8(2) ?? 0) & 0x0f, 0x05, 'ILLEGAL REQUEST');
          assert.deepEqual(await state(all), before, `${String(length)} bytes have changed something`);
        }
      });
    }
  }
});

/** What commands can change: blocks, modes, keys and the reservation, readiness. */
async function state(all: Hosts): Promise<string[]> {
  const { fixture, a } = all;
  const start = Buffer.alloc(64 * 512);
  await fixture.volume.read(0, start.length, start, 0);
  const asked = ['1a 08 3f 00 ff 00', '5e 00 0000000000 00ff 00', '5e 01 0000000000 00ff 00', '00 00 00 00 00 00'];
  const answers: string[] = [];
  for (const cdb of asked) answers.push(describeAll(await a.run(bytes(cdb))));
  return [start.toString('hex'), ...answers];
}

describe('sense data', () => {
  const both = (error: ScsiError): string[] => [show(encodeSense(error, false)), show(encodeSense(error, true))];
  const golden = (fixedFormat: string, descriptor: string): string[] => [
    show(bytes(fixedFormat)),
    show(bytes(descriptor)),
  ];

  test('key and code alone', () => {
    const error = new ScsiError(SENSE.writeProtected);
    assert.deepEqual(both(error), golden(fixed('07', '27 00'), '72 07 27 00 000000 00'));
  });

  test('a field pointer, in the CDB and in the parameter list, with a bit and without', () => {
    const cdb = new ScsiError(SENSE.invalidFieldInCdb, { field: 10, bit: 7 });
    assert.deepEqual(both(cdb), golden(fixed('05', '24 00', 'cf000a'), '72 05 24 00 000000 08 02 06 0000 cf 000a 00'));
    const list = new ScsiError(SENSE.invalidFieldInParameterList, { field: 0x123, inData: true });
    assert.deepEqual(both(list), golden(fixed('05', '26 00', '800123'), '72 05 26 00 000000 08 02 06 0000 80 0123 00'));
  });

  test('information: 32 bits in either format; more only in descriptor format, and VALID=0 in fixed format', () => {
    const lba = new ScsiError(SENSE.unrecoveredReadError, { information: 0xffff_ffff });
    const descriptor = '72 03 11 00 000000 0c 00 0a 80 00 00000000ffffffff';
    assert.deepEqual(both(lba), golden(fixed('03', '11 00', '000000', 'ffffffff'), descriptor));
    const large = new ScsiError(SENSE.unrecoveredReadError, { information: 0x1_0000_0000 });
    const long = '72 03 11 00 000000 0c 00 0a 80 00 0000000100000000';
    assert.deepEqual(both(large), golden(fixed('03', '11 00'), long));
  });

  test('progress', () => {
    const error = new ScsiError(SENSE.sanitizeInProgress, { progress: 0x8000 });
    assert.deepEqual(
      both(error),
      golden(fixed('02', '04 1b', '808000'), '72 02 04 1b 000000 08 02 06 0000 80 8000 00'),
    );
  });
});
