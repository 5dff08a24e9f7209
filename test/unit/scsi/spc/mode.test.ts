// Expected bytes are written out from SPC-4 7.5 and SBC-3 6.4, not taken from the implementation.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HOST_B, scsiFixture } from '../../../support/scsi-fixture.ts';
import type { FixtureOptions, Initiator } from '../../../support/scsi-fixture.ts';

const ERROR_RECOVERY = '010a' + '00'.repeat(10);
const DISCONNECT = '020e' + '00'.repeat(14);
const CACHING = '0812' + '00'.repeat(18);
const CACHING_WCE = '081204' + '00'.repeat(17);
const CONTROL = '0a0a' + '02' + '10' + '00'.repeat(8); // GLTSD, unrestricted reordering
const EXCEPTIONS = '1c0a' + '00'.repeat(10);
const ALL = ERROR_RECOVERY + DISCONNECT + CACHING_WCE + CONTROL + EXCEPTIONS; // 72 bytes
/** 2048 blocks of 512 bytes. */
const SHORT_DESCRIPTOR = '00000800' + '00000200';
const LONG_DESCRIPTOR = '0000000000000800' + '00000000' + '00000200';

const sense6 = (page: number, { pc = 0, subpage = 0, dbd = true, length = 255 } = {}): number[] => [
  0x1a,
  dbd ? 0x08 : 0,
  (pc << 6) | page,
  subpage,
  length,
  0,
];
const sense10 = (page: number, flags: number, length = 0xffff): number[] => [
  0x5a,
  flags,
  page,
  0,
  0,
  0,
  0,
  length >> 8,
  length & 0xff,
  0,
];
const select6 = (length: number, flags = 0x10): number[] => [0x15, flags, 0, 0, length, 0];
const select10 = (length: number): number[] => [0x55, 0x10, 0, 0, 0, 0, 0, length >> 8, length & 0xff, 0];

const host = (options: FixtureOptions = {}): Initiator => scsiFixture(options).login();

/** A control page with these bytes 2 to 5. */
const control = (b2 = 0x02, b3 = 0x10, b4 = 0, b5 = 0): number[] => [0x0a, 0x0a, b2, b3, b4, b5, 0, 0, 0, 0, 0, 0];
const HEADER6 = [0, 0, 0, 0];
const HEADER10 = [0, 0, 0, 0, 0, 0, 0, 0];

async function select(initiator: Initiator, list: number[], cdb = select6(list.length)): Promise<string> {
  return initiator.status(cdb, { data: Buffer.from(list) });
}

