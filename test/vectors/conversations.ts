// More conversations byte by byte, so that every PDU type of RFC 7143 §11 is there, received and sent. Fields in order:
// opcode and flags | AHS and data length | LUN | ITT | bytes 20-23 | 24-27 | 28-31 | 32-35 | 36-39 | 40-43 | 44-47 | data.
// Target transfer tags are the target's own choice: 0 and 1 for R2Ts, "PN" and "TX" with a number for NOP-In and text.
import { ascii, h, length, padded, text } from './hex.ts';
import type { Exchange } from './hex.ts';
import { login } from './session.ts';
import type { DigestOffer } from './session.ts';

export interface Conversation {
  readonly name: string;
  /** The login of this conversation. */
  readonly login: (header: DigestOffer, data: DigestOffer) => Exchange;
  /** What follows, without digests. */
  readonly exchanges: readonly Exchange[];
}

const NO_LUN = '0000000000000000';
const NO_TAG = 'ffffffff';
const REST_12 = '00'.repeat(12);
const REST_16 = '00'.repeat(16);

/** A login in one round with these keys: ITT 1, CmdSN 5, ExpStatSN 3 (RFC 7143 §11.12); StatSN 3 answers (§11.13). */
function loginWith(offer: readonly string[], answer: readonly string[]): Exchange {
  const keys = text(offer);
  const answered = text(answer);
  return {
    name: 'Login',
    request: h('43 87 00 00 00', length(keys), '800000000001 0000 00000001 0001 0000 00000005 00000003', REST_16, padded(keys)),
    answer: h('23 87 00 00 00', length(answered), '800000000001 0001 00000001 00000000 00000003 00000005 00000005 00 00 0000', '00'.repeat(8), padded(answered)),
  };
}

/** A unit attention as sense data in fixed format (SPC-4 4.5.3), behind SenseLength (RFC 7143 §11.4.7). */
const attention = (asc: string): string => h('0012 70 00 06 00000000 0a 00000000', asc, '00 000000');

