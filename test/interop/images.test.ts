// gemel volume import and export with the real qemu-img: every format there and back, holes that stay holes, images that
// are refused, what an interruption leaves, and that nobody can read the credentials meanwhile.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  existsSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readdirSync,
  statSync,
} from 'node:fs';
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { describe, it } from 'node:test';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { withDaemon, type Daemon, type Disk } from '../support/daemon.ts';
import { Initiator } from '../support/initiator.ts';
import { findProgram, needs } from '../support/needs.ts';
import { describeRun, killGroup, run, runOk, type RunResult } from '../support/process.ts';
import { projectFile } from '../support/project.ts';
import { needsQemuTools } from '../support/qemu.ts';
import { withSourceImage, type SourceImage } from './source-image.ts';

const MIB = 1024 * 1024;
const ALICE = 'iqn.2026-01.example.host:alice';
const skip = needsQemuTools();

interface Imported extends Disk {
  imported: { format: string };
  maps: { initiator: string }[];
  allocatedBytes: number;
}

/** Runs `body` with a daemon, a source image and an empty folder. */
async function withImages(body: (daemon: Daemon, source: SourceImage, folder: string) => Promise<void>): Promise<void> {
  const folder = temporaryFolder('images');
  try {
    await withSourceImage((source) =>
      withDaemon({ args: ['--no-demo'] }, (daemon) => body(daemon, source, folder.path)),
    );
  } finally {
    for (const kill of started) kill();
    folder.remove();
  }
}

const convert = (source: string, format: string, path: string, ...more: string[]): Promise<RunResult> =>
  runOk('qemu-img', ['convert', '-f', 'raw', '-O', format, ...more, source, path]);

/** Nothing an import makes for itself is there any more. */
async function assertClean(daemon: Daemon, disks: readonly string[]): Promise<void> {
  assert.deepEqual(
    (await daemon.listVolumes()).map((disk) => disk.name),
    disks,
  );
  const initiators = (await daemon.gemelJson(['initiator', 'list'])) as { iqn: string }[];
  assert.deepEqual(
    initiators.map((each) => each.iqn),
    [],
  );
  for (const disk of (await daemon.listVolumes()) as Imported[]) {
    assert.ok(!JSON.stringify(disk.maps).includes('image-copy'), 'a map of a one-time initiator is left');
  }
}

async function assertRefused(daemon: Daemon, args: readonly string[], code: number, why: RegExp): Promise<void> {
  const result = await daemon.gemel(['volume', 'import', ...args]);
  assert.equal(result.code, code, describeRun(result));
  assert.match(result.stderr, why);
  assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
  await assertClean(daemon, []);
}

/** What startGemel started; ended with the test, whatever it found. */
const started = new Set<() => void>();

/** Starts `gemel` in a group of its own and collects what it says. */
function startGemel(
  daemon: Daemon,
  args: readonly string[],
): { pid: number; ended: Promise<{ code: number; said: string }> } {
  const { api, token } = daemon.ready;
  // The token in the environment: then the search for secrets below finds only what should not be there.
  const child = spawn(process.execPath, [projectFile('bin', 'gemel.js'), '--api', api, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, GEMEL_TOKEN: token },
  });
  const kill = (): void => {
    killGroup(child, 'SIGKILL');
  };
  const forget = atExit(kill);
  started.add(kill);
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = new Promise<{ code: number; said: string }>((resolve) => {
    child.once('close', (code) => {
      forget();
      started.delete(kill);
      resolve({ code: code ?? -1, said });
    });
  });
  assert.ok(child.pid);
  return { pid: child.pid, ended };
}

/** The qemu-img that `parent` has started to convert, as soon as it runs. */
async function converterOf(parent: number): Promise<string> {
  for (const end = performance.now() + 30_000; performance.now() < end;) {
    for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      const text = (name: string): string => {
        try {
          return readFileSync(`/proc/${entry}/${name}`, 'latin1');
        } catch {
          return ''; // gone
        }
      };
      const isChild = new RegExp(`^PPid:\\s${parent}$`, 'm').test(text('status'));
      if (isChild && text('cmdline').includes('\0convert\0')) return entry;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('no qemu-img has been started');
}

/** A raw image of random data that takes a while. */
async function largeImage(folder: string): Promise<string> {
  const path = join(folder, 'large.raw');
  await runOk('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', 'count=256']);
  return path;
}

