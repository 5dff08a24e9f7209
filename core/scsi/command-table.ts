import type { CommandSpec } from './command-spec.ts';
import { SENSE, ScsiError, badCdb } from './sense.ts';

/** How the transport may serve an opcode directly: READ or WRITE (10) and (16) at fixed CDB places. */
export const FastKind = { none: 0, read: 1, write: 2 } as const;

/** All commands of a kind of logical unit: a slot per opcode, as the standard numbers them. */
export class CommandTable {
  readonly specs: readonly CommandSpec[];
  /** FastKind by opcode. */
  readonly fastKind = new Uint8Array(256);
  readonly #slots: (CommandSpec | readonly CommandSpec[] | undefined)[];

  /** Throws RangeError when two rows claim the same opcode and service action. */
  constructor(specs: readonly CommandSpec[]) {
    this.specs = specs;
    this.#slots = new Array<CommandSpec | readonly CommandSpec[] | undefined>(256).fill(undefined);
    for (const spec of specs) this.#add(telling(spec));
    for (const spec of specs) {
      const length = spec.cdbUsage.length;
      if (spec.fast !== undefined && (length === 10 || length === 16)) this.fastKind[spec.opcode] = FastKind[spec.fast];
    }
  }

  /** The row of this CDB. Throws ScsiError: 05/20/00 for an unknown opcode, 05/24/00 for an unknown service action. */
  find(cdb: Buffer): CommandSpec {
    const slot = this.#slots[cdb[0] ?? 0];
    if (slot === undefined) throw about(cdb, new ScsiError(SENSE.invalidOpcode, { field: 0 }));
    if (!isShared(slot)) return slot;
    const action = (cdb[1] ?? 0) & 0x1f;
    const spec = slot.find((each) => each.serviceAction === action);
    if (spec === undefined) throw about(cdb, badCdb(1, 4));
    return spec;
  }

  /** Rows of one opcode: none, the one, or all of its service actions. */
  ofOpcode(opcode: number): readonly CommandSpec[] {
    const slot = this.#slots[opcode];
    if (slot === undefined) return [];
    return isShared(slot) ? slot : [slot];
  }

  #add(spec: CommandSpec): void {
    const slot = this.#slots[spec.opcode];
    const others = slot === undefined ? [] : isShared(slot) ? slot : [slot];
    const clash = others.some((each) => each.serviceAction === undefined || each.serviceAction === spec.serviceAction);
    if (clash || (others.length > 0 && spec.serviceAction === undefined)) {
      throw new RangeError(`two rows for ${spec.name}`);
    }
    this.#slots[spec.opcode] = spec.serviceAction === undefined ? spec : [...others, spec];
  }
}

/** The error with the command it is about: nobody else will know when there is no row for it. */
function about(cdb: Buffer, error: ScsiError): ScsiError {
  error.cdb = { opcode: cdb[0] ?? 0, serviceAction: (cdb[1] ?? 0) & 0x1f };
  return error;
}

/** The row, whose refusal to say how much data it wants names the command, too. */
function telling(spec: CommandSpec): CommandSpec {
  const { dataOut } = spec;
  if (dataOut === undefined || spec.fast !== undefined) return spec;
  return {
    ...spec,
    dataOut: (cdb, lu) => {
      try {
        return dataOut(cdb, lu);
      } catch (error) {
        throw error instanceof ScsiError ? about(cdb, error) : error;
      }
    },
  };
}

function isShared(slot: CommandSpec | readonly CommandSpec[]): slot is readonly CommandSpec[] {
  return Array.isArray(slot);
}