describe('MODE SENSE', () => {
  test('all pages, both forms, every allocation length', async () => {
    const a = host();
    const six = '53' + '00' + '10' + '08' + SHORT_DESCRIPTOR + ALL; // 4 + 8 + 72 - 1 = 83
    const ten = '0056' + '00' + '10' + '0000' + '0008' + SHORT_DESCRIPTOR + ALL; // 8 + 8 + 72 - 2 = 86
    for (const subpage of [0, 0xff]) {
      assert.equal((await a.data(sense6(0x3f, { dbd: false, subpage }))).toString('hex'), six);
    }
    for (let length = 0; length <= 90; length++) {
      const data = await a.data(sense6(0x3f, { dbd: false, length }));
      assert.equal(data.toString('hex'), six.slice(0, 2 * length));
      assert.equal((await a.data(sense10(0x3f, 0, length))).toString('hex'), ten.slice(0, 2 * length));
    }
  });

  test('block descriptors: none, short, long', async () => {
    const a = host();
    assert.equal((await a.data(sense6(0x08))).toString('hex'), '17001000' + CACHING_WCE);
    assert.equal((await a.data(sense10(0x08, 0x08))).toString('hex'), '001a00100000' + '0000' + CACHING_WCE);
    assert.equal(
      (await a.data(sense10(0x08, 0x10))).toString('hex'),
      '002a0010' + '01' + '00' + '0010' + LONG_DESCRIPTOR + CACHING_WCE,
    );
    // DBD wins over LLBAA.
    assert.equal((await a.data(sense10(0x08, 0x18))).toString('hex'), '001a00100000' + '0000' + CACHING_WCE);
  });

  test('a capacity that does not fit the short descriptor is FFFFFFFFh there', async () => {
    const fixture = scsiFixture();
    fixture.lu.blocks = 0x1_0000_0000;
    const a = fixture.login();
    assert.equal((await a.data(sense6(8, { dbd: false }))).subarray(4, 8).toString('hex'), 'ffffffff');
    assert.equal((await a.data(sense10(8, 0x10))).subarray(8, 16).toString('hex'), '0000000100000000');
  });

  test('WCE is what the volume does', async () => {
    const durable = host({ info: { durability: 'durable' } });
    assert.equal((await durable.data(sense6(0x08))).subarray(4).toString('hex'), CACHING);
    const mirrored = host({ info: { durability: 'mirrored-ram' } });
    assert.equal((await mirrored.data(sense6(0x08))).subarray(4).toString('hex'), CACHING_WCE);
  });

  test('WP is set for a read-only volume, a read-only mapping and SWP', async () => {
    const header = async (initiator: Initiator): Promise<number | undefined> => (await initiator.data(sense6(8)))[2];
    assert.equal(await header(host()), 0x10);
    assert.equal(await header(host({ info: { readOnly: true } })), 0x90);
    assert.equal(await header(host({ visibility: 'read-only' })), 0x90);
    const fixture = scsiFixture();
    fixture.lu.modes.softwareWriteProtect = true;
    assert.equal(await header(fixture.login()), 0x90);
  });

  test('changeable, default and saved values', async () => {
    const fixture = scsiFixture();
    fixture.lu.modes.softwareWriteProtect = true;
    const a = fixture.login();
    const page = async (code: number, pc: number): Promise<string> =>
      (await a.data(sense6(code, { pc }))).subarray(4).toString('hex');
    assert.equal(await page(0x0a, 0), '0a0a0210' + '08' + '00'.repeat(7));
    assert.equal(await page(0x0a, 1), '0a0a0406' + '0840' + '00'.repeat(6)); // D_SENSE, QERR, SWP, TAS
    assert.equal(await page(0x0a, 2), CONTROL);
    assert.equal(await page(0x08, 1), CACHING);
    assert.equal(await page(0x08, 2), CACHING_WCE);
    assert.equal(await page(0x1c, 1), '1c0a180f' + 'ff'.repeat(8));
    for (const code of [0x01, 0x08, 0x0a, 0x3f]) {
      assert.equal(await a.status(sense6(code, { pc: 3 })), '05/39/00');
    }
  });

  test('unknown pages and subpages', async () => {
    const a = host();
    for (const code of [0x00, 0x03, 0x04, 0x07, 0x19, 0x1a]) {
      assert.equal(await a.status(sense6(code)), '05/24/00 cdb 2 bit 5');
    }
    for (const code of [0x08, 0x0a, 0x3f]) {
      assert.equal(await a.status(sense6(code, { subpage: 1 })), '05/24/00 cdb 3');
    }
    assert.equal((await a.data(sense6(0x0a, { subpage: 0xff }))).subarray(4).toString('hex'), CONTROL);
    assert.equal(await a.status([0x1a, 0x10, 0x08, 0, 255, 0]), '05/24/00 cdb 1 bit 4'); // LLBAA in the 6-byte form
  });
});

