// The exporter of an image, with the real qemu-storage-daemon: it ends with its node, and when its node says nothing any more.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { EXPORT_SWITCH, EXPORT_TOLD } from '../../../core/base/limits.ts';
import { silentLog } from '../../../core/base/log.ts';
import { Exporter } from '../../../core/daemon/images/exporter.ts';
import { FolderEngine } from '../../../core/daemon/images/folder-engine.ts';
import { temporaryFolder } from '../../support/cleanup.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { needs } from '../../support/needs.ts';
import { run } from '../../support/process.ts';
import { until } from '../../support/until.ts';

const skip = needs('qemu-storage-daemon', 'qemu-system-common') || needs('nbdinfo', 'libnbd-bin');
const SIZE = 8_388_608;

test('an exporter serves its image, alone, and is killed when its node falls silent', { skip }, async () => {
  const folder = temporaryFolder('exporter');
  const engine = new FolderEngine({ name: 'f', kind: 'folder', folder: folder.path, created: 0 });
  const clocks = [new ManualClock(), new ManualClock()];
  const ended = [0, 0];
  const exporters = clocks.map((clock, i) => {
    const socket = join(folder.path, `${i}.sock`);
    const onEnded = (): void => {
      ended[i] = (ended[i] ?? 0) + 1;
    };
    return new Exporter({ socket, name: 'image', clock, log: silentLog, onEnded });
  });
  const [first, second] = exporters;
  assert.ok(first && second);
  const size = async (i: number): Promise<string> =>
    (await run('nbdinfo', ['--size', `nbd+unix:///image?socket=${join(folder.path, `${i}.sock`)}`])).stdout.trim();
  const listens = async (i: number): Promise<void> => {
    for (const end = Date.now() + 30_000; (await size(i)) !== String(SIZE);) assert.ok(Date.now() < end, 'it listens');
  };
  // Keeps an exporter going, as the clock of a daemon does.
  const alive = new Set([0]);
  const telling = setInterval(() => {
    for (const i of alive) clocks[i]?.advance(EXPORT_TOLD);
  }, EXPORT_TOLD);
  try {
    await engine.check();
    await engine.create('image', SIZE);
    assert.equal(await engine.size('image'), SIZE);
    first.start(await engine.blockdev('image'), engine.lock('image'));
    await listens(0);
    // Whoever comes second gets nothing: the first one has the lock.
    second.start(await engine.blockdev('image'), engine.lock('image'));
    await until(() => ended[1] === 1);
    assert.match(second.said, /another node has the image open/);
    // Longer than the switch waits: it is told to go on.
    await new Promise((resolve) => setTimeout(resolve, EXPORT_SWITCH + 2 * EXPORT_TOLD));
    assert.equal(ended[0], 0);
    alive.clear();
    await until(() => ended[0] === 1);
    assert.equal(first.running, false);
    second.start(await engine.blockdev('image'), engine.lock('image'));
    await listens(1);
    await second.stop();
    assert.deepEqual(ended, [1, 1], 'who is stopped has not ended by itself');
    assert.equal(existsSync(join(folder.path, '1.sock')), false);
    await engine.resize('image', 2 * SIZE);
    assert.equal(await engine.size('image'), 2 * SIZE);
    await engine.remove('image');
    await engine.remove('image');
    await assert.rejects(engine.size('image'), /the folder of the backend/);
  } finally {
    clearInterval(telling);
    for (const each of exporters) each.kill();
    folder.remove();
  }
});
