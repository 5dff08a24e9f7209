// SANITIZE against SBC-3 4.11 and 5.30 (as numbered in SBC-4).
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryVolume } from '../../../../core/volume/memory-volume.ts';
import { VolumeError, VolumeFault } from '../../../../core/volume/volume.ts';
import { resumeSanitize } from '../../../../core/scsi/sbc/sanitize.ts';
import type { SanitizeStore, SavedSanitize } from '../../../../core/scsi/sanitize-store.ts';
import { ALL_COMMANDS, hastyClock, scsiFixture } from '../../../support/scsi-fixture.ts';
import type { Volume } from '../../../../core/volume/volume.ts';
import type { Fixture, Initiator } from '../../../support/scsi-fixture.ts';

const Action = { overwrite: 0x01, blockErase: 0x02, cryptoErase: 0x03, exitFailureMode: 0x1f };
const IMMED = 0x80;
const AUSE = 0x20;
const SIZE = 65_536;
const TUR = [0, 0, 0, 0, 0, 0];

function fixture(): { disk: Fixture; host: Initiator; volume: Volume } {
  const volume: Volume = new MemoryVolume(SIZE);
  const disk = scsiFixture({ commands: ALL_COMMANDS, clock: hastyClock, volume });
  return { disk, host: disk.login(), volume };
}

const sanitize = (action: number, length = 0): number[] => [0x48, action, 0, 0, 0, 0, 0, length >> 8, length & 0xff, 0];

const overwrite = (host: Initiator, first: number, pattern: Buffer, flags = 0): Promise<string> => {
  const list = Buffer.concat([Buffer.from([first, 0, pattern.length >> 8, pattern.length & 0xff]), pattern]);
  return host.status(sanitize(Action.overwrite | flags, list.length), { data: list });
};

const content = (host: Initiator): Promise<Buffer> => host.data([0x28, 0, 0, 0, 0, 0, 0, 0, SIZE / 512, 0]);

