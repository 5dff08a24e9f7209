// SBC-3 commands, and those of vaai/. The same logical unit as in cdb-spc.ts: 800h blocks of 512 bytes.
import { LIST_LENGTH, beyondEnd, block, fixed, invalidCdb, invalidList, miscompare } from './cdb.ts';
import type { CdbVector, RowVectors } from './cdb.ts';
import { SOFTWARE_WRITE_PROTECTED, WRITE_10, WRITE_PROTECT } from './cdb-spc.ts';
import { h } from './hex.ts';

const ALL_8 = 'ff'.repeat(8);
const ALL_4 = 'ff'.repeat(4);

/** A CDB with LBA and length in blocks, in the shape of 6, 10, 12 or 16 bytes (SPC-4 4.2.5). Both as hex of 4 digits. */
function shaped(shape: Shape, opcode: string, flags: string, lba: string, blocks: string): string {
  if (shape === 6) return h(opcode, '00', lba, blocks.slice(2), '00');
  if (shape === 10) return h(opcode, flags, '0000', lba, '00', blocks, '00');
  if (shape === 12) return h(opcode, flags, '0000', lba, '0000', blocks, '00 00');
  return h(opcode, flags, '000000000000', lba, '0000', blocks, '00 00');
}
type Shape = 6 | 10 | 12 | 16;

const usage = (shape: Shape, opcode: string, flags: string): string => {
  if (shape === 6) return h(opcode, '1f ffff ff 00');
  if (shape === 10) return h(opcode, flags, ALL_4, '1f ffff 00');
  if (shape === 12) return h(opcode, flags, ALL_4, ALL_4, '1f 00');
  return h(opcode, flags, ALL_8, ALL_4, '1f 00');
};
const protectedWrite = (cdb: string, data: string): CdbVector => ({
  shows: 'software write protect',
  before: [WRITE_PROTECT],
  cdb,
  data,
  sense: SOFTWARE_WRITE_PROTECTED,
  medium: [[0x10, '00']],
});

function read(shape: Shape, opcode: string): RowVectors {
  const cdb = (flags: string, lba: string, blocks: string): string => shaped(shape, opcode, flags, lba, blocks);
  const vectors: CdbVector[] = [
    { shows: 'two blocks', before: [WRITE_10('c6')], cdb: cdb('00', '0010', '0002'), in: block('c6') + block('00') },
    { shows: 'the last block', cdb: cdb('00', '07ff', '0001'), in: block('00') },
    { shows: 'beyond the last block', cdb: cdb('00', '07ff', '0002'), sense: beyondEnd('000007ff') },
  ];
  if (shape === 6) {
    vectors.push({ shows: 'length 0 means 256', before: [WRITE_10('c6')], cdb: cdb('00', '0010', '0000'), in: block('c6') + block('00').repeat(255) });
  } else {
    vectors.push(
      { shows: 'DPO and FUA', before: [WRITE_10('c6')], cdb: cdb('18', '0010', '0001'), in: block('c6') },
      { shows: 'length 0 is no error', cdb: cdb('00', '0010', '0000') },
      { shows: 'length 0 beyond the end is one', cdb: cdb('00', '0801', '0000'), sense: beyondEnd('00000801') },
      { shows: 'RDPROTECT without protection information', cdb: cdb('20', '0010', '0001'), sense: invalidCdb(1, 5) },
    );
  }
  return { row: `READ (${String(shape)})`, usage: usage(shape, opcode, '18'), vectors };
}

function write(shape: Shape, opcode: string): RowVectors {
  const cdb = (flags: string, lba: string, blocks: string): string => shaped(shape, opcode, flags, lba, blocks);
  const vectors: CdbVector[] = [
    { shows: 'two blocks', cdb: cdb('00', '0010', '0002'), data: block('d1') + block('d2'), medium: [[0x0f, '00'], [0x10, 'd1'], [0x11, 'd2'], [0x12, '00']] },
    { shows: 'fewer blocks sent than named: those are written', cdb: cdb('00', '0010', '0002'), data: block('d1'), medium: [[0x10, 'd1'], [0x11, '00']] },
    { shows: 'part of a block is not written', cdb: cdb('00', '0010', '0001'), data: 'd1'.repeat(200), medium: [[0x10, '00']] },
    { shows: 'beyond the last block, nothing is written', cdb: cdb('00', '07ff', '0002'), data: block('d1').repeat(2), sense: beyondEnd('000007ff'), medium: [[0x7ff, '00']] },
    protectedWrite(cdb('00', '0010', '0001'), block('d1')),
  ];
  if (shape !== 6) {
    vectors.push(
      { shows: 'FUA', cdb: cdb('08', '0010', '0001'), data: block('d1'), medium: [[0x10, 'd1']] },
      { shows: 'WRPROTECT without protection information', cdb: cdb('20', '0010', '0001'), data: block('d1'), sense: invalidCdb(1, 5), medium: [[0x10, '00']] },
    );
  }
  return { row: `WRITE (${String(shape)})`, usage: usage(shape, opcode, '18'), vectors };
}

