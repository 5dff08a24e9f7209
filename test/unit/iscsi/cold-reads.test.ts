// READs that wait for a disk, on the way without promises: what they answer, what ends them, and who waits for them.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { TaskFunction, TaskResponse } from '../../../core/iscsi/task-management.ts';
import { Opcode } from '../../../core/iscsi/wire/constants.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { VolumeError, VolumeFault } from '../../../core/volume/volume.ts';
import { TUR, pattern, read16, write16 } from '../../support/cdb.ts';
import { Initiator } from '../../support/initiator.ts';
import type { ScsiAnswer } from '../../support/initiator.ts';
import { IQN, startTarget } from '../../support/target.ts';
import type { TestTarget } from '../../support/target.ts';

const HOST = '127.0.0.1';
const READS = 0xc1;
const WRITES = 0xa1;
const ORDERED = 2;

/** Has nothing in memory until a test says so. */
class ColdVolume extends MemoryVolume {
  readonly begun: ((there: boolean) => void)[] = [];
  cold = true;
  error: VolumeError | undefined;
  longReads = 0;

  override readNow(position: number, length: number, target: Buffer, at: number): boolean {
    return !this.cold && super.readNow(position, length, target, at);
  }
  override viewNow(): boolean {
    return false;
  }
  bringSoon(_position: number, _length: number, done: (there: boolean) => void): boolean {
    this.begun.push(done);
    return true;
  }
  override read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    this.longReads++;
    if (this.error !== undefined) return Promise.reject(this.error);
    super.readNow(position, length, target, at);
    return Promise.resolve();
  }

  /** The disk has read the oldest range; it is in memory, or not. */
  ends(there: boolean): void {
    this.cold = !there;
    this.begun.shift()?.(there);
    this.cold = true;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('cold reads', () => {
  let target: TestTarget;
  let volume: ColdVolume;
  let initiator: Initiator;
  const data = pattern(4096, 3);

  const begin = async (cdb = read16(8, 8), length = 4096): Promise<Buffer> => {
    const { length: before } = volume.begun;
    const header = initiator.command(cdb, { flags: READS, length });
    initiator.send(header);
    while (volume.begun.length === before) await turn();
    return header;
  };
  const idle = (): void => {
    const [lu] = target.units;
    assert.ok(lu?.locks.idle === true && lu.tasks.running === 0, 'something is left of it');
    for (const { session, context } of target.server.connections) {
      assert.equal(session?.active, 0);
      assert.equal(context.memory.used, 0);
    }
  };

  before(async () => {
    volume = new ColdVolume(1_048_576);
    target = await startTarget({ volumes: [volume] });
  });
  after(() => target.close());
  beforeEach(async () => {
    volume.error = undefined;
    volume.longReads = 0;
    volume.writeNow(4096, data, 0, 4096);
    initiator = await Initiator.login(HOST, target.port, { target: IQN });
    await initiator.scsi(TUR);
  });
  afterEach(async () => {
    initiator.destroy();
    await initiator.closed;
    while (volume.begun.length > 0) volume.ends(false);
    await turn();
  });

  test('are answered in the order in which the disk ends them, and counted', async () => {
    const reads = target.units[0]?.counters.reads ?? 0;
    const timed = (): number => [...target.server.latencies().values()][0]?.reads.count ?? 0;
    const before = timed();
    const headers = [await begin(), await begin(read16(0, 16), 8192), await begin()];
    const [first, second] = volume.begun.splice(0, 2);
    volume.cold = false;
    second?.(true);
    first?.(true);
    volume.ends(true);
    const answers: ScsiAnswer[] = [];
    for (const i of [1, 0, 2]) answers.push(await initiator.answer(headers[i] as Buffer));
    assert.deepEqual(
      answers.map(({ status, data: { length } }) => [status, length]),
      [
        [0, 8192],
        [0, 4096],
        [0, 4096],
      ],
    );
    assert.ok(answers[1]?.data.equals(data) && answers[2]?.data.equals(data));
    assert.equal(volume.longReads, 0);
    assert.equal((target.units[0]?.counters.reads ?? 0) - reads, 3);
    assert.equal(timed() - before, 3);
    idle();
  });

  test('go the long way where the range did not come into memory, or went again at once', async () => {
    const header = await begin();
    volume.ends(false);
    const answer = await initiator.answer(header);
    assert.ok(answer.status === 0 && answer.data.equals(data));
    const again = await begin();
    // It says that it is there, and it is not.
    volume.begun.shift()?.(true);
    assert.ok((await initiator.answer(again)).data.equals(data));
    assert.equal(volume.longReads, 2);
    idle();
  });

  test('tell what is wrong with the disk', async () => {
    volume.error = new VolumeError(VolumeFault.readError, 'the disk cannot read', 4096);
    const header = await begin();
    volume.ends(false);
    const answer = await initiator.answer(header);
    assert.equal(answer.status, 2);
    assert.equal(answer.senseCode, '03/11/00');
    assert.equal(answer.residual, -4096);
    idle();
  });

  test('that are aborted answer nothing, and hold back writes to their range until the disk has ended them', async () => {
    const header = await begin();
    initiator.send(initiator.taskManagement(TaskFunction.abortTask, { tag: header.readUInt32BE(16) }));
    while (!(target.units[0]?.counters.aborted ?? 0)) await turn();
    const write = initiator.command(write16(8, 8), { flags: WRITES, length: 4096 });
    initiator.send(write, pattern(4096, 9));
    const beside = initiator.command(write16(64, 8), { flags: WRITES, length: 4096 });
    initiator.send(beside, pattern(4096, 9));
    assert.equal((await initiator.receiveKind(Opcode.scsiResponse)).header.readUInt32BE(16), beside.readUInt32BE(16));
    volume.ends(true);
    assert.equal((await initiator.receiveKind(Opcode.scsiResponse)).header.readUInt32BE(16), write.readUInt32BE(16));
    const response = await initiator.receiveKind(Opcode.taskManagementResponse);
    assert.equal(response.header[2], TaskResponse.complete);
    const next = await begin();
    volume.ends(true);
    assert.ok((await initiator.answer(next)).data.equals(pattern(4096, 9)), 'the next answer is that of the next read');
    idle();
  });

  test('are waited for by an ORDERED command', async () => {
    const header = await begin();
    const ordered = initiator.command(TUR, { flags: 0x80 | ORDERED });
    initiator.send(ordered);
    while (target.units[0]?.tasks.waiting === 0) await turn();
    volume.ends(true);
    const kinds = [await initiator.receive(), await initiator.receive()].map(({ opcode }) => opcode);
    assert.deepEqual(kinds, [Opcode.dataIn, Opcode.scsiResponse]);
    assert.ok(header.length > 0);
    idle();
  });

  test('end when their connection is gone', async () => {
    await begin();
    await begin();
    initiator.destroy();
    while (target.server.connections.size > 0) await turn();
    volume.ends(true);
    volume.ends(false);
    idle();
    assert.equal(volume.longReads, 0);
  });

  test('with a tag that is in use end the session', async () => {
    const header = await begin();
    const again = initiator.command(read16(8, 8), { flags: READS, length: 4096 });
    again.writeUInt32BE(header.readUInt32BE(16), 16);
    initiator.send(again);
    await initiator.closed;
    volume.ends(true);
    idle();
  });
});
