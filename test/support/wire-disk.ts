// A disk behind a real iSCSI portal, for initiators of the tests that are written for CDBs alone.
import assert from 'node:assert/strict';
import type { TaskResult } from '../../core/scsi/task.ts';
import type { Disk } from './daemon.ts';
import { Initiator } from './initiator.ts';
import { describeResult } from './scsi-fixture.ts';
import type { RunOptions } from './scsi-fixture.ts';
import type { OdxDisk } from './windows-copy.ts';

/** Bytes a command may send back. */
const MOST = 65_536;
const TUR = Buffer.alloc(6);

export class WireDisk implements OdxDisk {
  readonly #session: Initiator;
  readonly #lun: number;

  private constructor(session: Initiator, lun: number) {
    this.#session = session;
    this.#lun = lun;
  }

  /** `portal`: HOST:PORT. Logs in, and takes the unit attentions there are. */
  static async open(portal: string, { iqn, lun }: Disk, initiator: string, isid: string): Promise<WireDisk> {
    const [host = '', port] = portal.split(':');
    const disk = new WireDisk(await Initiator.login(host, Number(port), { initiator, target: iqn, isid }), lun);
    for (let tries = 0; (await disk.status(TUR)) !== 'GOOD'; tries++) assert.ok(tries < 10, 'the disk is not ready');
    return disk;
  }

  async run(cdb: readonly number[] | Buffer, { data }: RunOptions = {}): Promise<TaskResult> {
    const direction = data === undefined ? { read: MOST } : { write: data };
    const answer = await this.#session.scsi(Buffer.from(cdb), { lun: this.#lun, ...direction });
    const sense = answer.sense.length > 0 ? { sense: answer.sense } : {};
    return { status: answer.status as TaskResult['status'], dataIn: [answer.data], ...sense };
  }

  async data(cdb: readonly number[] | Buffer, options: RunOptions = {}): Promise<Buffer> {
    const result = await this.run(cdb, options);
    assert.equal(describeResult(result), 'GOOD');
    return Buffer.concat(result.dataIn ?? []);
  }

  async status(cdb: readonly number[] | Buffer, options: RunOptions = {}): Promise<string> {
    return describeResult(await this.run(cdb, options));
  }

  close(): void {
    this.#session.destroy();
  }
}
