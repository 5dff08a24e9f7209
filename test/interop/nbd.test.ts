// NBD with other people's clients (qemu-img, qemu-io, nbdinfo, nbdcopy) and servers (qemu-nbd, nbdkit).
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { VolumeError, VolumeFault } from '../../core/volume/volume.ts';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { clusterAuthority } from '../support/cluster-certificates.ts';
import { withDaemon } from '../support/daemon.ts';
import { needsAll } from '../support/needs.ts';
import { describeRun, run, runOk } from '../support/process.ts';
import { nbdFixture } from '../unit/nbd/fixture.ts';

const skip = needsAll(
  ['qemu-img', 'qemu-utils'],
  ['qemu-nbd', 'qemu-utils'],
  ['nbdinfo', 'libnbd-bin'],
  ['nbdcopy', 'libnbd-bin'],
  ['nbdkit', 'nbdkit'],
);
const SIZE = 8_388_608;

/** A server in a process of its own; resolves when its socket is there. */
async function serve(program: string, args: readonly string[], path: string): Promise<ChildProcess> {
  const child = spawn(program, args, { stdio: 'ignore' });
  const forget = atExit(() => child.kill('SIGKILL'));
  child.once('exit', forget);
  for (;;) {
    const probe = await run('nbdinfo', ['--size', `nbd+unix:///?socket=${path}`], { timeoutMs: 20_000 });
    if (probe.code === 0) return child;
    assert.equal(child.exitCode, null, `${program} ended: ${describeRun(probe)}`);
  }
}

async function end(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

describe('clients of others on our NBD server', { skip, concurrency: 1 }, () => {
  test('nbdinfo reads what the export is', async () => {
    const f = await nbdFixture();
    const uri = `nbd+unix:///disk?socket=${f.path}`;
    const info = await runOk('nbdinfo', ['--json', uri]);
    const { protocol, exports } = JSON.parse(info.stdout) as { protocol: string; exports: Record<string, unknown>[] };
    assert.equal(protocol, 'newstyle-fixed');
    const [found] = exports;
    assert.ok(found !== undefined);
    const expected = { 'export-size': SIZE, is_read_only: false, can_fua: true, can_flush: true, can_multi_conn: true };
    for (const [key, value] of Object.entries(expected)) assert.equal(found[key], value, key);
    assert.deepEqual(found.contexts, ['base:allocation']);
    const list = await runOk('nbdinfo', ['--list', '--json', `nbd+unix:///?socket=${f.path}`]);
    assert.match(list.stdout, /"export-name": "disk"/);
    const map = await runOk('nbdinfo', ['--map', '--json', uri]);
    assert.deepEqual(JSON.parse(map.stdout), [{ offset: 0, length: SIZE, type: 3, description: 'hole,zero' }]);
    await f.end();
  });

  test('nbdcopy and qemu-img copy images in and out, with their holes', async () => {
    const f = await nbdFixture();
    const raw = join(f.folder.path, 'image.raw');
    writeFileSync(raw, Buffer.concat([randomBytes(1_000_000), Buffer.alloc(2_000_000), randomBytes(300_000)]));
    truncateSync(raw, SIZE);
    await runOk('nbdcopy', [raw, `nbd+unix:///disk?socket=${f.path}`]);
    const image = `nbd+unix:///disk?socket=${f.path}`;
    await runOk('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', raw, image]);
    const back = join(f.folder.path, 'back.raw');
    await runOk('nbdcopy', [image, back]);
    assert.ok(readFileSync(back).equals(readFileSync(raw)));
    await runOk('qemu-io', ['-f', 'raw', '-c', 'discard 0 1M', '-c', 'read -P 0 0 1M', image]);
    await runOk('qemu-io', [
      '-f',
      'raw',
      '-c',
      'write -z 2M 64k',
      '-c',
      'write -f -P 0xab 3M 4k',
      '-c',
      'flush',
      image,
    ]);
    await runOk('qemu-io', ['-f', 'raw', '-c', 'read -P 0xab 3M 4k', '-c', 'read -P 0 2M 64k', image]);
    const map = JSON.parse((await runOk('qemu-img', ['map', '--output=json', '-f', 'raw', image])).stdout) as {
      start: number;
      length: number;
      zero: boolean;
    }[];
    assert.equal(map[0]?.start, 0);
    assert.equal(map[0].zero, true);
    assert.ok(map[0].length >= 1_048_576);
    const bench = ['bench', '-f', 'raw', '-c', '20000', '-d', '32', '-s', '4096', '-w', image];
    await runOk('qemu-img', bench);
    await f.end();
  });

  test('over TCP only with TLS, and only with a certificate of the authority', async () => {
    const f = await nbdFixture();
    const ours = clusterAuthority('gemel test cluster');
    const strangers = clusterAuthority('another cluster');
    const listener = await f.server.listen({ host: '127.0.0.1', port: 0, tls: ours.identity('127.0.0.1') });
    const credentials = (name: string, authority: typeof ours): string => {
      const folder = join(f.folder.path, name);
      mkdirSync(folder);
      const { ca, cert, key } = authority.identity('client');
      writeFileSync(join(folder, 'ca-cert.pem'), name === 'stranger' ? ours.identity('x').ca : ca);
      writeFileSync(join(folder, 'client-cert.pem'), cert);
      writeFileSync(join(folder, 'client-key.pem'), key, { mode: 0o600 });
      return `tls-creds-x509,id=tls0,endpoint=client,dir=${folder}`;
    };
    const io = ['-c', 'write -P 7 0 1M', '-c', 'read -P 7 0 1M'];
    const good = ['--object', credentials('client', ours), '--image-opts'];
    const options = (tls: boolean): string =>
      `driver=nbd,export=disk,server.type=inet,server.host=127.0.0.1,server.port=${String(listener.port)}` +
      (tls ? ',tls-creds=tls0' : '');
    await runOk('qemu-io', [...good, ...io, options(true)]);
    const plain = await run('qemu-io', ['--image-opts', ...io, options(false)]);
    assert.notEqual(plain.code, 0, describeRun(plain));
    assert.match(plain.stderr, /TLS/i);
    const bad = ['--object', credentials('stranger', strangers), '--image-opts'];
    const refused = await run('qemu-io', [...bad, ...io, options(true)]);
    assert.notEqual(refused.code, 0, describeRun(refused));
    // Ours does it too.
    const own = { ...ours.identity('client'), expect: '127.0.0.1' };
    const volume = await f.open({ to: { host: '127.0.0.1', port: listener.port }, tls: own });
    const into = Buffer.alloc(512);
    await volume.read(0, 512, into, 0);
    assert.ok(into.every((byte) => byte === 7));
    await volume.close();
    await f.end();
  });
});

