import type { Command } from 'commander';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { table } from './output.ts';

interface Backend {
  readonly name: string;
  readonly kind: string;
  readonly pool: string | null;
  readonly user: string | null;
  readonly folder: string | null;
  readonly volumes: readonly string[];
}

interface CephOptions {
  readonly pool?: string;
  readonly user?: string;
  readonly conf?: string;
  readonly keyring?: string;
}

/** `gemel backend`: other engines, whose images become volumes. */
export function addBackendCommands(program: Command, context: CliContext): void {
  const backend = program.command('backend').description('other engines that disks can be images of');
  const add = backend.command('add').description('make an engine known');
  const send = async (command: Command, body: object): Promise<void> => {
    const answer = await context.client(command).call('POST', '/backends', body);
    show(context, command, answer as Backend, ({ name }) => {
      return `Added ${name}\n  gemel volume create my-disk --backend ${name} --size 10G`;
    });
  };
  add
    .command('ceph <name>')
    .description('a pool of a Ceph cluster (RBD)')
    .option('--pool <pool>', 'default: rbd')
    .option('--user <user>', 'with the profile rbd, without "client." (default: gemel)')
    .option('--conf <file>', 'on each node (default: /etc/ceph/ceph.conf)')
    .option('--keyring <file>', 'on each node (default: /etc/ceph/ceph.client.USER.keyring)')
    .action(async (name: string, options: CephOptions, command: Command) => {
      const { pool, user, conf, keyring } = options;
      await send(command, { name, kind: 'ceph', pool, user, conf, keyring });
    });
  add
    .command('folder <name> <path>')
    .description('a folder that all nodes see, such as an NFS mount')
    .action(async (name: string, folder: string, _options: unknown, command: Command) => {
      await send(command, { name, kind: 'folder', folder });
    });
  backend
    .command('list')
    .description('list the known engines')
    .action(async (_options: unknown, command: Command) => {
      const all = (await context.client(command).list('/backends')) as Backend[];
      show(context, command, all, (each) => backendTable(each, context.width));
    });
  backend
    .command('remove <name>')
    .description('forget an engine that no disk is in')
    .action(async (name: string, _options: unknown, command: Command) => {
      await context.client(command).call('DELETE', `/backends/${segment(name)}`);
      show(context, command, { removed: name }, () => `Forgot ${name}; nothing was changed there`);
    });
}

function backendTable(all: readonly Backend[], width: number | undefined): string {
  if (all.length === 0) return 'No other engines are known. Try: gemel backend add ceph ceph1 --pool rbd --user gemel';
  const where = ({ pool, user, folder }: Backend): string => folder ?? `pool ${pool ?? ''} as client.${user ?? ''}`;
  const columns = [
    { title: 'NAME', value: (each: Backend) => each.name, shrink: 1 },
    { title: 'KIND', value: (each: Backend) => each.kind },
    { title: 'WHERE', value: where, shrink: 3 },
    { title: 'DISKS', value: (each: Backend) => each.volumes.join(', '), shrink: 2 },
  ];
  return table(all, columns, width);
}
