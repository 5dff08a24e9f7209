// SPC-2 and persistent reservations. Host a is iqn.2025-01.example:host-a with ISID 1, host b with ISID 2.
import { LIST_LENGTH, fixed, invalidCdb, invalidList } from './cdb.ts';
import type { CdbVector, RowVectors } from './cdb.ts';
import { ascii, h } from './hex.ts';

const KEY_A = '00000000000000a1';
const KEY_B = '00000000000000b2';
const ZERO = '0000000000000000';

/** Parameter list (SPC-4 6.16.3): key, service action key, obsolete, flags, reserved, obsolete. */
const list = (key: string, action: string, flags = '00'): string => h(key, action, '00000000', flags, '00 0000');
/** PERSISTENT RESERVE OUT with the list of 24 bytes; scope and type in byte 2. */
const out = (action: string, type = '00'): string => h('5f', action, type, '0000 00000018 00');
const pr = (action: string, type: string, key: string, next: string): string => h(out(action, type), '|', list(key, next));

const REGISTER_A = pr('00', '00', ZERO, KEY_A);
const REGISTER_B = `b:${pr('00', '00', ZERO, KEY_B)}`;
const RESERVE_A = (type: string): string => pr('01', type, KEY_A, ZERO);

const READ_KEYS = '5e 00 0000000000 00ff 00';
const READ_RESERVATION = '5e 01 0000000000 00ff 00';
const READ = '28 00 00000000 00 0000 00';
const WRITE = '2a 00 00000000 00 0000 00';
const TUR = '00 00 00 00 00 00';

/** iSCSI TransportID with ISID (SPC-4 7.6.4.6): 45h, length 44, the name and NUL. */
const transportId = (host: string, isid: string): string =>
  h('45 00 002c', ascii(`iqn.2025-01.example:host-${host},i,0x00000000000${isid}`), '00');
const ATTENTION = (code: string): string => fixed('06', code);

const notRegistered = (action: string, type = '00'): CdbVector => ({
  shows: 'a nexus that is not registered',
  cdb: out(action, type),
  data: list(KEY_A, ZERO),
  status: '18',
});

function legacy(row: string, reserve: string, release: string): RowVectors[] {
  const zeros = h('00'.repeat(h(reserve).length / 2 - 1));
  return [
    {
      row: `RESERVE (${row})`,
      usage: h(reserve.slice(0, 2), zeros),
      vectors: [
        { shows: 'keeps the other host out, by status', cdb: reserve, then: [`b:${READ} # 18`, `b:${WRITE} # 18`, `${READ} =`] },
        { shows: 'reserved by the other host', before: [`b:${reserve}`], cdb: reserve, status: '18' },
        { shows: 'while persistent registrations exist', before: [REGISTER_B], cdb: reserve, status: '18' },
      ],
    },
    {
      row: `RELEASE (${row})`,
      usage: h(release.slice(0, 2), zeros),
      vectors: [
        { shows: 'ends the reservation', before: [reserve], cdb: release, then: [`b:${READ} =`] },
        { shows: 'of the other host does nothing', before: [`b:${reserve}`], cdb: release, then: [`${READ} # 18`] },
      ],
    },
  ];
}

