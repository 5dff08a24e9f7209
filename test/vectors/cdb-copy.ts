// THIRD-PARTY COPY OUT (83h) and IN (84h) of SPC-4, as ESXi, QEMU and sg3_utils send them. The same logical unit as in
// cdb-spc.ts, which is source and destination: 800h blocks of 512 bytes, NAA 6 02474d 0123456789abcdef012345678.
import { LIST_LENGTH, fixed, invalidCdb, invalidList } from './cdb.ts';
import type { RowVectors } from './cdb.ts';
import { WRITE_10 } from './cdb-spc.ts';
import { h } from './hex.ts';

const NAA = '602474d0123456789abcdef012345678';
/** E4h, block device, binary NAA designator of a logical unit, blocks of 512 bytes (SPC-4 6.4). */
const cscd = (naa = NAA): string => h('e4 00 0000 01 03 00 10', naa, '00000000 00 000200');
/** 02h, DC=0: blocks from LBA to LBA, between CSCD 0 and CSCD 0 (SPC-4 6.4.6.4). */
const segment = (blocks: string, from: string, to: string, ends = '0000 0000'): string =>
  h('02 00 0018', ends, '0000', blocks, '000000000000', from, '000000000000', to);
/** The same in a list of LID4: the first CSCD descriptor has the ID 1 (SPC-4 6.4.2). */
const segment4 = (blocks: string, from: string, to: string, ends = '0001 0001'): string => segment(blocks, from, to, ends);
/** 0Ah: bytes, LBAs, byte offsets (SPC-4 6.4.6.12). */
const offsets = (bytes: string, from: string, to: string, behind = '0000 0000'): string =>
  h('0a 00 001c 0000 0000', bytes, '000000000000', from, '000000000000', to, behind);
const VERIFY = '07 00 0008 0000 0000 01 000000';

const size = (hex: string): string => (hex.replaceAll(' ', '').length / 2).toString(16).padStart(8, '0');
/** SPC-4 6.5. */
const lid1 = (cscds: string, segments: string, head = '01 00'): string =>
  h(head, size(cscds).slice(4), '00000000', size(segments), '00000000', cscds, segments);
/** SPC-4 6.4; `flags`: LIST ID USAGE and IMMED. */
const lid4 = (cscds: string, segments: string, usage = '00', flags = '00'): string =>
  h(
    ...['01', usage, '0020', '00'.repeat(11), flags, 'ff 000000 00000102', '00'.repeat(18)],
    ...[size(cscds).slice(4), size(segments).slice(4), '0000', cscds, segments],
  );
const out = (action: string, list: string): string => h('83', action, '0000000000000000', size(list), '0000');
const receive = (action: string, listId: string): string => h('84', action, listId, '00000000', '00000100 00 00');

const COPY = lid1(cscd(), segment('0002', '0010', '0020'));
const COPY_4 = lid4(cscd(), segment4('0002', '0010', '0020'));
/** In the background. */
const LONG = lid4(cscd(), segment4('0400', '0000', '0400').repeat(40), '00', '01');
/** The same with a list identifier that LID1 has, too. */
const LONG_1 = LONG.replace('00000102', '00000001');
const FAILING = lid1(cscd(), segment('0002', '0010', '0020') + segment('0002', '07ff', '0020'));
/** COPY ABORTED with COMMAND-SPECIFIC INFORMATION: where the source's answer is, the destination's, the segment. */
const aborted = (code: string, specific: string, where: string, forwarded = ''): string =>
  h('70 00 0a 00000000', forwarded === '' ? '0a' : '1d', where, code, '00', specific, forwarded);
const BEYOND = h('02', fixed('05', '21 00', '000000', '000007ff'));
const NOT_THERE = '6fffffffffffffffffffffffffffffff';

