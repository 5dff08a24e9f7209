// Every thread that reads and writes disks is stuck, as when a disk hangs: task management is answered all the same.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, promises } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { TaskFunction, TaskResponse } from '../../../core/iscsi/task-management.ts';
import { Opcode } from '../../../core/iscsi/wire/constants.ts';
import { FileVolume } from '../../../core/volume/file-volume.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { Durability } from '../../../core/volume/volume.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { FUA, TUR, pattern, read16, write16 } from '../../support/cdb.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { Initiator } from '../../support/initiator.ts';
import { IQN, startTarget } from '../../support/target.ts';

const READS = 0xc1;
const WRITES = 0xa1;
const SIZE = 1_048_576;
/** Threads of libuv, unless UV_THREADPOOL_SIZE says otherwise. */
const THREADS = Number(process.env.UV_THREADPOOL_SIZE ?? 4);

/** Keeps all threads in open(2) of a pipe that nobody writes to; returns what sets them free. */
function stick(fifo: string): () => Promise<void> {
  const opening: Promise<FileHandle>[] = Array.from({ length: 2 * THREADS }, () => promises.open(fifo, 'r'));
  return async () => {
    const end = openSync(fifo, constants.O_RDWR);
    for (const each of await Promise.all(opening)) await each.close();
    closeSync(end);
  };
}

test('ABORT TASK is answered within a second while every thread is stuck, and memory is served', async () => {
  const folder = temporaryFolder('threads');
  try {
    const fifo = join(folder.path, 'fifo');
    assert.equal(spawnSync('mkfifo', [fifo]).status, 0);
    const world = await nodeWorld();
    const options = { blockSize: 512, durability: Durability.durable, readOnly: false, thin: false };
    const volume = await FileVolume.create(world.disk, { ...options, path: join(folder.path, 'disk') }, SIZE);
    const target = await startTarget({ volumes: [volume, new MemoryVolume(SIZE)] });
    const initiator = await Initiator.login('127.0.0.1', target.port, { target: IQN });
    for (const lun of [0, 1]) await initiator.scsi(TUR, { lun });
    const release = stick(fifo);
    let free = false;
    const probe = promises.stat(folder.path).then(() => (free = true));
    try {
      const data = pattern(4096, 1);
      for (const [cdb, flags] of [
        [write16(0, 8), WRITES],
        [write16(16, 8, FUA), WRITES],
        [read16(512, 8), READS],
      ] as const) {
        const header = initiator.command(cdb, { flags, length: 4096 });
        initiator.send(header, flags === WRITES ? data : undefined);
        assert.equal((await initiator.scsi(read16(0, 8), { lun: 1, read: 4096 })).status, 0, 'from memory');
        const started = Date.now();
        // This machine may be busy: a timer that begins now is as late as the answer for that reason.
        const late = new Promise<number>((resolve) => {
          setTimeout(() => {
            resolve(Date.now() - started - 200);
          }, 200);
        });
        initiator.send(initiator.taskManagement(TaskFunction.abortTask, { tag: header.readUInt32BE(16) }));
        const response = await initiator.receiveKind(Opcode.taskManagementResponse);
        const took = Date.now() - started - (await late);
        assert.deepEqual([response.header[2], took < 1000], [TaskResponse.complete, true], `${String(took)} ms`);
      }
      assert.equal(free, false, 'the threads were not stuck');
    } finally {
      await release();
      await probe;
      initiator.destroy();
      await target.close();
      await volume.close();
    }
  } finally {
    folder.remove();
  }
});
