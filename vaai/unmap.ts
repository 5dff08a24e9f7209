// UNMAP (SBC-3 5.28): gives blocks back.
import { MAX_PARAMETER_LIST, MAX_UNMAP_BLOCKS, MAX_UNMAP_DESCRIPTORS, UNMAP_PARALLEL } from '../core/base/limits.ts';
import { load16, load32 } from '../core/base/bytes-at.ts';
import { OK_ORDINARY, Reserved, all } from '../core/scsi/command-spec.ts';
import type { BlockRange, CommandSpec } from '../core/scsi/command-spec.ts';
import type { LogicalUnit } from '../core/scsi/logical-unit.ts';
import { SENSE, ScsiError, badParameter } from '../core/scsi/sense.ts';
import { GOOD } from '../core/scsi/task.ts';
import type { ScsiTask, TaskResult } from '../core/scsi/task.ts';
import { copyPace } from '../core/volume/copy-pace.ts';

const HEADER = 8;
const DESCRIPTOR = 16;

/** The ranges of the list, all checked: nothing is unmapped when one of them is wrong. */
function parse(list: Buffer, lu: LogicalUnit): BlockRange[] {
  if (list.length < HEADER) throw new ScsiError(SENSE.parameterListLength);
  // A descriptor that is not completely there is ignored (SBC-3 5.28.2).
  const bytes = Math.min(load16(list, 2), list.length - HEADER);
  const count = Math.floor(bytes / DESCRIPTOR);
  if (count > MAX_UNMAP_DESCRIPTORS) throw badParameter(2);
  const ranges: BlockRange[] = [];
  let total = 0;
  for (let i = 0; i < count; i++) {
    const at = HEADER + i * DESCRIPTOR;
    const lba = load32(list, at) * 4_294_967_296 + load32(list, at + 4);
    const blocks = load32(list, at + 8);
    if (!(lba + blocks <= lu.blocks)) throw new ScsiError(SENSE.lbaOutOfRange);
    total += blocks;
    if (total > MAX_UNMAP_BLOCKS) throw badParameter(at + 8);
    if (blocks > 0) ranges.push({ lba, blocks });
  }
  return ranges;
}

/** In pieces, which make room for hosts that are being served; an abort ends it after the piece that is being worked on. */
async function unmapRange(task: ScsiTask, { lba, blocks }: BlockRange): Promise<void> {
  const { lu } = task;
  const end = (lba + blocks) * lu.blockSize;
  for (let at = lba * lu.blockSize, next = at; at < end; at = next) {
    if (at > lba * lu.blockSize) await copyPace.turn(lu.clock);
    const step = copyPace.step(lu.clock, 'zero');
    // Up to a multiple of the step, so that the pieces are whole grains and leaves.
    next = Math.min(end, at - (at % step) + step);
    copyPace.begin(lu.clock, 'zero', next - at);
    const lock = await lu.locks.acquire(at, next - at, true);
    try {
      if (task.aborted) return;
      await lu.volume.unmap(at, next - at);
    } finally {
      lock.release();
    }
  }
}

async function unmap(task: ScsiTask): Promise<TaskResult> {
  const { lu, cdb, data } = task;
  if (load16(cdb, 7) === 0) return GOOD;
  if (data.length < load16(cdb, 7)) throw new ScsiError(SENSE.parameterListLength);
  const ranges = parse(data, lu);
  const began = lu.clock.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let range = ranges[next++]; range !== undefined && !task.aborted; range = ranges[next++]) {
      await unmapRange(task, range);
    }
  };
  // Several at a time: each waits until it is stable, and those that wait together become so together.
  const ends = await Promise.allSettled(Array.from({ length: Math.min(UNMAP_PARALLEL, ranges.length) }, worker));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  if (task.aborted) return GOOD;
  const shared = ranges.reduce((sum, { blocks }) => sum + blocks, 0) * lu.blockSize;
  lu.offload.used(task.nexus, 'unmap', { shared, copied: 0, micros: (lu.clock.now() - began) * 1000 });
  return GOOD;
}

export const UNMAP: readonly CommandSpec[] = [
  {
    name: 'UNMAP',
    opcode: 0x42,
    // ANCHOR is refused by the mask: there are no anchored blocks (VPD B2 ANC_SUP=0).
    cdbUsage: [0x42, 0, 0, 0, 0, 0, 0x1f, ...all(2), 0],
    access: 'write',
    reserved: Reserved.conflict,
    okWhen: OK_ORDINARY,
    order: 'free',
    dataOut: (cdb) => Math.min(load16(cdb, 7), MAX_PARAMETER_LIST),
    offered: (lu) => lu.volume.info.thin,
    clause: 'SBC-3 5.28',
    run: unmap,
  },
];