/** Small segments and bursts, no unsolicited data: everything that needs several PDUs. */
const small: readonly Exchange[] = [
  {
    name: 'TEST UNIT READY: unit attention 29h/00h of a new nexus',
    request: h('01 81 0000 00 000000', NO_LUN, '00000002 00000000 00000005 00000004', REST_16),
    answer: h('21 80 00 02 00 000014', NO_LUN, '00000002 00000000 00000004 00000006 00000105', REST_12, attention('29 00')),
  },
  {
    // MaxBurstLength 1024, MaxOutstandingR2T 2: 2048 bytes are two bursts, both asked for at once (§11.8).
    name: 'WRITE (10) of four blocks: two R2Ts',
    request: h('01 a1 0000 00 000000', NO_LUN, '00000003 00000800 00000006 00000005', '2a 00 00000010 00 0004 00', '000000000000'),
    answer:
      h('31 80 0000 00 000000', NO_LUN, '00000003 00000000 00000005 00000007 00000105 00000000 00000000 00000400') +
      h('31 80 0000 00 000000', NO_LUN, '00000003 00000001 00000005 00000007 00000105 00000001 00000400 00000400'),
  },
  {
    name: 'Data-Out of the first R2T, not the last one of its sequence',
    request: h('05 00 0000 00 000200', NO_LUN, '00000003 00000000 00000000 00000005 00000000 00000000 00000000 00000000', '11'.repeat(512)),
    answer: '',
  },
  {
    name: 'Data-Out with the F bit ends the sequence',
    request: h('05 80 0000 00 000200', NO_LUN, '00000003 00000000 00000000 00000005 00000000 00000001 00000200 00000000', '22'.repeat(512)),
    answer: '',
  },
  {
    name: 'Data-Out of the second R2T in one PDU, DataSN from 0 again; SCSI Response without sense',
    request: h('05 80 0000 00 000400', NO_LUN, '00000003 00000001 00000000 00000005 00000000 00000000 00000400 00000000', '33'.repeat(1024)),
    answer: h('21 80 00 00 00 000000', NO_LUN, '00000003 00000000 00000005 00000007 00000106', REST_12),
  },
  {
    // MaxRecvDataSegmentLength 512: F at the end of each burst, status only in the last PDU, StatSN only with it (§11.7).
    name: 'READ (10) of four blocks: Data-In without status, and with it in the last',
    request: h('01 c1 0000 00 000000', NO_LUN, '00000004 00000800 00000007 00000006', '28 00 00000010 00 0004 00', '000000000000'),
    answer:
      h('25 00 0000 00 000200', NO_LUN, '00000004', NO_TAG, '00000000 00000008 00000107 00000000 00000000 00000000', '11'.repeat(512)) +
      h('25 80 0000 00 000200', NO_LUN, '00000004', NO_TAG, '00000000 00000008 00000107 00000001 00000200 00000000', '22'.repeat(512)) +
      h('25 00 0000 00 000200', NO_LUN, '00000004', NO_TAG, '00000000 00000008 00000107 00000002 00000400 00000000', '33'.repeat(512)) +
      h('25 81 0000 00 000200', NO_LUN, '00000004', NO_TAG, '00000006 00000008 00000107 00000003 00000600 00000000', '33'.repeat(512)),
  },
  {
    // U bit (02h) and the residual count (§11.4.1, §11.4.5): 255 expected, 96 are there.
    name: 'INQUIRY: underflow in the Data-In with status',
    request: h('01 c1 0000 00 000000', NO_LUN, '00000005 000000ff 00000008 00000007', '12 00 00 00ff 00', '00'.repeat(10)),
    answer: h(
      '25 83 00 00 00 000060', NO_LUN, '00000005', NO_TAG, '00000007 00000009 00000108 00000000 00000000 0000009f',
      '00 00 06 02 5b 18 00 02', ascii('GEMEL   SHARED DISK     0001'), '00'.repeat(22), '00a0 0960 0460 04c0', '00'.repeat(30),
    ),
  },
  {
    // O bit (04h): the CDB brings 8 bytes, 4 were expected.
    name: 'READ CAPACITY (10): overflow in the Data-In with status',
    request: h('01 c1 0000 00 000000', NO_LUN, '00000006 00000004 00000009 00000008', '25 00 00000000 0000 00 00', '000000000000'),
    answer: h('25 85 00 00 00 000004', NO_LUN, '00000006', NO_TAG, '00000008 0000000a 00000109 00000000 00000000 00000004', '000007ff'),
  },
  {
    // Nothing was moved: all that was expected is residual. Sense 05h/20h/00h with the field pointer at byte 0.
    name: 'RECEIVE DIAGNOSTIC RESULTS, which is not there: sense and underflow in the SCSI Response',
    request: h('01 c1 0000 00 000000', NO_LUN, '00000007 00000010 0000000a 00000009', '1c 00 00 0010 00', '00'.repeat(10)),
    answer: h(
      '21 82 00 02 00 000014', NO_LUN, '00000007 00000000 00000009 0000000b 0000010a 00000000 00000000 00000010',
      '0012 70 00 05 00000000 0a 00000000 20 00 00 c0 0000',
    ),
  },
  {
    name: 'PRE-FETCH (10): CONDITION MET, a status that needs no sense',
    request: h('01 81 0000 00 000000', NO_LUN, '00000008 00000000 0000000b 0000000a', '34 00 00000000 00 0001 00', '000000000000'),
    answer: h('21 80 00 04 00 000000', NO_LUN, '00000008 00000000 0000000a 0000000c 0000010b', REST_12),
  },
  {
    // §11.19: ITT reserved, TTT valid, StatSN the next one without using it up.
    name: 'NOP-In of the target after silence',
    event: 'silence',
    request: '',
    answer: h('20 80 0000 00 000000', NO_LUN, NO_TAG, '504e0001 0000000b 0000000c 0000010b', REST_12),
  },
  {
    name: 'NOP-Out answers it and gets no answer',
    request: h('40 80 0000 00 000000', NO_LUN, NO_TAG, '504e0001 0000000c 0000000b', REST_16),
    answer: '',
  },
  {
    name: 'NOP-Out with a number of its own',
    request: h('00 80 0000 00 000000', NO_LUN, '00000009', NO_TAG, '0000000c 0000000b', REST_16),
    answer: h('20 80 0000 00 000000', NO_LUN, '00000009', NO_TAG, '0000000b 0000000d 0000010c', REST_12),
  },
  {
    // §11.17.1 reason 05h; the data is the header that was not accepted.
    name: 'an opcode that does not exist: Reject',
    request: h('47 80 0000 00 000000', NO_LUN, '0000000a 00000000 0000000d 0000000c', REST_16),
    answer: h(
      '3f 80 05 00 00 000030', NO_LUN, NO_TAG, '00000000 0000000c 0000000d 0000010c', REST_12,
      '47 80 0000 00 000000', NO_LUN, '0000000a 00000000 0000000d 0000000c', REST_16,
    ),
  },
  {
    name: 'Task Management: LOGICAL UNIT RESET is complete',
    request: h('42 85 0000 00 000000', NO_LUN, '0000000b', NO_TAG, '0000000d 0000000d 00000000 00000000', '0000000000000000'),
    answer: h('22 80 00 00 00 000000', NO_LUN, '0000000b 00000000 0000000d 0000000d 0000010c', REST_12),
  },
  {
    name: 'TEST UNIT READY: unit attention 29h/03h of the reset',
    request: h('01 81 0000 00 000000', NO_LUN, '0000000c 00000000 0000000d 0000000e', REST_16),
    answer: h('21 80 00 02 00 000014', NO_LUN, '0000000c 00000000 0000000e 0000000e 0000010d', REST_12, attention('29 03')),
  },
  {
    name: 'Task Management: a LUN that is not there',
    request: h('42 82 0000 00 000000 0009000000000000 0000000d', NO_TAG, '0000000e 0000000f 00000000 00000000', '0000000000000000'),
    answer: h('22 80 02 00 00 000000', NO_LUN, '0000000d 00000000 0000000f 0000000e 0000010d', REST_12),
  },
  {
    name: 'Task Management: TASK REASSIGN needs ErrorRecoveryLevel 2',
    request: h('42 88 0000 00 000000', NO_LUN, '0000000e 00000004 0000000e 00000010 0000000d 00000000', '0000000000000000'),
    answer: h('22 80 04 00 00 000000', NO_LUN, '0000000e 00000000 00000010 0000000e 0000010d', REST_12),
  },
  {
    name: 'Task Management: CLEAR ACA, and there is no ACA',
    request: h('42 83 0000 00 000000', NO_LUN, '0000000f', NO_TAG, '0000000e 00000011 00000000 00000000', '0000000000000000'),
    answer: h('22 80 05 00 00 000000', NO_LUN, '0000000f 00000000 00000011 0000000e 0000010d', REST_12),
  },
  {
    // §11.10.2 C bit: the text goes on; the answer is empty, with a tag to go on with (§11.11.4).
    name: 'Text Request that continues',
    request: h('44 40 0000 00 000004', NO_LUN, '00000010', NO_TAG, '0000000e 00000012', REST_16, ascii('Send')),
    answer: h('24 00 0000 00 000000', NO_LUN, '00000010 54580001 00000012 0000000e 0000010d', REST_12),
  },
  {
    name: 'the rest of the text, three bytes of padding, and Text Response',
    request: h('44 80 0000 00 000009', NO_LUN, '00000010 54580001 0000000e 00000013', REST_16, ascii('Targets='), '00 000000'),
    answer: h(
      '24 80 0000 00', length(text(['TargetName=iqn.2026-11.org.example:unit', 'TargetAddress=192.0.2.2:3260,1'])), NO_LUN,
      '00000010', NO_TAG, '00000013 0000000e 0000010d', REST_12,
      padded(text(['TargetName=iqn.2026-11.org.example:unit', 'TargetAddress=192.0.2.2:3260,1'])),
    ),
  },
  {
    name: 'Text Request with a key nobody knows',
    request: h('44 80 0000 00', length(text(['X-vector=1'])), NO_LUN, '00000011', NO_TAG, '0000000e 00000014', REST_16, padded(text(['X-vector=1']))),
    answer: h(
      '24 80 0000 00', length(text(['X-vector=NotUnderstood'])), NO_LUN, '00000011', NO_TAG, '00000014 0000000e 0000010d', REST_12,
      padded(text(['X-vector=NotUnderstood'])),
    ),
  },
  {
    // §11.15.1 response 2: connection recovery is not supported; the session goes on. Time2Wait 2, Time2Retain 0.
    name: 'Logout for connection recovery',
    request: h('46 82 0000 00 000000', NO_LUN, '00000012 00000000 0000000e 00000015', REST_16),
    answer: h('26 80 02 00 00 000000', NO_LUN, '00000012 00000000 00000015 0000000e 0000010d 00000000 0002 0000 00000000'),
  },
  {
    // §11.14.3, §11.15.1 response 1: the login named CID 1, there is no connection with CID 0; the session goes on.
    name: 'Logout of a connection that is not there',
    request: h('46 81 0000 00 000000', NO_LUN, '00000014 0000 0000 0000000e 00000016', REST_16),
    answer: h('26 80 01 00 00 000000', NO_LUN, '00000014 00000000 00000016 0000000e 0000010d 00000000 0002 0000 00000000'),
  },
  {
    // §11.9: event 1 asks for a logout within Parameter3 seconds.
    name: 'Async Message when the target shuts down',
    event: 'shutdown',
    request: '',
    answer: h('32 80 0000 00 000000', NO_LUN, NO_TAG, '00000000 00000017 0000000e 0000010d 01 00 0000 0000 0003 00000000'),
  },
  {
    // §11.14.3: the CID is valid with this reason, and the one of the login.
    name: 'Logout of the connection (reason 1)',
    request: h('46 81 0000 00 000000', NO_LUN, '00000013 0001 0000 0000000e 00000018', REST_16),
    answer: h('26 80 00 00 00 000000', NO_LUN, '00000013 00000000 00000018 0000000e 0000010d 00000000 0002 0000 00000000'),
  },
];

