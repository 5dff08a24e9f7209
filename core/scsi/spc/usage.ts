// Small things several command families share.
import type { LogicalUnit } from '../logical-unit.ts';

/** True when the logical unit has a command with this opcode (and service action, where the opcode is shared). */
export function supports(lu: LogicalUnit, opcode: number, serviceAction?: number): boolean {
  const rows = lu.commands.ofOpcode(opcode);
  return rows.length > 0 && (serviceAction === undefined || rows.some((row) => row.serviceAction === serviceAction));
}
