// The Debian package from end to end: installed, served from, upgraded under a session, killed, removed, purged; by the real
// dpkg and the real systemd, in namespaces.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { needs, needsAll } from '../support/needs.ts';
import { killGroup, run, runOk } from '../support/process.ts';
import { projectFile } from '../support/project.ts';
import { needsQemuTools } from '../support/qemu.ts';
import { noMachine, until, withMachine } from './machine.ts';
import type { Machine } from './machine.ts';

const VERSIONS = ['0.1.0~test1', '0.1.0~test2'] as const;
const folder = temporaryFolder('package');

/** `compression`: what is looked at as a package is made as it is given to people; what is only installed, faster. */
async function build(version: string, compression: 'xz' | 'none'): Promise<string> {
  const args = ['--version', version, '--out', folder.path, '--compression', compression];
  await runOk(process.execPath, [projectFile('scripts', 'package.mjs'), ...args], { timeoutMs: 120_000 });
  const name = readdirSync(folder.path).find((each) => each.startsWith(`gemel_${version}_`));
  assert.ok(name);
  return join(folder.path, name);
}

/** Where Node does not come from a Debian package, one that has this very program in it. */
async function nodePackage(): Promise<string | undefined> {
  const { code } = await run('dpkg', ['--compare-versions', await installedNode(), 'ge', '20.19']);
  if (code === 0) return undefined;
  const stage = join(folder.path, 'node');
  mkdirSync(join(stage, 'DEBIAN'), { recursive: true });
  mkdirSync(join(stage, 'usr', 'bin'), { recursive: true });
  copyFileSync(process.execPath, join(stage, 'usr', 'bin', 'node'));
  const architecture = (await runOk('dpkg', ['--print-architecture'])).stdout.trim();
  const lines = ['Package: nodejs', `Version: ${process.versions.node}`, `Architecture: ${architecture}`];
  writeFileSync(
    join(stage, 'DEBIAN', 'control'),
    [...lines, 'Maintainer: test <test@localhost.invalid>', 'Description: Node.js of this machine', ''].join('\n'),
  );
  const file = join(folder.path, 'nodejs.deb');
  await runOk('dpkg-deb', ['-Znone', '--root-owner-group', '--build', stage, file]);
  return file;
}

async function installedNode(): Promise<string> {
  const { stdout } = await run('dpkg-query', ['-W', '-f', '${Version}', 'nodejs']);
  return stdout.trim() === '' ? '0' : stdout.trim();
}

/** qemu-io that stays: one session through all that happens. */
class Session {
  readonly #child;
  #said = '';

