// RESERVE and RELEASE of SPC-2 (7.22, 7.17): the whole logical unit, no third parties, no extents.
import { OK_ORDINARY, Reserved } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { GOOD, Status } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';

async function reserve({ lu, nexus }: ScsiTask): Promise<TaskResult> {
  return (await lu.reservations.reserveLegacy(nexus)) ? GOOD : { status: Status.reservationConflict };
}

async function release({ lu, nexus }: ScsiTask): Promise<TaskResult> {
  // SPC-3 5.6.3: while persistent reservations are in use, RELEASE conflicts; otherwise a foreign RELEASE does nothing.
  if (lu.reservations.registrations.length > 0) return { status: Status.reservationConflict };
  await lu.reservations.releaseLegacy(nexus);
  return GOOD;
}

const base = { access: 'manage', reserved: Reserved.allowed, okWhen: OK_ORDINARY, order: 'free' } as const;

export const RESERVE_RELEASE: readonly CommandSpec[] = [
  { ...base, name: 'RESERVE (6)', opcode: 0x16, cdbUsage: [0x16, 0, 0, 0, 0, 0], clause: 'SPC-2 7.22', run: reserve },
  { ...base, name: 'RELEASE (6)', opcode: 0x17, cdbUsage: [0x17, 0, 0, 0, 0, 0], clause: 'SPC-2 7.17', run: release },
  {
    ...base,
    name: 'RESERVE (10)',
    opcode: 0x56,
    cdbUsage: [0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    clause: 'SPC-2 7.21',
    run: reserve,
  },
  {
    ...base,
    name: 'RELEASE (10)',
    opcode: 0x57,
    cdbUsage: [0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    clause: 'SPC-2 7.16',
    run: release,
  },
];