describe('our NBD client on servers of others', { skip, concurrency: 1 }, () => {
  test('qemu-nbd with a qcow2 image, killed under load and started again: nothing acknowledged is lost', async () => {
    const f = await nbdFixture();
    const file = join(f.folder.path, 'disk.qcow2');
    const path = join(f.folder.path, 'qemu.sock');
    await runOk('qemu-img', ['create', '-q', '-f', 'qcow2', file, String(SIZE)]);
    const args = ['-k', path, '-f', 'qcow2', '-t', '-e', '8', '--cache=writeback', '--discard=unmap', file];
    let server = await serve('qemu-nbd', args, path);
    const volume = await f.open({ to: { path }, exportName: '' });
    assert.equal(volume.info.size, SIZE);
    const acknowledged = Buffer.alloc(SIZE);
    let over = false;
    let writes = 0;
    const writer = async (index: number): Promise<void> => {
      for (let round = 1; !over; round++) {
        const position = index * 524_288 + ((round * 37) % 64) * 8192;
        const data = Buffer.alloc(8192, 1 + (round % 255));
        await volume.write(position, data, 0, data.length, false);
        data.copy(acknowledged, position);
        writes++;
      }
    };
    const writers = Array.from({ length: 16 }, (_, index) => writer(index));
    for (let round = 0; round < 3; round++) {
      const before = writes;
      while (writes < before + 200) await new Promise((resolve) => setTimeout(resolve, 10));
      await end(server);
      server = await serve('qemu-nbd', args, path);
    }
    over = true;
    await Promise.all(writers);
    const found = Buffer.alloc(SIZE);
    await volume.read(0, SIZE, found, 0);
    assert.ok(found.equals(acknowledged));
    await volume.unmap(0, 1_048_576);
    assert.equal((await volume.extents(0, 1_048_576, 4))[0]?.mapped, false);
    await volume.close();
    await end(server);
    await f.end();
  });

  test('nbdkit: an error fails its request only', async () => {
    const f = await nbdFixture();
    const path = join(f.folder.path, 'nbdkit.sock');
    const error = ['--filter=error', 'memory', '8M', 'error-pread=ENOSPC', 'error-pread-rate=50%'];
    const failing = await serve('nbdkit', ['-f', '-U', path, ...error], path);
    const volume = await f.open({ to: { path }, exportName: '' });
    let failed = 0;
    let fine = 0;
    const reads = Array.from({ length: 200 }, (_, index) =>
      volume.read(index * 4096, 4096, Buffer.alloc(4096), 0).then(
        () => fine++,
        (thrown: unknown) => {
          assert.ok(thrown instanceof VolumeError && thrown.fault === VolumeFault.noSpace, String(thrown));
          failed++;
        },
      ),
    );
    await Promise.all(reads);
    assert.ok(failed > 20 && fine > 20, `${String(failed)} failed, ${String(fine)} did not`);
    await volume.close();
    await end(failing);
    await f.end();
  });

  test('a server without block status, and one that can make nothing stable', async () => {
    const f = await nbdFixture();
    const path = join(f.folder.path, 'plain.sock');
    const plain = await serve('nbdkit', ['-f', '-U', path, '--filter=noextents', 'memory', '8M'], path);
    const volume = await f.open({ to: { path }, exportName: '' });
    assert.deepEqual(await volume.extents(0, SIZE, 4), [{ position: 0, length: SIZE, mapped: true }]);
    await volume.close();
    await end(plain);
    const other = join(f.folder.path, 'eval.sock');
    const script = [`get_size=echo ${String(SIZE)}`, 'pread=dd if=/dev/zero count=$3 bs=1', 'pwrite=cat >/dev/null'];
    const unstable = await serve('nbdkit', ['-f', '-U', other, 'eval', ...script], other);
    await assert.rejects(f.open({ to: { path: other }, exportName: '' }), /cannot hold a durable volume/);
    await end(unstable);
    await f.end();
  });
});