function verify(shape: 10 | 12 | 16, opcode: string): RowVectors {
  const cdb = (flags: string, lba: string, blocks: string): string => shaped(shape, opcode, flags, lba, blocks);
  return {
    row: `VERIFY (${String(shape)})`,
    usage: usage(shape, opcode, '16'),
    vectors: [
      { shows: 'BYTCHK=00b reads only', before: [WRITE_10('e1')], cdb: cdb('00', '0010', '0002') },
      { shows: 'BYTCHK=01b, equal', before: [WRITE_10('e1')], cdb: cdb('02', '0010', '0002'), data: block('e1') + block('00') },
      { shows: 'BYTCHK=01b, one byte differs', before: [WRITE_10('e1')], cdb: cdb('02', '0010', '0002'), data: block('e1') + h('00'.repeat(3), 'ff', '00'.repeat(508)), sense: miscompare('00000203') },
      { shows: 'BYTCHK=11b, one block for all', cdb: cdb('06', '0010', '0004'), data: block('00') },
      { shows: 'BYTCHK=11b, the second block differs', before: [WRITE_10('e1')], cdb: cdb('06', '000f', '0002'), data: block('00'), sense: miscompare('00000200') },
      { shows: 'BYTCHK=10b is reserved', cdb: cdb('04', '0010', '0001'), sense: invalidCdb(1, 2) },
      { shows: 'beyond the last block', cdb: cdb('00', '0800', '0001'), sense: beyondEnd('00000800') },
    ],
  };
}

function writeAndVerify(shape: 10 | 12 | 16, opcode: string): RowVectors {
  const cdb = (flags: string, lba: string, blocks: string): string => shaped(shape, opcode, flags, lba, blocks);
  return {
    row: `WRITE AND VERIFY (${String(shape)})`,
    usage: usage(shape, opcode, '16'),
    vectors: [
      { shows: 'writes', cdb: cdb('00', '0010', '0002'), data: block('d3') + block('d4'), medium: [[0x10, 'd3'], [0x11, 'd4']] },
      { shows: 'BYTCHK=01b', cdb: cdb('02', '0010', '0001'), data: block('d3'), medium: [[0x10, 'd3']] },
      { shows: 'BYTCHK=11b has no place here', cdb: cdb('06', '0010', '0001'), data: block('d3'), sense: invalidCdb(1, 2), medium: [[0x10, '00']] },
      protectedWrite(cdb('00', '0010', '0001'), block('d3')),
    ],
  };
}

function prefetch(shape: 10 | 16, opcode: string): RowVectors {
  return {
    row: `PRE-FETCH (${String(shape)})`,
    usage: usage(shape, opcode, '02'),
    vectors: [
      { shows: 'CONDITION MET', cdb: shaped(shape, opcode, '00', '0010', '0002'), status: '04' },
      { shows: 'IMMED, length 0: to the end', cdb: shaped(shape, opcode, '02', '0010', '0000'), status: '04' },
      { shows: 'beyond the last block', cdb: shaped(shape, opcode, '00', '07ff', '0002'), sense: beyondEnd('000007ff') },
    ],
  };
}

function synchronize(shape: 10 | 16, opcode: string): RowVectors {
  return {
    row: `SYNCHRONIZE CACHE (${String(shape)})`,
    usage: usage(shape, opcode, '06'),
    vectors: [
      { shows: 'all', cdb: shaped(shape, opcode, '00', '0000', '0000') },
      { shows: 'IMMED, a range', cdb: shaped(shape, opcode, '02', '0010', '0008') },
      { shows: 'beyond the last block', cdb: shaped(shape, opcode, '00', '0800', '0001'), sense: beyondEnd('00000800') },
    ],
  };
}

