// POPULATE TOKEN (SBC-3 5.7): a token for what some ranges hold now.
import { MAX_PARAMETER_LIST, MAX_TOKEN_TIMEOUT, TOKEN_TIMEOUT } from '../core/base/limits.ts';
import { load32 } from '../core/base/bytes-at.ts';
import { OK_ORDINARY, Reserved, all } from '../core/scsi/command-spec.ts';
import type { CommandSpec } from '../core/scsi/command-spec.ts';
import { CopyStatus } from '../core/scsi/copy-operations.ts';
import type { CopyOperation } from '../core/scsi/copy-operations.ts';
import { CopyWork } from '../core/scsi/copy-work.ts';
import { SENSE, ScsiError, badParameter } from '../core/scsi/sense.ts';
import { GOOD } from '../core/scsi/task.ts';
import type { ScsiTask, TaskResult } from '../core/scsi/task.ts';
import { RodLimit } from '../core/volume/rod.ts';
import type { Rod, RodRange, RodSource } from '../core/volume/rod.ts';
import type { OdxContext } from './context.ts';
import { carryOut } from './operation.ts';
import { listIdOf, listLengthOf, listOf, rangesOf, sizeOf } from './ranges.ts';
import { RodType, storeName } from './token.ts';

export const POPULATE_TOKEN = 0x10;
const HEADER = 16;
const IMMED = 0x01;
/** ROD TYPE VALID. */
const RTV = 0x02;

async function populateToken(task: ScsiTask, context: OdxContext): Promise<TaskResult> {
  const { lu, nexus, cdb } = task;
  const list = listOf(task, HEADER);
  if (list === undefined) return GOOD;
  const source = context.sourceOf(lu);
  if (source === undefined) throw new ScsiError(SENSE.invalidOpcode, { field: 0 });
  const flags = list.readUInt8(2);
  const timeout = load32(list, 4);
  if (timeout > MAX_TOKEN_TIMEOUT) throw badParameter(4);
  const type = load32(list, 8);
  const isKnown = type === RodType.pointInTime || type === RodType.anyPointInTime;
  if ((flags & RTV) !== 0 && !isKnown) throw badParameter(8);
  const ranges = rangesOf(list, HEADER, lu);
  const operation = lu.copies.begin(nexus, listIdOf(cdb), POPULATE_TOKEN, (flags & IMMED) !== 0);
  const work = new CopyWork(nexus, 'populate-token');
  return carryOut(task, 'populate-token', operation, async () => {
    if (ranges.length === 0) return undefined;
    const rod = await pin(task, source, ranges, context.seal.newRod(), timeout || TOKEN_TIMEOUT);
    takeNote(task, operation, context, source, rod);
    // The grains are shared with the point in time.
    work.add(lu, { shared: rod.size, copied: 0 });
    work.done();
    // SBC-4 5.25.2: a token for less than was asked for; TRANSFER COUNT says for how many blocks.
    return rod.size < sizeOf(ranges) ? CopyStatus.partial : undefined;
  });
}

/** What the ranges hold at the instant at which no write to any of them is under way. `timeout`: seconds. */
async function pin(
  { lu, nexus }: ScsiTask,
  source: RodSource,
  ranges: readonly RodRange[],
  id: string,
  timeout: number,
): Promise<Rod> {
  const first = Math.min(...ranges.map(({ position }) => position));
  const end = Math.max(...ranges.map(({ position, length }) => position + length));
  // One lock around all of them: to wait for a second one with the first in hand could be to wait for ever.
  const lock = await lu.locks.acquire(first, end - first, true);
  const held = (): void => {
    lock.release();
  };
  const { blockSize } = lu;
  const facts = { id, blockSize, initiator: nexus.initiator.name, source: lu.identity.naa.toString('hex') };
  try {
    return await source.make({ ...facts, timeout: timeout * 1000, ranges, held });
  } catch (error) {
    if (!(error instanceof RodLimit)) throw error;
    throw new ScsiError(error.of === 'space' ? SENSE.noRodResources : SENSE.noTokenResources);
  } finally {
    lock.release();
  }
}

function takeNote(
  { lu, nexus }: ScsiTask,
  operation: CopyOperation,
  context: OdxContext,
  source: RodSource,
  rod: Rod,
): void {
  const { id, size, blockSize, source: creator } = rod;
  operation.token = context.seal.make({
    ...{ rod: id, store: storeName(source.store.id), creator, size, blockSize },
    device: nexus.owner.device.name,
    physicalExponent: Math.log2(lu.physicalBlockSize / blockSize),
    thin: lu.volume.info.thin,
  });
  operation.counter++;
  operation.transferred = sizeOf(rod.segments) / blockSize;
}

export const populateTokenSpec = (context: OdxContext): CommandSpec => ({
  name: 'POPULATE TOKEN',
  opcode: 0x83,
  serviceAction: POPULATE_TOKEN,
  cdbUsage: [0x83, POPULATE_TOKEN, 0, 0, 0, 0, ...all(4), ...all(4), 0x1f, 0],
  access: 'read',
  reserved: Reserved.unlessExclusive,
  okWhen: OK_ORDINARY,
  order: 'free',
  dataOut: (cdb) => Math.min(listLengthOf(cdb), MAX_PARAMETER_LIST),
  offered: (lu) => context.sourceOf(lu) !== undefined,
  clause: 'SBC-3 5.7',
  run: (task) => populateToken(task, context),
});
