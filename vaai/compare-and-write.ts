// COMPARE AND WRITE (SBC-3 5.2): what ESXi locks its file system with (ATS). Atomic against every other command.
import { MAX_COMPARE_AND_WRITE_BLOCKS } from '../core/base/limits.ts';
import { OK_ORDINARY, Reserved, all } from '../core/scsi/command-spec.ts';
import type { CommandSpec } from '../core/scsi/command-spec.ts';
import { fuaOf, lbaOf } from '../core/scsi/sbc/cdb.ts';
import { compare } from '../core/scsi/sbc/media.ts';
import { badCdb } from '../core/scsi/sense.ts';
import { GOOD } from '../core/scsi/task.ts';
import type { ScsiTask, TaskResult } from '../core/scsi/task.ts';
import { Durability, WriteNow } from '../core/volume/volume.ts';
import type { Volume } from '../core/volume/volume.ts';

const blocksOf = (cdb: Buffer): number => cdb[13] ?? 0;

/** Bytes to compare with, and as many to write: twice the blocks of the CDB. */
function dataOut(cdb: Buffer, blockSize: number): number {
  if (blocksOf(cdb) > MAX_COMPARE_AND_WRITE_BLOCKS) throw badCdb(13);
  return 2 * blocksOf(cdb) * blockSize;
}

/** In this turn, up to the wait for stability, when the blocks are in the cache: hosts wait for nothing else with it. */
async function compareAndWrite({ lu, nexus, cdb, data, expectedDataOut }: ScsiTask): Promise<TaskResult> {
  const length = blocksOf(cdb) * lu.blockSize;
  if (expectedDataOut !== 2 * length || data.length !== 2 * length) throw badCdb(13);
  if (length === 0) return GOOD;
  const began = lu.clock.now();
  const position = lbaOf(cdb, 16) * lu.blockSize;
  const found = Buffer.allocUnsafe(length);
  if (!lu.volume.readNow(position, length, found, 0)) await lu.volume.read(position, length, found, 0);
  compare(found, data.subarray(0, length), 0);
  await write(lu.volume, position, data, length, fuaOf(cdb));
  lu.offload.used(nexus, 'compare-and-write', { shared: 0, copied: length, micros: (lu.clock.now() - began) * 1000 });
  return GOOD;
}

/** The second half of the data-out. A volatile volume takes data that FUA wants stable only the long way. */
async function write(volume: Volume, position: number, data: Buffer, length: number, fua: boolean): Promise<void> {
  const quick = !fua || volume.info.durability === Durability.durable;
  const outcome = quick ? volume.writeNow(position, data, length, length) : WriteNow.refused;
  if (outcome === WriteNow.refused) await volume.write(position, data, length, length, fua);
  else if (outcome === WriteNow.placed) await stable(volume);
}

function stable(volume: Volume): Promise<void> {
  return new Promise((resolve, reject) => {
    volume.whenStable({
      stable: (error) => {
        if (error === undefined) resolve();
        else reject(error);
      },
    });
  });
}

export const COMPARE_AND_WRITE: readonly CommandSpec[] = [
  {
    name: 'COMPARE AND WRITE',
    opcode: 0x89,
    cdbUsage: [0x89, 0x18, ...all(8), 0, 0, 0, 0xff, 0x1f, 0],
    access: 'write',
    reserved: Reserved.conflict,
    okWhen: OK_ORDINARY,
    order: 'extent',
    extent: (cdb) => ({ lba: lbaOf(cdb, 16), blocks: blocksOf(cdb) }),
    dataOut: (cdb, lu) => dataOut(cdb, lu.blockSize),
    clause: 'SBC-3 5.2',
    run: compareAndWrite,
  },
];
