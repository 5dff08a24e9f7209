// `gemel kvm …`: what is done on a KVM host. The work is imported when a command runs, so that others do not wait for it.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Option } from 'commander';
import type { Command } from 'commander';
import { ServiceError, messageOf } from '../../core/base/errors.ts';
import { formatSize, parseSize } from '../../core/base/sizes.ts';
import { tell } from '../sdk/cli.ts';
import type { PluginCli } from '../sdk/cli.ts';
import { ApiClient } from '../sdk/client.ts';
import { FlowFailed } from '../sdk/flow.ts';
import type { OpsContext } from './ops/context.ts';
import type { GivenSettings, KvmSettings } from './settings.ts';

interface HostOptions extends GivenSettings {
  readonly config?: string;
  readonly key?: string;
  readonly token?: string;
}

interface Tools {
  readonly settings: KvmSettings;
  readonly client: ApiClient;
  readonly key: string;
  readonly context: OpsContext;
}

/** Adds the noun `kvm`. */
export function addKvmCommands(program: Command, cli: PluginCli): void {
  const kvm = program.command('kvm').description('disks for virtual machines of this KVM host, through libvirt');
  addHostCommands(kvm, cli);
  addDiskCommands(kvm, cli);
  addMachineCommands(kvm, cli);
}

/** Options all of them have. */
function onHost(command: Command): Command {
  return command
    .option('--config <file>', 'settings of this host (default: /etc/gemel/kvm.json)')
    .option('--host <name>', 'name of this host in the catalog')
    .option('--initiator <iqn>', 'iSCSI name of this host (default: that of open-iscsi)')
    .option('--libvirt <uri>', 'qemu:///system, qemu+tls://HOST/system, qemu+ssh://USER@HOST/system')
    .option('--key <text>', 'go on with what was begun under this key');
}

function addHostCommands(kvm: Command, cli: PluginCli): void {
  onHost(kvm.command('setup'))
    .description('make this host known to the daemon, with CHAP if the settings name a secret')
    .action(async (_options: unknown, command: Command) => {
      await withTools(cli, command, async ({ settings, context }) => {
        const { readSecret } = await import('./settings.ts');
        const { host, initiator, chap } = settings;
        const secret = chap === undefined ? undefined : readSecret(chap.secretFile).toString();
        await context.storage.knowHost(host, initiator, chap && { user: chap.user, secret: secret ?? '' });
        const how = chap === undefined ? 'without CHAP' : `with CHAP as ${chap.user}`;
        tell(
          cli,
          command,
          { host, initiator, chap: chap !== undefined },
          () => `${host} is known as ${initiator}, ${how}`,
        );
      });
    });
  onHost(kvm.command('agent'))
    .description('keep the libvirt pools and secrets of this host equal to the catalog, until it is ended')
    .action(async (_options: unknown, command: Command) => {
      await withTools(cli, command, async ({ settings, client, context }) => {
        const { runAgent } = await import('./agent/agent.ts');
        const over = new AbortController();
        for (const signal of ['SIGTERM', 'SIGINT'] as const) {
          process.once(signal, () => {
            over.abort();
          });
        }
        const [stream, call] = [client.stream.bind(client), client.call.bind(client)];
        await runAgent({ settings, storage: context.storage, stream, call, log: cli.print, signal: over.signal });
      });
    });
  onHost(kvm.command('gateway'))
    .description('experimental: a second libvirt socket with the storage as a pool, for virt-manager and virsh')
    .requiredOption('--listen <socket>', 'unix socket to make')
    .option('--group <name>', 'who may use it, besides us; it gives all rights on libvirt')
    .option('--as <name>', 'name of the pool', 'gemel')
    .action(async (options: { listen: string; group?: string; as: string }, command: Command) => {
      await withTools(cli, command, async ({ client, context }) => {
        const { runGateway } = await import('./gateway/gateway.ts');
        const over = new AbortController();
        for (const signal of ['SIGTERM', 'SIGINT'] as const) {
          process.once(signal, () => {
            over.abort();
          });
        }
        const { listen, group, as } = options;
        const call = client.call.bind(client);
        await runGateway({ context, call, socket: listen, group, pool: as, log: cli.print, signal: over.signal });
      });
    });
  onHost(kvm.command('doctor'))
    .description('look for what is wrong with the disks of this host and its virtual machines')
    .action(async (_options: unknown, command: Command) => {
      await withTools(cli, command, async ({ context }) => {
        const { examineHost, findingsText } = await import('./doctor.ts');
        const findings = await examineHost(context, '/');
        tell(cli, command, findings, findingsText);
        const errors = findings.filter(({ level }) => level === 'error').length;
        if (errors > 0)
          throw new ServiceError('unhealthy', `${String(errors)} of ${String(findings.length)} findings are errors`);
      });
    });
}