export const RESERVATION_VECTORS: readonly RowVectors[] = [
  ...legacy('6', '16 00 00 00 00 00', '17 00 00 00 00 00'),
  ...legacy('10', '56 00 00 00 00 00 00 0000 00', '57 00 00 00 00 00 00 0000 00'),
  {
    row: 'PERSISTENT RESERVE IN, READ KEYS',
    usage: '5e 00 00 00 00 00 00 ff ff 00',
    vectors: [
      { shows: 'none', cdb: READ_KEYS, in: '00000000 00000000' },
      { shows: 'two, generation 2', before: [REGISTER_A, REGISTER_B], cdb: READ_KEYS, in: h('00000002 00000010', KEY_A, KEY_B) },
      { shows: 'cut, the length field stays', before: [REGISTER_A], cdb: '5e 00 0000000000 0008 00', in: '00000001 00000008' },
    ],
  },
  {
    row: 'PERSISTENT RESERVE IN, READ RESERVATION',
    usage: '5e 01 00 00 00 00 00 ff ff 00',
    vectors: [
      { shows: 'none', before: [REGISTER_A], cdb: READ_RESERVATION, in: '00000001 00000000' },
      // SPC-4 6.15.3: key, obsolete, reserved, scope and type, obsolete.
      { shows: 'exclusive access', before: [REGISTER_A, RESERVE_A('03')], cdb: READ_RESERVATION, in: h('00000001 00000010', KEY_A, '00000000 00 03 0000') },
      { shows: 'all registrants: key 0', before: [REGISTER_A, RESERVE_A('07')], cdb: READ_RESERVATION, in: h('00000001 00000010', ZERO, '00000000 00 07 0000') },
    ],
  },
  {
    row: 'PERSISTENT RESERVE IN, REPORT CAPABILITIES',
    usage: '5e 02 00 00 00 00 00 ff ff 00',
    vectors: [
      // SPC-4 6.15.4: SIP_C ATP_C PTPL_C; TMV; the six types.
      { shows: 'what there is', cdb: '5e 02 0000000000 00ff 00', in: '0008 0d 80 ea 01 0000' },
    ],
  },
  {
    row: 'PERSISTENT RESERVE IN, READ FULL STATUS',
    usage: '5e 03 00 00 00 00 00 ff ff 00',
    vectors: [
      {
        // SPC-4 6.15.5: key, reserved, R_HOLDER, scope and type, reserved, relative port, length, TransportID.
        shows: 'the holder and another registrant',
        before: [REGISTER_A, REGISTER_B, RESERVE_A('05')],
        cdb: '5e 03 0000000000 0fff 00',
        in: h(
          '00000002 00000090', KEY_A, '00000000 01 05 00000000 0001 00000030', transportId('a', '1'),
          KEY_B, '00000000 00 00 00000000 0001 00000030', transportId('b', '2'),
        ),
      },
    ],
  },
  {
    row: 'PERSISTENT RESERVE OUT, REGISTER',
    usage: '5f 00 ff 00 00 ff ff ff ff 00',
    vectors: [
      { shows: 'a new key', cdb: out('00'), data: list(ZERO, KEY_A), whole: true, then: [`${READ_KEYS} = ${h('00000001 00000008', KEY_A)}`] },
      { shows: 'unregisters with key 0', before: [REGISTER_A], cdb: out('00'), data: list(KEY_A, ZERO), then: [`${READ_KEYS} = 00000002 00000000`] },
      { shows: 'the wrong present key', before: [REGISTER_A], cdb: out('00'), data: list(KEY_B, KEY_B), status: '18' },
      {
        // SPC-4 6.16.3: SPEC_I_PT with the length of the TransportIDs at byte 24.
        shows: 'SPEC_I_PT registers another initiator port too',
        cdb: '5f 00 00 0000 0000004c 00',
        data: h(list(ZERO, KEY_A, '08'), '00000030', transportId('b', '2')),
        whole: true,
        then: [`${READ_KEYS} = ${h('00000001 00000010', KEY_A, KEY_A)}`],
      },
      {
        // SPC-4 6.16.3: one registration for each target port, and here is one port.
        shows: 'ALL_TG_PT registers through every target port',
        cdb: out('00'),
        data: list(ZERO, KEY_A, '04'),
        whole: true,
        then: [`${READ_KEYS} = ${h('00000001 00000008', KEY_A)}`],
      },
      { shows: 'a list of 23 bytes', cdb: '5f 00 00 0000 00000017 00', data: list(ZERO, KEY_A).slice(0, -2), sense: LIST_LENGTH },
    ],
  },
  {
    row: 'PERSISTENT RESERVE OUT, RESERVE',
    usage: '5f 01 ff 00 00 ff ff ff ff 00',
    vectors: [
      {
        shows: 'write exclusive: the other host reads and does not write',
        before: [REGISTER_A],
        cdb: out('01', '01'),
        data: list(KEY_A, ZERO),
        whole: true,
        then: [`b:${READ} =`, `b:${WRITE} # 18`, `${WRITE} =`],
      },
      { shows: 'exclusive access: nor does it read', before: [REGISTER_A], cdb: out('01', '03'), data: list(KEY_A, ZERO), then: [`b:${READ} # 18`, `b:${TUR} =`] },
      { shows: 'held by another', before: [REGISTER_A, REGISTER_B, RESERVE_A('01')], from: 'b', cdb: out('01', '01'), data: list(KEY_B, ZERO), status: '18' },
      { shows: 'a reserved type', before: [REGISTER_A], cdb: out('01', '02'), data: list(KEY_A, ZERO), sense: invalidCdb(2, 3) },
      { shows: 'a scope other than the logical unit', before: [REGISTER_A], cdb: out('01', '11'), data: list(KEY_A, ZERO), sense: invalidCdb(2, 7) },
      notRegistered('01', '01'),
    ],
  },
  {
    row: 'PERSISTENT RESERVE OUT, RELEASE',
    usage: '5f 02 ff 00 00 ff ff ff ff 00',
    vectors: [
      {
        // SPC-4 5.13.11.2.2: the other registrants of a registrants only type are told.
        shows: 'the other registrant is told',
        before: [REGISTER_A, REGISTER_B, RESERVE_A('06')],
        cdb: out('02', '06'),
        data: list(KEY_A, ZERO),
        whole: true,
        then: [`b:${TUR} ! ${ATTENTION('2a 04')}`, `${READ_RESERVATION} = 00000002 00000000`],
      },
      { shows: 'another type', before: [REGISTER_A, RESERVE_A('01')], cdb: out('02', '03'), data: list(KEY_A, ZERO), sense: fixed('05', '26 04') },
      notRegistered('02', '01'),
    ],
  },
  {
    row: 'PERSISTENT RESERVE OUT, CLEAR',
    usage: '5f 03 ff 00 00 ff ff ff ff 00',
    vectors: [
      {
        shows: 'everything is gone and the others are told',
        before: [REGISTER_A, REGISTER_B, RESERVE_A('01')],
        cdb: out('03'),
        data: list(KEY_A, ZERO),
        whole: true,
        then: [`b:${TUR} ! ${ATTENTION('2a 03')}`, `${READ_KEYS} = 00000003 00000000`],
      },
      notRegistered('03'),
    ],
  },
  ...(['04', '05'] as const).map(
    (action): RowVectors => ({
      row: `PERSISTENT RESERVE OUT, PREEMPT${action === '05' ? ' AND ABORT' : ''}`,
      usage: h('5f', action, 'ff 00 00 ff ff ff ff 00'),
      vectors: [
        {
          shows: 'takes the reservation over',
          before: [REGISTER_A, REGISTER_B, RESERVE_A('01')],
          from: 'b',
          cdb: out(action, '03'),
          data: list(KEY_B, KEY_A),
          whole: true,
          then: [`${TUR} ! ${ATTENTION('2a 05')}`, `b:${READ_RESERVATION} = ${h('00000003 00000010', KEY_B, '00000000 00 03 0000')}`, `${READ} # 18`],
        },
        { shows: 'a key nobody has', before: [REGISTER_A], cdb: out(action, '01'), data: list(KEY_A, KEY_B), status: '18' },
        { shows: 'key 0 without an all registrants reservation', before: [REGISTER_A], cdb: out(action, '01'), data: list(KEY_A, ZERO), sense: invalidList(8) },
        notRegistered(action, '01'),
      ],
    }),
  ),
  {
    row: 'PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY',
    usage: '5f 06 ff 00 00 ff ff ff ff 00',
    vectors: [
      { shows: 'replaces the key', before: [REGISTER_A], cdb: out('06'), data: list(KEY_B, KEY_B), whole: true, then: [`${READ_KEYS} = ${h('00000002 00000008', KEY_B)}`] },
      { shows: 'SPEC_I_PT has no place here', cdb: out('06'), data: list(ZERO, KEY_A, '08'), sense: invalidList(20, 3) },
    ],
  },
  {
    row: 'PERSISTENT RESERVE OUT, REGISTER AND MOVE',
    usage: '5f 07 ff 00 00 ff ff ff ff 00',
    vectors: [
      {
        // SPC-4 6.16.4: flags at 17 (UNREG), relative target port at 18, TransportID length at 20.
        shows: 'hands the reservation to host b and unregisters',
        before: [REGISTER_A, RESERVE_A('01')],
        cdb: '5f 07 00 0000 00000048 00',
        data: h(KEY_A, KEY_B, '00 02 0001 00000030', transportId('b', '2')),
        whole: true,
        then: [`b:${READ_RESERVATION} = ${h('00000002 00000010', KEY_B, '00000000 00 01 0000')}`, `${WRITE} # 18`, `b:${WRITE} =`],
      },
      {
        shows: 'a port that is not there',
        before: [REGISTER_A, RESERVE_A('01')],
        cdb: '5f 07 00 0000 00000048 00',
        data: h(KEY_A, KEY_B, '00 00 0009 00000030', transportId('b', '2')),
        sense: invalidList(18),
      },
      {
        shows: 'a TransportID of another protocol',
        before: [REGISTER_A, RESERVE_A('01')],
        cdb: '5f 07 00 0000 00000048 00',
        data: h(KEY_A, KEY_B, '00 00 0001 00000030', '46', transportId('b', '2').slice(2)),
        sense: invalidList(24),
      },
      {
        // SPC-4 5.13.8: not a conflict, for there is nothing to be in conflict with.
        shows: 'without a reservation',
        before: [REGISTER_A],
        cdb: '5f 07 00 0000 00000048 00',
        data: h(KEY_A, KEY_B, '00 00 0001 00000030', transportId('b', '2')),
        sense: invalidCdb(1, 4),
      },
    ],
  },
];
