import type { Clock } from '../base/world.ts';
import type { Log } from '../base/log.ts';
import type { Volume } from '../volume/volume.ts';
import { CopyRoute } from '../volume/copy-route.ts';
import { RangeLocks } from '../volume/range-locks.ts';
import { AluaStates, groupIdOf } from './alua.ts';
import type { AluaState } from './alua.ts';
import type { CommandTable } from './command-table.ts';
import { UnitRole } from './forward/unit-role.ts';
import { CopyOperations } from './copy-operations.ts';
import type { LuIdentity } from './identity.ts';
import type { LunNexus } from './lun-nexus.ts';
import { LuCounters } from './lu-counters.ts';
import { defaultModes } from './mode-state.ts';
import { OffloadMeter } from './offload-meter.ts';
import { resourcesOf } from './provisioning.ts';
import { Reservations } from './reservations/reservations.ts';
import type { ReservationStore, UnitStateStore } from './reservations/store.ts';
import { SENSE } from './sense.ts';
import type { SenseRow, ScsiError } from './sense.ts';
import { noSanitizeStore } from './sanitize-store.ts';
import type { SanitizeStore } from './sanitize-store.ts';
import { StorageTrouble } from './storage-trouble.ts';
import { TaskSet } from './task-set.ts';

export interface LogicalUnitOptions {
  readonly name: string;
  readonly volume: Volume;
  readonly identity: LuIdentity;
  /** Physical block size in bytes: 512 or 4096, at least the logical one. */
  readonly physicalBlockSize: number;
  readonly commands: CommandTable;
  readonly clock: Clock;
  readonly log: Log;
  /** Where APTPL reservations live across restarts. */
  readonly reservationStore: ReservationStore;
  /** Where what other nodes go on with lives, in a cluster; reservations are there then. */
  readonly unitState?: UnitStateStore;
  /** Where an unfinished SANITIZE is remembered across restarts; nowhere when absent. */
  readonly sanitizeStore?: SanitizeStore;
  /** Whether copies to this volume are taken; all of them when absent. */
  readonly copyRoute?: CopyRoute;
}

/** A volume behind a SCSI face: identity, modes, reservations, unit attentions, task set. Shared by all its nexuses. */
export class LogicalUnit {
  readonly name: string;
  readonly volume: Volume;
  readonly identity: LuIdentity;
  readonly commands: CommandTable;
  readonly clock: Clock;
  readonly log: Log;
  /** Bytes per logical block and its power of two. */
  readonly blockSize: number;
  readonly blockShift: number;
  readonly physicalBlockSize: number;
  readonly modes = defaultModes();
  readonly alua = new AluaStates();
  readonly locks = new RangeLocks();
  readonly tasks: TaskSet;
  /** Whether this node carries its commands out. */
  readonly role: UnitRole;
  readonly copies = new CopyOperations();
  readonly counters = new LuCounters();
  readonly trouble: StorageTrouble;
  /** What it has done instead of its hosts, and what it has refused. */
  readonly offload: OffloadMeter;
  readonly copyRoute: CopyRoute;
  readonly reservations: Reservations;
  readonly sanitizeStore: SanitizeStore;
  /** Every nexus that sees this logical unit. */
  readonly nexuses = new Set<LunNexus>();
  /** Blocks now; follows the volume's size. */
  blocks: number;
  /** Why media commands are refused for now (stopped, sanitizing); undefined when ready. */
  #notReady: ScsiError | undefined;
  #busy = false;
  #retired = false;

  constructor(options: LogicalUnitOptions) {
    this.name = options.name;
    this.volume = options.volume;
    this.identity = options.identity;
    this.commands = options.commands;
    this.clock = options.clock;
    this.log = options.log.child({ lu: options.name });
    this.trouble = new StorageTrouble(options.clock, this.log);
    this.copyRoute = options.copyRoute ?? takeAll(options.clock);
    this.offload = new OffloadMeter(options.clock);
    this.blockSize = options.volume.info.blockSize;
    this.blockShift = Math.log2(this.blockSize);
    this.physicalBlockSize = Math.max(options.physicalBlockSize, this.blockSize);
    this.blocks = Math.floor(options.volume.info.size / this.blockSize);
    this.tasks = new TaskSet(() => {
      this.refreshAll();
    });
    this.role = new UnitRole(this);
    this.reservations = new Reservations(this, options.reservationStore, options.unitState);
    this.sanitizeStore = options.sanitizeStore ?? noSanitizeStore;
  }

  /** Nothing may write: the volume is read-only, the mapping is, or SWP is set. */
  writeProtection(nexus: LunNexus): SenseRow | undefined {
    if (this.volume.info.readOnly || nexus.readOnly) return SENSE.writeProtected;
    return this.modes.softwareWriteProtect ? SENSE.softwareWriteProtected : undefined;
  }

  /** Why the target port of this nexus does not lead to the medium (ALUA); undefined: it does. */
  inaccessible(nexus: LunNexus): SenseRow | undefined {
    return this.alua.refusal(groupIdOf(nexus.target));
  }