function addDiskCommands(kvm: Command, cli: PluginCli): void {
  onHost(kvm.command('provision <name>'))
    .description('create a disk and show it in a libvirt pool of this host')
    .requiredOption('--size <size>', 'like 512M, 10G or 10GiB')
    .option('--pool <name>', 'in this pool of the storage')
    .action(async (name: string, options: { size: string; pool?: string }, command: Command) => {
      await withTools(cli, command, async ({ settings, client, context, key }) => {
        const { provisionDisk } = await import('./provisioning.ts');
        const wanted = { name, size: parseSize(options.size), pool: options.pool };
        const made = await provisionDisk(
          wanted,
          context.libvirt,
          settings,
          client.call.bind(client),
          key,
          context.reports,
        );
        tell(
          cli,
          command,
          made,
          (each) => `${each.name} (${formatSize(each.size)}) is ${each.volume} of pool ${each.pool}`,
        );
      });
    });
  onHost(kvm.command('withdraw <name>'))
    .description('take a disk away from this host, and delete it (gemel volume restore brings it back)')
    .action(async (name: string, _options: unknown, command: Command) => {
      await withTools(cli, command, async ({ settings, client, context, key }) => {
        const { withdrawDisk } = await import('./provisioning.ts');
        await withdrawDisk(name, context.libvirt, settings, client.call.bind(client), key, context.reports);
        tell(cli, command, { withdrawn: name }, () => `${name} is gone`);
      });
    });
  onHost(kvm.command('grow <volume>'))
    .description('grow a disk, and have the virtual machine that has it see that')
    .requiredOption('--size <size>', 'the new size')
    .action(async (volume: string, options: { size: string }, command: Command) => {
      await withTools(cli, command, async ({ context, key }) => {
        const { growDisk } = await import('./ops/grow.ts');
        const size = parseSize(options.size);
        await growDisk(context, volume, size, key);
        tell(cli, command, { volume, size }, () => `${volume} has ${formatSize(size)} now`);
      });
    });
}

interface AttachOptions {
  readonly form: 'disk' | 'lun';
  readonly bus?: 'virtio' | 'scsi';
  readonly via: 'iscsi' | 'nbd' | 'vhost-user';
}

