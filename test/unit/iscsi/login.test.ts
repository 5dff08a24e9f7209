// The login phase: every key with good and bad values, CHAP against somebody who cheats, redirection, and floods.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createConnection } from 'node:net';
import {
  FIRST_BURST,
  LOGIN_TIMEOUT,
  MAX_BURST,
  MAX_LOGINS_PENDING_PER_ADDRESS,
  MAX_OUTSTANDING_R2T,
} from '../../../core/base/limits.ts';
import { chapResponse } from '../../../core/iscsi/chap.ts';
import { Opcode } from '../../../core/iscsi/wire/constants.ts';
import { encodeText, parseBinary } from '../../../core/iscsi/wire/text.ts';
import { TUR, pattern, read16, write16 } from '../../support/cdb.ts';
import { Initiator, LoginFailed } from '../../support/initiator.ts';
import type { Pdu } from '../../support/initiator.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { IQN, startTarget } from '../../support/target.ts';
import type { TestTarget } from '../../support/target.ts';

const HOST = '127.0.0.1';
const NAME = 'iqn.2026-11.org.example:';
const refused = (status: number) => (error: unknown) => error instanceof LoginFailed && error.status === status;

/** Flags of a Login Request: stages and transit. */
const SECURITY = 0x00;
const SECURITY_TO_OPERATIONAL = 0x81;
const OPERATIONAL = 0x04;
const TO_FULL = 0x87;

