// SendTargets with several portals, portal groups, IPv6, advertised addresses, and what a visitor could not use.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addressOf } from '../../../core/iscsi/discovery.ts';
import { Opcode, RESERVED_TAG, RejectReason } from '../../../core/iscsi/wire/constants.ts';
import { encodeText } from '../../../core/iscsi/wire/text.ts';
import { TUR, read16 } from '../../support/cdb.ts';
import { Initiator } from '../../support/initiator.ts';
import type { Pdu } from '../../support/initiator.ts';
import { IQN, startTarget } from '../../support/target.ts';
import type { TestTarget } from '../../support/target.ts';

const HOST = '127.0.0.1';

async function withTarget(
  options: Parameters<typeof startTarget>[0],
  body: (target: TestTarget) => Promise<void>,
): Promise<void> {
  const target = await startTarget(options);
  try {
    await body(target);
  } finally {
    for (const each of [...target.server.connections]) each.destroy('test over');
    await target.close();
  }
}
const discover = (port: number, host = HOST): Promise<Initiator> => Initiator.login(host, port, { discovery: true });
const pairs = (answer: Map<string, string>[]): string[] => answer.flatMap((each) => [...each].map((p) => p.join('=')));

function textRequest(initiator: Initiator, flags: number, ttt = RESERVED_TAG): Buffer {
  const header = initiator.header(Opcode.textRequest | 0x40, flags);
  header.writeUInt32BE(initiator.itt, 16);
  header.writeUInt32BE(ttt, 20);
  header.writeUInt32BE(initiator.cmdSN, 24);
  return header;
}

describe('SendTargets', () => {
  const portals = [
    { host: HOST, group: 1 },
    { host: '::1', group: 1 },
    { host: '0.0.0.0', group: 2 },
    { host: HOST, group: 3, advertised: 'storage.example:3260' },
    { host: HOST, group: 3, advertised: '[2001:db8::1]:860' },
  ];

  test('every portal with its group, IPv6 in brackets, advertised addresses instead of our own', () =>
    withTarget({ portals }, async ({ server, port }) => {
      const [v4, v6, any] = server.portals.map((each) => String(each.port));
      const common = ['TargetAddress=storage.example:3260,3', 'TargetAddress=[2001:db8::1]:860,3'];
      const byV4 = await discover(port);
      assert.deepEqual(pairs(await byV4.text({ SendTargets: 'All' })), [
        `TargetName=${IQN}`,
        `TargetAddress=127.0.0.1:${v4 ?? ''},1`,
        `TargetAddress=[::1]:${v6 ?? ''},1`,
        `TargetAddress=127.0.0.1:${any ?? ''},2`,
        ...common,
      ]);
      // Nobody who comes by IPv6 is told an IPv6 address of a portal that only has IPv4.
      const byV6 = await discover(Number(v6), '::1');
      assert.deepEqual(pairs(await byV6.text({ SendTargets: IQN.toUpperCase() })), [
        `TargetName=${IQN}`,
        `TargetAddress=127.0.0.1:${v4 ?? ''},1`,
        `TargetAddress=[::1]:${v6 ?? ''},1`,
        ...common,
      ]);
      assert.deepEqual(pairs(await byV6.text({ SendTargets: 'iqn.2026-11.org.example:none' })), []);
      byV4.destroy();
      byV6.destroy();
    }));

  test('each portal group is a target port of its own', () =>
    withTarget({ portals }, async ({ server }) => {
      const [first, , second] = server.portals;
      const isid = '800000000001';
      const a = await Initiator.login(HOST, first?.port ?? 0, { target: IQN, isid });
      const b = await Initiator.login(HOST, second?.port ?? 0, { target: IQN, isid });
      assert.equal(a.answers.get('TargetPortalGroupTag'), '1');
      assert.equal(b.answers.get('TargetPortalGroupTag'), '2');
      // The same initiator port on two target ports: two nexuses, no reinstatement.
      assert.equal((await a.scsi(TUR)).senseCode, '06/29/00');
      assert.equal((await b.scsi(TUR)).senseCode, '06/29/00');
      // The same group by its other portal: the same nexus, so the first session ends.
      const c = await Initiator.login('::1', server.portals[1]?.port ?? 0, { target: IQN, isid });
      await a.closed;
      for (const each of [b, c]) each.destroy();
    }));

  test('another machine is not told of loopback, and no zone', () => {
    const portal = (address: string, advertised?: string) => ({ address, port: 3260, group: 1, advertised });
    assert.equal(addressOf(portal('127.0.0.1'), '192.0.2.2', false), undefined);
    assert.equal(addressOf(portal('::1'), '192.0.2.2', false), undefined);
    assert.equal(addressOf(portal('127.0.0.1'), '192.0.2.2', true), '127.0.0.1:3260,1');
    assert.equal(addressOf(portal('127.0.0.1', '192.0.2.9:1'), '192.0.2.2', false), '192.0.2.9:1,1');
    assert.equal(addressOf(portal('::'), '::ffff:192.0.2.2', false), '192.0.2.2:3260,1');
    assert.equal(addressOf(portal('::'), 'fe80::1%eth0', false), '[fe80::1]:3260,1');
    assert.equal(addressOf(portal('0.0.0.0'), '2001:db8::1', false), undefined);
  });

  test('in a normal session only its own target, and not All', () =>
    withTarget({}, async ({ port }) => {
      const initiator = await Initiator.login(HOST, port, { target: IQN });
      const own = [`TargetName=${IQN}`, `TargetAddress=127.0.0.1:${String(port)},1`];
      assert.deepEqual(pairs(await initiator.text({ SendTargets: '' })), own);
      assert.deepEqual(pairs(await initiator.text({ SendTargets: 'All' })), ['SendTargets=Reject']);
      initiator.destroy();
    }));

  test('a discovery session carries no commands', () =>
    withTarget({}, async ({ port }) => {
      const initiator = await discover(port);
      for (const header of [initiator.command(TUR), initiator.taskManagement(5)]) {
        initiator.send(header);
        const reject = await initiator.receive();
        assert.deepEqual([reject.opcode, reject.header[2]], [Opcode.reject, RejectReason.commandNotSupported]);
        assert.deepEqual(reject.data, header);
      }
      assert.equal(await initiator.logout(), 0);
    }));
});

