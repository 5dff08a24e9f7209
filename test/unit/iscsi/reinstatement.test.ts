// Another connection takes the place of one that is still there: of its session, or in its session.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { FUA, TUR, pattern, read16, write16 } from '../../support/cdb.ts';
import { Initiator, LoginFailed } from '../../support/initiator.ts';
import type { LoginOptions } from '../../support/initiator.ts';
import { StallingVolume } from '../../support/stalling-volume.ts';
import { IQN, startTarget } from '../../support/target.ts';
import type { TestTarget } from '../../support/target.ts';
import { Opcode } from '../../../core/iscsi/wire/constants.ts';

const HOST = '127.0.0.1';
const WRITES = 0xa1;
const RESERVE_6 = Buffer.from([0x16, 0, 0, 0, 0, 0]);
const RESERVATION_CONFLICT = 0x18;

describe('reinstatement', () => {
  let target: TestTarget;
  let volume: StallingVolume;
  const open: Initiator[] = [];
  const login = async (options: LoginOptions = {}, port = target.port): Promise<Initiator> => {
    const where = options.discovery === true ? {} : { target: IQN };
    const initiator = await Initiator.login(HOST, port, { ...where, ...options });
    open.push(initiator);
    return initiator;
  };
  const refused = (status: number) => (error: unknown) => error instanceof LoginFailed && error.status === status;

  before(async () => {
    volume = new StallingVolume(1_048_576);
    target = await startTarget({
      volumes: [volume],
      portals: [
        { host: HOST, group: 1 },
        { host: HOST, group: 2 },
      ],
    });
  });
  after(() => target.close());
  beforeEach(() => {
    volume.begun = 0;
  });
  afterEach(async () => {
    volume.goOn();
    for (const each of open.splice(0)) {
      each.destroy();
      await each.closed;
    }
  });

  test('of a connection: the session goes on with its numbers and its reservation, the old tasks are over', async () => {
    const first = await login();
    await first.scsi(TUR);
    assert.equal((await first.scsi(RESERVE_6)).status, 0);
    volume.stall();
    first.send(first.command(write16(0, 1, FUA), { flags: WRITES, length: 512 }), pattern(512, 1));
    first.send(first.command(write16(8, 2), { flags: WRITES, length: 1024 }));
    while (volume.begun === 0) await new Promise((resolve) => setImmediate(resolve));
    await first.receiveKind(Opcode.r2t);

    const { tsih, cmdSN } = first;
    const second = await login({ tsih, cmdSN, keys: { HeaderDigest: 'CRC32C' } });
    await first.closed;
    assert.equal(second.tsih, tsih);
    assert.equal(second.headerDigest, true);
    assert.deepEqual(
      target.server.sessions().map((each) => each.tsih),
      [tsih],
    );
    volume.recover();
    // No unit attention: the I_T nexus has not been lost.
    assert.equal((await second.scsi(TUR)).status, 0);
    volume.goOn();
    assert.equal((await second.scsi(write16(0, 1), { write: pattern(512, 2) })).status, 0);
    assert.ok((await second.scsi(read16(0, 1), { read: 512 })).data.equals(pattern(512, 2)), 'old data has won');
    const other = await login({ isid: '800000000002' });
    await other.scsi(TUR);
    assert.equal((await other.scsi(TUR)).status, 0);
    assert.equal((await other.scsi(read16(0, 1), { read: 512 })).status, RESERVATION_CONFLICT);
    const [info] = target.server.sessions().filter((each) => each.tsih === tsih);
    assert.equal(info?.activeTasks, 0);
  });

  test('of a connection: what the whole session has settled cannot be changed by it', async () => {
    const first = await login({ keys: { MaxBurstLength: '65536', InitialR2T: 'No' } });
    const { tsih } = first;
    const keys = { MaxBurstLength: '32768', InitialR2T: 'No', MaxRecvDataSegmentLength: '4096' };
    const second = await login({ tsih, cmdSN: first.cmdSN, keys });
    assert.equal(second.answers.get('MaxBurstLength'), 'Reject');
    assert.equal(second.answers.get('InitialR2T'), 'No');
    const parameters = [...target.server.connections].find((each) => each.session?.facts.tsih === tsih)?.session
      ?.parameters;
    assert.equal(parameters?.maxBurst, 65_536);
    assert.equal(parameters.initialR2T, false);
    assert.equal(parameters.maxRecvInitiator, 4096);
  });

  test('of a connection: not by anybody else, not as a second one, not in another portal group', async () => {
    const first = await login();
    const { tsih, cmdSN } = first;
    const gone = 0x020a;
    await assert.rejects(login({ tsih, cmdSN, initiator: 'iqn.2026-11.org.example:thief' }), refused(gone));
    await assert.rejects(login({ tsih, cmdSN, isid: '800000000009' }), refused(gone));
    await assert.rejects(login({ tsih, cmdSN, discovery: true }), refused(gone));
    await assert.rejects(login({ tsih: tsih + 1, cmdSN }), refused(gone));
    await assert.rejects(login({ tsih, cmdSN }, target.server.portals[1]?.port), refused(gone));
    await assert.rejects(login({ tsih, cmdSN, cid: 1 }), refused(0x0206));
    await first.scsi(TUR);
    assert.equal((await first.scsi(TUR)).status, 0);
  });

  test('of a discovery session: the same ISID replaces it, with its TSIH it goes on', async () => {
    const first = await login({ discovery: true });
    const elsewhere = await login({ discovery: true }, target.server.portals[1]?.port);
    const stranger = await login({ discovery: true, initiator: 'iqn.2026-11.org.example:stranger' });
    const second = await login({ discovery: true });
    await first.closed;
    assert.notEqual(second.tsih, first.tsih);
    const third = await login({ discovery: true, tsih: second.tsih, cmdSN: second.cmdSN });
    await second.closed;
    assert.equal(third.tsih, second.tsih);
    assert.ok((await third.text({ SendTargets: 'All' })).length > 0);
    assert.ok(!elsewhere.isClosed && !stranger.isClosed);
    assert.equal(target.server.sessions().length, 3);
  });
});