describe('NBD in the daemon', { skip, concurrency: 1 }, () => {
  test('a volume mapped to nbd is served on the socket beside iSCSI; others are not', async () => {
    await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
      const socket = join(daemon.dataFolder, 'nbd.sock');
      const uri = (name: string): string => `nbd+unix:///${name}?socket=${socket}`;
      const io = (name: string, ...commands: string[]) =>
        run('qemu-io', ['-f', 'raw', ...commands.flatMap((each) => ['-c', each]), uri(name)]);
      assert.equal(statSync(socket).mode & 0o777, 0o660);
      const disk = await daemon.createVolume('fast', '64M', ['--map', 'nbd', '--map', 'loopback']);
      await daemon.createVolume('other', '64M');
      assert.equal((await io('fast', 'write -P 5 0 1M', 'flush')).code, 0);
      // The same bytes over iSCSI, and back.
      await runOk('qemu-io', ['-f', 'raw', '-c', 'read -P 5 0 1M', '-c', 'write -P 6 4k 4k', disk.url]);
      assert.equal((await io('fast', 'read -P 6 4k 4k', 'discard 1M 1M')).code, 0);
      const hidden = await io('other', 'read 0 4k');
      assert.notEqual(hidden.code, 0, describeRun(hidden));
      // Whoever uses it is in the way of whoever would delete it.
      const holder = spawn('qemu-io', ['-f', 'raw', uri('fast')], { stdio: ['pipe', 'pipe', 'ignore'] });
      const forget = atExit(() => holder.kill('SIGKILL'));
      holder.stdin.write('read 0 4k\n');
      await new Promise((resolve) => holder.stdout.once('data', resolve));
      const refused = await daemon.gemel(['volume', 'delete', 'fast']);
      assert.notEqual(refused.code, 0);
      assert.match(refused.stderr, /in use by a NBD client/);
      // Taken away: its next request ends the connection.
      const taken = await daemon.gemel(['unmap', 'fast', 'nbd']);
      assert.equal(taken.code, 0, describeRun(taken));
      assert.notEqual((await io('fast', 'read 0 4k')).code, 0);
      holder.kill('SIGKILL');
      await new Promise((resolve) => holder.once('exit', resolve));
      forget();
      for (let tries = 0; ; tries++) {
        const deleted = await daemon.gemel(['volume', 'delete', 'fast']);
        if (deleted.code === 0) break;
        assert.ok(tries < 100, describeRun(deleted));
      }
    });
  });

  test('a volume behind a NBD server is a disk like any other, and waits for its server', async () => {
    const folder = temporaryFolder('nbd-backend');
    const file = join(folder.path, 'disk.qcow2');
    const path = join(folder.path, 'qemu.sock');
    await runOk('qemu-img', ['create', '-q', '-f', 'qcow2', file, '64M']);
    const args = ['-k', path, '-f', 'qcow2', '-t', '-e', '8', '--cache=writeback', '--discard=unmap', file];
    let server = await serve('qemu-nbd', args, path);
    await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
      const uri = `nbd+unix:///?socket=${path}`;
      const made = await daemon.gemel(['volume', 'create', 'behind', '--nbd', uri, '--map', 'loopback', '--json']);
      assert.equal(made.code, 0, describeRun(made));
      const disk = JSON.parse(made.stdout) as { url: string; size: number };
      assert.equal(disk.size, 67_108_864);
      await runOk('qemu-io', ['-f', 'raw', '-c', 'write -P 9 0 8M', '-c', 'discard 1M 1M', disk.url]);
      const writing = run('qemu-img', ['bench', '-f', 'raw', '-w', '-c', '3000', '-d', '16', '-o', '16M', disk.url]);
      await end(server);
      server = await serve('qemu-nbd', args, path);
      const written = await writing;
      assert.equal(written.code, 0, describeRun(written));
      await daemon.crash();
      await daemon.start();
      const read = ['-c', 'read -P 9 0 1M', '-c', 'read -P 0 1M 1M', '-c', 'read -P 9 2M 6M'];
      await runOk('qemu-io', ['-f', 'raw', ...read, disk.url]);
      const twice = await daemon.gemel(['volume', 'create', 'again', '--nbd', uri]);
      assert.match(twice.stderr, /is volume 'behind' already/);
      const remote = await daemon.gemel(['volume', 'create', 'far', '--nbd', 'nbd://192.0.2.1/x']);
      assert.match(remote.stderr, /without TLS only this machine is trusted/);
    });
    await end(server);
    folder.remove();
  });
});
