// Other logical units that an initiator can see: a copy manager acts for the initiator that asked it, and may do nothing that
// this initiator could not do itself.
import { MAX_COPY_CSCDS } from '../base/limits.ts';
import { LunNexus } from './lun-nexus.ts';
import { Nexus } from './device.ts';
import type { LunEntry, ScsiDevice } from './device.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { SENSE, ScsiError } from './sense.ts';
import { unitDesignators } from './spc/vpd-identification.ts';
import { Status } from './task.ts';

/** Why the logical unit would not let the initiator do it: the status, with CHECK CONDITION also the sense. */
export interface Refusal {
  readonly status: Status;
  readonly error?: ScsiError;
}

const refused = (error: ScsiError): Refusal => ({ status: Status.checkCondition, error });

/** A logical unit as one initiator port sees it, on whichever path. */
export class Reach {
  readonly lu: LogicalUnit;
  readonly #asker: LunNexus;
  readonly #device: ScsiDevice;
  readonly #entry: LunEntry;

  constructor(asker: LunNexus, device: ScsiDevice, entry: LunEntry) {
    this.lu = entry.lu;
    this.#asker = asker;
    this.#device = device;
    this.#entry = entry;
  }

  /** The same for another command of the session. */
  as(asker: LunNexus): Reach {
    return asker === this.#asker ? this : new Reach(asker, this.#device, this.#entry);
  }

  /** It is where it was found, and the initiator sees it. */
  get stillThere(): boolean {
    return this.#device.entries.includes(this.#entry) && this.#entry.visibility(this.#asker.owner.visitor) !== 'hidden';
  }

  /**
   * Through which the logical unit is used: its own path, if that is where the command came in, else every path this initiator
   * has there. With none (it is mapped, but there is no session), the one it would have.
   */
  paths(): readonly LunNexus[] {
    if (this.#asker.lu === this.lu) return [this.#asker];
    const { name } = this.#asker.initiator;
    // Asked before every step of every copy.
    const there: LunNexus[] = [];
    for (const each of this.lu.nexuses) if (each.initiator.name === name) there.push(each);
    const [port] = this.#device.ports;
    if (there.length > 0 || port === undefined) return there;
    const { owner } = this.#asker;
    return [new LunNexus(new Nexus(this.#device, owner.visitor, port), this.lu, this.#entry.lun, this.#readOnly())];
  }

  #readOnly(): boolean {
    return this.#entry.visibility(this.#asker.owner.visitor) === 'read-only';
  }

  /** Whether the initiator may read or write there now; undefined: yes. What it may do on one of its paths, it may do. */
  refusal(access: 'read' | 'write'): Refusal | undefined {
    const { lu } = this;
    // Gone, or taken away from the initiator, since the descriptor was looked up.
    const there = this.#device.entries.some((entry) => entry.lu === lu);
    const visibility = this.#entry.visibility(this.#asker.owner.visitor);
    if (lu.retired || !there || visibility === 'hidden') return refused(new ScsiError(SENSE.logicalUnitNotSupported));
    if (lu.notReady !== undefined) return refused(lu.notReady);
    // A copy manager reads and writes volumes of its own node only; the host copies between nodes itself.
    if (!lu.role.here) return refused(new ScsiError(SENSE.unavailable));
    let last: Refusal | undefined;
    for (const path of this.paths()) {
      last = this.#refusalOn(path, access);
      if (last === undefined) return undefined;
    }
    return last;
  }

  #refusalOn(path: LunNexus, access: 'read' | 'write'): Refusal | undefined {
    const barred = this.lu.inaccessible(path);
    if (barred !== undefined) return refused(new ScsiError(barred));
    if (this.lu.reservations.conflicts(path, access === 'read' ? 'unless-exclusive' : 'conflict')) {
      return { status: Status.reservationConflict };
    }
    const row = access === 'write' ? this.lu.writeProtection(path) : undefined;
    return row === undefined ? undefined : refused(new ScsiError(row));
  }
}

/** Where a session found logical units last, by their designators: a copy of a disk is thousands of commands about the same two. */
const found = new WeakMap<Nexus, Map<string, Reach>>();

/**
 * The logical unit with this designation descriptor among those mapped to the initiator, on all targets of the node; what is
 * mapped to others only is not looked at (CVE-2020-28374).
 */
export function reachDesignated(asker: LunNexus, designator: Buffer): Reach | undefined {
  const known = found.get(asker.owner) ?? new Map<string, Reach>();
  found.set(asker.owner, known);
  const name = designator.toString('latin1');
  const last = known.get(name);
  if (last?.stillThere === true) return last.as(asker);
  const reached = reach(asker, (lu) => unitDesignators(lu).some((each) => each.equals(designator)));
  if (reached === undefined) known.delete(name);
  else {
    if (known.size >= MAX_COPY_CSCDS) known.clear();
    known.set(name, reached);
  }
  return reached;
}

/** The logical unit that `wanted` picks, in the same way. */
export function reach(asker: LunNexus, wanted: (lu: LogicalUnit) => boolean): Reach | undefined {
  const { owner } = asker;
  for (const device of owner.devices()) {
    for (const entry of device.entries) {
      if (wanted(entry.lu) && entry.visibility(owner.visitor) !== 'hidden') return new Reach(asker, device, entry);
    }
  }
  return undefined;
}
