// SPC-4 commands, and the SBC-3 ones about readiness. The logical unit: 2048 blocks of 512 bytes, 4096 physical, thin, with a
// volatile cache (a memory volume), LUN 0 behind one port; volume id 0123456789abcdef0123456789abcdef.
import { LIST_LENGTH, block, fixed, inCdb, invalidCdb, invalidList } from './cdb.ts';
import type { RowVectors } from './cdb.ts';
import { ascii, h } from './hex.ts';

const NOT_STARTED = fixed('02', '04 02');
const STOP = '1b 00 00 00 00 00';

// SPC-4 7.5.5: header, then block descriptor (SBC-3 6.4.2), then pages.
const DESCRIPTOR = '00000800 00 000200';
const LONG_DESCRIPTOR = '0000000000000800 00000000 00000200';
const RECOVERY_PAGE = h('01 0a', '00'.repeat(10)); // SBC-3 6.4.8
const DISCONNECT_PAGE = h('02 0e', '00'.repeat(14)); // SPC-4 7.5.10
const CACHING_PAGE = h('08 12 04', '00'.repeat(17)); // SBC-3 6.4.5: WCE
const CONTROL_PAGE = h('0a 0a 02 10 00 00 0000 0000 0000'); // SPC-4 7.5.8: GLTSD; simple tasks in any order
const EXCEPTIONS_PAGE = h('1c 0a 00 00 00000000 00000000'); // SPC-4 7.5.12
const PAGES = RECOVERY_PAGE + DISCONNECT_PAGE + CACHING_PAGE + CONTROL_PAGE + EXCEPTIONS_PAGE; // 72 bytes

const TARGET_NAME = 'iqn.2025-01.example:disk'; // 24 bytes
const VOLUME_ID = '0123456789abcdef0123456789abcdef';

const inquiry = (page: string): string => h('12 01', page, 'ffff 00');