function writeSame(shape: 10 | 16, opcode: string, flags: string): RowVectors {
  const cdb = (bits: string, lba: string, blocks: string): string => shaped(shape, opcode, bits, lba, blocks);
  const vectors: CdbVector[] = [
    { shows: 'a block, many times', cdb: cdb('00', '0010', '0003'), data: block('f1'), whole: true, medium: [[0x0f, '00'], [0x10, 'f1'], [0x12, 'f1'], [0x13, '00']] },
    { shows: '0 blocks: to the last one (WSNZ=0)', cdb: cdb('00', '07fe', '0000'), data: block('f1'), medium: [[0x7fd, '00'], [0x7fe, 'f1'], [0x7ff, 'f1']] },
    { shows: 'UNMAP gives the block back', before: [WRITE_10('f1')], cdb: cdb('08', '0010', '0001'), data: block('00'), medium: [[0x10, '00']], then: ['9e 12 0000000000000010 00000018 00 00 = 00000014 00000000 0000000000000010 000007f0 01 000000'] },
    { shows: 'ANCHOR is not offered', cdb: cdb('10', '0010', '0001'), data: block('00'), sense: invalidCdb(1, 4) },
    { shows: 'two blocks of data', cdb: cdb('00', '0010', '0003'), data: block('f1').repeat(2), sense: invalidCdb(1, 0), medium: [[0x10, '00']] },
    { shows: 'beyond the last block', cdb: cdb('00', '07ff', '0002'), data: block('f1'), sense: beyondEnd('000007ff'), medium: [[0x7ff, '00']] },
    protectedWrite(cdb('00', '0010', '0001'), block('f1')),
  ];
  if (shape === 16) {
    vectors.push({ shows: 'NDOB: zeros without data', before: [WRITE_10('f1')], cdb: cdb('01', '0010', '0001'), medium: [[0x10, '00']] });
  }
  return { row: `WRITE SAME (${String(shape)})`, usage: usage(shape, opcode, flags), vectors };
}

/** With IMMED the command ends at once, and what it does can be asked for (SBC-3 4.11.2). */
const IN_PROGRESS = fixed('02', '04 1b', '80 0000');
const meanwhile = [`00 00 00 00 00 00 ! ${IN_PROGRESS}`, `28 00 00000010 00 0001 00 ! ${IN_PROGRESS}`, '12 00 00 0001 00 = 00', `03 00 00 00 12 00 = ${IN_PROGRESS}`];