describe('import and export of images', { skip, concurrency: 1 }, () => {
  it('takes every format, keeps holes, and gives the same data back', async () => {
    await withImages(async (daemon, source, folder) => {
      const variants: [name: string, format: string, options: string[]][] = [
        ['plain.raw', 'raw', []],
        ['two.qcow2', 'qcow2', ['-o', 'compat=0.10']],
        ['packed.qcow2', 'qcow2', ['-c']],
        ['sparse.vmdk', 'vmdk', []],
        ['stream.vmdk', 'vmdk', ['-o', 'subformat=streamOptimized']],
        ['flat.vmdk', 'vmdk', ['-o', 'subformat=monolithicFlat']],
        ['odd, name:1.vhdx', 'vhdx', []],
      ];
      for (const [index, [file, format, options]] of variants.entries()) {
        const path = join(folder, file);
        await convert(source.path, format, path, ...options);
        const name = `disk-${index}`;
        const disk = (await daemon.gemelJson(['volume', 'import', path, name, '--map', 'loopback'])) as Imported;
        assert.deepEqual([disk.imported.format, disk.size], [format, source.bytes], file);
        assert.deepEqual(
          disk.maps.map((map) => map.initiator),
          ['loopback'],
        );
        await runOk('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', source.path, disk.url]);
        assert.ok(disk.allocatedBytes <= source.dataBytes + MIB, `${file}: ${disk.allocatedBytes} bytes allocated`);
        assert.ok((await daemon.occupiedBytes(name)) <= source.dataBytes + 2 * MIB, file);
        await daemon.gemelJson(['unmap', name, 'loopback']);
        const image = join(folder, `back-${index}`);
        const target = index % 2 === 0 ? 'raw' : 'qcow2';
        await daemon.gemelJson(['volume', 'export', name, image, '--format', target]);
        await runOk('qemu-img', ['compare', '-f', 'raw', '-F', target, source.path, image]);
        assert.ok(statSync(image).blocks * 512 <= source.dataBytes + 2 * MIB, `${file}: holes are kept`);
        await daemon.gemelJson(['volume', 'delete', '--purge', name]);
      }
      await assertClean(daemon, []);
      assert.deepEqual(
        readdirSync(folder).filter((name) => name.includes('partial')),
        [],
      );
    });
  });

  it('takes sizes that are no whole blocks, and very small ones', async () => {
    await withImages(async (daemon, _source, folder) => {
      const path = join(folder, 'odd.img');
      writeFileSync(path, Buffer.alloc(3 * MIB + 777, 0x5a));
      const disk = (await daemon.gemelJson([
        'volume',
        'import',
        path,
        'odd',
        '--map',
        'loopback',
        '--thick',
      ])) as Imported;
      assert.equal(disk.size, 3 * MIB + 1024);
      await runOk('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', path, disk.url]);
      writeFileSync(path, 'a text');
      const small = (await daemon.gemelJson(['volume', 'import', path, 'small', '--map', 'loopback'])) as Imported;
      assert.equal(small.size, MIB);
      await runOk('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', path, small.url]);
      await assertClean(daemon, ['odd', 'small']);
    });
  });

  it('refuses bad files, and leaves nothing behind', async () => {
    await withImages(async (daemon, source, folder) => {
      const at = (name: string): string => join(folder, name);
      const good = at('good.qcow2');
      await convert(source.path, 'qcow2', good);
      for (const format of ['qcow2', 'vmdk', 'vhdx']) {
        const cut = at(`cut.${format}`);
        await convert(source.path, format, cut);
        truncateSync(cut, Math.floor(statSync(cut).size * 0.7));
        await assertRefused(daemon, [cut, 'v'], 2, /damaged or cut off|not a whole/);
      }
      writeFileSync(at('notes.txt'), 'not a disk\n'.repeat(1000));
      await assertRefused(daemon, [at('notes.txt'), 'v'], 2, /is no qcow2, vmdk, vhdx image/);
      await assertRefused(daemon, [at('notes.txt'), 'v', '--format', 'qcow2'], 2, /is no qcow2 image/);
      await assertRefused(daemon, [good, 'v', '--format', 'vmdk'], 2, /is no vmdk image/);
      copyFileSync(good, at('guest.raw'));
      await assertRefused(daemon, [at('guest.raw'), 'v'], 2, /looks like qcow2; say which/);
      await assertRefused(daemon, [at('missing.qcow2'), 'v'], 4, /cannot be read/);
      await assertRefused(daemon, [folder, 'v', '--format', 'raw'], 2, /not a regular file/);
      await runOk('mkfifo', [at('fifo.raw')]);
      await assertRefused(daemon, [at('fifo.raw'), 'v'], 2, /not a regular file/);
      const huge = at('huge.qcow2');
      await runOk('qemu-img', ['create', '-f', 'qcow2', '-o', 'cluster_size=2M', huge, '100T']);
      await assertRefused(daemon, [huge, 'v'], 2, /has 100 TiB; a disk has at most 64 TiB/);
      await assertRefused(daemon, [good, 'v', '--map', 'somebody'], 2, /not loopback, all or the name/);
      // The daemon says no only when the copy is there.
      await assertRefused(daemon, [good, 'v', '--map', 'iqn.bad'], 2, /not an initiator name.*everything is as before/);
      await assertRefused(daemon, [good, 'Bad Name'], 2, /everything is as before/);
    });
  });

  it('opens no other file an image names, unless told to', async () => {
    await withImages(async (daemon, source, folder) => {
      const at = (name: string): string => join(folder, name);
      const secret = at('secret.raw');
      copyFileSync(source.path, secret);
      await runOk('qemu-img', ['create', '-f', 'qcow2', '-b', secret, '-F', 'raw', at('top.qcow2')]);
      await assertRefused(daemon, [at('top.qcow2'), 'v'], 2, /needs a backing file .*--allow-backing/);
      await runOk('qemu-img', ['create', '-f', 'qcow2', '-o', `data_file=${at('data.raw')}`, at('split.qcow2'), '8M']);
      rmSync(at('data.raw')); // whoever tried to open it would complain of something else
      await assertRefused(daemon, [at('split.qcow2'), 'v'], 2, /has its data in another file/);
      await convert(source.path, 'vmdk', at('parent.vmdk'));
      await runOk('qemu-img', ['create', '-f', 'vmdk', '-b', at('parent.vmdk'), '-F', 'vmdk', at('child.vmdk')]);
      await assertRefused(daemon, [at('child.vmdk'), 'v'], 2, /needs a backing file/);

      const descriptor = (extent: string): string =>
        [
          ...['# Disk DescriptorFile', 'version=1', 'CID=fffffffe', 'parentCID=ffffffff'],
          ...['createType="monolithicFlat"', `RW 8192 FLAT "${extent}" 0`, ''],
        ].join('\n');
      for (const extent of [secret, 'secret.raw', '../x', 'evil-../secret.raw', 'evil-nbd:x']) {
        writeFileSync(at('evil.vmdk'), descriptor(extent));
        await assertRefused(daemon, [at('evil.vmdk'), 'v'], 2, /takes its data from another file/);
      }
      symlinkSync(secret, at('evil-flat.vmdk'));
      writeFileSync(at('evil.vmdk'), descriptor('evil-flat.vmdk'));
      await assertRefused(daemon, [at('evil.vmdk'), 'v'], 2, /not a regular file/);
      // A sparse header with capacity 0 leads to the descriptor behind it.
      const sparse = Buffer.alloc(16_384);
      sparse.write('KDMV');
      sparse.writeUInt32LE(1, 4);
      sparse.writeBigUInt64LE(1n, 28);
      sparse.writeBigUInt64LE(20n, 36);
      sparse.write(descriptor(secret), 512);
      writeFileSync(at('hidden.vmdk'), sparse);
      await assertRefused(daemon, [at('hidden.vmdk'), 'v'], 2, /takes its data from another file/);

      const args = ['volume', 'import', at('top.qcow2'), 'top', '--allow-backing', '--map', 'loopback'];
      const disk = (await daemon.gemelJson(args)) as Imported;
      await runOk('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', source.path, disk.url]);
    });
  });

  it('Ctrl-C takes everything back, and nobody sees a secret meanwhile', async () => {
    await withImages(async (daemon, _source, folder) => {
      const large = await largeImage(folder);
      const files = readdirSync(folder).sort();
      const importing = startGemel(daemon, ['volume', 'import', large, 'large', '--map', 'all']);
      const converter = await converterOf(importing.pid);
      const [disk] = (await daemon.gemelJson(['volume', 'list'])) as Imported[];
      const initiator = disk?.maps[0]?.initiator ?? '';
      assert.match(initiator, /image-copy-/);
      assert.deepEqual(disk?.maps.length, 1, 'nobody else sees the disk before it is whole');
      // The child itself reads the secret from there; what others can read is the command line.
      const secret = readFileSync(`/proc/${converter}/fd/3`, 'latin1');
      assert.match(secret, /^[\w-]{43}$/);
      for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
        for (const name of ['cmdline', 'environ']) {
          let text = '';
          try {
            text = readFileSync(`/proc/${entry}/${name}`, 'latin1');
          } catch {
            continue; // gone
          }
          assert.ok(!text.includes(secret), `${name} of process ${entry} has the secret`);
        }
      }
      assert.ok(
        !readFileSync(`/proc/${converter}/environ`, 'latin1').includes(daemon.ready.token),
        'the token goes on',
      );
      process.kill(-importing.pid, 'SIGINT'); // as a terminal does it: to the whole group
      const { code, said } = await importing.ended;
      assert.equal(code, 130, said);
      assert.match(said, /^gemel: interrupted; everything is as before\. [^\n]*\n$/);
      await assertClean(daemon, []);

      await daemon.gemelJson(['volume', 'import', large, 'large']);
      const exporting = startGemel(daemon, ['volume', 'export', 'large', join(folder, 'out.raw')]);
      await converterOf(exporting.pid);
      process.kill(exporting.pid, 'SIGTERM'); // as a service manager does it: to the one process
      assert.equal((await exporting.ended).code, 130);
      assert.deepEqual(readdirSync(folder).sort(), files);
      await assertClean(daemon, ['large']);
    });
  });

  it('a daemon that ends in the middle fails the import, which says what may be left', async () => {
    await withImages(async (daemon, _source, folder) => {
      const importing = startGemel(daemon, ['volume', 'import', await largeImage(folder), 'large']);
      await converterOf(importing.pid);
      // Before it is logged in, libiscsi gives up at once.
      const end = performance.now() + 30_000;
      while ((await daemon.occupiedBytes('large')) === 0) {
        assert.ok(performance.now() < end, 'nothing of the image arrives');
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      await daemon.crash();
      process.kill(importing.pid, 'SIGINT'); // libiscsi would wait for the target to come back
      const { code, said } = await importing.ended;
      assert.equal(code, 130);
      assert.match(said, /still there: disk large \(.*\); initiator iqn\.\S+image-copy-\w+ \(/);
      await daemon.start();
    });
  });

  it('needs a good token with the role admin, a free name and a free file', async () => {
    await withImages(async (daemon, source, folder) => {
      const image = join(folder, 'image.raw');
      copyFileSync(source.path, image);
      const [first = '', , third = ''] = daemon.ready.token.split('.');
      const wrong = await run(process.execPath, [
        ...[
          projectFile('bin', 'gemel.js'),
          '--api',
          daemon.ready.api,
          '--token',
          `${first}.${'A'.repeat(43)}.${third}`,
        ],
        ...['volume', 'import', image, 'v'],
      ]);
      assert.equal(wrong.code, 3, describeRun(wrong));
      await assertClean(daemon, []);
      const before = await daemon.createVolume('taken', '16M');
      const taken = await daemon.gemel(['volume', 'import', image, 'taken']);
      assert.equal(taken.code, 5, describeRun(taken));
      assert.match(taken.stderr, /already; everything is as before/);
      assert.equal((await daemon.volume('taken')).iqn, before.iqn, "somebody else's disk stays");
      const exists = await daemon.gemel(['volume', 'export', 'taken', image]);
      assert.equal(exists.code, 5, describeRun(exists));
      const nowhere = await daemon.gemel(['volume', 'export', 'taken', join(folder, 'no', 'where')]);
      assert.equal(nowhere.code, 2, describeRun(nowhere));
      const missing = await daemon.gemel(['volume', 'export', 'nothing', join(folder, 'out')]);
      assert.equal(missing.code, 4, describeRun(missing));
      await assertClean(daemon, ['taken']);
    });
  });

  it('exports a disk in use only when forced, and says what that means', async () => {
    await withImages(async (daemon, _source, folder) => {
      const disk = await daemon.createVolume('busy', '16M', ['--map', ALICE]);
      const [host = '', port = ''] = (daemon.portals[0] ?? '').split(':');
      const alice = await Initiator.login(host, Number(port), {
        target: disk.iqn,
        initiator: ALICE,
        isid: '800000000001',
      });
      const out = join(folder, 'busy.raw');
      const refused = await daemon.gemel(['volume', 'export', 'busy', out]);
      assert.equal(refused.code, 5, describeRun(refused));
      assert.match(refused.stderr, new RegExp(`in use by ${ALICE}`));
      assert.ok(!existsSync(out));
      const forced = await daemon.gemel(['volume', 'export', 'busy', out, '--force']);
      assert.equal(forced.code, 0, describeRun(forced));
      assert.match(forced.stdout, new RegExp(`Caution: ${ALICE} used the disk`));
      assert.equal(statSync(out).size, 16 * MIB);
      assert.equal(statSync(out).mode & 0o077, 0, 'only its owner may read it');
      assert.equal(await alice.logout(), 0);
    });
  });

  const notRoot = process.getuid?.() !== 0 && 'needs root: a file system of its own';
  it('fails with no-space when the file system of the image is full', { skip: notRoot }, async () => {
    await withImages(async (daemon, source, folder) => {
      const small = join(folder, 'small');
      mkdirSync(small);
      await runOk('mount', ['-t', 'tmpfs', '-o', 'size=8M', 'none', small]);
      const unmount = (): Promise<RunResult> => run('umount', [small]);
      try {
        await daemon.gemelJson(['volume', 'import', source.path, 'v']);
        const result = await daemon.gemel(['volume', 'export', 'v', join(small, 'out.raw')]);
        assert.equal(result.code, 6, describeRun(result));
        assert.deepEqual(readdirSync(small), []);
        await assertClean(daemon, ['v']);
      } finally {
        await unmount();
      }
    });
  });
});