describe('login negotiation', () => {
  let target: TestTarget;
  before(async () => {
    target = await startTarget({
      redirect: (_name, initiator) =>
        initiator.endsWith(':moved') ? { portal: '[2001:db8::7]:3260', permanent: true } : undefined,
    });
  });
  after(() => target.close());
  const identity = { InitiatorName: `${NAME}keys`, TargetName: IQN, SessionType: 'Normal' };
  const connect = (): Promise<Initiator> => Initiator.connect(HOST, target.port);
  const negotiate = async (key: string, value: string, discovery = false): Promise<string | undefined> => {
    const initiator = await connect();
    const who = discovery ? { InitiatorName: identity.InitiatorName, SessionType: 'Discovery' } : identity;
    const offer = { ...who, MaxRecvDataSegmentLength: '8192', [key]: value };
    try {
      await initiator.loginStep(TO_FULL, offer);
      return initiator.answers.get(key);
    } finally {
      initiator.destroy();
    }
  };

  // Key, offer, answer (RFC 7143 §13).
  const cases: [string, string, string][] = [
    ['HeaderDigest', 'CRC32C,None', 'CRC32C'],
    ['HeaderDigest', 'None,CRC32C', 'None'],
    ['HeaderDigest', 'X-other,CRC32C', 'CRC32C'],
    ['HeaderDigest', 'crc32c', 'Reject'],
    ['DataDigest', 'CRC32C', 'CRC32C'],
    ['DataDigest', '', 'Reject'],
    ['MaxConnections', '8', '1'],
    ['MaxConnections', '0', 'Reject'],
    ['MaxConnections', '65536', 'Reject'],
    ['InitialR2T', 'No', 'No'],
    ['InitialR2T', 'Yes', 'Yes'],
    ['InitialR2T', 'yes', 'Reject'],
    ['ImmediateData', 'No', 'No'],
    ['ImmediateData', 'Yes', 'Yes'],
    ['ImmediateData', '1', 'Reject'],
    ['MaxBurstLength', '16777215', String(MAX_BURST)],
    ['MaxBurstLength', '0x1000', '4096'],
    ['MaxBurstLength', '511', 'Reject'],
    ['MaxBurstLength', '16777216', 'Reject'],
    ['MaxBurstLength', '-1', 'Reject'],
    ['MaxBurstLength', '4096.5', 'Reject'],
    ['FirstBurstLength', '16777215', String(FIRST_BURST)],
    ['FirstBurstLength', '512', '512'],
    ['FirstBurstLength', '99999999999999999999', 'Reject'],
    ['DefaultTime2Wait', '0', '2'],
    ['DefaultTime2Wait', '3600', '3600'],
    ['DefaultTime2Wait', '3601', 'Reject'],
    ['DefaultTime2Retain', '20', '0'],
    ['DefaultTime2Retain', '3601', 'Reject'],
    ['MaxOutstandingR2T', '65535', String(MAX_OUTSTANDING_R2T)],
    ['MaxOutstandingR2T', '0', 'Reject'],
    ['DataPDUInOrder', 'No', 'Yes'],
    ['DataSequenceInOrder', 'No', 'Yes'],
    ['DataSequenceInOrder', 'Perhaps', 'Reject'],
    ['ErrorRecoveryLevel', '2', '0'],
    ['ErrorRecoveryLevel', '3', 'Reject'],
    ['IFMarker', 'Yes', 'No'],
    ['OFMarker', 'No', 'No'],
    ['IFMarkInt', '2048~8192', 'Reject'],
    ['OFMarkInt', '2048', 'Reject'],
    ['TaskReporting', 'FastAbort,ResponseFence,RFC3720', 'RFC3720'],
    ['TaskReporting', 'FastAbort', 'Reject'],
    ['iSCSIProtocolLevel', '2', '1'],
    ['iSCSIProtocolLevel', '32', 'Reject'],
    ['X-org.example.key', 'value', 'NotUnderstood'],
    ['X#Node', 'value', 'NotUnderstood'],
    ['toString', 'x', 'NotUnderstood'],
  ];
  for (const [key, value, expected] of cases) {
    test(`${key}=${value} is answered ${expected}`, async () => {
      assert.equal(await negotiate(key, value), expected);
    });
  }

  test('a declared length below 512 is rejected, once', async () => {
    const initiator = await connect();
    await initiator.loginStep(TO_FULL, { ...identity, MaxRecvDataSegmentLength: '100' });
    initiator.destroy();
    assert.equal(initiator.answers.get('MaxRecvDataSegmentLength'), 'Reject');
  });

  test('keys of normal sessions say nothing in a discovery session', async () => {
    for (const key of ['MaxConnections', 'InitialR2T', 'ImmediateData', 'MaxBurstLength', 'FirstBurstLength']) {
      assert.equal(await negotiate(key, key.startsWith('I') ? 'Yes' : '4096', true), 'Irrelevant', key);
    }
    for (const key of ['MaxOutstandingR2T', 'DataPDUInOrder', 'DataSequenceInOrder', 'TaskReporting']) {
      assert.equal(await negotiate(key, '1', true), 'Irrelevant', key);
    }
    assert.equal(await negotiate('HeaderDigest', 'CRC32C', true), 'CRC32C');
  });

  test('FirstBurstLength is not granted beyond MaxBurstLength', async () => {
    const initiator = await connect();
    await initiator.loginStep(TO_FULL, { ...identity, MaxBurstLength: '4096', FirstBurstLength: '65536' });
    assert.equal(initiator.answers.get('FirstBurstLength'), '4096');
    initiator.destroy();
  });

  test('bursts that are no whole words come back whole', async () => {
    const keys = { MaxBurstLength: '1001', FirstBurstLength: '999' };
    const initiator = await Initiator.login(HOST, target.port, { target: IQN, keys });
    await initiator.scsi(TUR);
    const data = pattern(8192, 5);
    // Nothing has been written: the zeros are made in the send buffer. What has been written is sent from its memory.
    assert.ok((await initiator.scsi(read16(0, 16), { read: 8192 })).data.equals(Buffer.alloc(8192)));
    assert.equal((await initiator.scsi(write16(0, 16), { write: data })).status, 0);
    assert.ok((await initiator.scsi(read16(0, 16), { read: 8192 })).data.equals(data));
    assert.equal((await initiator.scsi(TUR)).status, 0);
    initiator.destroy();
  });

  const one = async (flags: number, text: Buffer, change: (header: Buffer) => void = () => undefined): Promise<Pdu> => {
    const initiator = await connect();
    try {
      const header = initiator.loginHeader(flags);
      change(header);
      initiator.send(header, text);
      return await initiator.receive();
    } finally {
      initiator.destroy();
    }
  };
  const statusOf = (pdu: Pdu): number => pdu.header.readUInt16BE(36);
  const good = encodeText(Object.entries(identity));

  const refusals: [string, number, number, Buffer, ((header: Buffer) => void)?][] = [
    ['a key twice in one request', 0x0200, TO_FULL, Buffer.concat([good, encodeText([['SessionType', 'Normal']])])],
    ['text without an equals sign', 0x0200, TO_FULL, Buffer.concat([good, Buffer.from('rubbish\0')])],
    ['a key of 64 characters', 0x0200, TO_FULL, Buffer.concat([good, encodeText([['K'.repeat(64), '1']])])],
    ['no initiator name', 0x0207, TO_FULL, encodeText([['TargetName', IQN]])],
    [
      'a name that is none',
      0x0200,
      TO_FULL,
      encodeText([
        ['InitiatorName', 'me'],
        ['TargetName', IQN],
      ]),
    ],
    ['a name that is too long', 0x0200, TO_FULL, encodeText([['InitiatorName', `${NAME}${'é'.repeat(101)}`]])],
    [
      'an alias that is too long',
      0x0200,
      TO_FULL,
      Buffer.concat([good, encodeText([['InitiatorAlias', 'a'.repeat(256)]])]),
    ],
    [
      'an unknown session type',
      0x0209,
      TO_FULL,
      encodeText([
        ['InitiatorName', `${NAME}x`],
        ['SessionType', 'Odd'],
      ]),
    ],
    [
      'AuthMethod in the operational stage',
      0x0200,
      TO_FULL,
      Buffer.concat([good, encodeText([['AuthMethod', 'None']])]),
    ],
    ['SendTargets during login', 0x0200, TO_FULL, Buffer.concat([good, encodeText([['SendTargets', 'All']])])],
    ['a version we do not have', 0x0205, TO_FULL, good, (header) => (header[3] = 1)],
    ['a session that does not exist', 0x020a, TO_FULL, good, (header) => header.writeUInt16BE(0x7777, 14)],
    ['a stage that is reserved', 0x0200, 0x0b, good],
    ['a step back', 0x0200, 0x84, good],
    ['transit to a reserved stage', 0x0200, 0x86, good],
    ['transit in the middle of a text', 0x0200, 0xc7, good],
    [
      'so many keys that the answer would not fit',
      0x0200,
      TO_FULL,
      Buffer.concat([
        good,
        encodeText(Array.from({ length: 200 }, (_, i) => [`${'K'.repeat(50)}${String(i)}`, '1'] as const)),
      ]),
    ],
  ];
  for (const [what, status, flags, text, change] of refusals) {
    test(`refused: ${what}`, async () => {
      assert.equal(statusOf(await one(flags, text, change)).toString(16), status.toString(16));
    });
  }

  test('a key twice in two requests, another stage than agreed, another connection: refused', async () => {
    for (const [flags, keys, cid] of [
      [OPERATIONAL, { HeaderDigest: 'None' }, 0],
      [SECURITY, {}, 0],
      [OPERATIONAL, {}, 9],
    ] as const) {
      const initiator = await connect();
      await initiator.loginStep(OPERATIONAL, { ...identity, HeaderDigest: 'None' });
      const header = initiator.loginHeader(flags);
      header.writeUInt16BE(cid, 20);
      initiator.send(header, encodeText(Object.entries(keys)));
      assert.equal(statusOf(await initiator.receive()), 0x0200);
      await initiator.closed;
    }
  });

  test('a text in several PDUs is one text', async () => {
    const initiator = await connect();
    initiator.send(initiator.loginHeader(0x44), good.subarray(0, 20));
    const empty = await initiator.receive();
    assert.deepEqual([statusOf(empty), empty.data.length, empty.header[1]], [0, 0, OPERATIONAL]);
    initiator.send(initiator.loginHeader(TO_FULL), good.subarray(20));
    const last = await initiator.receive();
    assert.deepEqual([statusOf(last), last.header[1]], [0, TO_FULL]);
    initiator.destroy();
  });

  test('a login without end is ended', async () => {
    const initiator = await connect();
    for (let i = 0; i < 40; i++) initiator.send(initiator.loginHeader(0x44), Buffer.from('A=1\0'));
    await initiator.closed;
    const big = await connect();
    for (let i = 0; i < 12; i++) big.send(big.loginHeader(0x44), Buffer.alloc(8192, 0x41));
    await big.closed;
  });

  test('methods offered in a second request are answered', async () => {
    const initiator = await connect();
    await initiator.loginStep(SECURITY, identity);
    await initiator.loginStep(SECURITY_TO_OPERATIONAL, { AuthMethod: 'CHAP,None' });
    assert.equal(initiator.answers.get('AuthMethod'), 'None');
    await initiator.loginStep(TO_FULL, {});
    assert.equal((await initiator.scsi(TUR)).senseCode, '06/29/00');
    initiator.destroy();
  });

  test('straight from the security stage to the full feature phase', async () => {
    const initiator = await connect();
    const last = await initiator.loginStep(0x83, { ...identity, AuthMethod: 'None' });
    assert.equal(last.header[1], 0x83);
    assert.notEqual(last.header.readUInt16BE(14), 0, 'TSIH');
    assert.equal((await initiator.scsi(TUR)).senseCode, '06/29/00');
    initiator.destroy();
  });

  test('moved permanently: the other portal is named', async () => {
    await assert.rejects(
      Initiator.login(HOST, target.port, { target: IQN, initiator: `${NAME}moved` }),
      (error: unknown) =>
        error instanceof LoginFailed &&
        error.status === 0x0102 &&
        error.keys.get('TargetAddress') === '[2001:db8::7]:3260',
    );
  });

  test('anything but a login request ends a connection that has not logged in', async () => {
    for (const opcode of [Opcode.scsiCommand, Opcode.nopOut, Opcode.textRequest, Opcode.logoutRequest, 0x3f]) {
      const initiator = await connect();
      initiator.send(initiator.header(opcode | 0x40, 0x80));
      await initiator.closed;
    }
  });
});

