// Small things several command families share.
import type { CommandSpec } from '../command-spec.ts';
import type { LogicalUnit } from '../logical-unit.ts';

/** The rows of this opcode that the logical unit has: none, the one, or its service actions. */
export function rowsOf(lu: LogicalUnit, opcode: number): readonly CommandSpec[] {
  return lu.commands.ofOpcode(opcode).filter((row) => row.offered?.(lu) !== false);
}

/** True when the logical unit has a command with this opcode (and service action, where the opcode is shared). */
export function supports(lu: LogicalUnit, opcode: number, serviceAction?: number): boolean {
  const rows = rowsOf(lu, opcode);
  return rows.length > 0 && (serviceAction === undefined || rows.some((row) => row.serviceAction === serviceAction));
}