/** Additional header segments (§11.2.2): a bidirectional read length (type 2), and one of a type nobody knows. */
const AHS = h('0005 02 00 00000200', '0005 3f 00 00000000');

/** Large segments, unsolicited data, additional header segments, descriptor format sense. */
const unsolicited: readonly Exchange[] = [
  {
    name: 'TEST UNIT READY: unit attention',
    request: h('01 81 0000 00 000000', NO_LUN, '00000002 00000000 00000005 00000004', REST_16),
    answer: h('21 80 00 02 00 000014', NO_LUN, '00000002 00000000 00000004 00000006 00000105', REST_12, attention('29 00')),
  },
  {
    name: 'WRITE (16) with the first of three blocks as immediate data, F=0: more comes unasked',
    request: h('01 21 0000 00 000200', NO_LUN, '00000003 00000600 00000006 00000005', '8a 00 0000000000000020 00000003 00 00', 'a1'.repeat(512)),
    answer: '',
  },
  {
    // §11.7.4: TTT reserved, DataSN from 0, the offset behind the immediate data.
    name: 'unsolicited Data-Out',
    request: h('05 00 0000 00 000200', NO_LUN, '00000003', NO_TAG, '00000000 00000005 00000000 00000000 00000200 00000000', 'a2'.repeat(512)),
    answer: '',
  },
  {
    name: 'the last unsolicited Data-Out',
    request: h('05 80 0000 00 000200', NO_LUN, '00000003', NO_TAG, '00000000 00000005 00000000 00000001 00000400 00000000', 'a3'.repeat(512)),
    answer: h('21 80 00 00 00 000000', NO_LUN, '00000003 00000000 00000005 00000007 00000106', REST_12),
  },
  {
    name: 'WRITE (10) with additional header segments between header and immediate data',
    request: h('01 a1 0000 04 000200', NO_LUN, '00000004 00000200 00000007 00000006', '2a 00 00000022 00 0001 00', '000000000000', AHS, 'a4'.repeat(512)),
    answer: h('21 80 00 00 00 000000', NO_LUN, '00000004 00000000 00000006 00000008 00000107', REST_12),
  },
  {
    name: 'READ (16) with additional header segments',
    request: h('01 c1 0000 04 000000', NO_LUN, '00000005 00000600 00000008 00000007', '88 00 0000000000000020 00000003 00 00', AHS),
    answer: h(
      '25 81 0000 00 000600', NO_LUN, '00000005', NO_TAG, '00000007 00000009 00000108 00000000 00000000 00000000',
      'a1'.repeat(512), 'a2'.repeat(512), 'a4'.repeat(512),
    ),
  },
  {
    // SPC-4 7.5.8: D_SENSE in byte 2 of the control page; the list is header (4 bytes) and page (12).
    name: 'MODE SELECT (6) turns descriptor format sense on',
    request: h(
      '01 a1 0000 00 000010', NO_LUN, '00000006 00000010 00000009 00000008', '15 10 0000 10 00', '00'.repeat(10),
      '00 00 00 00', '0a 0a 06 10 00 00 0000 0000 0000',
    ),
    answer: h('21 80 00 00 00 000000', NO_LUN, '00000006 00000000 00000008 0000000a 00000109', REST_12),
  },
  {
    // SPC-4 4.5.2: 72h, key, code, qualifier, additional length 8, and the field pointer descriptor (02h, 06h).
    name: 'a reserved bit of the CDB: sense in descriptor format',
    request: h('01 81 0000 00 000000', NO_LUN, '00000007 00000000 0000000a 00000009', '00 00 00 80 00 00', '00'.repeat(10)),
    answer: h(
      '21 80 00 02 00 000012', NO_LUN, '00000007 00000000 00000009 0000000b 0000010a', REST_12,
      '0010 72 05 24 00 000000 08', '02 06 0000 cf 0003 00', '0000',
    ),
  },
  {
    name: 'NOP-Out with data that needs padding',
    request: h('40 80 0000 00 000005', NO_LUN, '00000008', NO_TAG, '0000000b 0000000a', REST_16, '0102030405 000000'),
    answer: h('20 80 0000 00 000005', NO_LUN, '00000008', NO_TAG, '0000000a 0000000b 0000010a', REST_12, '0102030405 000000'),
  },
  {
    name: 'Logout of the session (reason 0)',
    request: h('46 80 0000 00 000000', NO_LUN, '00000009 00000000 0000000b 0000000b', REST_16),
    answer: h('26 80 00 00 00 000000', NO_LUN, '00000009 00000000 0000000b 0000000b 0000010a 00000000 0002 0000 00000000'),
  },
];