  /** Puts the ports of a target port group into an access state, and tells every nexus when that is a change. */
  setAccessState(group: number, state: AluaState, preferred = false): void {
    const tell = this.alua.set(group, state, preferred);
    this.refreshAll();
    if (tell) this.attentionAll(SENSE.asymmetricAccessChanged, undefined, true);
  }

  /** Its volume is about to be exchanged: commands that need it end with BUSY, and are sent again (SAM-5 5.3.1). */
  get busy(): boolean {
    return this.#busy;
  }

  /** BUSY from now on; resolves when what runs is over, or after `ms` milliseconds. */
  async calm(ms: number): Promise<void> {
    this.#busy = true;
    this.refreshAll();
    await this.role.quiet(ms);
  }

  get notReady(): ScsiError | undefined {
    return this.#notReady;
  }

  /** Media commands answer with `error` from now on; undefined: ready again. */
  setNotReady(error: ScsiError | undefined): void {
    this.#notReady = error;
    this.refreshAll();
  }

  /** The volume is about to be closed: long operations stop, to begin again when it is opened the next time. */
  retire(): void {
    this.#retired = true;
  }

  get retired(): boolean {
    return this.#retired;
  }

  /** Recomputes what the fast path may do for this nexus. To be called after anything it depends on has changed. */
  refresh(nexus: LunNexus): void {
    const clear =
      !nexus.attentions.any &&
      this.#notReady === undefined &&
      !this.#busy &&
      this.role.here &&
      this.inaccessible(nexus) === undefined &&
      this.tasks.open;
    nexus.readOk = clear && !this.reservations.conflicts(nexus, 'unless-exclusive');
    nexus.writeOk =
      clear && !this.reservations.conflicts(nexus, 'conflict') && this.writeProtection(nexus) === undefined;
  }

  refreshAll(): void {
    for (const nexus of this.nexuses) this.refresh(nexus);
  }

  /**
   * Raises a unit attention for every nexus but `except`; with `ownPorts` only for those by target ports of this node, since
   * every node tells this to its own.
   */
  attentionAll(row: SenseRow, except?: LunNexus, ownPorts = false): void {
    for (const nexus of this.nexuses) {
      if (nexus !== except && !(ownPorts && nexus.owner.forwardedBy !== undefined)) nexus.attention(row);
    }
  }

  /**
   * The room of a thin volume is running short (SBC-3 4.7.3.8): every nexus is told, unless LBPERE or the threshold
   * descriptor is switched off.
   */
  thresholdReached(): void {
    if (this.#tellsThreshold && this.role.here) this.attentionAll(SENSE.thinSoftThreshold);
  }

  get #tellsThreshold(): boolean {
    return this.modes.provisioningReports && this.modes.thresholdEnabled;
  }

  /** Who comes when the threshold has been reached long ago is told as well: nobody else tells a host of it. */
  addNexus(nexus: LunNexus): void {
    this.nexuses.add(nexus);
    if (this.#tellsThreshold && this.role.here && resourcesOf(this)?.crossed === true) {
      nexus.attentions.add(SENSE.thinSoftThreshold);
    }
    this.refresh(nexus);
  }

  /**
   * The session of this nexus is gone: SPC-2 reservations, prevent flags and its tasks go with it (SAM-5 6.3.4). A promise: they
   * do at another node, and it has ended them when the promise resolves.
   */
  dropNexus(nexus: LunNexus): Promise<void> | undefined {
    this.nexuses.delete(nexus);
    nexus.readOk = false;
    nexus.writeOk = false;
    if (this.role.here) this.reservations.nexusLost(nexus);
    this.copies.forget(nexus);
    this.tasks.abort((task) => task.nexus === nexus);
    return this.role.remote?.forget(nexus);
  }

  /** Ends all sessions of this node that have it: they log in again. What they had under way is over. */
  endSessions(reason: string): void {
    for (const owner of new Set([...this.nexuses].map((nexus) => nexus.owner))) owner.end(reason);
  }

  /** This node carries the commands out from now on: with what its predecessor has left. */
  inherit(): void {
    this.blocks = Math.floor(this.volume.info.size / this.blockSize);
    this.reservations.inherit();
  }

  /** LOGICAL UNIT RESET (SAM-5 6.3.3): ends all tasks and SPC-2 reservations, restores modes, tells every nexus. */
  reset(row: SenseRow, except?: LunNexus): void {
    this.tasks.abort(() => true);
    this.copies.abortAll();
    Object.assign(this.modes, defaultModes());
    this.reservations.reset();
    for (const nexus of this.nexuses) nexus.preventsRemoval = false;
    this.attentionAll(row, except);
    // SBC-4 4.7.3.7.6: what was told before a logical unit reset does not count.
    if (resourcesOf(this)?.crossed === true) this.thresholdReached();
    this.refreshAll();
  }

  /** The volume has a new size: initiators learn it by unit attention 2A/09 (CAPACITY DATA HAS CHANGED). */
  capacityChanged(): void {
    this.blocks = Math.floor(this.volume.info.size / this.blockSize);
    // The owner of a volume tells it to the initiators of all nodes.
    if (this.role.here) this.attentionAll(SENSE.capacityChanged);
  }
}

const takeAll = (clock: Clock): CopyRoute =>
  new CopyRoute({ clock, policy: () => 'always', hostRate: () => undefined });