describe('text requests', () => {
  test('an answer that needs several PDUs, a question that comes in several', () =>
    withTarget({ portals: Array.from({ length: 40 }, () => ({ host: HOST, group: 1 })) }, async ({ port }) => {
      const initiator = await Initiator.login(HOST, port, {
        discovery: true,
        keys: { MaxRecvDataSegmentLength: '512' },
      });
      assert.equal((await initiator.text({ SendTargets: 'All' })).length, 41);
      const question = encodeText([['SendTargets', 'All']]);
      initiator.send(textRequest(initiator, 0x40), question.subarray(0, 7));
      const more = await initiator.receiveKind(Opcode.textResponse);
      const ttt = more.header.readUInt32BE(20);
      assert.deepEqual([more.header[1], more.data.length], [0, 0]);
      assert.notEqual(ttt, RESERVED_TAG);
      initiator.send(textRequest(initiator, 0x80, ttt), question.subarray(7));
      const sizes: number[] = [];
      let pdu: Pdu;
      do {
        pdu = await initiator.receiveKind(Opcode.textResponse);
        sizes.push(pdu.data.length);
        if (((pdu.header[1] as number) & 0x40) !== 0) {
          initiator.send(textRequest(initiator, 0x80, pdu.header.readUInt32BE(20)));
        }
      } while (((pdu.header[1] as number) & 0x80) === 0);
      assert.equal(pdu.header.readUInt32BE(20), RESERVED_TAG);
      assert.ok(sizes.length > 2 && sizes.every((each) => each <= 512));
      initiator.destroy();
    }));

  test('a negotiation the initiator keeps open is not closed by us; a foreign tag is rejected', () =>
    withTarget({}, async ({ port }) => {
      const initiator = await discover(port);
      initiator.send(textRequest(initiator, 0x00), encodeText([['X-key', '1']]));
      const open = await initiator.receiveKind(Opcode.textResponse);
      assert.equal(open.header[1], 0);
      assert.equal(open.data.toString(), 'X-key=NotUnderstood\0');
      initiator.send(textRequest(initiator, 0x80, open.header.readUInt32BE(20)));
      const closed = await initiator.receiveKind(Opcode.textResponse);
      assert.deepEqual([closed.header[1], closed.header.readUInt32BE(20)], [0x80, RESERVED_TAG]);
      initiator.send(textRequest(initiator, 0x80, 0x1234));
      const reject = await initiator.receiveKind(Opcode.reject);
      assert.equal(reject.header[2], RejectReason.invalidPduField);
      initiator.destroy();
    }));

  test('after the login: a new MaxRecvDataSegmentLength counts, other keys of the login are rejected', () =>
    withTarget({}, async ({ port }) => {
      const initiator = await Initiator.login(HOST, port, { target: IQN });
      await initiator.scsi(TUR);
      const answers = pairs(
        await initiator.text({
          MaxRecvDataSegmentLength: '1024',
          MaxBurstLength: '4096',
          AuthMethod: 'None',
          'X-a': '1',
        }),
      );
      assert.deepEqual(answers, ['MaxBurstLength=Reject', 'AuthMethod=Reject', 'X-a=NotUnderstood']);
      initiator.send(initiator.command(read16(0, 8), { flags: 0xc1, length: 4096 }));
      for (let i = 0; i < 4; i++) assert.equal((await initiator.receiveKind(Opcode.dataIn)).data.length, 1024);
      assert.deepEqual(pairs(await initiator.text({ MaxRecvDataSegmentLength: '7' })), [
        'MaxRecvDataSegmentLength=Reject',
      ]);
      initiator.destroy();
    }));

  test('text without end, and text that is none, end the session', () =>
    withTarget({}, async ({ port }) => {
      const endless = await discover(port);
      for (let i = 0; i < 20; i++) {
        endless.send(textRequest(endless, 0x40, i === 0 ? RESERVED_TAG : 0x5458_0001), Buffer.alloc(8192, 0x41));
      }
      await endless.closed;
      const rubbish = await discover(port);
      rubbish.send(textRequest(rubbish, 0x80), Buffer.from('no pairs here\0'));
      await rubbish.closed;
    }));
});
