// The storage plugin for Proxmox VE against the real daemon. Proxmox itself cannot be installed here: its modules are stand-ins
// (test/standins/pve) that load the plugin by the rules of PVE::Storage and call it as PVE::Storage does. Disks are used by the
// real QEMU tools through the paths the plugin names; commands for the kernel's initiator are written down and compared with
// what test/guest runs in a real Linux host.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { needsAll } from '../support/needs.ts';
import { run, runOk } from '../support/process.ts';
import { projectFile } from '../support/project.ts';

const skip = needsAll(
  ['perl', 'perl'],
  ['qemu-io', 'qemu-utils'],
  ['/usr/share/perl5/JSON.pm', 'libjson-perl'],
  ['/usr/share/perl5/LWP/Protocol/https.pm', 'liblwp-protocol-https-perl'],
);
const MIB = 1_048_576;
const IQN = 'iqn.1993-08.org.debian:01:pve-test';

interface Answer {
  result?: unknown;
  error?: string;
  commands: string[][];
}

/** A Proxmox host with one Gemel storage. */
class Host {
  readonly root: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;

  constructor(
    libraries: string,
    root: string,
    storage: string,
    settings: Record<string, unknown>,
    env: Record<string, string> = {},
  ) {
    this.root = root;
    for (const name of ['priv', 'run', 'by-id']) mkdirSync(join(root, name), { recursive: true });
    writeFileSync(join(root, 'initiatorname.iscsi'), `## names\nInitiatorName=${IQN}\n`);
    const folders = [libraries, projectFile('test', 'standins', 'pve')].flatMap((folder) => ['-I', folder]);
    const script = projectFile('test', 'standins', 'pve', 'pvesm.pl');
    const args = [...folders, script, storage, JSON.stringify(settings), root];
    this.#child = spawn('perl', args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...env } });
    const forget = atExit(() => this.#child.kill('SIGKILL'));
    this.#child.once('exit', forget);
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** One call; the answer as it is. */
  async ask(method: string, ...args: unknown[]): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify({ method, args })}\n`);
    const line = await this.#answers.next();
    if (line.done === true) throw new Error(`perl ended in ${method}`);
    return JSON.parse(line.value) as Answer;
  }

  /** The result of one call, which has to succeed. */
  async call(method: string, ...args: unknown[]): Promise<unknown> {
    const { error, result } = await this.ask(method, ...args);
    assert.equal(error, undefined, `${method}: ${error ?? ''}`);
    return result;
  }

  /** The message of one call, which has to fail. */
  async fails(method: string, ...args: unknown[]): Promise<string> {
    const { error } = await this.ask(method, ...args);
    assert.ok(error !== undefined, `${method} succeeds`);
    return error;
  }

  async end(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin.end();
    await gone;
  }
}

describe('the storage plugin for Proxmox VE', { skip, concurrency: 1 }, () => {
  const folder = temporaryFolder('pve');
  let daemon: Daemon;
  let endDaemon: () => Promise<void>;
  let token = '';
  let api = '';
  let nbd: Host;
  const hosts: Host[] = [];
  const libraries = join(folder.path, 'usr/share/perl5');

  const open = (name: string, storage: string, more: Record<string, unknown> = {}, env = {}): Host => {
    const host = new Host(
      libraries,
      join(folder.path, name),
      storage,
      { type: 'gemel', shared: 1, 'gemel-api': api, ...more },
      env,
    );
    hosts.push(host);
    return host;
  };
  const io = (path: string, ...commands: string[]): Promise<unknown> =>
    runOk('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), path]);

  before(async () => {
    // What is tested is what the package installs.
    await runOk(process.execPath, [projectFile('scripts', 'package-proxmox.mjs'), '--out', folder.path]);
    const [made] = readdirSync(folder.path).filter((name) => name.endsWith('_all.deb'));
    await runOk('dpkg-deb', ['-x', join(folder.path, made ?? ''), folder.path]);
    const socket = join(folder.path, 'nbd.sock');
    ({ daemon, end: endDaemon } = await startDaemon({ args: ['--nbd-socket', socket] }));
    await daemon.gemelJson(['pool', 'create', 'data', '--size', '1G']);
    const operator = (await daemon.gemelJson(['token', 'create', 'proxmox', '--role', 'operator'])) as {
      secret: string;
    };
    token = operator.secret;
    api = new URL(daemon.ready.api).host;
    nbd = open('a', 'fast', { 'gemel-transport': 'nbd', 'gemel-socket': socket, 'gemel-pool': 'data' });
  });
  after(async () => {
    for (const host of hosts) await host.end();
    await endDaemon();
    folder.remove();
  });

  test('is taken by every version of the storage API it says, and its options do not clash', async () => {
    const old: [number, number][] = [];
    for (const version of ['9', '12', '15', '16', '21']) {
      const host = open(`v${version}`, 'fast', {}, { PVE_APIVER: version });
      old.push([Number(version), Number(await host.call('api'))]);
    }
    assert.deepEqual(old, [
      [9, 9],
      [12, 12],
      [15, 15],
      [16, 15],
      [21, 15],
    ]);
    const host = open('clash', 'fast');
    assert.deepEqual(await host.call('properties_clash'), []);
    assert.deepEqual(await host.call('options_unknown'), []);
  });

  test('is added with a token that fits, kept where only root reads it', async () => {
    assert.match(await nbd.fails('on_add_hook'), /--password/);
    const [first, second, third = ''] = token.split('.');
    const forged = `${first ?? ''}.${second ?? ''}.${third.startsWith('A') ? 'B' : 'A'}${third.slice(1)}`;
    assert.match(await nbd.fails('on_add_hook', 'password', forged), /not made by the Gemel node/);
    const wrong = `${first ?? ''}.${(second ?? '').slice(0, -2)}zz.${third}`;
    assert.match(await nbd.fails('on_add_hook', 'password', wrong), /unauthorized/);
    const viewer = (await daemon.gemelJson(['token', 'create', 'looks', '--role', 'viewer'])) as { secret: string };
    assert.match(await nbd.fails('on_add_hook', 'password', viewer.secret), /viewer/);

    await nbd.call('on_add_hook', 'password', token);
    const file = join(nbd.root, 'priv', 'fast.pw');
    assert.equal(readFileSync(file, 'utf8'), `${token}\n`);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(await nbd.call('check_connection'), 1);
    const [total, available, used, active] = (await nbd.call('status')) as number[];
    assert.equal(active, 1);
    assert.ok(total !== undefined && total > 500 * MIB, String(total));
    assert.equal((available ?? 0) + (used ?? 0), total);
  });

  test('disks: made, listed, used, grown, deleted', async () => {
    assert.deepEqual(await nbd.call('list_images', null, null, {}), []);
    assert.equal(await nbd.call('alloc_image', 100, 'raw', null, 65_536), 'vm-100-disk-0');
    assert.equal(await nbd.call('alloc_image', 100, 'raw', null, 528), 'vm-100-disk-1', 'firmware variables');
    assert.equal(
      await nbd.call('alloc_image', 101, 'raw', 'vm-101-state-Before_Upgrade', 1024),
      'vm-101-state-Before_Upgrade',
    );
    assert.match(await nbd.fails('alloc_image', 100, 'qcow2', null, 1024), /raw disks only/);
    assert.match(await nbd.fails('alloc_image', 100, 'raw', 'vm-100-disk-0', 1024), /exists/);
    assert.match(await nbd.fails('alloc_image', 100, 'raw', '../etc', 1024), /not a name/);

    const all = (await nbd.call('list_images', null, null, {})) as {
      volid: string;
      size: number;
      vmid: string;
      ctime: number;
    }[];
    assert.deepEqual(
      all.map(({ volid, size, vmid }) => [volid, size, vmid]),
      [
        ['fast:vm-100-disk-0', 64 * MIB, '100'],
        ['fast:vm-100-disk-1', MIB, '100'],
        ['fast:vm-101-state-Before_Upgrade', MIB, '101'],
      ],
    );
    assert.ok(Math.abs((all[0]?.ctime ?? 0) - Date.now() / 1000) < 300);
    const one = (await nbd.call('list_images', 101, null, {})) as unknown[];
    assert.equal(one.length, 1);
    const some = (await nbd.call('list_images', null, ['fast:vm-100-disk-1'], {})) as unknown[];
    assert.equal(some.length, 1);

    await nbd.call('activate_volume', 'vm-100-disk-0', null, {});
    const path = (await nbd.call('path', 'vm-100-disk-0')) as string;
    await io(path, 'write -P 0x5a 1M 64k', 'flush');
    assert.match(await nbd.fails('volume_resize', 'vm-100-disk-0', 96 * MIB, 1), /while its guest is off/);
    assert.equal(await nbd.call('volume_resize', 'vm-100-disk-0', 96 * MIB, 0), 1);
    assert.deepEqual(((await nbd.call('volume_size_info', 'vm-100-disk-0', 5)) as unknown[]).slice(0, 2), [
      96 * MIB,
      'raw',
    ]);
    await io(path, 'read -P 0x5a 1M 64k', 'write -P 0x11 90M 64k');

    const options = (await nbd.call('qemu_blockdev_options', 'vm-100-disk-0', '10.0+pve1', {})) as Record<
      string,
      unknown
    >;
    assert.equal(options.driver, 'nbd');
    assert.deepEqual(Object.keys(options).sort(), ['driver', 'export', 'reconnect-delay', 'server']);
    // QEMU takes it as it is.
    const opened = `json:${JSON.stringify({ driver: 'raw', file: options })}`;
    await runOk('qemu-io', ['-c', 'read -P 0x5a 1M 64k', opened]);

    await nbd.call('deactivate_volume', 'vm-100-disk-0', null, {});
    for (const name of ['vm-100-disk-1', 'vm-101-state-Before_Upgrade']) await nbd.call('free_image', name, 0, 'raw');
    assert.equal(((await nbd.call('list_images', null, null, {})) as unknown[]).length, 1);
    await nbd.call('free_image', 'vm-100-disk-1', 0, 'raw');
  });

  test('hosts that make disks at the same moment, without any lock, get one each', async () => {
    const settings = { 'gemel-transport': 'nbd', 'gemel-socket': join(folder.path, 'nbd.sock'), 'gemel-pool': 'data' };
    const four = ['e', 'f', 'g', 'h'].map((name) => open(name, 'race', settings));
    for (const host of four) writeFileSync(join(host.root, 'priv', 'race.pw'), `${token}\n`, { mode: 0o600 });
    const names = await Promise.all(
      four.flatMap((host) => [
        (async () => [
          await host.call('alloc_image', 7, 'raw', null, 1024),
          await host.call('alloc_image', 7, 'raw', null, 1024),
        ])(),
      ]),
    );
    const all = names.flat().map(String);
    assert.equal(new Set(all).size, 8, all.join(' '));
    for (const name of all) await four[0]?.call('free_image', name, 0, 'raw');
  });

  test('snapshots: taken while in use, read, gone back to, deleted', async () => {
    await nbd.call('activate_volume', 'vm-100-disk-0', null, {});
    const path = (await nbd.call('path', 'vm-100-disk-0')) as string;
    assert.equal(await nbd.call('volume_qemu_snapshot_method'), 'storage');
    await nbd.call('volume_snapshot', 'vm-100-disk-0', 'Before_Upgrade');
    await io(path, 'write -P 0x77 1M 64k', 'flush');
    const info = (await nbd.call('volume_snapshot_info', 'vm-100-disk-0')) as Record<string, { id: string }>;
    assert.deepEqual(Object.keys(info), ['Before_Upgrade']);
    assert.match(info.Before_Upgrade?.id ?? '', /./);

    // A backup or a full clone reads the snapshot itself.
    await nbd.call('activate_volume', 'vm-100-disk-0', 'Before_Upgrade', {});
    const view = (await nbd.call('path', 'vm-100-disk-0', 'Before_Upgrade')) as string;
    assert.notEqual(view, path);
    await runOk('qemu-io', ['-r', '-f', 'raw', '-c', 'read -P 0x5a 1M 64k', view]);
    assert.equal(((await nbd.call('list_images', null, null, {})) as unknown[]).length, 1, 'the view is no disk');
    await nbd.call('activate_volume', 'vm-100-disk-0', 'Before_Upgrade', {});
    await nbd.call('deactivate_volume', 'vm-100-disk-0', 'Before_Upgrade', {});

    assert.equal(await nbd.call('volume_rollback_is_possible', 'vm-100-disk-0', 'Before_Upgrade'), 1);
    await nbd.call('volume_snapshot_rollback', 'vm-100-disk-0', 'Before_Upgrade');
    await nbd.call('activate_volume', 'vm-100-disk-0', null, {});
    await io(path, 'read -P 0x5a 1M 64k');
    await nbd.call('deactivate_volume', 'vm-100-disk-0', null, {});
    await nbd.call('volume_snapshot_delete', 'vm-100-disk-0', 'Before_Upgrade', 0);
    await nbd.call('volume_snapshot_delete', 'vm-100-disk-0', 'Before_Upgrade', 0);
    assert.deepEqual(await nbd.call('volume_snapshot_info', 'vm-100-disk-0'), {});
    assert.match(await nbd.fails('volume_snapshot', 'vm-100-disk-0', 'X'.repeat(40)), /too long/);
  });

  test('templates: clones share, and outlive what they were made of', async () => {
    assert.match(await nbd.fails('clone_image', 'vm-100-disk-0', 102, null), /only templates and snapshots/);
    assert.equal(await nbd.call('create_base', 'vm-100-disk-0'), 'base-100-disk-0');
    const [base] = (await nbd.call('list_images', 100, null, {})) as { volid: string }[];
    assert.equal(base?.volid, 'fast:base-100-disk-0');
    assert.equal(await nbd.call('clone_image', 'base-100-disk-0', 102, null), 'vm-102-disk-0');
    assert.equal(await nbd.call('clone_image', 'base-100-disk-0', 102, null), 'vm-102-disk-1');
    await nbd.call('free_image', 'base-100-disk-0', 1, 'raw');
    await nbd.call('activate_volume', 'vm-102-disk-0', null, {});
    await io((await nbd.call('path', 'vm-102-disk-0')) as string, 'read -P 0x5a 1M 64k', 'write -P 0x22 1M 64k');
    await nbd.call('activate_volume', 'vm-102-disk-1', null, {});
    await io((await nbd.call('path', 'vm-102-disk-1')) as string, 'read -P 0x5a 1M 64k');

    assert.equal(await nbd.call('rename_volume', 'vm-102-disk-1', 103, null), 'fast:vm-103-disk-0');
    assert.equal(((await nbd.call('list_images', 102, null, {})) as unknown[]).length, 1);
    await nbd.call('activate_volume', 'vm-103-disk-0', null, {});
    await io((await nbd.call('path', 'vm-103-disk-0')) as string, 'read -P 0x5a 1M 64k');
    for (const [feature, of, snap, expected] of [
      ['clone', 'base-100-disk-0', null, 1],
      ['clone', 'vm-102-disk-0', 'x', 1],
      ['clone', 'vm-102-disk-0', null, undefined],
      ['snapshot', 'vm-102-disk-0', null, 1],
      ['replicate', 'vm-102-disk-0', null, undefined],
    ] as const) {
      assert.equal(
        (await nbd.call('volume_has_feature', feature, of, snap)) ?? undefined,
        expected,
        `${feature} ${of}`,
      );
    }
  });

  test('QEMU as initiator: an iscsi:// address at which this host is let in while it uses the disk', async () => {
    const host = open('b', 'slow', { 'gemel-transport': 'libiscsi', 'gemel-prefix': 'c2' });
    await host.call('on_add_hook', 'password', token);
    await host.call('activate_storage', {});
    assert.equal(await host.call('alloc_image', 200, 'raw', null, 8192), 'vm-200-disk-0');
    const path = (await host.call('path', 'vm-200-disk-0')) as string;
    assert.match(path, /^iscsi:\/\/127\.0\.0\.1:\d+\/iqn\.[^/]+\/\d+$/);
    const options = (await host.call('qemu_blockdev_options', 'vm-200-disk-0', '10.0+pve1', {})) as object;
    assert.deepEqual(Object.keys(options).sort(), ['driver', 'initiator-name', 'lun', 'portal', 'target', 'transport']);
    const image = `json:${JSON.stringify({ driver: 'raw', file: options })}`;
    await host.call('activate_volume', 'vm-200-disk-0', null, {});
    await runOk('qemu-io', ['-c', 'write -P 0x31 0 64k', '-c', 'read -P 0x31 0 64k', image]);
    assert.equal(await host.call('volume_resize', 'vm-200-disk-0', 16 * MIB, 1), 1);
    await runOk('qemu-io', ['-c', 'write -P 0x31 15M 64k', image]);
    await host.call('deactivate_volume', 'vm-200-disk-0', null, {});
    assert.notEqual((await run('qemu-io', ['-c', 'read 0 4k', image])).code, 0, 'still let in');
    await host.call('free_image', 'vm-200-disk-0', 0, 'raw');
  });

  test('the initiator of the kernel: multipath, a CHAP secret of its own, no secret in an argument', async () => {
    const host = open('c', 'san', { 'gemel-chap': 1 });
    await host.call('on_add_hook', 'password', token);
    await host.call('alloc_image', 300, 'raw', null, 8192);
    const { naa, iqn } = (await daemon.gemelJson(['volume', 'show', 'san-vm-300-disk-0'])) as {
      naa: string;
      iqn: string;
    };
    const name = naa.replace('naa.', '');
    const device = join(host.root, 'by-id', `dm-uuid-mpath-3${name}`);
    assert.equal(await host.call('path', 'vm-300-disk-0'), device);
    assert.match(await host.fails('activate_volume', 'vm-300-disk-0', null, {}), /As an admin: gemel initiator add/);
    // An admin makes the secret at both ends.
    const secret = randomBytes(24).toString('hex');
    await daemon.addInitiator(IQN, { user: IQN, secret });
    const kept = IQN.replace(/[^a-z0-9-]/g, (sign) => `.${sign.charCodeAt(0).toString(16)}`);
    writeFileSync(join(host.root, 'priv', `san-${kept}.chap`), `${secret}\n`, { mode: 0o600 });
    assert.match(await host.fails('activate_volume', 'vm-300-disk-0', null, {}), /multipathd/);

    symlinkSync('/dev/null', device);
    const { error, commands } = await host.ask('activate_volume', 'vm-300-disk-0', null, {});
    assert.equal(error, undefined);
    const portal = daemon.portals[0] ?? '';
    const node = `/usr/bin/iscsiadm -m node -T ${iqn} -p ${portal}`;
    assert.deepEqual(
      commands.map((command) => command.join(' ')),
      [
        `/sbin/multipath -a 3${name}`,
        `${node} -o new`,
        `${node} -o update -n node.session.timeo.replacement_timeout -v 15`,
        `${node} -o update -n node.conn[0].timeo.noop_out_interval -v 5`,
        `${node} -o update -n node.conn[0].timeo.noop_out_timeout -v 5`,
        `${node} -o update -n node.startup -v manual`,
        `${node} --login`,
      ],
    );
    const file = join(host.root, 'nodes', iqn, portal.replace(':', ',') + ',1', 'default');
    const record = readFileSync(file, 'utf8');
    assert.match(
      record,
      new RegExp(`authmethod = CHAP\\nnode.session.auth.password = ${secret}\\nnode.session.auth.username = ${IQN}`),
    );
    assert.doesNotMatch(record, /authmethod = None/);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.ok(
      !commands
        .flat()
        .map(String)
        .some((word) => word.includes(secret)),
    );
    // The daemon wants just that secret from this host: QEMU's initiator logs in with it, and not without.
    const { lun } = (await daemon.gemelJson(['volume', 'show', 'san-vm-300-disk-0'])) as { lun: number };
    const at = { driver: 'iscsi', transport: 'tcp', portal, target: iqn, lun, 'initiator-name': IQN };
    const image = (more: object): string => `json:${JSON.stringify({ driver: 'raw', file: { ...at, ...more } })}`;
    const chap = image({ user: IQN, 'password-secret': 's' });
    assert.notEqual((await run('qemu-io', ['-c', 'read 0 4k', image({})])).code, 0);
    writeFileSync(join(host.root, 'secret'), secret, { mode: 0o600 });
    const object = `secret,id=s,file=${join(host.root, 'secret')}`;
    await runOk('qemu-io', ['--object', object, '-c', 'read 0 4k', chap]);

    const left = await host.ask('deactivate_volume', 'vm-300-disk-0', null, {});
    assert.equal(left.error, undefined);
    assert.deepEqual(
      left.commands.map((command) => command.join(' ')),
      [
        `/sbin/multipath -f 3${name}`,
        `/usr/bin/iscsiadm -m node -T ${iqn} --logout`,
        `/usr/bin/iscsiadm -m node -T ${iqn} -o delete`,
        `/sbin/multipath -w 3${name}`,
      ],
    );
    await host.call('free_image', 'vm-300-disk-0', 0, 'raw');
  });

  test('a host that cannot reach one API asks the next, and says who does not answer', async () => {
    const two = open('two', 'fast', { 'gemel-api': `127.0.0.1:1,${api}`, 'gemel-transport': 'nbd' });
    writeFileSync(join(two.root, 'priv', 'fast.pw'), `${token}\n`, { mode: 0o600 });
    assert.equal(await two.call('check_connection'), 1);
    const none = open('none', 'fast', { 'gemel-api': '127.0.0.1:1', 'gemel-transport': 'nbd' });
    writeFileSync(join(none.root, 'priv', 'fast.pw'), `${token}\n`, { mode: 0o600 });
    assert.match(await none.fails('check_connection'), /127\.0\.0\.1:1.*unreachable/s);
  });
});