const discovery: readonly Exchange[] = [
  {
    name: 'Text Request: SendTargets=All',
    request: h('04 80 0000 00', length(text(['SendTargets=All'])), NO_LUN, '00000002', NO_TAG, '00000005 00000004', REST_16, padded(text(['SendTargets=All']))),
    answer: h(
      '24 80 0000 00', length(text(['TargetName=iqn.2026-11.org.example:unit', 'TargetAddress=192.0.2.2:3260,1'])), NO_LUN,
      '00000002', NO_TAG, '00000004 00000006 00000105', REST_12,
      padded(text(['TargetName=iqn.2026-11.org.example:unit', 'TargetAddress=192.0.2.2:3260,1'])),
    ),
  },
  {
    name: 'a SCSI Command has no place in a discovery session',
    request: h('41 81 0000 00 000000', NO_LUN, '00000003 00000000 00000006 00000005', REST_16),
    answer: h(
      '3f 80 05 00 00 000030', NO_LUN, NO_TAG, '00000000 00000005 00000006 00000105', REST_12,
      '41 81 0000 00 000000', NO_LUN, '00000003 00000000 00000006 00000005', REST_16,
    ),
  },
  {
    name: 'nor has Task Management',
    request: h('42 82 0000 00 000000', NO_LUN, '00000004', NO_TAG, '00000006 00000006', REST_16),
    answer: h(
      '3f 80 05 00 00 000030', NO_LUN, NO_TAG, '00000000 00000006 00000006 00000105', REST_12,
      '42 82 0000 00 000000', NO_LUN, '00000004', NO_TAG, '00000006 00000006', REST_16,
    ),
  },
  {
    name: 'Logout',
    request: h('46 80 0000 00 000000', NO_LUN, '00000005 00000000 00000006 00000007', REST_16),
    answer: h('26 80 00 00 00 000000', NO_LUN, '00000005 00000000 00000007 00000006 00000105 00000000 0002 0000 00000000'),
  },
];

