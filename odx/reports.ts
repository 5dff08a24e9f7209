// What a copy manager tells of its tokens: RECEIVE ROD TOKEN INFORMATION (SPC-4 6.26) and REPORT ALL ROD TOKENS (SPC-4 6.31).
import { MAX_TOKENS } from '../core/base/limits.ts';
import { load32, store32 } from '../core/base/bytes-at.ts';
import { OK_WITHOUT_MEDIUM, Reserved, all } from '../core/scsi/command-spec.ts';
import type { CommandSpec } from '../core/scsi/command-spec.ts';
import { stateOf } from '../core/scsi/copy-operations.ts';
import type { CopyOperation } from '../core/scsi/copy-operations.ts';
import { badCdb } from '../core/scsi/sense.ts';
import { goodData } from '../core/scsi/task.ts';
import type { ScsiTask, TaskResult } from '../core/scsi/task.ts';
import type { OdxContext } from './context.ts';
import { POPULATE_TOKEN } from './populate-token.ts';
import { TOKEN, TOKEN_HEAD, tokenHead } from './token.ts';
import { WRITE_USING_TOKEN, mayUse } from './write-using-token.ts';

const LIST_ID_AT = 2;
const ALLOCATION_AT = 10;

/** RRTI parameter data: 32 bytes, the sense data, and the token if there is one. */
export function rodTokenInformation(operation: CopyOperation): Buffer {
  const { token } = operation;
  // SEGMENTS PROCESSED stays 0: these commands have no segment descriptors.
  const descriptors = Buffer.alloc(token === undefined ? 4 : 4 + 2 + TOKEN);
  store32(descriptors, 0, descriptors.length - 4);
  token?.copy(descriptors, 6);
  const data = Buffer.concat([stateOf(operation, false), descriptors]);
  store32(data, 0, data.length - 4);
  return data;
}

function receiveRodTokenInformation({ lu, nexus, cdb }: ScsiTask): TaskResult {
  const operation = lu.copies.find(nexus, load32(cdb, LIST_ID_AT));
  const isToken = operation?.action === POPULATE_TOKEN || operation?.action === WRITE_USING_TOKEN;
  if (operation === undefined || !isToken) throw badCdb(LIST_ID_AT);
  const allocation = load32(cdb, ALLOCATION_AT);
  // To ask for nothing is to forget it. Else it stays: an initiator whose answer was lost asks again.
  if (allocation === 0 && operation.isOver) lu.copies.drop(operation);
  return goodData(rodTokenInformation(operation), allocation);
}

/** Those of the tokens that this initiator may use: nobody learns what others have copied. */
function reportAllRodTokens({ nexus, cdb }: ScsiTask, context: OdxContext): TaskResult {
  const heads: Buffer[] = [];
  for (const store of context.stores()) {
    for (const rod of store.rods()) {
      if (heads.length >= MAX_TOKENS || !mayUse(nexus, rod, context)) continue;
      const { id, source, size, blockSize } = rod;
      heads.push(tokenHead({ rod: id, creator: source, size, blockSize }));
    }
  }
  const data = Buffer.concat([Buffer.alloc(8), ...heads]);
  store32(data, 0, 4 + heads.length * TOKEN_HEAD);
  return goodData(data, load32(cdb, ALLOCATION_AT));
}

const common = {
  access: 'none',
  reserved: Reserved.unlessExclusive,
  okWhen: OK_WITHOUT_MEDIUM,
  order: 'free',
} as const;

export const reportSpecs = (context: OdxContext): readonly CommandSpec[] => [
  {
    ...common,
    name: 'RECEIVE ROD TOKEN INFORMATION',
    opcode: 0x84,
    serviceAction: 0x07,
    cdbUsage: [0x84, 0x07, ...all(4), 0, 0, 0, 0, ...all(4), 0, 0],
    clause: 'SPC-4 6.26',
    run: receiveRodTokenInformation,
  },
  {
    ...common,
    name: 'REPORT ALL ROD TOKENS',
    opcode: 0x84,
    serviceAction: 0x08,
    cdbUsage: [0x84, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, ...all(4), 0, 0],
    clause: 'SPC-4 6.31',
    run: (task) => reportAllRodTokens(task, context),
  },
];
