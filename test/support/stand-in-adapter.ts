// A hypervisor for the tests of plugins/sdk: its hosts are real initiators, its "file system" is a label in the first block.
import type { HostAdapter, HostDisk, HostIdentity, HostPath, TargetAddress } from '../../plugins/sdk/host-adapter.ts';
import { read16, write16 } from './cdb.ts';
import { Initiator } from './initiator.ts';

const BLOCK = 512;
const MAGIC = 'stand-in:';

const inquiry83 = Buffer.from([0x12, 1, 0x83, 1, 0, 0]);
const readCapacity16 = Buffer.from([0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]);

interface Path {
  readonly target: TargetAddress;
  readonly portal: string;
  readonly session: Initiator;
}

export class StandInAdapter implements HostAdapter {
  readonly #known: ReadonlyMap<string, string>;
  readonly #paths = new Map<string, Path[]>();
  /** Times something was formatted. */
  formats = 0;
  /** Called before each call, by name; what it throws is what the call rejects with. */
  before: (call: string, host: string) => void = () => undefined;

  /** `known`: iSCSI name by host name. */
  constructor(known: ReadonlyMap<string, string>) {
    this.#known = known;
  }

  hosts(names: readonly string[]): Promise<readonly HostIdentity[]> {
    return Promise.resolve(
      names.map((name) => {
        const iqn = this.#known.get(name);
        if (iqn === undefined) throw new Error(`no host ${name}`);
        return { name, iqns: [iqn] };
      }),
    );
  }

  async connect(host: HostIdentity, target: TargetAddress): Promise<void> {
    this.before('connect', host.name);
    const paths = this.#of(host);
    for (const portal of target.portals) {
      if (paths.some((path) => path.portal === portal && path.target.iqn === target.iqn)) continue;
      const [address, port] = portal.split(':') as [string, string];
      const initiator = host.iqns[0] as string;
      const isid = `80000000${(paths.length + 1).toString(16).padStart(4, '0')}`;
      const session = await Initiator.login(address, Number(port), { initiator, target: target.iqn, isid });
      paths.push({ target, portal, session });
    }
  }

  async disconnect(host: HostIdentity, target: TargetAddress): Promise<void> {
    this.before('disconnect', host.name);
    const paths = this.#of(host);
    for (const path of [...paths]) {
      if (path.target.iqn !== target.iqn) continue;
      paths.splice(paths.indexOf(path), 1);
      await path.session.logout();
      path.session.destroy();
    }
  }

  rescan(host: HostIdentity): Promise<void> {
    this.before('rescan', host.name);
    return Promise.resolve();
  }

  async findDisk(host: HostIdentity, naa: string): Promise<HostDisk | undefined> {
    this.before('findDisk', host.name);
    for (const { session, target } of this.#of(host)) {
      if ((await naaOf(session, target.lun)) !== naa) continue;
      const capacity = await ask(session, readCapacity16, target.lun, 32);
      const size = (Number(capacity.readBigUInt64BE(0)) + 1) * capacity.readUInt32BE(8);
      const text = (await ask(session, read16(0, 1), target.lun, BLOCK)).toString('latin1').replace(/\0+$/, '');
      const content = text === '' ? undefined : text.startsWith(MAGIC) ? text.slice(MAGIC.length) : 'something else';
      return { naa, id: `disk-${naa.slice(-6)}`, size, content };
    }
    return undefined;
  }

  async paths(host: HostIdentity, disk: HostDisk): Promise<readonly HostPath[]> {
    const found: HostPath[] = [];
    for (const { session, portal, target } of this.#of(host)) {
      const usable = !session.isClosed && (await naaOf(session, target.lun)) === disk.naa;
      found.push({ portal, usable });
    }
    this.before('paths', host.name);
    return found;
  }

  async format(host: HostIdentity, disk: HostDisk, label: string): Promise<void> {
    this.formats++;
    await this.#writeLabel(host, disk, MAGIC + label);
    this.before('format', host.name);
  }

  async unformat(host: HostIdentity, disk: HostDisk): Promise<void> {
    this.before('unformat', host.name);
    await this.#writeLabel(host, disk, '');
  }

  /** Sessions that are there. */
  get sessions(): number {
    return [...this.#paths.values()].flat().filter(({ session }) => !session.isClosed).length;
  }

  end(): void {
    for (const { session } of [...this.#paths.values()].flat()) session.destroy();
  }

  #of(host: HostIdentity): Path[] {
    let paths = this.#paths.get(host.name);
    if (paths === undefined) this.#paths.set(host.name, (paths = []));
    return paths;
  }

  async #writeLabel(host: HostIdentity, disk: HostDisk, text: string): Promise<void> {
    for (const { session, target } of this.#of(host)) {
      if ((await naaOf(session, target.lun)) !== disk.naa) continue;
      const block = Buffer.alloc(BLOCK);
      block.write(text, 'latin1');
      await ask(session, write16(0, 1), target.lun, 0, block);
      return;
    }
    throw new Error(`${host.name} has lost its disk`);
  }
}

/** NAA identifier of the LUN; undefined: it is not there. */
async function naaOf(session: Initiator, lun: number): Promise<string | undefined> {
  const { status, data } = await session.scsi(inquiry83, { lun, read: 256 });
  // A peripheral qualifier other than 0: no such LUN here (SPC-4 §6.6.2).
  if (status !== 0 || data.length < 4 || (data[0] as number) >> 5 !== 0) return undefined;
  // SPC-4 §7.8.6: designation descriptors.
  for (let at = 4; at + 4 <= data.length; at += 4 + (data[at + 3] as number)) {
    if (((data[at + 1] as number) & 0x0f) === 3) {
      return data.subarray(at + 4, at + 4 + (data[at + 3] as number)).toString('hex');
    }
  }
  return undefined;
}

/** Unit attentions of a new session are read away. */
async function ask(session: Initiator, cdb: Buffer, lun: number, read: number, write?: Buffer): Promise<Buffer> {
  for (let tries = 0; ; tries++) {
    const options = write === undefined ? { lun, read } : { lun, write };
    const answer = await session.scsi(cdb, options);
    if (answer.status === 0) return answer.data;
    if (tries === 3) throw new Error(`status ${String(answer.status)} ${answer.senseCode}`);
  }
}