export const SBC_VECTORS: readonly RowVectors[] = [
  read(6, '08'),
  read(10, '28'),
  read(12, 'a8'),
  read(16, '88'),
  write(6, '0a'),
  write(10, '2a'),
  write(12, 'aa'),
  write(16, '8a'),
  verify(10, '2f'),
  verify(12, 'af'),
  verify(16, '8f'),
  writeAndVerify(10, '2e'),
  writeAndVerify(12, 'ae'),
  writeAndVerify(16, '8e'),
  prefetch(10, '34'),
  prefetch(16, '90'),
  synchronize(10, '35'),
  synchronize(16, '91'),
  writeSame(10, '41', '08'),
  writeSame(16, '93', '09'),
  {
    row: 'READ CAPACITY (10)',
    usage: '25 01 ff ff ff ff 00 00 01 00',
    vectors: [
      { shows: 'last LBA and block length', cdb: '25 00 00000000 0000 00 00', in: '000007ff 00000200' },
    ],
  },
  {
    row: 'READ CAPACITY (16)',
    usage: h('9e 10', ALL_8, ALL_4, '01 00'),
    vectors: [
      {
        // SBC-3 5.16: no protection; 2^3 blocks per physical block; LBPME LBPRZ, lowest aligned LBA 0.
        shows: 'last LBA, block length, exponent, provisioning',
        cdb: '9e 10 0000000000000000 00000020 00 00',
        in: h('00000000000007ff 00000200 00 03 c000', '00'.repeat(16)),
      },
      { shows: 'cut', cdb: '9e 10 0000000000000000 0000000c 00 00', in: '00000000000007ff 00000200' },
    ],
  },
  {
    row: 'GET LBA STATUS',
    usage: h('9e 12', ALL_8, ALL_4, '00 00'),
    vectors: [
      {
        // SBC-3 5.4: length, reserved; descriptors of LBA, blocks, status (0 mapped, 1 deallocated).
        shows: 'a mapped block and what follows',
        before: [WRITE_10('aa')],
        cdb: '9e 12 0000000000000010 000000ff 00 00',
        in: '00000024 00000000 0000000000000010 00000001 00 000000 0000000000000011 000007ef 01 000000',
      },
      { shows: 'the last LBA', cdb: '9e 12 00000000000007ff 000000ff 00 00', in: '00000014 00000000 00000000000007ff 00000001 01 000000' },
      { shows: 'beyond the last LBA', cdb: '9e 12 0000000000000800 000000ff 00 00', sense: beyondEnd('00000800') },
      { shows: 'an LBA of 64 bits', cdb: '9e 12 ffffffffffffffff 000000ff 00 00', sense: fixed('05', '21 00') },
      {
        // SPC-4 7.5.8: with D_SENSE=0 the format is fixed; 4.5.3: VALID=0, for INFORMATION has 32 bits.
        shows: 'an LBA that fits no fixed format sense',
        cdb: '9e 12 0000000100000000 000000ff 00 00',
        sense: fixed('05', '21 00'),
      },
    ],
  },
  {
    row: 'READ DEFECT DATA (10)',
    usage: '37 00 1f 00 00 00 00 ff ff 00',
    vectors: [{ shows: 'empty lists in the format asked for', cdb: '37 00 1d 00000000 00ff 00', in: '00 1d 0000' }],
  },
  {
    row: 'READ DEFECT DATA (12)',
    usage: h('b7 1f', ALL_4, ALL_4, '00 00'),
    vectors: [{ shows: 'empty lists in the format asked for', cdb: 'b7 1d 00000000 000000ff 00 00', in: '00 1d 0000 00000000' }],
  },
  {
    row: 'SANITIZE, OVERWRITE',
    usage: '48 a1 00 00 00 00 00 ff ff 00',
    vectors: [
      {
        // SBC-3 table 70: one pass, a pattern of four bytes.
        shows: 'in the background',
        before: [WRITE_10('77')],
        cdb: '48 81 0000000000 0008 00',
        data: '01 00 0004 5a5a5a5a',
        whole: true,
        medium: [[0x10, '5a']],
        then: meanwhile,
      },
      { shows: 'no pass', cdb: '48 81 0000000000 0008 00', data: '00 00 0004 5a5a5a5a', sense: invalidList(0, 4) },
      { shows: 'a pattern of another length', cdb: '48 81 0000000000 0008 00', data: '01 00 0005 5a5a5a5a', sense: invalidList(2) },
    ],
  },
  {
    row: 'SANITIZE, BLOCK ERASE',
    usage: '48 a2 00 00 00 00 00 00 00 00',
    vectors: [{ shows: 'in the background', before: [WRITE_10('77')], cdb: '48 82 0000000000 0000 00', medium: [[0x10, '00']], then: meanwhile }],
  },
  {
    row: 'SANITIZE, CRYPTOGRAPHIC ERASE',
    usage: '48 a3 00 00 00 00 00 00 00 00',
    vectors: [{ shows: 'in the background', before: [WRITE_10('77')], cdb: '48 83 0000000000 0000 00', medium: [[0x10, '00']], then: meanwhile }],
  },
  {
    row: 'SANITIZE, EXIT FAILURE MODE',
    usage: '48 bf 00 00 00 00 00 00 00 00',
    vectors: [
      { shows: 'nothing has failed', cdb: '48 1f 0000000000 0000 00', then: ['00 00 00 00 00 00 ='] },
      { shows: 'not while one runs', before: ['48 82 0000000000 0000 00'], cdb: '48 1f 0000000000 0000 00', sense: IN_PROGRESS },
    ],
  },
  {
    row: 'WRITE ATOMIC (16)',
    usage: h('9c 18', ALL_8, 'ffff ffff 1f 00'),
    vectors: [
      // SBC-4 5.48: ATOMIC BOUNDARY in bytes 10 and 11, TRANSFER LENGTH in 12 and 13.
      { shows: 'two blocks', cdb: '9c 00 0000000000000010 0000 0002 00 00', data: block('b1') + block('b2'), whole: true, medium: [[0x10, 'b1'], [0x11, 'b2']] },
      { shows: 'an atomic boundary', cdb: '9c 00 0000000000000010 0001 0001 00 00', data: block('b1'), sense: invalidCdb(10), medium: [[0x10, '00']] },
      { shows: 'beyond the last block', cdb: '9c 00 00000000000007ff 0000 0002 00 00', data: block('b1').repeat(2), sense: beyondEnd('000007ff') },
      protectedWrite('9c 00 0000000000000010 0000 0001 00 00', block('b1')),
    ],
  },
  {
    row: 'ORWRITE (16)',
    usage: usage(16, '8b', '18'),
    vectors: [
      { shows: 'ors', before: [WRITE_10('a0')], cdb: '8b 00 0000000000000010 00000002 00 00', data: block('0b') + block('0c'), medium: [[0x10, 'ab'], [0x11, '0c']] },
      { shows: 'ORPROTECT without protection information', cdb: '8b 20 0000000000000010 00000001 00 00', data: block('0b'), sense: invalidCdb(1, 5) },
      protectedWrite('8b 00 0000000000000010 00000001 00 00', block('0b')),
    ],
  },
  {
    row: 'COMPARE AND WRITE',
    usage: h('89 18', ALL_8, '000000 ff 1f 00'),
    vectors: [
      // SBC-3 5.2: NUMBER OF LOGICAL BLOCKS in byte 13; verify instance first, then write instance.
      { shows: 'equal: written', before: [WRITE_10('c1')], cdb: '89 00 0000000000000010 000000 01 00 00', data: block('c1') + block('c2'), whole: true, medium: [[0x10, 'c2']] },
      { shows: 'different: not written', before: [WRITE_10('c1')], cdb: '89 00 0000000000000010 000000 01 00 00', data: h('c1'.repeat(5), 'c0'.repeat(507)) + block('c2'), sense: miscompare('00000005'), medium: [[0x10, 'c1']] },
      { shows: '0 blocks', cdb: '89 00 0000000000000010 000000 00 00 00' },
      { shows: 'more than MAXIMUM COMPARE AND WRITE LENGTH', cdb: '89 00 0000000000000010 000000 81 00 00', sense: invalidCdb(13) },
      { shows: 'beyond the last block', cdb: '89 00 00000000000007ff 000000 02 00 00', data: block('00').repeat(4), sense: beyondEnd('000007ff') },
      protectedWrite('89 00 0000000000000010 000000 01 00 00', block('00').repeat(2)),
    ],
  },
  {
    row: 'UNMAP',
    usage: '42 00 00 00 00 00 1f ff ff 00',
    vectors: [
      {
        // SBC-3 UNMAP parameter list: length, descriptor length, reserved; LBA, blocks, reserved.
        shows: 'two descriptors, one of them empty at the end of the medium',
        before: [WRITE_10('0e')],
        cdb: '42 00 00000000 00 0028 00',
        data: '0026 0020 00000000 0000000000000010 00000001 00000000 0000000000000800 00000000 00000000',
        whole: true,
        medium: [[0x10, '00']],
        then: ['9e 12 0000000000000010 00000018 00 00 = 00000014 00000000 0000000000000010 000007f0 01 000000'],
      },
      { shows: 'no list', cdb: '42 00 00000000 00 0000 00' },
      { shows: 'ANCHOR is not offered', cdb: '42 01 00000000 00 0000 00', sense: invalidCdb(1, 0) },
      { shows: 'a list without room for its header', cdb: '42 00 00000000 00 0007 00', data: '0005 0000 000000', sense: LIST_LENGTH },
      {
        shows: 'one range beyond the end: nothing is unmapped',
        before: [WRITE_10('0e')],
        cdb: '42 00 00000000 00 0028 00',
        data: '0026 0020 00000000 0000000000000010 00000001 00000000 00000000000007ff 00000002 00000000',
        sense: fixed('05', '21 00'),
        medium: [[0x10, '0e']],
      },
      protectedWrite('42 00 00000000 00 0018 00', '0016 0010 00000000 0000000000000010 00000001 00000000'),
    ],
  },
];