describe('MODE SELECT', () => {
  test('the changeable bits of the control page', async () => {
    const fixture = scsiFixture();
    const a = fixture.login();
    assert.equal(await select(a, [...HEADER6, ...control(0x06, 0x16, 0x08, 0x40)]), 'GOOD');
    assert.deepEqual(
      [
        fixture.lu.modes.descriptorSense,
        fixture.lu.modes.queueErrorManagement,
        fixture.lu.modes.softwareWriteProtect,
        fixture.lu.modes.taskAbortedStatus,
      ],
      [true, 3, true, true],
    );
    assert.equal((await a.data(sense6(0x0a))).subarray(4, 10).toString('hex'), '0a0a06160840');
    assert.equal(a.lunNexus.writeOk, false);
    // Errors come in descriptor format from now on.
    const refused = await a.run(sense6(0x3e));
    assert.equal(refused.sense?.toString('hex'), '7205240000000008' + '02060000' + 'cd000200');
    assert.equal(await select(a, [...HEADER10, ...control()], select10(20)), 'GOOD');
    assert.equal((await a.data(sense6(0x0a))).subarray(4).toString('hex'), CONTROL);
    assert.equal(a.lunNexus.writeOk, true);
  });

  test('what was read can be written back, with all its pages, header and block descriptor', async () => {
    const fixture = scsiFixture();
    const a = fixture.login();
    const b = fixture.login(HOST_B);
    const six = await a.data(sense6(0x3f, { dbd: false }));
    assert.equal(await a.status(select6(six.length), { data: six }), 'GOOD');
    for (const flags of [0x00, 0x08, 0x10]) {
      const ten = await a.data(sense10(0x3f, flags));
      assert.equal(await a.status(select10(ten.length), { data: ten }), 'GOOD');
    }
    assert.equal(await b.status([0, 0, 0, 0, 0, 0]), 'GOOD'); // nothing has changed
  });

  test('a change is told to the other nexuses, once, and only if it is one', async () => {
    const fixture = scsiFixture();
    const a = fixture.login();
    const b = fixture.login(HOST_B);
    const list = [...HEADER6, ...control(0x02, 0x12)];
    assert.equal(await select(a, list), 'GOOD');
    assert.equal(await select(a, list), 'GOOD');
    assert.equal(await a.status([0, 0, 0, 0, 0, 0]), 'GOOD');
    assert.equal(await b.status([0, 0, 0, 0, 0, 0]), '06/2A/01');
    assert.equal(await select(a, list), 'GOOD');
    assert.equal(await b.status([0, 0, 0, 0, 0, 0]), 'GOOD');
  });

  test('a list cut at every byte is a length error and changes nothing', async () => {
    const fixture = scsiFixture();
    const a = fixture.login();
    const b = fixture.login(HOST_B);
    const modes = (): object => ({
      ...fixture.lu.modes,
      informationalExceptions: fixture.lu.modes.informationalExceptions.toString('hex'),
    });
    const before = modes();
    const descriptor = [0, 0, 8, 0, 0, 0, 2, 0];
    const exceptions = [0x1c, 0x0a, 0x08, 0x06, 0, 0, 0, 1, 0, 0, 0, 2];
    const list = [0, 0, 0, 8, ...descriptor, ...control(0x06, 0x16, 0x08, 0x40), ...exceptions];
    for (let length = 1; length < list.length; length++) {
      // Between pages a shorter list is a complete one.
      if (length === 12 || length === 24) continue;
      assert.equal(await select(a, list.slice(0, length)), '05/1A/00', `cut to ${length}`);
      assert.deepEqual(modes(), before);
    }
    // The CDB announces more than was sent.
    assert.equal(await select(a, list.slice(0, 24), select6(list.length)), '05/1A/00');
    assert.deepEqual(modes(), before);
    assert.equal(await b.status([0, 0, 0, 0, 0, 0]), 'GOOD');
    assert.equal(await select(a, list), 'GOOD');
    assert.equal(fixture.lu.modes.informationalExceptions.toString('hex'), '08060000000100000002');
    assert.equal((await a.data(sense6(0x1c))).subarray(4).toString('hex'), '1c0a08060000000100000002');
  });

  test('a long list cut at every byte', async () => {
    const a = host();
    const list = [0, 0, 0, 0, 1, 0, 0, 16, ...Buffer.from(LONG_DESCRIPTOR, 'hex'), ...control(0x06)];
    for (let length = 1; length < list.length; length++) {
      if (length === 24) continue;
      assert.equal(await select(a, list.slice(0, length), select10(length)), '05/1A/00', `cut to ${length}`);
    }
    assert.equal(await select(a, list, select10(list.length)), 'GOOD');
  });

  test('every bit that cannot change is refused with its place, and then nothing of the list is done', async () => {
    const fixture = scsiFixture();
    const a = fixture.login();
    const changeable = Buffer.from('0a0a04060840000000000000', 'hex');
    for (let byte = 2; byte < 12; byte++) {
      for (let bit = 0; bit < 8; bit++) {
        const page = control();
        page[byte] = (page[byte] ?? 0) ^ (1 << bit);
        const free = ((changeable[byte] ?? 0) & (1 << bit)) !== 0;
        if (free) continue;
        const list = [...HEADER6, ...control(0x02, 0x10, 0x08), ...page.with(4, (page[4] ?? 0) | 0x08)];
        assert.equal(await select(a, list), `05/26/00 data ${16 + byte} bit ${bit}`);
        assert.equal(fixture.lu.modes.softwareWriteProtect, false);
      }
    }
    // WCE belongs to the volume.
    const caching = [...Buffer.from(CACHING, 'hex')];
    assert.equal(await select(a, [...HEADER6, ...caching]), '05/26/00 data 6 bit 2');
  });

  test('reserved values', async () => {
    const a = host();
    assert.equal(await select(a, [...HEADER6, ...control(0x02, 0x14)]), '05/26/00 data 7 bit 2'); // QERR=10b
    for (const mrie of [1, 7, 8, 15]) {
      const page = [0x1c, 0x0a, 0, mrie, 0, 0, 0, 0, 0, 0, 0, 0];
      assert.equal(await select(a, [...HEADER6, ...page]), '05/26/00 data 7 bit 3');
    }
  });

  test('header, descriptor and page headers', async () => {
    const a = host();
    const page = control();
    const cases: [number[], string][] = [
      [[0, 1, 0, 0, ...page], '05/26/00 data 1'], // medium type
      [[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0], '05/26/00 data 3'], // no whole descriptor
      [[0, 0, 0, 16, ...new Array<number>(16).fill(0)], '05/26/00 data 3'], // two of them
      [[0, 0, 0, 8, 0, 0, 8, 1, 0, 0, 2, 0], '05/26/00 data 4'], // another capacity
      [[0, 0, 0, 8, 0, 0, 8, 0, 0, 0, 4, 0], '05/26/00 data 9'], // another block size
      [[...HEADER6, 0x0b, 0x0a], '05/26/00 data 4'], // unknown page
      [[...HEADER6, 0x4a, 0x01, 0, 0x1c], '05/26/00 data 4'], // subpage
      [[...HEADER6, 0x0a, 0x0b, ...page.slice(2), 0], '05/26/00 data 5'], // page length
      [[...HEADER6, ...page, 0x3f, 0], '05/26/00 data 16'],
    ];
    for (const [list, expected] of cases) assert.equal(await select(a, list), expected, list.join(' '));
    const good: number[][] = [
      [0xff, 0, 0x90, 0, ...page], // mode data length and device-specific byte as read
      [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0], // capacity: as it is
      [0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0, ...page], // capacity: all there is
      [...HEADER6, 0x8a, ...page.slice(1)], // PS is reserved here
      HEADER6,
    ];
    for (const list of good) assert.equal(await select(a, list), 'GOOD', list.join(' '));
  });

  test('CDB flags', async () => {
    const a = host();
    const list = Buffer.from([...HEADER6, ...control()]);
    assert.equal(await a.status(select6(16, 0x11), { data: list }), '05/24/00 cdb 1 bit 0'); // SP
    assert.equal(await a.status(select6(16, 0x12), { data: list }), '05/24/00 cdb 1 bit 1'); // RTD
    assert.equal(await a.status(select6(16, 0x00), { data: list }), '05/24/00 cdb 1 bit 4'); // PF=0
    assert.equal(await a.status(select6(0, 0x00)), 'GOOD'); // no list at all
    assert.equal(await a.status(select10(0)), 'GOOD');
  });

  test('a reset of the logical unit restores the defaults', async () => {
    const fixture = scsiFixture();
    const a = fixture.login();
    assert.equal(await select(a, [...HEADER6, ...control(0x06, 0x12, 0x08, 0x40)]), 'GOOD');
    fixture.lu.reset({ key: 6, asc: 0x29, ascq: 3 });
    a.clearAttentions();
    assert.equal((await a.data(sense6(0x0a))).subarray(4).toString('hex'), CONTROL);
  });
});