export const CONVERSATIONS: readonly Conversation[] = [
  {
    name: 'small segments',
    login: (header, data) =>
      loginWith(
        [
          'InitiatorName=iqn.2026-11.org.example:vector', 'SessionType=Normal', 'TargetName=iqn.2026-11.org.example:unit',
          `HeaderDigest=${header}`, `DataDigest=${data}`, 'InitialR2T=Yes', 'ImmediateData=No', 'MaxRecvDataSegmentLength=512',
          'MaxBurstLength=1024', 'FirstBurstLength=512', 'MaxOutstandingR2T=2', 'ErrorRecoveryLevel=2', 'DefaultTime2Wait=0',
        ],
        [
          'TargetPortalGroupTag=1', `HeaderDigest=${header}`, `DataDigest=${data}`, 'InitialR2T=Yes', 'ImmediateData=No',
          'MaxBurstLength=1024', 'FirstBurstLength=512', 'MaxOutstandingR2T=2', 'ErrorRecoveryLevel=0', 'DefaultTime2Wait=2',
          'MaxRecvDataSegmentLength=262144',
        ],
      ),
    exchanges: small,
  },
  { name: 'unsolicited data', login, exchanges: unsolicited },
  {
    name: 'discovery',
    login: (header, data) =>
      loginWith(
        ['InitiatorName=iqn.2026-11.org.example:vector', 'SessionType=Discovery', `HeaderDigest=${header}`, `DataDigest=${data}`, 'InitialR2T=No'],
        [`HeaderDigest=${header}`, `DataDigest=${data}`, 'InitialR2T=Irrelevant', 'MaxRecvDataSegmentLength=262144'],
      ),
    exchanges: discovery,
  },
];