describe('CHAP against cheats', () => {
  const secret = 'correct horse battery';
  const same = 'one secret for both ways';
  let target: TestTarget;
  before(async () => {
    target = await startTarget({
      credentials: (initiator) => {
        if (initiator.endsWith(':one-way')) return { method: 'chap', user: 'me', secret: Buffer.from(secret) };
        const both = initiator.endsWith(':same') ? same : secret;
        const ours = initiator.endsWith(':same') ? same : 'another long secret';
        const mutual = { user: 'target', secret: Buffer.from(ours) };
        return { method: 'chap', user: 'me', secret: Buffer.from(both), mutual };
      },
    });
  });
  after(() => target.close());

  /** Up to the challenge of the target. */
  const challenged = async (who: string, algorithms = '5'): Promise<Initiator> => {
    const initiator = await Initiator.connect(HOST, target.port);
    const identity = { InitiatorName: `${NAME}${who}`, TargetName: IQN, SessionType: 'Normal' };
    await initiator.loginStep(SECURITY, { ...identity, AuthMethod: 'CHAP,None' });
    assert.equal(initiator.answers.get('AuthMethod'), 'CHAP', 'None is no choice here');
    await initiator.loginStep(SECURITY, { CHAP_A: algorithms });
    return initiator;
  };
  const answerTo = (initiator: Initiator, key = secret): string => {
    const { answers } = initiator;
    const challenge = parseBinary(answers.get('CHAP_C') ?? '') ?? Buffer.alloc(0);
    const identifier = Number(answers.get('CHAP_I'));
    return `0x${chapResponse(Number(answers.get('CHAP_A')), identifier, Buffer.from(key), challenge).toString('hex')}`;
  };
  const fails = async (initiator: Initiator, keys: Record<string, string>, status = 0x0201): Promise<void> => {
    await assert.rejects(initiator.loginStep(SECURITY_TO_OPERATIONAL, keys), refused(status));
    await initiator.closed;
  };

  test('our challenge sent back to us is not answered', async () => {
    const initiator = await challenged('both');
    const CHAP_C = initiator.answers.get('CHAP_C') ?? '';
    await fails(initiator, { CHAP_N: 'me', CHAP_R: answerTo(initiator), CHAP_I: '1', CHAP_C });
  });
  test('our challenge sent back in base64 is not answered', async () => {
    const initiator = await challenged('both');
    const bytes = parseBinary(initiator.answers.get('CHAP_C') ?? '');
    assert.ok(bytes !== undefined);
    const CHAP_C = `0b${bytes.toString('base64')}`;
    await fails(initiator, { CHAP_N: 'me', CHAP_R: answerTo(initiator), CHAP_I: '1', CHAP_C });
  });
  test('one secret for both directions is not used', async () => {
    const initiator = await challenged('same');
    await fails(initiator, {
      CHAP_N: 'me',
      CHAP_R: answerTo(initiator, same),
      CHAP_I: '1',
      CHAP_C: '0x0102030405060708',
    });
  });
  test('we prove nothing to somebody who has proved nothing', async () => {
    const initiator = await challenged('both');
    await fails(initiator, { CHAP_N: 'me', CHAP_R: `0x${'00'.repeat(16)}`, CHAP_I: '1', CHAP_C: '0x0102030405060708' });
    assert.equal(initiator.answers.get('CHAP_R'), undefined);
  });
  test('an answer heard earlier is worth nothing', async () => {
    const heard = await challenged('one-way');
    const CHAP_R = answerTo(heard);
    await heard.loginStep(SECURITY_TO_OPERATIONAL, { CHAP_N: 'me', CHAP_R });
    heard.destroy();
    const replay = await challenged('one-way');
    assert.notEqual(replay.answers.get('CHAP_C'), heard.answers.get('CHAP_C'));
    await fails(replay, { CHAP_N: 'me', CHAP_R });
  });
  test('the other direction asked of a target that has no secret for it', async () => {
    const initiator = await challenged('one-way');
    await fails(initiator, { CHAP_N: 'me', CHAP_R: answerTo(initiator), CHAP_I: '1', CHAP_C: '0x0102030405060708' });
  });
  test('malformed answers', async () => {
    const bad: ((right: string) => Record<string, string>)[] = [
      () => ({}),
      (right) => ({ CHAP_R: right }),
      () => ({ CHAP_N: 'me' }),
      (right) => ({ CHAP_N: 'me', CHAP_R: right.slice(2) }),
      (right) => ({ CHAP_N: 'me', CHAP_R: `${right}00` }),
      (right) => ({ CHAP_N: 'ME', CHAP_R: right }),
      (right) => ({ CHAP_N: 'me', CHAP_R: right, CHAP_C: '0x0102' }),
      (right) => ({ CHAP_N: 'me', CHAP_R: right, CHAP_C: '0x0102', CHAP_I: '256' }),
      (right) => ({ CHAP_N: 'me', CHAP_R: right, CHAP_C: `0x${'ab'.repeat(1025)}`, CHAP_I: '1' }),
    ];
    for (const keys of bad) {
      const initiator = await challenged('both');
      await fails(initiator, keys(answerTo(initiator)));
    }
  });
  test('the stage of proof cannot be skipped or left early', async () => {
    const identity = { InitiatorName: `${NAME}both`, TargetName: IQN, SessionType: 'Normal' };
    for (const flags of [TO_FULL, OPERATIONAL]) {
      const initiator = await Initiator.connect(HOST, target.port);
      await assert.rejects(initiator.loginStep(flags, identity), refused(0x0201));
    }
    for (const flags of [SECURITY_TO_OPERATIONAL, 0x83]) {
      const initiator = await Initiator.connect(HOST, target.port);
      const response = await initiator.loginStep(flags, { ...identity, AuthMethod: 'CHAP' });
      assert.equal((response.header[1] as number) & 0x80, 0, 'T although nothing has been proved');
      await assert.rejects(initiator.loginStep(TO_FULL, {}), refused(0x0200));
      initiator.destroy();
    }
    const none = await Initiator.connect(HOST, target.port);
    await assert.rejects(none.loginStep(SECURITY_TO_OPERATIONAL, { ...identity, AuthMethod: 'None' }), refused(0x0201));
  });
  test('the strongest algorithm of the list is taken; a list without any is refused', async () => {
    for (const [list, chosen] of [
      ['5,7', '7'],
      ['5,6', '6'],
      ['99,5', '5'],
      ['7,5,8,6', '8'],
    ] as const) {
      const initiator = await challenged('one-way', list);
      assert.equal(initiator.answers.get('CHAP_A'), chosen);
      await initiator.loginStep(SECURITY_TO_OPERATIONAL, { CHAP_N: 'me', CHAP_R: answerTo(initiator) });
      initiator.destroy();
    }
    for (const list of ['', '99', 'MD5']) {
      await assert.rejects(challenged('one-way', list), refused(0x0201));
    }
  });
  test('discovery wants the same proof', async () => {
    const options = { initiator: `${NAME}one-way`, discovery: true };
    await assert.rejects(Initiator.login(HOST, target.port, options), refused(0x0201));
    const initiator = await Initiator.login(HOST, target.port, { ...options, chap: { user: 'me', secret } });
    assert.equal((await initiator.text({ SendTargets: 'All' })).length, 2);
    initiator.destroy();
  });
});