export const COPY_VECTORS: readonly RowVectors[] = [
  {
    row: 'EXTENDED COPY (LID1)',
    usage: '83 00 00000000 00000000 ffffffff 00 00',
    vectors: [
      { shows: 'no list: nothing to do', cdb: '83 00 0000000000000000 00000000 0000' },
      {
        shows: 'two blocks',
        before: [WRITE_10('c6')],
        cdb: out('00', COPY),
        data: COPY,
        medium: [
          [0x20, 'c6'],
          [0x21, '00'],
        ],
        // SPC-4 6.25: it is told once.
        then: [
          `${receive('00', '01000000')} = 00000008 01 0001 f1 00000002`,
          `${receive('00', '01000000')} ! ${invalidCdb(2)}`,
          `${receive('04', '01000000')} = 00000000`,
        ],
        whole: true,
      },
      {
        shows: 'QEMU: list identifier 1, LIST ID USAGE 10b, two CSCD descriptors',
        before: [WRITE_10('c6')],
        cdb: out('00', lid1(cscd() + cscd(), segment('0001', '0010', '0030', '0000 0001'), '01 10')),
        data: lid1(cscd() + cscd(), segment('0001', '0010', '0030', '0000 0001'), '01 10'),
        medium: [[0x30, 'c6']],
      },
      {
        shows: 'the logical unit itself, without a CSCD descriptor; no list identifier',
        before: [WRITE_10('c6')],
        cdb: out('00', lid1('', segment('0001', '0010', '0030', 'ffff ffff'), '00 18')),
        data: lid1('', segment('0001', '0010', '0030', 'ffff ffff'), '00 18'),
        medium: [[0x30, 'c6']],
        then: [`${receive('00', '00000000')} ! ${invalidCdb(2)}`],
      },
      {
        shows: 'several segments, of all forms, in their order',
        before: [WRITE_10('c6')],
        cdb: out('00', lid1(cscd(), VERIFY + segment('0001', '0010', '0011') + offsets('00000200', '0011', '0012'))),
        data: lid1(cscd(), VERIFY + segment('0001', '0010', '0011') + offsets('00000200', '0011', '0012')),
        medium: [
          [0x11, 'c6'],
          [0x12, 'c6'],
        ],
        then: [`${receive('00', '01000000')} = 00000008 01 0003 f1 00000002`],
      },
      {
        shows: 'offsets of whole blocks',
        before: [WRITE_10('c6')],
        cdb: out('00', lid1(cscd(), offsets('00000200', '000f', '0012', '0200 0400'))),
        data: lid1(cscd(), offsets('00000200', '000f', '0012', '0200 0400')),
        medium: [[0x14, 'c6']],
      },
      {
        shows: 'an overlap is as if all had been read before',
        before: [WRITE_10('c6')],
        cdb: out('00', lid1(cscd(), segment('0008', '0010', '0011'))),
        data: lid1(cscd(), segment('0008', '0010', '0011')),
        medium: [
          [0x11, 'c6'],
          [0x12, '00'],
        ],
      },
      {
        shows: 'past the end of the source in the second segment: nothing is done',
        before: [WRITE_10('c6')],
        cdb: out('00', FAILING),
        data: FAILING,
        sense: aborted('0d 02', 'a0000c', '12 00 0001', BEYOND),
        medium: [[0x20, '00']],
      },
      {
        shows: 'past the end of the destination',
        cdb: out('00', lid1(cscd(), segment('0002', '0000', '07ff'))),
        data: lid1(cscd(), segment('0002', '0000', '07ff')),
        sense: aborted('0d 02', 'a00014', '00 12 0000', BEYOND),
      },
      {
        shows: 'a designator of nothing that is mapped',
        cdb: out('00', lid1(cscd(NOT_THERE), segment('0001', '0000', '0001'))),
        data: lid1(cscd(NOT_THERE), segment('0001', '0000', '0001')),
        sense: aborted('0d 02', '800010', '00 00 0000'),
      },
      {
        shows: 'a null logical unit as the source',
        cdb: out('00', lid1(cscd(), segment('0001', '0000', '0001', 'c000 0000'))),
        data: lid1(cscd(), segment('0001', '0000', '0001', 'c000 0000')),
        sense: aborted('0d 02', 'a00004', '00 00 0000'),
      },
      {
        shows: 'no such CSCD descriptor',
        cdb: out('00', lid1(cscd(), segment('0001', '0000', '0001', '0000 0001'))),
        data: lid1(cscd(), segment('0001', '0000', '0001', '0000 0001')),
        sense: aborted('0d 02', 'a00006', '00 00 0000'),
      },
      {
        shows: 'a type of CSCD descriptor we do not have',
        cdb: out('00', lid1(cscd().replace('e4', 'e0'), '')),
        data: lid1(cscd().replace('e4', 'e0'), ''),
        sense: fixed('05', '26 07', '800010'),
      },
      {
        shows: 'a type of segment we do not have',
        cdb: out('00', lid1(cscd(), segment('0001', '0000', '0001').replace('02', '03'))),
        data: lid1(cscd(), segment('0001', '0000', '0001').replace('02', '03')),
        sense: fixed('05', '26 09', '800030'),
      },
      {
        shows: 'more CSCD descriptors than there may be',
        cdb: out('00', lid1(cscd().repeat(65), '')),
        data: lid1(cscd().repeat(65), ''),
        sense: fixed('05', '26 06', '800002'),
      },
      {
        shows: 'more segments than there may be',
        cdb: out('00', lid1(cscd(), VERIFY.repeat(65))),
        data: lid1(cscd(), VERIFY.repeat(65)),
        sense: fixed('05', '26 08', '800008'),
      },
      {
        shows: 'a part of a block',
        cdb: out('00', lid1(cscd(), offsets('00000100', '0000', '0010'))),
        data: lid1(cscd(), offsets('00000100', '0000', '0010')),
        sense: aborted('26 0d', 'a00008', '00 00 0000'),
      },
      {
        shows: 'LIST ID USAGE 01b',
        cdb: out('00', lid1(cscd(), '', '01 08')),
        data: lid1(cscd(), '', '01 08'),
        sense: invalidList(1, 4),
      },
      {
        shows: 'descriptors beyond the end of the list',
        cdb: h('83 00 0000000000000000 00000010 0000'),
        data: '01 00 0020 00000000 00000000 00000000',
        sense: LIST_LENGTH,
      },
      {
        shows: 'inline data',
        cdb: h('83 00 0000000000000000 00000014 0000'),
        data: '01 00 0000 00000000 00000000 00000004 00000000',
        sense: fixed('05', '26 0b', '80000c'),
      },
      { shows: 'a list that is too long', cdb: '83 00 0000000000000000 00002011 0000', data: '00'.repeat(0x2011), sense: LIST_LENGTH },
    ],
  },
  {
    row: 'EXTENDED COPY (LID4)',
    usage: '83 01 00000000 00000000 ffffffff 00 00',
    vectors: [
      {
        shows: 'two blocks',
        before: [WRITE_10('c6')],
        cdb: out('01', COPY_4),
        data: COPY_4,
        medium: [[0x20, 'c6']],
        then: [
          `${receive('05', '00000102')} = 0000001c 01 01 0002 fffffffe 00 00 00 f1 0000000000000002 0001 000000000000`,
        ],
        whole: true,
      },
      {
        shows: 'IMMED without a list identifier',
        cdb: out('01', lid4(cscd(), '', '18', '01').replace('00000102', '00000000')),
        data: lid4(cscd(), '', '18', '01').replace('00000102', '00000000'),
        sense: fixed('05', '24 00'),
      },
      {
        // SPC-4 6.4.2: EXTENDED COPY INFORMATION AVAILABLE, the number of segments in COMMAND-SPECIFIC INFORMATION.
        shows: 'G_SENSE',
        before: [WRITE_10('c6')],
        cdb: out('01', lid4(cscd(), segment4('0001', '0010', '0020').repeat(3), '00', '02')),
        data: lid4(cscd(), segment4('0001', '0010', '0020').repeat(3), '00', '02'),
        status: '00',
        sense: '70 00 0f 00000000 0a 00000003 00 20 00 000000',
        medium: [[0x20, 'c6']],
      },
      {
        shows: 'G_SENSE and IMMED',
        cdb: out('01', lid4(cscd(), '', '00', '03')),
        data: lid4(cscd(), '', '00', '03'),
        sense: fixed('05', '24 00'),
      },
      {
        shows: 'the header is no copy source',
        cdb: out('01', lid4(cscd(), segment4('0001', '0010', '0020', '0000 0001'))),
        data: lid4(cscd(), segment4('0001', '0010', '0020', '0000 0001')),
        sense: aborted('26 00', 'a00004', '00 00 0000'),
      },
      {
        // SPC-4 6.4.3.2. The list identifier of LONG is 102h; this one is 1.
        shows: 'a list identifier that a list of the other form has',
        before: [`${out('01', LONG_1)}|${LONG_1}`],
        cdb: out('00', COPY),
        data: COPY,
        sense: invalidList(0),
      },
      {
        shows: 'another list format',
        cdb: out('01', COPY_4),
        data: `00${COPY_4.slice(2)}`,
        sense: invalidList(0),
      },
    ],
  },
  {
    row: 'COPY OPERATION ABORT',
    usage: '83 1c ffffffff 00000000 00000000 00 00',
    vectors: [
      {
        shows: 'one that goes on in the background',
        before: [`${out('01', LONG)}|${LONG}`],
        cdb: '83 1c 00000102 00000000 00000000 0000',
        then: [
          `${out('01', COPY_4)}|${COPY_4} = `,
          `83 1c 00000102 00000000 00000000 0000 ! ${invalidCdb(2)}`,
        ],
      },
      { shows: 'no such operation', cdb: '83 1c 00000001 00000000 00000000 0000', sense: invalidCdb(2) },
    ],
  },
  {
    row: 'RECEIVE COPY STATUS (LID1)',
    usage: '84 00 ff000000 00000000 ffffffff 00 00',
    vectors: [
      {
        shows: 'a copy that is over',
        before: [`${out('00', COPY)}|${COPY}`],
        cdb: receive('00', '01000000'),
        in: '00000008 01 0001 f1 00000002',
      },
      { shows: 'no such operation', cdb: receive('00', '01000000'), sense: invalidCdb(2) },
      {
        shows: 'of somebody else',
        before: [`b:${out('00', COPY)}|${COPY}`],
        cdb: receive('00', '01000000'),
        sense: invalidCdb(2),
      },
    ],
  },
  {
    row: 'RECEIVE COPY DATA (LID1)',
    usage: '84 01 ff000000 00000000 ffffffff 00 00',
    vectors: [
      {
        shows: 'nothing is held',
        before: [`${out('00', COPY)}|${COPY}`],
        cdb: receive('01', '01000000'),
        in: '00000000',
      },
      { shows: 'no such operation', cdb: receive('01', '01000000'), sense: invalidCdb(2) },
    ],
  },
  {
    row: 'RECEIVE COPY OPERATING PARAMETERS',
    usage: '84 03 00000000 00000000 ffffffff 00 00',
    vectors: [
      {
        // SPC-4 6.23: SNLID, 64 CSCDs, 64 segments, 8 KiB of descriptors, 0FFFF000h bytes a segment, 512-byte granularity.
        shows: 'what we can do',
        cdb: '84 03 0000000000000000 00000400 0000',
        in: h(
          ...['0000002c 01 000000 0040 0040 00002000 0ffff000 00000000 00000000 00000000 0000'],
          ...['0100 ff 09 00 00 000000 04 02070ae4'],
        ),
      },
    ],
  },
  {
    row: 'RECEIVE COPY FAILURE DETAILS (LID1)',
    usage: '84 04 ff000000 00000000 ffffffff 00 00',
    vectors: [
      {
        shows: 'there was no failure',
        before: [`${out('00', COPY)}|${COPY}`],
        cdb: receive('04', '01000000'),
        in: '00000000',
      },
      {
        shows: 'only of EXTENDED COPY (LID1)',
        before: [`${out('01', COPY_4.replace('00000102', '00000001'))}|${COPY_4.replace('00000102', '00000001')}`],
        cdb: receive('04', '01000000'),
        sense: invalidCdb(2),
      },
      { shows: 'no such operation', cdb: receive('04', '01000000'), sense: invalidCdb(2) },
    ],
  },
  {
    row: 'RECEIVE COPY STATUS (LID4)',
    usage: '84 05 ffffffff 00000000 ffffffff 00 00',
    vectors: [
      {
        shows: 'a copy that is over',
        before: [`${out('01', COPY_4)}|${COPY_4}`],
        cdb: receive('05', '00000102'),
        in: '0000001c 01 01 0002 fffffffe 00 00 00 f1 0000000000000002 0001 000000000000',
      },
      { shows: 'no such operation', cdb: receive('05', '00000102'), sense: invalidCdb(2) },
    ],
  },
  {
    row: 'RECEIVE COPY DATA (LID4)',
    usage: '84 06 ffffffff 00000000 ffffffff 00 00',
    vectors: [
      {
        shows: 'nothing is held',
        before: [`${out('01', COPY_4)}|${COPY_4}`],
        cdb: receive('06', '00000102'),
        in: '00000020 01 01 0002 fffffffe 00 00 00 f1 0000000000000002 0001 000000000000 00000000',
      },
      { shows: 'no such operation', cdb: receive('06', '00000102'), sense: invalidCdb(2) },
    ],
  },
];