  constructor(machine: Machine, url: string) {
    this.#child = spawn('nsenter', [...machine.enter, 'qemu-io', '-f', 'raw', url], { detached: true });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
    atExit(() => {
      killGroup(this.#child, 'SIGKILL');
    });
  }

  /** Does one thing and waits until it has said what came of it. */
  async does(command: string, expected: RegExp): Promise<void> {
    const from = this.#said.length;
    this.#child.stdin.write(`${command}\n`);
    await until(`the answer to ${command}`, () => (expected.test(this.#said.slice(from)) ? true : undefined));
    assert.doesNotMatch(this.#said.slice(from), /failed|error/i);
  }

  async end(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin.end('quit\n');
    await gone;
  }
}

const show = async (machine: Machine, property: string): Promise<string> =>
  (await machine.ok('systemctl', 'show', '--value', '-p', property, 'gemeld.service')).trim();
const gemel = async (machine: Machine, ...args: string[]): Promise<Record<string, unknown>> =>
  JSON.parse(await machine.ok('gemel', ...args, '--json')) as Record<string, unknown>;
const qemuIo = (machine: Machine, url: string, ...commands: string[]): Promise<string> =>
  machine.ok('qemu-io', '-f', 'raw', ...commands.flatMap((each) => ['-c', each]), url);
const exists = async (machine: Machine, path: string): Promise<boolean> =>
  (await machine.run('test', ['-e', path])).code === 0;

const missing = needsAll(
  ['dpkg-deb', 'dpkg'],
  ['systemctl', 'systemd'],
  ['adduser', 'adduser'],
  ['nsenter', 'util-linux'],
  ['qemu-storage-daemon', 'qemu-system-common'],
);

describe('the Debian package', { concurrency: 1, skip: missing || needsQemuTools() || noMachine() }, () => {
  let debs: string[] = [];
  before(async () => {
    debs = [await build(VERSIONS[0], 'xz'), await build(VERSIONS[1], 'none')];
  });
  after(() => {
    debs = [];
    folder.remove();
  });

  it('installs, serves, upgrades under a session, survives kill -9, is removed and purged', async (context) => {
    await withMachine(async (machine) => {
      const install = async (file: string): Promise<string> => {
        const name = basename(file);
        copyFileSync(file, join(machine.files, name));
        const { code, stdout, stderr } = await machine.run('dpkg', ['-i', `/tmp/files/${name}`], {
          timeoutMs: 120_000,
        });
        assert.equal(code, 0, stdout + stderr);
        return stdout + stderr;
      };
      const node = await nodePackage();
      if (node !== undefined) await install(node);

      await install(debs[0] ?? '');
      assert.equal(await show(machine, 'ActiveState'), 'active');
      assert.equal(await show(machine, 'SubState'), 'running');
      assert.match(await show(machine, 'StatusText'), /^0 disks on 127\.0\.0\.1:3260$/);
      const pid = await show(machine, 'MainPID');
      assert.equal((await machine.ok('ps', '-o', 'user=', '-p', pid)).trim(), 'gemel');
      assert.equal((await machine.ok('stat', '-c', '%U %a', '/var/lib/gemel')).trim(), 'gemel 700');
      assert.equal(await machine.ok('gemel', '--version'), `${VERSIONS[0]}\n`);
      assert.match(await machine.ok('cat', '/usr/share/cockpit/gemel/manifest.json'), /"Shared storage"/);
      assert.equal((await gemel(machine, 'status'))['version'], VERSIONS[0]);

      await gemel(machine, 'pool', 'create', 'tank', '--size', '256M');
      const create = ['volume', 'create'];
      const durable = await gemel(machine, ...create, 'v', '--size', '32M', '--map', 'loopback');
      const more = ['--size', '32M', '--map', 'loopback', '--durability', 'volatile'];
      const ram = await gemel(machine, ...create, 'ram', ...more);
      const [url, ramUrl] = [String(durable['url']), String(ram['url'])];
      await qemuIo(machine, url, 'write -P 7 1M 1M');
      const session = new Session(machine, url);
      await session.does('write -P 9 8M 1M', /wrote 1048576/);
      // Never flushed: only an orderly end makes it stable.
      await machine.ok('qemu-io', '-t', 'unsafe', '-f', 'raw', '-c', 'write -P 5 0 1M', ramUrl);
      await machine.ok('sed', '-i', 's/"text"/"json"/', '/etc/gemel/gemel.json');

      // The agent of KVM hosts is there, and runs only where somebody has settings for it; without libvirt it waits.
      const agent = 'gemel-kvm-agent.service';
      const agentIs = async (property: string): Promise<string> =>
        (await machine.ok('systemctl', 'show', '--value', '-p', property, agent)).trim();
      assert.deepEqual([await agentIs('UnitFileState'), await agentIs('ActiveState')], ['disabled', 'inactive']);
      const { secret } = await gemel(machine, 'token', 'create', 'kvm', '--role', 'operator');
      writeFileSync(join(machine.files, 'kvm-token'), String(secret), { mode: 0o600 });
      const settings = { host: 'kvm1', initiator: 'iqn.2026-11.example:kvm1', api: 'https://127.0.0.1:7480' };
      const named = { ...settings, tokenFile: '/etc/gemel/kvm-token' };
      writeFileSync(join(machine.files, 'kvm.json'), JSON.stringify(named), { mode: 0o600 });
      await machine.ok('cp', '-p', '/tmp/files/kvm-token', '/tmp/files/kvm.json', '/etc/gemel');
      await machine.ok('systemctl', 'enable', '--now', agent);
      const agentPid = await agentIs('MainPID');

      // A disk by vhost-user: the unit is ready when its socket is there.
      await machine.ok('groupadd', '--system', '--force', 'libvirt-qemu');
      await gemel(machine, 'map', 'v', 'nbd');
      await machine.ok('systemctl', 'start', 'gemel-vhost@v');
      await machine.ok('test', '-S', '/run/gemel-vhost/v.sock');
      assert.match(await machine.ok('stat', '-c', '%G %a', '/run/gemel-vhost/v.sock'), /^libvirt-qemu 770$/m);
      await machine.ok('systemctl', 'stop', 'gemel-vhost@v');
      await gemel(machine, 'unmap', 'v', 'nbd');

      const said = await install(debs[1] ?? '');
      assert.equal(await agentIs('ActiveState'), 'active');
      assert.notEqual(await agentIs('MainPID'), agentPid);
      assert.equal(await agentIs('NRestarts'), '0');
      assert.doesNotMatch(said, /error|fail/i);
      assert.equal((await gemel(machine, 'status'))['version'], VERSIONS[1]);
      assert.notEqual(await show(machine, 'MainPID'), pid);
      assert.equal(await show(machine, 'NRestarts'), '0');
      assert.match(await machine.ok('cat', '/etc/gemel/gemel.json'), /"json"/);
      const journal = await machine.ok('journalctl', '-u', 'gemeld', '--no-pager', '-o', 'cat');
      assert.match(journal, /stopping: initiators are asked to log out[^]*\bstopped\b/);
      await session.does('read -P 9 8M 1M', /read 1048576/);
      await session.does('write -P 4 16M 1M', /wrote 1048576/);
      await session.end();
      await qemuIo(machine, url, 'read -P 7 1M 1M', 'read -P 9 8M 1M', 'read -P 4 16M 1M');
      await qemuIo(machine, ramUrl, 'read -P 5 0 1M');

      await machine.ok('kill', '-9', await show(machine, 'MainPID'));
      await until('the restart', async () => ((await show(machine, 'NRestarts')) === '1' ? true : undefined));
      await until('the daemon', async () => ((await show(machine, 'ActiveState')) === 'active' ? true : undefined));
      await qemuIo(machine, url, 'read -P 7 1M 1M', 'read -P 4 16M 1M');

      // As often as anybody likes.
      await machine.ok('dpkg', '--unpack', `/tmp/files/${basename(debs[1] ?? '')}`);
      for (let i = 0; i < 2; i++) await machine.ok('/var/lib/dpkg/info/gemel.postinst', 'configure', VERSIONS[1]);
      await machine.ok('dpkg', '--configure', 'gemel');

      await machine.ok('dpkg', '-r', 'gemel');
      assert.equal((await machine.run('systemctl', ['is-active', 'gemeld'])).stdout.trim(), 'inactive');
      for (const gone of [
        '/usr/bin/gemel',
        '/usr/bin/gemeld',
        '/usr/lib/gemel',
        '/lib/systemd/system/gemeld.service',
        '/lib/systemd/system/gemel-kvm-agent.service',
        '/etc/systemd/system/multi-user.target.wants/gemel-kvm-agent.service',
      ]) {
        assert.equal(await exists(machine, gone), false, gone);
      }
      for (const kept of ['/var/lib/gemel/catalog/data.mdb', '/etc/gemel/gemel.json']) {
        assert.equal(await exists(machine, kept), true, kept);
      }
      await install(debs[1] ?? '');
      await qemuIo(machine, url, 'read -P 7 1M 1M');

      await machine.ok('rm', '/etc/gemel/kvm.json', '/etc/gemel/kvm-token');
      const purged = await machine.run('dpkg', ['-P', 'gemel']);
      assert.equal(purged.code, 0, purged.stderr);
      assert.match(purged.stderr, /the disks in \/var\/lib\/gemel are kept/);
      assert.equal(await exists(machine, '/etc/gemel'), false);
      assert.equal(await exists(machine, '/var/lib/gemel/catalog/data.mdb'), true);
      const audit = await machine.ok('dpkg', '--audit');
      assert.equal(audit, '');
    });
    context.diagnostic('installed, upgraded, removed by dpkg under systemd');
  });

  it('is what the container file makes its image of', async () => {
    // No registry, no image: but the commands of its last stage are run, as they stand, and the daemon as that user.
    const stage =
      readFileSync(projectFile('manifests', 'container', 'Containerfile'), 'utf8').split(/^FROM /m)[2] ?? '';
    const command = /^RUN ((?:.*\\\n)*.*)$/m.exec(stage)?.[1]?.replaceAll('\\\n', '') ?? '';
    const settings = /^ENV (.*)$/m.exec(stage)?.[1]?.split(' ') ?? [];
    assert.match(command, /^dpkg-deb .*useradd /);
    assert.equal(settings.length, 4);
    await withMachine(async (machine) => {
      copyFileSync(debs[0] ?? '', join(machine.files, 'gemel.deb'));
      copyFileSync(process.execPath, join(machine.files, 'node'));
      await machine.ok('cp', '/tmp/files/gemel.deb', '/tmp/gemel.deb');
      // Where the image has it, and nowhere else.
      await machine.ok('install', '-m', '755', '/tmp/files/node', '/usr/local/bin/node');
      await machine.ok('rm', '-f', '/usr/bin/node');
      await machine.ok('sh', '-e', '-c', command);
      const user = ['setpriv', '--reuid=990', '--regid=990', '--clear-groups', 'env', ...settings];
      const daemon = spawn('nsenter', [...machine.enter, ...user, 'gemeld'], { stdio: 'ignore', detached: true });
      atExit(() => {
        killGroup(daemon, 'SIGKILL');
      });
      await until('the daemon', async () => {
        const { code } = await machine.run('setpriv', [...user.slice(1), 'gemel', 'status']);
        return code === 0 ? true : undefined;
      });
      const listening = await machine.ok('ss', '-Htln');
      assert.match(listening, /0\.0\.0\.0:3260/);
      assert.match(listening, /0\.0\.0\.0:7480/);
    });
  });

  it('has nothing lintian calls an error or a warning', { skip: needs('lintian', 'lintian') }, async () => {
    const { stdout } = await run('lintian', ['--fail-on', 'none', '--allow-root', debs[0] ?? ''], {
      timeoutMs: 120_000,
    });
    const said = stdout.split('\n').filter((line) => /^[EW]:/.test(line));
    assert.deepEqual(said, []);
  });

  it('has units that systemd finds no fault with, and hardened', async () => {
    for (const [name, most] of [
      ['gemel-kvm-agent.service', 30],
      ['gemel-vhost@.service', 40],
    ] as const) {
      const threshold = `--threshold=${String(most)}`;
      await runOk('systemd-analyze', [
        'security',
        '--offline=true',
        threshold,
        projectFile('manifests', 'systemd', name),
      ]);
    }
    const unit = projectFile('manifests', 'systemd', 'gemeld.service');
    const { stdout } = await runOk('systemd-analyze', ['security', '--offline=true', '--threshold=30', unit]);
    assert.match(stdout, /exposure level for gemeld\.service: [0-2]\.\d/);
    // The daemon ends by itself before the manager would kill it.
    const text = readFileSync(unit, 'utf8');
    const limit = /SHUTDOWN_LIMIT = ([\d_]+)/.exec(readFileSync(projectFile('core', 'base', 'limits.ts'), 'utf8'))?.[1];
    assert.ok(Number(/TimeoutStopSec=(\d+)/.exec(text)?.[1]) * 1000 > 2 * Number(limit?.replaceAll('_', '')));
  });
});