describe('logins that do not end', () => {
  test('one address cannot take all places; who does not log in in time is sent away', async () => {
    const clock = new ManualClock();
    const target = await startTarget({ clock, portals: [{ host: '0.0.0.0', group: 1 }] });
    const session = await Initiator.login(HOST, target.port, { target: IQN });
    const flood: Initiator[] = [];
    for (let i = 0; i < MAX_LOGINS_PENDING_PER_ADDRESS; i++) flood.push(await Initiator.connect(HOST, target.port));
    const surplus = await Initiator.connect(HOST, target.port);
    await surplus.closed;
    assert.ok(flood.every((each) => !each.isClosed));

    const socket = createConnection({ host: HOST, port: target.port, localAddress: '127.0.0.2' });
    const other = await Initiator.over(socket);
    await other.login({ target: IQN, isid: '800000000002' });
    assert.equal((await other.scsi(TUR)).senseCode, '06/29/00');

    // Half a request does not count as a login.
    flood[0]?.raw(flood[0].loginHeader(TO_FULL).subarray(0, 40));
    assert.equal((await session.scsi(TUR)).senseCode, '06/29/00');
    clock.advance(LOGIN_TIMEOUT + 2000);
    await Promise.all(flood.map((each) => each.closed));
    assert.equal((await session.scsi(TUR)).status, 0);
    session.destroy();
    other.destroy();
    await clock.during(target.close());
  });
});
