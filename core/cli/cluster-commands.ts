// `cluster`: nodes that keep the same disks. `witness`: a vote for two of them.
import { spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { ServiceError, messageOf } from '../base/errors.ts';
import { CLUSTER_RESTART, ETCD_PEM } from '../base/limits.ts';
import type { ApiClient } from '../../plugins/sdk/client.ts';
import type { Cluster, JoinToken, RebootAnswer } from './answers.ts';
import { readSecret, segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { addBalanceCommand } from './balance-commands.ts';
import { throughJob } from './job-commands.ts';
import { table } from './output.ts';

const DAEMON = fileURLToPath(new URL('../../../bin/gemeld.js', import.meta.url));

interface EtcdOptions {
  readonly etcd?: string;
  readonly etcdCa?: string;
  readonly etcdCert?: string;
  readonly etcdKey?: string;
  readonly etcdPrefix?: string;
}
interface InitOptions extends EtcdOptions {
  readonly address: string;
  readonly name?: string;
}

export function addClusterCommands(program: Command, context: CliContext): void {
  const cluster = program
    .command('cluster')
    .description('nodes that keep the same disks, and take over from each other');
  cluster
    .command('init')
    .description('begin a cluster with this node; interrupts its initiators for some seconds')
    .requiredOption('--address <host:port>', 'by which the other nodes reach this one; three more ports follow')
    .option('--name <name>', 'of this node; the name of the machine when absent')
    .option('--etcd <urls>', 'keep it in an etcd that is there already: https://HOST:PORT,... of its members')
    .option('--etcd-ca <file>', 'what has signed their certificates')
    .option('--etcd-cert <file>', 'certificate of a client of it')
    .option('--etcd-key <file>', 'the key of that')
    .option('--etcd-prefix <prefix>', 'what its keys there begin with (default: /gemel/)')
    .action(async ({ address, name, ...options }: InitOptions, command: Command) => {
      const etcd = etcdOf(options);
      await context.client(command).call('POST', '/cluster', { address, name, etcd });
      const token = await afterRestart(context, command, () =>
        context.client(command).call('POST', '/cluster/tokens', {}),
      );
      show(context, command, token as JoinToken, (each) => `The cluster has begun.\n${tokenText(each)}`);
    });
  cluster
    .command('token')
    .description('make a token that lets one more node in, once')
    .action(async (_options: unknown, command: Command) => {
      const made = (await context.client(command).call('POST', '/cluster/tokens', {})) as JoinToken;
      show(context, command, made, tokenText);
    });
  cluster
    .command('join')
    .description('join a cluster with this node, which must have no disks')
    .requiredOption('--token-of-cluster <file>', 'the token; - for standard input')
    .requiredOption('--address <host:port>', 'by which the other nodes reach this one; three more ports follow')
    .option('--name <name>', 'of this node; the name of the machine when absent')
    .action(async (options: { tokenOfCluster: string; address: string; name?: string }, command: Command) => {
      const { tokenOfCluster, ...as } = options;
      const token = readToken(context, tokenOfCluster);
      await context.client(command).call('POST', '/cluster/join', { token, ...as });
      const joined = await afterRestart(context, command, async () => {
        const view = (await context.client(command).call('GET', '/cluster')) as Cluster;
        if (view.cluster === null) throw new ServiceError('daemon-unreachable', 'the daemon has not started again yet');
        return view;
      });
      show(context, command, joined, (view) => statusText(view, context.width));
    });
  cluster
    .command('status')
    .description('show the nodes, their votes, and whether one takes over when another dies')
    .action(async (_options: unknown, command: Command) => {
      const view = (await context.client(command).call('GET', '/cluster')) as Cluster;
      show(context, command, view, (each) => statusText(each, context.width));
    });
  cluster
    .command('etcd')
    .description(
      'reach the etcd the cluster was put into with other certificates or at other addresses; this node only',
    )
    .requiredOption('--etcd <urls>', 'https://HOST:PORT,... of its members')
    .requiredOption('--etcd-ca <file>', 'what has signed their certificates')
    .requiredOption('--etcd-cert <file>', 'certificate of a client of it')
    .requiredOption('--etcd-key <file>', 'the key of that')
    .action(async (options: EtcdOptions, command: Command) => {
      const etcd = etcdOf(options);
      await context.client(command).call('PUT', '/cluster/etcd', etcd);
      show(context, command, { endpoints: etcd?.endpoints ?? [] }, () => 'This node reaches etcd so from now on');
    });
  addBalanceCommand(cluster, context);
  cluster
    .command('remove <node>')
    .description('forget a node that is gone for good')
    .option('--drop-copies', 'also its copies of disks; refused while nobody else has all of one')
    .action(async (node: string, options: { dropCopies?: boolean }, command: Command) => {
      const query = options.dropCopies === true ? '?dropCopies=true' : '';
      await context.client(command).call('DELETE', `/cluster/nodes/${segment(node)}${query}`);
      show(context, command, { removed: node }, () => `Forgot node ${node}`);
    });
  cluster
    .command('safe-to-reboot [node]')
    .description('what hosts would notice if a node (this one when absent) went down now; fails when they would')
    .action(async (node: string | undefined, _options: unknown, command: Command) => {
      const client = context.client(command);
      const name = node ?? (await selfOf(client));
      const found = (await client.call('GET', `/cluster/nodes/${segment(name)}/reboot`)) as RebootAnswer;
      if (!found.safe)
        throw new ServiceError('replica-state', `no: ${found.concerns.map(({ text }) => text).join('; ')}`);
      const moves = found.moves.length === 0 ? '' : `; ${found.moves.join(', ')} would go on at another node`;
      show(context, command, found, () => `yes: no host would lose a disk if ${name} went down now${moves}`);
    });
  cluster
    .command('maintenance <state> [node]')
    .description('on: hand over what a node (this one when absent) serves and keep it out of service; off: end that')
    .option('--force', 'on although hosts would notice')
    .action(async (state: string, node: string | undefined, options: { force?: boolean }, command: Command) => {
      if (state !== 'on' && state !== 'off') throw new ServiceError('bad-request', 'say on or off');
      const client = context.client(command);
      const name = node ?? (await selfOf(client));
      const body = { on: state === 'on', force: options.force === true };
      const done = (await client.call('PUT', `/cluster/nodes/${segment(name)}/maintenance`, body)) as {
        moved: string[];
      };
      const moved = done.moved.length === 0 ? 'it served nothing' : `handed over: ${done.moved.join(', ')}`;
      show(context, command, done, () =>
        state === 'on' ? `${name} is in maintenance; ${moved}` : `${name} is in service again`,
      );
    });
  cluster
    .command('leave')
    .description('leave the cluster with this node; the last one keeps everything')
    .option('--move', 'its copies of disks are made elsewhere first, where there is a node for them, and removed here')
    .action(async (options: { move?: boolean }, command: Command) => {
      const client = context.client(command);
      const { nodes, node } = (await client.call('GET', '/cluster')) as Cluster;
      const isLast = nodes.every(({ id, role }) => role === 'witness' || id === node);
      if (options.move === true && node !== null && !isLast)
        await throughJob(context, client, 'node-evacuate', { node });
      await client.call('DELETE', '/cluster');
      show(context, command, { left: true }, () => 'This node is alone again in a moment');
    });
  program
    .command('witness')
    .description('run a vote for a cluster here, until it is stopped; keeps no disks')
    .requiredOption('--folder <folder>', 'where it keeps what it has to remember')
    .option('--address <host:port>', 'by which the nodes reach it; at the first start')
    .option('--token-of-cluster <file>', 'the token, at the first start; - for standard input')
    .option('--name <name>', 'the name of the machine when absent')
    .action((options: { folder: string; address?: string; tokenOfCluster?: string; name?: string }) => {
      const token = options.tokenOfCluster === undefined ? '' : readToken(context, options.tokenOfCluster);
      return witness({ ...options, token });
    });
}

/** An etcd that is there already, as the API takes it; undefined: none is named. Throws ServiceError bad-request. */
function etcdOf({ etcd, etcdCa, etcdCert, etcdKey, etcdPrefix }: EtcdOptions) {
  const rest = [etcdCa, etcdCert, etcdKey];
  if (etcd === undefined) {
    if ([...rest, etcdPrefix].every((each) => each === undefined)) return undefined;
    throw new ServiceError('bad-request', '--etcd is missing: https://HOST:PORT,... of its members');
  }
  if (etcdCa === undefined || etcdCert === undefined || etcdKey === undefined) {
    throw new ServiceError('bad-request', '--etcd takes --etcd-ca, --etcd-cert and --etcd-key: files with PEM');
  }
  const prefix = etcdPrefix === undefined ? {} : { prefix: etcdPrefix };
  const [ca, cert, privateKey] = [readPem(etcdCa), readPem(etcdCert), readPem(etcdKey)];
  return { endpoints: etcd.split(',').filter((each) => each !== ''), ca, cert, privateKey, ...prefix };
}

function readPem(path: string): string {
  try {
    // Only the size of a certificate: /dev/zero or a disk image would never end.
    if (statSync(path).size > ETCD_PEM) throw new Error(`it has more than ${String(ETCD_PEM)} bytes`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new ServiceError('bad-request', `${path} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/** Name of the node that is asked. Throws ServiceError cluster-state when it is in no cluster. */
async function selfOf(client: ApiClient): Promise<string> {
  const { nodes } = (await client.call('GET', '/cluster')) as Cluster;
  const self = nodes.find((each) => each.self);
  if (self === undefined) throw new ServiceError('cluster-state', 'this node is in no cluster');
  return self.name;
}

/** The token alone, or in what `gemel cluster token` and `gemel cluster init` have printed. */
function readToken(context: CliContext, path: string): string {
  const text = readSecret(context, path).trim();
  return /gemel-join\.[\w-]+/.exec(text)?.[0] ?? text;
}

/** The witness is a mode of the daemon: it runs etcd, and nothing of the command line. */
function witness(options: { folder: string; address?: string; name?: string; token: string }): Promise<void> {
  const { folder, address, name, token } = options;
  const named = (flag: string, value: string | undefined): string[] => (value === undefined ? [] : [flag, value]);
  const args = ['witness', '--data', folder, ...named('--address', address), ...named('--name', name)];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [DAEMON, ...args], { stdio: ['pipe', 'inherit', 'inherit'] });
    child.stdin.on('error', () => undefined);
    child.stdin.end(token);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
    child.on('error', (error) => {
      reject(new ServiceError('internal', messageOf(error)));
    });
    child.on('exit', (status) => {
      process.exitCode = status ?? 1;
      resolve();
    });
  });
}

/** Repeats `ask` while the daemon is starting again. Rejects with what it said last. */
async function afterRestart<T>(_context: CliContext, _command: Command, ask: () => Promise<T>): Promise<T> {
  const end = Date.now() + CLUSTER_RESTART;
  for (;;) {
    // The old one answers for a moment longer.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    try {
      return await ask();
    } catch (error) {
      const waiting = error instanceof ServiceError && (error.row.retriable || error.code === 'cluster-state');
      if (!waiting || Date.now() > end) throw error;
    }
  }
}

const tokenText = ({ token, expires }: JoinToken): string =>
  `This token lets one node in, until ${expires}. Give it to \`gemel cluster join\` or \`gemel witness\` there:\n${token}`;

function statusText(view: Cluster, width: number | undefined): string {
  if (view.cluster === null) return 'This node is alone. Try: gemel cluster init --address HOST:PORT';
  const columns = [
    { title: '', value: (each: Cluster['nodes'][number]) => (each.self ? '*' : '') },
    { title: 'NODE', value: (each: Cluster['nodes'][number]) => each.name, shrink: 1 },
    { title: 'ROLE', value: (each: Cluster['nodes'][number]) => each.role },
    { title: 'ADDRESS', value: (each: Cluster['nodes'][number]) => each.address, shrink: 2 },
    ...(view.store.external === null
      ? [
          {
            title: 'VOTE',
            value: (each: Cluster['nodes'][number]) => (each.leader ? `${each.vote}, leader` : each.vote),
          },
        ]
      : []),
    {
      title: 'ANSWERS',
      value: (each: Cluster['nodes'][number]) => (each.maintenance ? 'in maintenance' : each.answers ? 'yes' : 'no'),
    },
  ];
  const lines = [`Cluster ${view.cluster.slice(0, 8)}`, '', table(view.nodes, columns, width), ''];
  const { answers, problem, external } = view.store;
  if (external !== null) {
    lines.push(`Kept in an etcd that is looked after elsewhere, below ${external.prefix}:`);
    for (const { address, problem: why, version, leader } of external.members) {
      lines.push(`  ${address}  ${why ?? `etcd ${version ?? ''}${leader ? ', leader' : ''}`}`);
    }
  }
  lines.push(answers ? 'The configuration store answers.' : `The configuration store is lost: ${problem ?? ''}`);
  lines.push(
    view.takeover === 'automatic' ? 'When a node dies, another one takes over.' : 'Nobody takes over when a node dies.',
  );
  if (view.advice !== null) lines.push(`To do: ${view.advice}.`);
  return lines.join('\n');
}