export const SPC_VECTORS: readonly RowVectors[] = [
  {
    row: 'TEST UNIT READY',
    usage: '00 00 00 00 00 00',
    vectors: [
      { shows: 'ready', cdb: '00 00 00 00 00 00' },
      { shows: 'a stopped unit wants START STOP UNIT', before: [STOP], cdb: '00 00 00 00 00 00', sense: NOT_STARTED },
    ],
  },
  {
    row: 'REQUEST SENSE',
    usage: '03 01 00 00 ff 00',
    vectors: [
      { shows: 'nothing to tell, fixed format', cdb: '03 00 00 00 fc 00', in: fixed('00', '00 00') },
      { shows: 'nothing to tell, DESC', cdb: '03 01 00 00 fc 00', in: '72 00 00 00 000000 00' },
      { shows: 'why the unit is not ready, as data', before: [STOP], cdb: '03 00 00 00 12 00', in: NOT_STARTED },
      { shows: 'cut at the allocation length', before: [STOP], cdb: '03 00 00 00 03 00', in: '70 00 02' },
    ],
  },
  {
    row: 'INQUIRY',
    usage: '12 01 ff ff ff 00',
    vectors: [
      {
        // SPC-4 6.6.2: type 0, not removable, SPC-4, format 2, 91 more, TPGS=01b, 3PC, CMDQUE; SAM-5, iSCSI, SPC-4, SBC-3.
        shows: 'standard data',
        cdb: '12 00 00 00ff 00',
        in: h(
          '00 00 06 02 5b 18 00 02', ascii('GEMEL   SHARED DISK     0001'), '00'.repeat(22), '00a0 0960 0460 04c0', '00'.repeat(30),
        ),
      },
      { shows: 'VPD 00h: the pages, ascending', cdb: inquiry('00'), in: '00 00 0009 00 80 83 86 87 8f b0 b1 b2' },
      { shows: 'VPD 80h: serial number', cdb: inquiry('80'), in: h('00 80 0020', ascii(VOLUME_ID)) },
      {
        // SPC-4 7.8.6: NAA 6, T10 vendor id, relative port 1, port group 1, names of port and device.
        shows: 'VPD 83h: designators',
        cdb: inquiry('83'),
        in: h(
          '00 83 0098', '01 03 00 10 6 02474d 0123456789abcdef012345678', '02 01 00 28', ascii(`GEMEL   ${VOLUME_ID}`),
          '51 94 00 04 0000 0001', '51 95 00 04 0000 0001', '53 98 00 24', ascii(`${TARGET_NAME},t,0x0001`), '000000',
          '53 a8 00 1c', ascii(TARGET_NAME), '00000000',
        ),
      },
      // SPC-4 7.8.7: HEADSUP ORDSUP SIMPSUP; V_SUP; LUICLR.
      { shows: 'VPD 86h: extended INQUIRY', cdb: inquiry('86'), in: h('00 86 003c 00 07 01 01', '00'.repeat(56)) },
      { shows: 'VPD 87h: all mode pages are shared', cdb: inquiry('87'), in: '00 87 0004 3f ff 00 00' },
      {
        // SPC-4 7.8.17. Block device ROD token limits first: 64 ranges, 600 s, 60 s, 1 GiB, 256 MiB. Then commands, limits
        // and descriptors of EXTENDED COPY, its CSCD FFFFh, ROD token features with those of block devices, ROD types, general copy operations.
        shows: 'VPD 8Fh: third-party copy',
        cdb: inquiry('8f'),
        in: h(
          '00 8f 01bc', '0000 0020', '00'.repeat(6), '0040 00000258 0000003c 0000000000200000 0000000000080000',
          '0001 0014', '11 83 05 00 01 10 11 1c 84 08 00 01 03 04 05 06 07 08', '0000',
          '0004 001c 00000000 0040 0040 00002000', '00'.repeat(16), '0008 0008 04 02 07 0a e4 000000', '000c 0004 0002 ffff',
          '0106 005c', '00'.repeat(12), '00000000 00000e10 00000258', '00'.repeat(18), '0030',
          '00 00 002c 0000 0080 0000000040000000 0000000010000000 0000000010000000 0000000010000000', '00'.repeat(8),
          '0108 00c4 0000 00c0', '00800000 03 00 0001', '00'.repeat(56), '0080ffff 01 00 0002', '00'.repeat(56),
          'ffff0001 02 00 0000', '00'.repeat(56),
          '8001 0020 00000100 00000100 0ffff000 09', '00'.repeat(19),
        ),
      },
      {
        // SBC-3 6.6.3, lengths in blocks of 512.
        shows: 'VPD B0h: block limits',
        cdb: inquiry('b0'),
        in: h(
          '00 b0 003c', '00 80 0008', // no WSNZ; COMPARE AND WRITE up to 128; granularity 8
          '00008000 00002000 00000000', // maximum 16 MiB, optimal 4 MiB; no prefetch limit
          '00100000 00000100 00000001 80000000', // UNMAP: blocks, descriptors, granularity, alignment 0 valid
          '0000000000008000', // WRITE SAME up to 16 MiB
          '00000800 00000000 00000000 00000000 00000000', // atomic up to 1 MiB, no alignment, granularity, boundary
        ),
      },
      {
        // SBC-3 6.6.2: does not rotate; WABEREQ=01b WACEREQ=01b; FUAB VBULS.
        shows: 'VPD B1h: block device characteristics',
        cdb: inquiry('b1'),
        in: h('00 b1 003c 0001 00 50 03', '00'.repeat(55)),
      },
      // SBC-3 6.6.4: LBPU LBPWS LBPWS10 LBPRZ; thin.
      { shows: 'VPD B2h: provisioning', cdb: inquiry('b2'), in: '00 b2 0004 00 e4 02 00' },
      { shows: 'a page we do not have', cdb: inquiry('8e'), sense: invalidCdb(2) },
      { shows: 'a page code without EVPD', cdb: '12 00 80 00ff 00', sense: invalidCdb(2) },
      { shows: 'goes on while the unit is stopped', before: [STOP], cdb: '12 00 00 0005 00', in: '00 00 06 02 5b' },
    ],
  },
  {
    row: 'MODE SELECT (6)',
    usage: '15 10 00 00 ff 00',
    vectors: [
      {
        shows: 'SWP: writes are refused from then on',
        cdb: '15 10 00 00 10 00',
        data: '00 00 00 00 0a 0a 02 10 08 00 0000 0000 0000',
        whole: true,
        then: [`1a 08 0a 00 10 00 = 0f 00 90 00 0a 0a 02 10 08 00 0000 0000 0000`],
      },
      {
        shows: 'with the block descriptor that MODE SENSE gave',
        cdb: '15 10 00 00 18 00',
        data: h('00 00 10 08', DESCRIPTOR, '0a 0a 06 10 00 00 0000 0000 0000'),
        whole: true,
        then: [`1a 08 0a 00 10 00 = 0f 00 10 00 0a 0a 06 10 00 00 0000 0000 0000`],
      },
      { shows: 'no list: nothing', cdb: '15 10 00 00 00 00' },
      { shows: 'PF=0', cdb: '15 00 00 00 10 00', data: h('00 00 00 00', CONTROL_PAGE), sense: invalidCdb(1, 4) },
      { shows: 'a list that ends in a page', cdb: '15 10 00 00 0c 00', data: '00 00 00 00 0a 0a 02 10 00 00 00 00', sense: LIST_LENGTH },
      {
        shows: 'WCE is not the initiator\'s to change',
        cdb: '15 10 00 00 18 00',
        data: h('00 00 00 00', '08 12 00', '00'.repeat(17)),
        sense: invalidList(6, 2),
      },
      { shows: 'a page we do not have', cdb: '15 10 00 00 06 00', data: '00 00 00 00 19 00', sense: invalidList(4) },
      { shows: 'a page with another length', cdb: '15 10 00 00 10 00', data: '00 00 00 00 0a 0b 02 10 00 00 0000 0000 0000', sense: invalidList(5) },
      { shows: 'a medium type', cdb: '15 10 00 00 04 00', data: '00 01 00 00', sense: invalidList(1) },
    ],
  },
  {
    row: 'MODE SELECT (10)',
    usage: '55 10 00 00 00 00 00 ff ff 00',
    vectors: [
      {
        shows: 'long block descriptor, QERR 01b and TAS',
        cdb: '55 10 00 00 00 00 00 0024 00',
        data: h('0000 00 10 01 00 0010', LONG_DESCRIPTOR, '0a 0a 02 12 00 40 0000 0000 0000'),
        whole: true,
        then: [`5a 08 0a 00 00 00 00 00ff 00 = 0012 00 10 00 00 0000 0a 0a 02 12 00 40 0000 0000 0000`],
      },
      {
        shows: 'informational exceptions: MRIE 6, interval and count',
        cdb: '55 10 00 00 00 00 00 0014 00',
        data: '0000 00 00 00 00 0000 1c 0a 08 06 00000001 00000002',
        whole: true,
        then: [`5a 08 1c 00 00 00 00 00ff 00 = 0012 00 10 00 00 0000 1c 0a 08 06 00000001 00000002`],
      },
      { shows: 'QERR 10b is reserved', cdb: '55 10 00 00 00 00 00 0014 00', data: '0000 00 00 00 00 0000 0a 0a 02 14 00 00 0000 0000 0000', sense: invalidList(11, 2) },
      { shows: 'another capacity', cdb: '55 10 00 00 00 00 00 0010 00', data: '0000 00 00 00 00 0008 00000801 00 000200', sense: invalidList(8) },
    ],
  },
  {
    row: 'MODE SENSE (6)',
    usage: '1a 08 ff ff ff 00',
    vectors: [
      { shows: 'all pages behind the block descriptor; DPOFUA', cdb: '1a 00 3f 00 ff 00', in: h('53 00 10 08', DESCRIPTOR, PAGES) },
      { shows: 'DBD, one page', cdb: '1a 08 08 00 ff 00', in: h('17 00 10 00', CACHING_PAGE) },
      { shows: 'changeable bits: D_SENSE, QERR, SWP, TAS', cdb: '1a 08 4a 00 ff 00', in: '0f 00 10 00 0a 0a 04 06 08 40 0000 0000 0000' },
      { shows: 'default values', cdb: '1a 08 8a 00 ff 00', in: h('0f 00 10 00', CONTROL_PAGE) },
      { shows: 'saved values: there are none', cdb: '1a 08 ca 00 ff 00', sense: fixed('05', '39 00') },
      { shows: 'a page we do not have', cdb: '1a 08 19 00 ff 00', sense: invalidCdb(2, 5) },
      { shows: 'a subpage', cdb: '1a 08 0a 01 ff 00', sense: invalidCdb(3) },
      { shows: 'another host has reserved the unit', before: ['16 00 00 00 00 00'], from: 'b', cdb: '1a 08 3f 00 ff 00', status: '18' },
    ],
  },
  {
    row: 'MODE SENSE (10)',
    usage: '5a 18 ff ff 00 00 00 ff ff 00',
    vectors: [
      { shows: 'LLBAA: long block descriptor', cdb: '5a 10 3f 00 00 00 00 ffff 00', in: h('005e 00 10 01 00 0010', LONG_DESCRIPTOR, PAGES) },
      { shows: 'all pages and subpages', cdb: '5a 08 3f ff 00 00 00 ffff 00', in: h('004e 00 10 00 00 0000', PAGES) },
      { shows: 'cut at the allocation length', cdb: '5a 08 3f 00 00 00 00 0004 00', in: '004e 00 10' },
    ],
  },
  {
    row: 'START STOP UNIT',
    usage: '1b 01 00 00 07 00',
    vectors: [
      { shows: 'stop', cdb: STOP, then: [`00 00 00 00 00 00 ! ${NOT_STARTED}`, '28 00 00000000 00 0001 00 ! ' + NOT_STARTED] },
      { shows: 'start again', before: [STOP], cdb: '1b 00 00 00 01 00', then: ['00 00 00 00 00 00 ='] },
      { shows: 'IMMED and LOEJ mean nothing here', cdb: '1b 01 00 00 03 00' },
      { shows: 'power conditions are not offered', cdb: '1b 00 00 00 10 00', sense: invalidCdb(4, 4) },
    ],
  },
  {
    row: 'SEND DIAGNOSTIC',
    usage: '1d f7 00 ff ff 00',
    vectors: [
      { shows: 'default self-test', cdb: '1d 04 00 0000 00' },
      { shows: 'a background self-test', cdb: '1d 20 00 0000 00', sense: invalidCdb(1, 7) },
      { shows: 'a diagnostic page', cdb: '1d 10 00 0004 00', data: '80000000', sense: invalidCdb(3) },
    ],
  },
  {
    row: 'PREVENT ALLOW MEDIUM REMOVAL',
    usage: '1e 00 00 00 01 00',
    vectors: [
      { shows: 'prevent', cdb: '1e 00 00 00 01 00' },
      { shows: 'allow', before: ['1e 00 00 00 01 00'], cdb: '1e 00 00 00 00 00' },
      { shows: 'the obsolete persistent prevent', cdb: '1e 00 00 00 02 00', sense: invalidCdb(4, 1) },
    ],
  },
  {
    row: 'LOG SENSE',
    usage: '4d 00 ff ff 00 ff ff ff ff 00',
    vectors: [
      { shows: 'the pages', cdb: '4d 00 00 00 00 0000 00ff 00', in: '00 00 0004 00 02 03 2f' },
      { shows: 'the pages and subpages', cdb: '4d 00 00 ff 00 0000 00ff 00', in: '40 ff 000a 0000 00ff 0200 0300 2f00' },
      // SPC-4 7.3.6: parameter 5, total bytes processed; DS set, binary counter of eight bytes.
      { shows: 'write error counters', cdb: '4d 00 42 00 00 0000 00ff 00', in: '82 00 000c 0005 02 08 0000000000000000' },
      { shows: 'read error counters', cdb: '4d 00 43 00 00 0000 00ff 00', in: '83 00 000c 0005 02 08 0000000000000000' },
      { shows: 'informational exceptions: none', cdb: '4d 00 6f 00 00 0000 00ff 00', in: 'af 00 0008 0000 03 04 00 00 ff ff' },
      { shows: 'threshold values', cdb: '4d 00 02 00 00 0000 00ff 00', sense: invalidCdb(2, 7) },
      { shows: 'no provisioning page where room cannot be counted', cdb: '4d 00 4c 00 00 0000 00ff 00', sense: invalidCdb(2, 5) },
      { shows: 'a page we do not have', cdb: '4d 00 4d 00 00 0000 00ff 00', sense: invalidCdb(2, 5) },
      { shows: 'a parameter pointer behind the last', cdb: '4d 00 42 00 00 0006 00ff 00', sense: invalidCdb(5) },
    ],
  },
  {
    row: 'REPORT LUNS',
    usage: 'a0 00 ff 00 00 00 ff ff ff ff 00 00',
    vectors: [
      { shows: 'LUN 0', cdb: 'a0 00 00 000000 000000ff 00 00', in: '00000008 00000000 0000000000000000' },
      { shows: 'no well known logical units', cdb: 'a0 00 01 000000 000000ff 00 00', in: '00000000 00000000' },
      { shows: 'all of them', cdb: 'a0 00 02 000000 000000ff 00 00', in: '00000008 00000000 0000000000000000' },
      { shows: 'another selection', cdb: 'a0 00 03 000000 000000ff 00 00', sense: invalidCdb(2) },
    ],
  },
  {
    row: 'REPORT TARGET PORT GROUPS',
    usage: 'a3 ea 00 00 00 00 ff ff ff ff 00 00',
    vectors: [
      {
        // SPC-4 6.37: Active/Optimized; T_SUP U_SUP S_SUP AN_SUP AO_SUP, the states of core/scsi/alua.ts; group 1, port 1.
        shows: 'length only header',
        cdb: 'a3 0a 00000000 000000ff 00 00',
        in: '0000000c 00 8f 0001 00 00 00 01 0000 0001',
      },
      { shows: 'extended header', cdb: 'a3 2a 00000000 000000ff 00 00', in: '00000010 10 00 0000 00 8f 0001 00 00 00 01 0000 0001' },
      { shows: 'another format', cdb: 'a3 4a 00000000 000000ff 00 00', sense: invalidCdb(1, 7) },
    ],
  },
  {
    row: 'REPORT SUPPORTED OPERATION CODES',
    usage: 'a3 0c 87 ff ff ff ff ff ff ff 00 00',
    vectors: [
      { shows: 'one command: itself', cdb: 'a3 0c 02 a3 000c 000000ff 00 00', in: '00 03 000c a3 0c 87 ff ffff ffffffff 00 00' },
      { shows: 'one command with timeouts descriptor', cdb: 'a3 0c 81 00 0000 000000ff 00 00', in: h('00 83 0006 00 00 00 00 00 00 000a', '00'.repeat(10)) },
      { shows: 'SET TARGET PORT GROUPS is not there', cdb: 'a3 0c 03 a4 000a 000000ff 00 00', in: '00 01 0000' },
      { shows: 'option 1 for an opcode with service actions', cdb: 'a3 0c 01 9e 0010 000000ff 00 00', sense: invalidCdb(2, 2) },
      { shows: 'option 2 for an opcode without', cdb: 'a3 0c 02 28 0000 000000ff 00 00', sense: invalidCdb(2, 2) },
    ],
  },
  {
    row: 'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS',
    usage: 'a3 0d 80 00 00 00 ff ff ff ff 00 00',
    vectors: [
      // SPC-4 6.36: ATS ATSS CTSS LURS.
      { shows: 'basic', cdb: 'a3 0d 00 000000 000000ff 00 00', in: 'd8 00 00 00' },
      { shows: 'extended', cdb: 'a3 0d 80 000000 000000ff 00 00', in: h('d8 00 00 0c', '00'.repeat(12)) },
    ],
  },
];

