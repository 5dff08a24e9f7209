// READ DEFECT DATA (10) and (12) (SBC-3 5.17, 5.18): the lists of a disk without defects are empty.
import { load16, load32 } from '../../base/bytes-at.ts';
import { OK_ORDINARY, Reserved, all } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { goodData } from '../task.ts';

const base = {
  access: 'none',
  reserved: Reserved.unlessExclusive,
  okWhen: OK_ORDINARY,
  order: 'free',
} as const;

/** REQ_PLIST, REQ_GLIST and the format, which the answer repeats. */
const REQUEST = 0x1f;

export const READ_DEFECT_DATA: readonly CommandSpec[] = [
  {
    ...base,
    name: 'READ DEFECT DATA (10)',
    opcode: 0x37,
    cdbUsage: [0x37, 0, REQUEST, 0, 0, 0, 0, ...all(2), 0],
    clause: 'SBC-3 5.17',
    run: ({ cdb }) => goodData(Buffer.from([0, (cdb[2] ?? 0) & REQUEST, 0, 0]), load16(cdb, 7)),
  },
  {
    ...base,
    name: 'READ DEFECT DATA (12)',
    opcode: 0xb7,
    cdbUsage: [0xb7, REQUEST, ...all(4), ...all(4), 0, 0],
    clause: 'SBC-3 5.18',
    run: ({ cdb }) => goodData(Buffer.from([0, (cdb[1] ?? 0) & REQUEST, 0, 0, 0, 0, 0, 0]), load32(cdb, 6)),
  },
];
