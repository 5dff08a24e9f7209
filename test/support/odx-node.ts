// A node with a pool on a simulated disk and two disks of it behind one target, for tests of the token commands; it can be
// switched off and on again between any two commands.
import assert from 'node:assert/strict';
import { silentLog } from '../../core/base/log.ts';
import type { CachedVolume } from '../../core/cache/cached-volume.ts';
import { checkPool } from '../../core/pool/check.ts';
import { PoolRodStore } from '../../core/pool/rod-store.ts';
import { CommandTable } from '../../core/scsi/command-table.ts';
import { ScsiDevice } from '../../core/scsi/device.ts';
import { identityOf } from '../../core/scsi/identity.ts';
import { LogicalUnit } from '../../core/scsi/logical-unit.ts';
import { RESERVATION_COMMANDS } from '../../core/scsi/reservations/index.ts';
import { noReservationStore } from '../../core/scsi/reservations/store.ts';
import { SBC_COMMANDS } from '../../core/scsi/sbc/index.ts';
import { SPC_COMMANDS } from '../../core/scsi/spc/index.ts';
import type { PoolVolume } from '../../core/pool/pool-volume.ts';
import type { Volume } from '../../core/volume/volume.ts';
import type { OdxContext, Standing } from '../../odx/context.ts';
import { odxCommands } from '../../odx/index.ts';
import { TokenSeal } from '../../odx/token.ts';
import { Machine } from '../crash/machine.ts';
import type { Running } from '../crash/machine.ts';
import { ManualClock } from './manual-clock.ts';
import { HOST_A, Initiator, TARGET } from './scsi-fixture.ts';

const MIB = 1_048_576;

export class OdxNode {
  readonly clock = new ManualClock();
  readonly machine: Machine;
  readonly size: number;
  standing: Standing = 'may-read';
  running!: Running;
  store!: PoolRodStore;
  units: LogicalUnit[] = [];
  volumes: CachedVolume[] = [];
  device!: ScsiDevice;
  #ids: number[] = [];
  #sessions = 0;
  #seal: TokenSeal;
  readonly #extra: readonly Volume[];

  private constructor(size: number, extra: readonly Volume[], key: number) {
    this.size = size;
    this.#extra = extra;
    this.machine = new Machine(() => 0.5, 16 * MIB);
    let count = 0;
    const bytes = (length: number): Buffer => {
      const made = Buffer.alloc(length, 0x11);
      made.writeUInt32BE(++count, length - 4);
      return made;
    };
    this.#seal = new TokenSeal(Buffer.alloc(32, key), { bytes });
  }

  /** `size`: bytes of each disk. `extra`: volumes outside the pool, behind LUN 2 and so on. */
  static async start(
    options: { size?: number; slabs?: number; extra?: readonly Volume[]; key?: number } = {},
  ): Promise<OdxNode> {
    const node = new OdxNode(options.size ?? 16 * MIB, options.extra ?? [], options.key ?? 1);
    await node.machine.create(options.slabs ?? 4);
    await node.#on();
    for (let i = 0; i < 2; i++)
      node.#ids.push(await node.running.pool.create({ size: node.size, thick: false, created: 0 }));
    node.#expose();
    return node;
  }

  async #on(): Promise<void> {
    const running = await this.machine.start(Number.POSITIVE_INFINITY, 256);
    assert.ok(running);
    this.running = running;
    this.store = await PoolRodStore.open({ id: 'ab01', pool: running.pool, clock: this.clock, log: silentLog });
  }

  #expose(): void {
    this.volumes = this.#ids.map((id) => this.running.open(id));
    const sources = new Map<Volume, PoolVolume>(
      this.volumes.map((volume, i) => [volume, this.running.pool.entry(this.#ids[i] as number).open as PoolVolume]),
    );
    const context: OdxContext = {
      seal: this.#seal,
      sourceOf: ({ volume }) => {
        const inside = sources.get(volume);
        return inside && { store: this.store, make: (wanted) => this.store.make(inside, wanted) };
      },
      stores: () => [this.store],
      standing: () => this.standing,
    };
    const commands = new CommandTable([
      ...SPC_COMMANDS,
      ...SBC_COMMANDS,
      ...RESERVATION_COMMANDS,
      ...odxCommands(context),
    ]);
    this.device = new ScsiDevice(TARGET, [{ name: TARGET, portalGroup: 1, relativeId: 1 }]);
    this.units = [...this.volumes, ...this.#extra].map((volume, lun) => {
      const lu = new LogicalUnit({
        ...{ name: `disk${String(lun)}`, volume, commands, clock: this.clock, log: silentLog },
        ...{ identity: identityOf(String(lun).repeat(32)), physicalBlockSize: 4096 },
        reservationStore: noReservationStore,
      });
      this.device.setLun(lun, { lun, lu, visibility: () => 'read-write' });
      return lu;
    });
  }

  login(lun: number, name = HOST_A): Initiator {
    const isid = (++this.#sessions).toString(16).padStart(12, '0');
    const nexus = this.device.attach({ initiator: { name, isid }, local: true }, this.device.ports[0] as never);
    const initiator = new Initiator(nexus, lun);
    for (const each of nexus.visible()) {
      each.attentions.clear();
      each.lu.refresh(each);
    }
    return initiator;
  }

  /** The power fails, and comes back. */
  async powerCycle(): Promise<void> {
    this.running.power.failAt = 0;
    this.running.power.tick();
    this.machine.crash();
    await this.#on();
    this.#expose();
  }

  /** Lets time pass, and what is due then be done. */
  async pass(ms: number): Promise<void> {
    this.clock.advance(ms);
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Nothing of the pool is counted wrong. */
  check(): void {
    assert.deepEqual(checkPool(this.running.pool).findings, []);
  }

  stop(): void {
    this.running.power.failAt = 0;
    this.running.power.tick();
  }
}