describe('SANITIZE', () => {
  test('erasing leaves zeros and no blocks', async () => {
    for (const action of [Action.blockErase, Action.cryptoErase]) {
      const { host, volume } = fixture();
      await host.status([0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0], { data: Buffer.alloc(512, 7) });
      assert.equal(await host.status(sanitize(action)), 'GOOD');
      assert.deepEqual(await content(host), Buffer.alloc(SIZE));
      assert.equal(volume.allocatedBytes(), 0);
      assert.equal(await host.status(sanitize(action, 4)), '05/24/00 cdb 8 bit 2');
    }
  });

  test('the pattern begins anew in each block; with INVERT the last pass is the pattern itself', async () => {
    for (const [first, passes] of [
      [0x01, ['010203']],
      [0x03, ['010203', '010203', '010203']],
      [0x81, ['010203']],
      [0x82, ['fefdfc', '010203']],
      [0x83, ['010203', 'fefdfc', '010203']],
    ] as const) {
      const { host, volume } = fixture();
      const seen: string[] = [];
      const write = volume.write.bind(volume);
      volume.write = (position, source, at, length, fua) => {
        if (position === 0) seen.push(source.toString('hex', at, at + 3));
        return write(position, source, at, length, fua);
      };
      assert.equal(await overwrite(host, first, Buffer.from([1, 2, 3])), 'GOOD');
      assert.deepEqual(seen, passes);
      assert.deepEqual(await content(host), Buffer.alloc(SIZE, Buffer.alloc(512, Buffer.from([1, 2, 3]))));
    }
  });

  test('parameter lists that are wrong, and lists cut at every byte', async () => {
    const { host } = fixture();
    const pattern = Buffer.from([1, 2, 3]);
    assert.equal(await overwrite(host, 0x00, pattern), '05/26/00 data 0 bit 4'); // no passes
    assert.equal(await overwrite(host, 0x21, pattern), '05/26/00 data 0 bit 6'); // TEST
    assert.equal(await overwrite(host, 0x01, Buffer.alloc(513)), '05/24/00 cdb 7');
    const list = Buffer.from([1, 0, 0, 3, 1, 2, 3]);
    for (let cut = 0; cut < list.length; cut++) {
      const status = await host.status(sanitize(Action.overwrite, cut), { data: list.subarray(0, cut) });
      assert.equal(status, cut < 5 ? '05/24/00 cdb 7' : '05/26/00 data 2', `cut at ${cut}`);
      assert.equal(
        await host.status(sanitize(Action.overwrite, list.length), { data: list.subarray(0, cut) }),
        '05/24/00 cdb 7',
      );
    }
    assert.equal(await host.status(TUR), 'GOOD');
  });

  test('while it runs, commands allowed during sanitize run and the others say how far it is', async () => {
    const { host, volume } = fixture();
    let go: () => void = () => undefined;
    volume.unmap = () => new Promise((resolve) => (go = resolve));
    assert.equal(await host.status(sanitize(Action.blockErase | IMMED)), 'GOOD');
    await new Promise((resolve) => setImmediate(resolve));
    for (const cdb of [
      [0x12, 0, 0, 0, 96, 0],
      [0x1a, 0, 0x08, 0, 255, 0],
      [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0],
      [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0],
      [0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
      [0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0],
      [0x03, 0, 0, 0, 18, 0],
    ]) {
      assert.equal(await host.status(cdb), 'GOOD', `opcode ${cdb[0]}`);
    }
    for (const cdb of [
      TUR,
      [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0],
      [0x1b, 0, 0, 0, 1, 0],
      sanitize(Action.blockErase),
      sanitize(Action.exitFailureMode),
      [0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0],
    ]) {
      assert.equal(await host.status(cdb, { data: Buffer.alloc(24) }), '02/04/1B progress 0', `opcode ${cdb[0]}`);
    }
    go();
    while ((await host.status(TUR)) !== 'GOOD') await new Promise((resolve) => setImmediate(resolve));
  });

  test('a failure lasts until a success, or with AUSE until EXIT FAILURE MODE', async () => {
    const { host, volume } = fixture();
    const unmap = volume.unmap.bind(volume);
    const breakIt = (): void => {
      volume.unmap = () => Promise.reject(new VolumeError(VolumeFault.writeError, 'bad'));
    };
    assert.equal(await host.status(sanitize(Action.exitFailureMode)), 'GOOD');
    breakIt();
    assert.equal(await host.status(sanitize(Action.blockErase | AUSE)), '03/31/03');
    assert.equal(await host.status(TUR), '03/31/03');
    assert.equal(await host.status(sanitize(Action.exitFailureMode)), 'GOOD');
    assert.equal(await host.status(TUR), 'GOOD');
    assert.equal(await host.status(sanitize(Action.blockErase)), '03/31/03');
    assert.equal(await host.status(sanitize(Action.exitFailureMode)), '05/24/00 cdb 1 bit 4');
    assert.equal(await host.status(sanitize(Action.blockErase | AUSE)), '05/24/00 cdb 1 bit 5');
    assert.equal(await host.status(TUR), '03/31/03');
    volume.unmap = unmap;
    assert.equal(await host.status(sanitize(Action.blockErase)), 'GOOD');
    assert.equal(await host.status(TUR), 'GOOD');
  });

  describe('over a restart', () => {
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    /** A store that lives longer than the logical units of it. */
    class Kept implements SanitizeStore {
      state: SavedSanitize | undefined;
      broken = false;
      load(): SavedSanitize | undefined {
        return this.state;
      }
      save(state: SavedSanitize | undefined): Promise<void> {
        if (this.broken) return Promise.reject(new Error('the catalog cannot be written'));
        this.state = state;
        return Promise.resolve();
      }
    }
    /** The daemon has been started: the same volume and store, everything else is new. */
    const start = (volume: Volume, sanitizeStore: Kept): { host: Initiator; disk: Fixture } => {
      const disk = scsiFixture({ commands: ALL_COMMANDS, clock: hastyClock, volume, sanitizeStore });
      resumeSanitize(disk.lu);
      return { host: disk.login(), disk };
    };
    const until = async (host: Initiator, wanted: string): Promise<void> => {
      for (let i = 0; (await host.status(TUR)) !== wanted; i++) {
        assert.ok(i < 10_000, `never ${wanted}`);
        await turn();
      }
    };

    for (const action of [Action.blockErase, Action.overwrite] as const) {
      test(`action ${action}: what was interrupted is not readable, and begins again`, async () => {
        const [volume, kept] = [new MemoryVolume(SIZE), new Kept()];
        const { host } = start(volume, kept);
        await host.status([0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0], { data: Buffer.alloc(512, 7) });
        const never = (): Promise<void> => new Promise(() => undefined);
        const [unmap, write] = [volume.unmap.bind(volume), volume.write.bind(volume)];
        Object.assign(volume, { unmap: never, write: never });
        const status =
          action === Action.overwrite
            ? await overwrite(host, 0x82, Buffer.from([1, 2, 3]), IMMED)
            : await host.status(sanitize(action | IMMED));
        assert.equal(status, 'GOOD');
        // Killed here: nothing of the first daemon runs on.
        Object.assign(volume, { unmap, write });
        const again = start(volume, kept);
        assert.equal(await again.host.status([0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0]), '02/04/1B progress 0');
        await until(again.host, 'GOOD');
        const block = action === Action.overwrite ? Buffer.alloc(512, Buffer.from([1, 2, 3])) : Buffer.alloc(512);
        assert.deepEqual(await content(again.host), Buffer.alloc(SIZE, block));
        assert.equal(kept.state, undefined);
        // Done once: the next start does not erase what has been written since.
        assert.equal(await start(volume, kept).host.status(TUR), 'GOOD');
      });
    }

    test('a failure stays one, restricted or not, until it is accepted or a success ends it', async () => {
      for (const flags of [0, AUSE]) {
        const [volume, kept] = [new MemoryVolume(SIZE), new Kept()];
        const unmap = volume.unmap.bind(volume);
        volume.unmap = () => Promise.reject(new VolumeError(VolumeFault.writeError, 'bad'));
        assert.equal(await start(volume, kept).host.status(sanitize(Action.blockErase | flags)), '03/31/03');
        const { host } = start(volume, kept);
        assert.equal(await host.status(TUR), '03/31/03');
        const exit = await host.status(sanitize(Action.exitFailureMode));
        assert.equal(exit, flags === AUSE ? 'GOOD' : '05/24/00 cdb 1 bit 4');
        volume.unmap = unmap;
        if (flags === 0) assert.equal(await host.status(sanitize(Action.blockErase)), 'GOOD');
        assert.equal(await start(volume, kept).host.status(TUR), 'GOOD');
      }
    });

    test('what cannot be noted does not begin; an orderly stop is no failure', async () => {
      const [volume, kept] = [new MemoryVolume(SIZE), new Kept()];
      const { host, disk } = start(volume, kept);
      await host.status([0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0], { data: Buffer.alloc(512, 7) });
      kept.broken = true;
      assert.equal(await host.status(sanitize(Action.blockErase)), '04/44/00');
      assert.equal((await host.data([0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0]))[0], 7);
      kept.broken = false;
      volume.unmap = () => {
        disk.lu.retire();
        return Promise.reject(new VolumeError(VolumeFault.notReady, 'the volume is closed'));
      };
      assert.notEqual(await host.status(sanitize(Action.blockErase)), 'GOOD');
      assert.equal(kept.state?.state, 'running');
    });
  });
});
