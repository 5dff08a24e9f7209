// A SCSI target device: the LUNs behind one target name, and which initiator sees which of them.
import { MAX_LUNS } from '../base/limits.ts';
import { LunNexus, initiatorPortName, nexusKey } from './lun-nexus.ts';
import type { InitiatorPort, TargetPort } from './lun-nexus.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { SENSE } from './sense.ts';

/** Who asks: the initiator port, and whether it connects from this machine. */
export interface Visitor {
  readonly initiator: InitiatorPort;
  readonly local: boolean;
}

export type Visibility = 'read-write' | 'read-only' | 'hidden';

export interface LunEntry {
  readonly lun: number;
  readonly lu: LogicalUnit;
  /** LUN masking: what this visitor may do with the LUN. */
  readonly visibility: (visitor: Visitor) => Visibility;
}

/** An I_T nexus: one initiator port logged in at one target port. Made by the transport for each session. */
export class Nexus {
  readonly visitor: Visitor;
  readonly target: TargetPort;
  readonly device: ScsiDevice;
  /** By LUN; a hole is a LUN this nexus does not see. */
  readonly luns: (LunNexus | undefined)[] = new Array<LunNexus | undefined>(MAX_LUNS).fill(undefined);

  /**
   * Aborts the tasks of one LUN of this nexus that only the transport knows of, because they still wait for their data.
   * Resolves with whether there were any when nothing of them comes later. Set by the transport.
   */
  abortUnstarted: (nexus: LunNexus, tell: boolean) => Promise<boolean> = () => Promise.resolve(false);

  /** Ends the session; nothing that it still brings is carried out. Set by the transport. */
  end: (reason: string) => void = () => undefined;

  /** The node whose target port the initiator has logged in to, when that is another one; set by who forwards for it. */
  forwardedBy: string | undefined;

  /** All target devices of this node, for commands that reach other logical units. Set by the transport. */
  devices: () => Iterable<ScsiDevice>;

  constructor(device: ScsiDevice, visitor: Visitor, target: TargetPort) {
    this.devices = () => [device];
    this.device = device;
    this.visitor = visitor;
    this.target = target;
  }

  /** The initiator has learned of the new LUN inventory: 06/3F/0E is withdrawn everywhere (LUICLR, SPC-4 7.8.7). */
  inventoryReported(): void {
    for (const each of this.visible()) {
      if (!each.attentions.any) continue;
      each.attentions.clearInventoryChange();
      each.lu.refresh(each);
    }
  }

  /** The visible ones, in order of LUN. */
  *visible(): Generator<LunNexus> {
    for (const each of this.luns) if (each !== undefined) yield each;
  }
}

export class ScsiDevice {
  /** IQN of the target. */
  readonly name: string;
  /** Target ports: one per portal group. */
  ports: readonly TargetPort[];
  readonly #entries = new Map<number, LunEntry>();
  /** The same in order of LUN, until it changes: every step of every copy looks through it. */
  #sorted: readonly LunEntry[] | undefined;
  readonly #nexuses = new Set<Nexus>();
  /** Sessions that are gone, but of which another node still ends tasks, by their ports. */
  readonly #ending = new Map<string, Promise<void>>();

  constructor(name: string, ports: readonly TargetPort[]) {
    this.name = name;
    this.ports = ports;
  }

  get nexuses(): ReadonlySet<Nexus> {
    return this.#nexuses;
  }

  get entries(): readonly LunEntry[] {
    this.#sorted ??= [...this.#entries.values()].sort((a, b) => a.lun - b.lun);
    return this.#sorted;
  }

  /** True when the visitor sees at least one LUN; others are refused at login and see no such target in discovery. */
  admits(visitor: Visitor): boolean {
    return this.entries.some((entry) => entry.visibility(visitor) !== 'hidden');
  }

  /** Adds, replaces or (undefined) removes a LUN, and tells every session whose view changes. */
  setLun(lun: number, entry: LunEntry | undefined): void {
    if (!Number.isInteger(lun) || lun < 0 || lun >= MAX_LUNS) throw new RangeError(`LUN ${String(lun)}`);
    if (entry === undefined) this.#entries.delete(lun);
    else this.#entries.set(lun, entry);
    this.#sorted = undefined;
    this.reconsider();
  }

  /** The masking rules have changed: gives and takes LUNs of running sessions, with 06/3F/0E on the others. */
  reconsider(): void {
    for (const nexus of this.#nexuses) {
      if (!this.#sync(nexus)) continue;
      for (const each of nexus.visible()) each.attention(SENSE.reportedLunsChanged);
    }
  }

  attach(visitor: Visitor, target: TargetPort): Nexus {
    const nexus = new Nexus(this, visitor, target);
    this.#nexuses.add(nexus);
    this.#sync(nexus);
    return nexus;
  }

  /** The session is gone. */
  detach(nexus: Nexus): void {
    this.#nexuses.delete(nexus);
    const ends: Promise<void>[] = [];
    for (const each of nexus.visible()) {
      const end = each.lu.dropNexus(each);
      if (end !== undefined) ends.push(end);
    }
    nexus.luns.fill(undefined);
    if (ends.length > 0)
      this.#endsLater(nexusKey(initiatorPortName(nexus.visitor.initiator), nexus.target.relativeId), ends);
  }

  /**
   * Resolves when the node that carries commands out has ended those of earlier sessions between these ports; undefined: there
   * are none. Until then a new session must not begin (RFC 7143 §6.3.5).
   */
  ending(initiator: InitiatorPort, target: TargetPort): Promise<void> | undefined {
    return this.#ending.get(nexusKey(initiatorPortName(initiator), target.relativeId));
  }

  #endsLater(key: string, ends: readonly Promise<void>[]): void {
    const all = Promise.all([...ends, this.#ending.get(key)]).then(() => {
      if (this.#ending.get(key) === all) this.#ending.delete(key);
    });
    this.#ending.set(key, all);
  }

  /** Brings one nexus in line with entries and masking. True when something changed. */
  #sync(nexus: Nexus): boolean {
    let changed = false;
    for (let lun = 0; lun < MAX_LUNS; lun++) {
      const entry = this.#entries.get(lun);
      const visibility = entry?.visibility(nexus.visitor) ?? 'hidden';
      const now = nexus.luns[lun];
      const readOnly = visibility === 'read-only';
      if (now !== undefined && now.lu === entry?.lu && visibility !== 'hidden' && now.readOnly === readOnly) continue;
      if (now === undefined && visibility === 'hidden') continue;
      changed = true;
      if (now !== undefined) {
        void now.lu.dropNexus(now);
        nexus.luns[lun] = undefined;
      }
      if (entry === undefined || visibility === 'hidden') continue;
      const made = new LunNexus(nexus, entry.lu, lun, readOnly);
      nexus.luns[lun] = made;
      entry.lu.addNexus(made);
    }
    return changed;
  }
}