/** Logins that are refused (§11.13.5): each in a connection of its own, which ends. StatSN means nothing here. */
export const REFUSED_LOGINS: readonly Exchange[] = [
  ['0203, the target is not found', '43 87 00 00', '0000', ['InitiatorName=iqn.2026-11.org.example:vector', 'TargetName=iqn.2026-11.org.example:none'], '0203'],
  ['0205, a version we do not have', '43 87 01 01', '0000', ['InitiatorName=iqn.2026-11.org.example:vector', 'SessionType=Discovery'], '0205'],
  ['0207, InitiatorName is missing', '43 87 00 00', '0000', ['SessionType=Discovery'], '0207'],
  ['0209, a session type nobody knows', '43 87 00 00', '0000', ['InitiatorName=iqn.2026-11.org.example:vector', 'SessionType=Other'], '0209'],
  ['020a, a session that does not exist', '43 87 00 00', '0007', ['InitiatorName=iqn.2026-11.org.example:vector', 'SessionType=Discovery'], '020a'],
  ['0200, T and C together', '43 c7 00 00', '0000', ['InitiatorName=iqn.2026-11.org.example:vector', 'SessionType=Discovery'], '0200'],
].map(([name, first, tsih, keys, status]) => ({
  name: `Login refused: ${name as string}`,
  request: h(first as string, '00', length(text(keys as string[])), '800000000001', tsih as string, '00000001 00010000 00000005 00000003', REST_16, padded(text(keys as string[]))),
  answer: h('23 00 00 00 00 000000 800000000001 0000 00000001 00000000 00000003 00000005 00000005', status as string, '0000', '00'.repeat(8)),
}));

/** Two rounds: security, then operational (§6.3.2: the stage changes when both sides set T). */
export const LOGIN_IN_STAGES: readonly Exchange[] = [
  {
    name: 'Login Request of the security stage with AuthMethod=None',
    request: h(
      '43 81 00 00 00', length(text(['InitiatorName=iqn.2026-11.org.example:vector', 'TargetName=iqn.2026-11.org.example:unit', 'AuthMethod=None'])),
      '800000000001 0000 00000001 00010000 00000005 00000003', REST_16,
      padded(text(['InitiatorName=iqn.2026-11.org.example:vector', 'TargetName=iqn.2026-11.org.example:unit', 'AuthMethod=None'])),
    ),
    answer: h(
      '23 81 00 00 00', length(text(['TargetPortalGroupTag=1', 'AuthMethod=None'])), '800000000001 0000 00000001 00000000 00000003 00000005 00000005 0000 0000',
      '00'.repeat(8), padded(text(['TargetPortalGroupTag=1', 'AuthMethod=None'])),
    ),
  },
  {
    name: 'Login Request that continues (C bit)',
    request: h('43 44 00 00 00', length(ascii('MaxBurst')), '800000000001 0000 00000001 00010000 00000005 00000004', REST_16, ascii('MaxBurst')),
    answer: h('23 04 00 00 00 000000 800000000001 0000 00000001 00000000 00000004 00000005 00000005 0000 0000', '00'.repeat(8)),
  },
  {
    name: 'Login Request of the operational stage',
    request: h('43 87 00 00 00', length(text(['Length=4096'])), '800000000001 0000 00000001 00010000 00000005 00000005', REST_16, padded(text(['Length=4096']))),
    answer: h(
      '23 87 00 00 00', length(text(['MaxBurstLength=4096', 'MaxRecvDataSegmentLength=262144'])),
      '800000000001 0001 00000001 00000000 00000005 00000005 00000005 0000 0000', '00'.repeat(8), padded(text(['MaxBurstLength=4096', 'MaxRecvDataSegmentLength=262144'])),
    ),
  },
];