function addMachineCommands(kvm: Command, cli: PluginCli): void {
  onHost(kvm.command('attach <domain> <volume>'))
    .description('give a disk to a virtual machine, running or not')
    .addOption(
      new Option('--form <form>', 'lun passes SCSI commands to the target').choices(['disk', 'lun']).default('disk'),
    )
    .addOption(
      new Option('--bus <bus>', 'where the guest finds it (default: scsi; with vhost-user virtio)').choices([
        'scsi',
        'virtio',
      ]),
    )
    .addOption(
      new Option(
        '--via <way>',
        'nbd: the unix socket of gemeld on this host; vhost-user: memory shared in front of that',
      )
        .choices(['iscsi', 'nbd', 'vhost-user'])
        .default('iscsi'),
    )
    .action(async (domain: string, volume: string, { form, bus, via }: AttachOptions, command: Command) => {
      await withTools(cli, command, async ({ context, key }) => {
        const { attachDisk } = await import('./ops/attach.ts');
        const on = bus ?? (via === 'vhost-user' ? 'virtio' : 'scsi');
        const dev = await attachDisk(context, { domain, volume, way: via, form, bus: on }, key);
        tell(cli, command, { domain, volume, dev }, () => `${volume} is ${dev} of ${domain}`);
      });
    });
  onHost(kvm.command('detach <domain> <volume>'))
    .description('take a disk from a virtual machine; waits until the guest lets go of it')
    .option('--keep-map', 'the host goes on seeing it')
    .action(async (domain: string, volume: string, options: { keepMap?: boolean }, command: Command) => {
      await withTools(cli, command, async ({ context, key }) => {
        const { detachDisk } = await import('./ops/attach.ts');
        await detachDisk(context, { domain, volume, keepMap: options.keepMap ?? false }, key);
        tell(cli, command, { domain, volume }, () => `${domain} has let go of ${volume}`);
      });
    });
  onHost(kvm.command('snapshot <domain> <snapshot>'))
    .description('all disks of a virtual machine at one instant, at rest when its guest agent answers')
    .action(async (domain: string, snapshot: string, _options: unknown, command: Command) => {
      await withTools(cli, command, async ({ context, key }) => {
        const { snapshotDomain } = await import('./ops/snapshot.ts');
        const { volumes, frozen } = await snapshotDomain(context, domain, snapshot, key);
        const how = frozen ? 'with its file systems at rest' : 'as after a power failure (no guest agent)';
        tell(cli, command, { domain, snapshot, volumes, frozen }, () => `${snapshot}: ${volumes.join(', ')}, ${how}`);
      });
    });
  onHost(kvm.command('rollback <domain> <snapshot>'))
    .description('the disks of a virtual machine that is shut down become what they were')
    .action(async (domain: string, snapshot: string, _options: unknown, command: Command) => {
      await withTools(cli, command, async ({ context, key }) => {
        const { rollBackDomain } = await import('./ops/snapshot.ts');
        await rollBackDomain(context, domain, snapshot, key);
        tell(cli, command, { domain, snapshot }, () => `${domain} is as it was at ${snapshot}`);
      });
    });
  onHost(kvm.command('clone <domain> <name>'))
    .description('a second virtual machine; its disks are clones, which takes no time')
    .option('--start', 'start it')
    .action(async (from: string, name: string, options: { start?: boolean }, command: Command) => {
      await withTools(cli, command, async ({ context, key }) => {
        const { cloneDomain } = await import('./ops/clone.ts');
        const volumes = await cloneDomain(context, { from, name, start: options.start ?? false }, key);
        tell(cli, command, { domain: name, volumes }, () => `${name} has ${volumes.join(', ')}`);
      });
    });
  onHost(kvm.command('import <domain> <disk> <volume>'))
    .description('move a disk (sda) of a running virtual machine into a new volume')
    .option('--pool <name>', 'in this pool of the storage')
    .action(async (domain: string, dev: string, volume: string, options: { pool?: string }, command: Command) => {
      await withTools(cli, command, async ({ context, key }) => {
        const { importDisk } = await import('./ops/move.ts');
        await importDisk(context, { domain, dev, volume, pool: options.pool }, key);
        tell(cli, command, { domain, dev, volume }, () => `${dev} of ${domain} is ${volume} now`);
      });
    });
  onHost(kvm.command('export <domain> <disk> <file>'))
    .description('move a disk (sda) of a running virtual machine out into a file of this host; the volume is kept')
    .action(async (domain: string, dev: string, file: string, _options: unknown, command: Command) => {
      await withTools(cli, command, async ({ context, key }) => {
        const { exportDisk } = await import('./ops/move.ts');
        await exportDisk(context, { domain, dev, file }, key);
        tell(cli, command, { domain, dev, file }, () => `${dev} of ${domain} is ${file} now`);
      });
    });
}

async function withTools(cli: PluginCli, command: Command, work: (tools: Tools) => Promise<void>): Promise<void> {
  const { Libvirt } = await import('./libvirt.ts');
  const { readSettings } = await import('./settings.ts');
  const { KvmStorage } = await import('./storage.ts');
  const { Reports, leftFolder } = await import('./reports.ts');
  const options = command.optsWithGlobals<HostOptions>();
  const { host, initiator, libvirt: uri } = options;
  const given = Object.entries({ host, initiator, libvirt: uri }).filter(([, value]) => value !== undefined);
  const settings = readSettings(options.config, Object.fromEntries(given));
  const client = clientFor(cli, command, settings);
  const storage = new KvmStorage(client.call.bind(client), client.list.bind(client));
  const libvirt = new Libvirt(settings.libvirt);
  const key = options.key ?? randomUUID();
  const { host: name, state } = settings;
  const reports = new Reports({ folder: leftFolder(state), host: name, call: client.call.bind(client) });
  try {
    await work({ settings, client, key, context: { libvirt, storage, settings, reports } });
  } catch (error) {
    throw failureOf(error, key);
  } finally {
    await reports.settled();
    libvirt.close();
  }
}

/** What the command line says counts before the settings. */
function clientFor(cli: PluginCli, command: Command, { api, tokenFile }: KvmSettings): ApiClient {
  const options = command.optsWithGlobals<Readonly<Record<string, unknown>>>();
  const said = ['api', 'token', 'tokenFile', 'context', 'data'].some((name) => options[name] !== undefined);
  if (said || api === undefined || tokenFile === undefined) return cli.client(command);
  try {
    return new ApiClient(api, readFileSync(tokenFile, 'utf8').trim());
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    throw new ServiceError('unauthorized', `the token cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/** A flow that failed says what it left; its error code is that of what it failed with. */
function failureOf(error: unknown, key: string): unknown {
  if (!(error instanceof FlowFailed)) return error;
  const code = error.cause instanceof ServiceError ? error.cause.code : 'internal';
  const more = error.notUndone.length > 0 || error.stopped ? ` (--key ${key})` : '';
  return new ServiceError(code, error.message + more, { cause: error });
}
