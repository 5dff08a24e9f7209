// qemu-img and qemu-io through iscsi://, the data across restarts and crashes, and discards in our file.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { atExit } from '../support/cleanup.ts';
import { withDaemon, type Daemon, type Disk } from '../support/daemon.ts';
import { describeRun, killGroup, run, runOk } from '../support/process.ts';
import { imageOptions, needsQemuTools, type IscsiImage } from '../support/qemu.ts';
import { withSourceImage } from './source-image.ts';

const MIB = 1024 * 1024;
const skip = needsQemuTools(['stdbuf', 'coreutils']);

const imageOf = (daemon: Daemon, disk: Disk): IscsiImage => ({
  portal: daemon.portals[0] ?? '',
  iqn: disk.iqn,
  lun: disk.lun,
});

/** Runs qemu-io commands on an image; fails when one of them does, or when a pattern differs. */
async function qemuIo(image: IscsiImage, commands: readonly string[]): Promise<string> {
  const args = commands.flatMap((command) => ['-c', command]);
  const result = await runOk('qemu-io', [
    '--image-opts',
    `driver=raw,file.${imageOptions(image).replaceAll(',', ',file.')}`,
    ...args,
  ]);
  assert.doesNotMatch(result.stdout, /verification failed|failed:/, describeRun(result));
  return result.stdout;
}

interface MapEntry {
  start: number;
  length: number;
  data: boolean;
  zero: boolean;
}

describe('QEMU tools over iscsi://', { skip, concurrency: 1 }, () => {
  it('convert, compare and map agree with the source', async () => {
    await withSourceImage(async (source) => {
      await withDaemon({}, async (daemon) => {
        const disk = await daemon.createVolume('convert', String(source.bytes));
        assert.equal(disk.size, source.bytes);
        await runOk('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', source.path, disk.url]);
        await runOk('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', source.path, disk.url]);
        const map = await runOk('qemu-img', ['map', '-f', 'raw', '--output=json', disk.url]);
        const entries = JSON.parse(map.stdout) as MapEntry[];
        const at = (offset: number): MapEntry | undefined =>
          entries.find(({ start, length }) => start <= offset && offset < start + length);
        assert.equal(at(source.dataAt)?.data, true, map.stdout);
        assert.deepEqual(
          { ...at(source.holeAt), start: 0, length: 0, offset: 0, depth: 0, present: 0 },
          {
            ...{ start: 0, length: 0, offset: 0, depth: 0, present: 0 },
            ...{ data: false, zero: true },
          },
        );
        // The hole went over as WRITE SAME with UNMAP and takes no space here either.
        assert.ok((await daemon.occupiedBytes('convert')) < source.dataBytes + 2 * MIB);
      });
    });
  });

  it('bench completes, reading and writing', async () => {
    await withDaemon({}, async (daemon) => {
      const disk = await daemon.createVolume('bench', '64M');
      for (const mode of [[], ['-w', '--pattern=165'], ['-w', '--flush-interval=64']]) {
        const args = ['bench', '-f', 'raw', '-t', 'none', '-c', '4000', '-d', '32', '-s', '4096', ...mode, disk.url];
        const result = await runOk('qemu-img', args);
        assert.match(result.stdout, /Run completed in/);
      }
    });
  });

  it('zeroes, discards and flushes; a discard frees space in our file', async () => {
    await withDaemon({}, async (daemon) => {
      const disk = await daemon.createVolume('discard', '128M');
      const image = imageOf(daemon, disk);
      await qemuIo(image, ['write -P 0xa5 0 64M', 'flush']);
      const full = await daemon.occupiedBytes('discard');
      assert.ok(full >= 64 * MIB, `64 MiB written, ${full} bytes occupied`);
      // QEMU turns the commands into WRITE SAME, WRITE SAME with UNMAP, and UNMAP.
      await qemuIo(image, ['write -z 0 8M', 'read -P 0 0 8M', 'read -P 0xa5 8M 8M']);
      await qemuIo(image, ['write -z -u 8M 16M', 'read -P 0 8M 16M', 'read -P 0xa5 24M 8M']);
      const afterZero = await daemon.occupiedBytes('discard');
      assert.ok(afterZero <= full - 16 * MIB, `16 MiB unmapped by WRITE SAME: ${full} -> ${afterZero}`);
      await qemuIo(image, ['discard 24M 32M', 'read -P 0 24M 32M', 'read -P 0xa5 56M 8M', 'flush']);
      const afterDiscard = await daemon.occupiedBytes('discard');
      assert.ok(afterDiscard <= afterZero - 32 * MIB, `32 MiB unmapped: ${afterZero} -> ${afterDiscard}`);
    });
  });

  it('writes at odd places read back, and nothing beside them changes', async () => {
    await withDaemon({}, async (daemon) => {
      const disk = await daemon.createVolume('odd', '32M');
      const image = imageOf(daemon, disk);
      await qemuIo(image, [
        'write -P 1 0 32M',
        'write -P 2 512 512',
        'write -P 3 4608 1023k',
        'write -P 4 33553920 512',
        'read -P 1 0 512',
        'read -P 2 512 512',
        'read -P 1 1024 3584',
        'read -P 3 4608 1023k',
        'read -P 1 1052160 4k',
        'read -P 4 33553920 512',
      ]);
    });
  });

  it('works with a header digest', async () => {
    await withDaemon({}, async (daemon) => {
      const disk = await daemon.createVolume('digest', '32M');
      const image: IscsiImage = { ...imageOf(daemon, disk), headerDigest: 'crc32c' };
      await qemuIo(image, ['write -P 7 0 8M', 'write -P 8 1M 4k', 'read -P 7 0 1M', 'read -P 8 1M 4k', 'flush']);
    });
  });
});