/** CDBs that no row takes: 05h/20h/00h at byte 0, 05h/24h/00h at the service action. */
export const UNKNOWN_CDBS: readonly { readonly cdb: string; readonly sense: string }[] = [
  { cdb: '04 00 00 00 00 00', sense: fixed('05', '20 00', inCdb(0)) }, // FORMAT UNIT
  { cdb: '7f 00 00 00 00 00 00 18 00 09', sense: fixed('05', '20 00', inCdb(0)) }, // variable length
  { cdb: 'a4 0a 00000000 00000000 00 00', sense: fixed('05', '20 00', inCdb(0)) }, // SET TARGET PORT GROUPS
  { cdb: 'ff 00 00 00 00 00', sense: fixed('05', '20 00', inCdb(0)) },
  { cdb: '48 00 00 00 00 00 00 0000 00', sense: invalidCdb(1, 4) },
  { cdb: '5e 04 00 00 00 00 00 00ff 00', sense: invalidCdb(1, 4) },
  { cdb: '5f 08 00 00 00 00000018 00', sense: invalidCdb(1, 4) },
  { cdb: '9e 11 0000000000000000 000000ff 00 00', sense: invalidCdb(1, 4) },
  { cdb: 'a3 0f 00000000 000000ff 00 00', sense: invalidCdb(1, 4) },
];

/** Software write protect for the vectors of the block commands. */
export const WRITE_PROTECT = '15 10 00 00 10 00 | 00 00 00 00 0a 0a 02 10 08 00 0000 0000 0000';
export const SOFTWARE_WRITE_PROTECTED = fixed('07', '27 02');
/** A write of one block at LBA 10h, for what comes after it. */
export const WRITE_10 = (byte: string): string => h('2a 00 00000010 00 0001 00', '|', block(byte));