describe('without qemu-img', { concurrency: 1 }, () => {
  it('one line names the packages', async () => {
    const folder = temporaryFolder('no-qemu');
    try {
      const image = join(folder.path, 'x.raw');
      const fd = openSync(image, 'w');
      ftruncateSync(fd, MIB);
      writeSync(fd, 'x');
      closeSync(fd);
      await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
        const result = await daemon.gemel(['volume', 'import', image, 'v'], { env: { PATH: folder.path } });
        assert.equal(result.code, 11, describeRun(result));
        assert.match(
          result.stderr,
          /^gemel: qemu-img is not installed \(apt-get install qemu-utils qemu-block-extra\)/,
        );
      });
    } finally {
      folder.remove();
    }
  });
});

describe('progress', { skip: skip === false ? needs('script', 'bsdutils') : skip, concurrency: 1 }, () => {
  it('is drawn on a terminal only, and not with --json', async () => {
    await withImages(async (daemon, _source, folder) => {
      const large = await largeImage(folder);
      const gemel = [process.execPath, projectFile('bin', 'gemel.js'), '--api', daemon.ready.api].join(' ');
      const env = { GEMEL_TOKEN: daemon.ready.token, PATH: [process.env.PATH, '/usr/bin'].join(delimiter) };
      const onTerminal = (command: string): Promise<RunResult> =>
        runOk(findProgram('script') ?? 'script', ['-qec', `stty cols 100; ${command}`, '/dev/null'], { env });
      const drawn = await onTerminal(`${gemel} volume import ${large} one`);
      assert.match(drawn.stdout, /\rImporting one {2}\[#+ *\] +\d+ % {2}\S+ MiB of 256 MiB/);
      assert.match(drawn.stdout, /Imported large\.raw as one/);
      const json = await onTerminal(`${gemel} --json volume export one ${join(folder, 'out.qcow2')} --format qcow2`);
      assert.equal((JSON.parse(json.stdout) as { exported: string }).exported, 'one');
    });
  });
});