describe('the data on a disk', { skip, concurrency: 1 }, () => {
  it('is the same after a restart and after a crash, under the same name and number', async () => {
    await withSourceImage(async (source) => {
      await withDaemon({}, async (daemon) => {
        const disk = await daemon.createVolume('kept', String(source.bytes), ['--durability', 'durable']);
        await runOk('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', source.path, disk.url]);
        for (const end of [() => daemon.stop(), () => daemon.crash()]) {
          await end();
          await daemon.start();
          const { iqn, lun, size } = await daemon.volume('kept');
          assert.deepEqual({ iqn, lun, size }, { iqn: disk.iqn, lun: disk.lun, size: disk.size });
          await runOk('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', source.path, disk.url]);
        }
      });
    });
  });

  it('has every acknowledged write after a crash in the middle of writing', async () => {
    await withDaemon({}, async (daemon) => {
      const disk = await daemon.createVolume('acknowledged', '64M', ['--durability', 'durable']);
      const blocks = 1000;
      const commands = Array.from({ length: blocks }, (_, i) => `write -P ${(i % 255) + 1} ${i * 65536} 64k`);
      const acknowledged = await writeUntilCrash(daemon, disk, commands);
      assert.ok(acknowledged >= 50 && acknowledged < blocks, `crashed in the middle: ${acknowledged} acknowledged`);
      await daemon.start();
      const reads = commands.slice(0, acknowledged).map((command) => command.replace('write', 'read'));
      await qemuIo(imageOf(daemon, disk), reads);
    });
  });
});

/** Feeds qemu-io with `commands`, crashes the daemon after 50 answers; returns how many were answered in all. */
async function writeUntilCrash(daemon: Daemon, disk: Disk, commands: readonly string[]): Promise<number> {
  const args = ['-oL', 'qemu-io', '-f', 'raw', '-t', 'none', disk.url];
  const writer = spawn('stdbuf', args, { stdio: ['pipe', 'pipe', 'ignore'], detached: true });
  const forget = atExit(() => {
    killGroup(writer, 'SIGKILL');
  });
  const ended = new Promise((resolve) => writer.once('close', resolve));
  let said = '';
  const answers = (): number => said.match(/^(?:qemu-io> )?wrote 65536\/65536/gm)?.length ?? 0;
  const enough = new Promise<void>((resolve) => {
    writer.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (answers() >= 50) resolve();
    });
  });
  writer.stdin.on('error', () => undefined); // it is killed before it has read everything
  writer.stdin.write(`${commands.join('\n')}\n`);
  await Promise.race([enough, ended]);
  await daemon.crash();
  killGroup(writer, 'SIGKILL'); // it would wait for the target to come back
  await ended;
  forget();
  return answers();
}

// A control of the checks above: qemu-io has to notice a wrong pattern, or "reads back" would prove nothing.
describe('qemu-io as a witness', { skip }, () => {
  it('fails on a wrong pattern', async () => {
    await withSourceImage(async (source) => {
      const result = await run('qemu-io', ['-f', 'raw', '-c', 'read -P 0x55 0 4k', join(source.path)]);
      assert.notEqual(result.code, 0, describeRun(result));
    });
  });
});
