// `replication`: volumes that are on several nodes. `volume hand-over` and `volume promote` say who serves one.
import { Option } from 'commander';
import type { Command } from 'commander';
import { ServiceError } from '../base/errors.ts';
import { formatSize, parseSize } from '../base/sizes.ts';
import type { ApiClient } from '../../plugins/sdk/client.ts';
import type { Cluster, Replica, Replication } from './answers.ts';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { addDrillCommands } from './drill-commands.ts';
import { throughJob } from './job-commands.ts';
import { facts, table, wrapped } from './output.ts';

const WIDTH = 80;

const pathOf = (volume: string): string => `/volumes/${segment(volume)}/replication`;
const clusterOf = async (client: ApiClient): Promise<Cluster> => (await client.call('GET', '/cluster')) as Cluster;
const replicationOf = async (client: ApiClient, volume: string): Promise<Replication> =>
  (await client.call('GET', pathOf(volume))) as Replication;

export function addReplicationCommands(program: Command, context: CliContext): void {
  const replication = program.command('replication').description('look at the disks that several nodes keep');
  replication
    .command('list')
    .description('list them: who serves each, who has everything, how far the others are')
    .action(async (_options: unknown, command: Command) => {
      const client = context.client(command);
      const found = (await client.list('/replication')) as Replication[];
      const cluster = await clusterOf(client);
      show(context, command, found, (all) => replicationTable(all, cluster, context.width));
    });
  replication
    .command('show <volume>')
    .description('everything about the copies of one disk')
    .action(async (volume: string, _options: unknown, command: Command) => {
      const client = context.client(command);
      const found = await replicationOf(client, volume);
      const cluster = await clusterOf(client);
      show(context, command, found, (each) => replicationFacts(each, cluster, context.width));
    });
  replication
    .command('verify <volume>')
    .description('compare the copies of a disk while hosts go on, at the node that serves it; fails when they differ')
    .option('--repair', 'copies get what the node that serves it has')
    .option('--rate <size>', 'bytes a second, such as 50M; as fast as it goes when absent')
    .action(async (volume: string, options: { repair?: boolean; rate?: string }, command: Command) => {
      const client = context.client(command);
      const { repair, rate } = options;
      const request = { volume, repair, ...(rate === undefined ? {} : { rate: parseSize(rate) }) };
      const job = await throughJob(context, client, 'replica-verify', request);
      const found = job.result as Comparison;
      const cluster = await clusterOf(client);
      const where = names(cluster, [...new Set(found.different.map(({ node }) => node))]);
      const what = `${formatSize(found.differentBytes)} of ${volume} were different on ${where}`;
      if (found.differentBytes > found.repairedBytes)
        throw new ServiceError(
          'replica-state',
          `${what}; gemel replication verify ${volume} --repair makes them the same`,
        );
      const same = `${formatSize(found.bytes)} of ${volume} are the same on ${String(found.replicas + 1)} nodes`;
      show(context, command, job, () => (found.differentBytes === 0 ? same : `${what}, and are the same now`));
    });
  addDrillCommands(replication, context);
}

/** What a job `replica-verify` has found. */
interface Comparison {
  readonly bytes: number;
  readonly replicas: number;
  readonly differentBytes: number;
  readonly repairedBytes: number;
  readonly different: readonly { readonly node: string }[];
}

/** The commands of the noun `volume` that move a disk from node to node. */
export function addOwnerCommands(volume: Command, context: CliContext): void {
  volume
    .command('hand-over <name>')
    .description('let another node serve a mirrored disk; hosts see a pause and no error')
    .option('--to <node>', 'which one; when absent, one that has everything')
    .option('--pin', 'it stays there for good, and comes back there when the node was away')
    .action(async (name: string, options: { to?: string; pin?: boolean }, command: Command) => {
      const client = context.client(command);
      const cluster = await clusterOf(client);
      const to = options.to ?? heirOf(await replicationOf(client, name), cluster);
      const given = (await client.call('POST', `${pathOf(name)}/hand-over`, { to, pin: options.pin })) as {
        pauseMs: number;
      };
      const text = `${name} is served by ${nameIn(cluster, to)} now; nobody served it for ${given.pauseMs.toFixed(0)} ms`;
      show(context, command, given, () => text);
    });
  volume
    .command('unpin <name>')
    .description('let a pinned disk go to another node again when one carries much more')
    .action(async (name: string, _options: unknown, command: Command) => {
      const client = context.client(command);
      const answer = await client.call('PUT', `${pathOf(name)}/preference`, { node: null, pinned: false });
      show(context, command, answer, () => `${name} may be served by any of its nodes`);
    });
  volume
    .command('replicas <name>')
    .description('another node of the cluster gets a copy of a disk, or one gives its copy up; hosts go on')
    .addOption(new Option('--add <node>', 'it gets a copy, and everything is copied to it').conflicts('remove'))
    .option('--remove <node>', 'its copy is removed; the last one that has everything stays')
    .action(async (name: string, options: { add?: string; remove?: string }, command: Command) => {
      const client = context.client(command);
      const { add, remove } = options;
      const node = add ?? remove;
      if (node === undefined) throw new ServiceError('bad-request', 'say --add NODE or --remove NODE');
      const kind = add === undefined ? 'replica-remove' : 'replica-add';
      const job = await throughJob(context, client, kind, { volume: name, node });
      const done =
        add === undefined ? `${node} has no copy of ${name} any more` : `${node} has a copy of ${name}, in step`;
      show(context, command, job, () => done);
    });
  volume
    .command('promote <name>')
    .description(
      'last resort, when no node serves a mirrored disk: the copy of this node becomes the one that counts; what only others have is lost',
    )
    .option('--i-am-sure', 'the nodes that may have newer data are off, and will not be brought back first')
    .action(async (name: string, options: { iAmSure?: boolean }, command: Command) => {
      const client = context.client(command);
      const [before, cluster] = [await replicationOf(client, name), await clusterOf(client)];
      if (options.iAmSure !== true) throw new ServiceError('bad-request', promotionText(before, cluster));
      const after = (await client.call('POST', `${pathOf(name)}/promote`)) as Replication;
      show(context, command, after, () => {
        const others = before.replicas.filter(({ node }) => node !== cluster.node).map(({ node }) => node);
        return `${name} is served from here now. What ${names(cluster, others)} has becomes the same when it is back.`;
      });
    });
}

export const nameIn = (cluster: Cluster, id: string): string =>
  cluster.nodes.find((each) => each.id === id)?.name ?? id;
const names = (cluster: Cluster, ids: readonly string[]): string =>
  ids.length === 0 ? 'nobody' : ids.map((id) => nameIn(cluster, id)).join(', ');
const ownerIn = (cluster: Cluster, { owner }: Replication): string =>
  owner === null ? 'nobody' : nameIn(cluster, owner);

/** A node that could serve it at once. Throws ServiceError replica-state when there is none. */
function heirOf({ volume, owner, inSync }: Replication, cluster: Cluster): string {
  const heir = cluster.nodes.find(({ id, answers }) => id !== owner && answers && inSync.includes(id));
  if (heir !== undefined) return heir.name;
  throw new ServiceError('replica-state', `no other node that answers has everything of '${volume}'`);
}

/** What a promotion would mean now. Throws ServiceError replica-state while there is nothing to promote. */
export function promotionText({ volume, owner, inSync }: Replication, cluster: Cluster): string {
  const self = cluster.node ?? '';
  if (owner !== null) throw new ServiceError('replica-state', `${nameIn(cluster, owner)} serves ${volume}`);
  const here = nameIn(cluster, self);
  const newer = inSync.filter((id) => id !== self);
  const lost = inSync.includes(self)
    ? 'it has all that was acknowledged, as far as is known'
    : `what was written since it fell behind, which ${names(cluster, newer)} has, is LOST`;
  return (
    `the copy of ${volume} on ${here} would become the one that counts: ${lost}. ` +
    `Bring back ${newer.length === 0 ? 'the other node' : names(cluster, newer)} instead, if you can; ` +
    `if you cannot, repeat it with --i-am-sure`
  );
}

/** The copies of a disk in a line; undefined: it has one. */
export async function copiesText(client: ApiClient, volume: string): Promise<string | undefined> {
  let found: Replication;
  try {
    found = await replicationOf(client, volume);
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'not-found') return undefined;
    throw error;
  }
  const cluster = await clusterOf(client);
  const step = `${String(found.inSync.length)} of ${String(found.replicas.length)} in step`;
  return `${step} (${names(cluster, found.inSync)}), served by ${ownerIn(cluster, found)}`;
}

/** Seconds as a person says them. */
function span(seconds: number): string {
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** How far a copy is that does not have everything. */
function progressText({ resync, lacksBytes, why, state }: Replica): string {
  if (resync === null) return lacksBytes > 0 ? `lacks ${formatSize(lacksBytes)}` : why === '' ? state : why;
  const left = resync.etaSeconds === null ? '' : `, ${span(resync.etaSeconds)} left`;
  return `${formatSize(resync.leftBytes)} to copy${left}`;
}

const behindText = (cluster: Cluster, { replicas }: Replication): string =>
  replicas
    .filter(({ inSync }) => !inSync)
    .map((replica) => `${nameIn(cluster, replica.node)}: ${progressText(replica)}`)
    .join('; ') || '-';

export function replicationTable(all: readonly Replication[], cluster: Cluster, width: number | undefined): string {
  if (all.length === 0) {
    return cluster.cluster === null
      ? 'This node is alone: its disks have one copy. Try: gemel cluster init --address HOST:PORT'
      : 'No disk has several copies yet. Try: gemel volume create my-disk --size 10G --replicas 2';
  }
  const columns = [
    { title: 'NAME', value: ({ volume }: Replication) => volume, shrink: 1 },
    { title: 'SERVED BY', value: (each: Replication) => ownerIn(cluster, each), shrink: 2 },
    {
      title: 'IN STEP',
      value: ({ inSync, replicas }: Replication) => `${String(inSync.length)} of ${String(replicas.length)}`,
    },
    { title: 'HAVE ALL', value: ({ inSync }: Replication) => names(cluster, inSync), shrink: 3, spare: 1 },
    { title: 'THE OTHERS', value: (each: Replication) => behindText(cluster, each), shrink: 4 },
  ];
  return table(all, columns, width);
}

export function replicationFacts(each: Replication, cluster: Cluster, width = WIDTH): string {
  const { volume, id, role, epoch, session, inSync, replicas, forcedBy, why } = each;
  const head = facts([
    ['Disk', volume],
    ['Served by', `${ownerIn(cluster, each)} (epoch ${String(epoch)}, session ${String(session)})`],
    ['This node', role],
    ['In step', `${String(inSync.length)} of ${String(replicas.length)}: ${names(cluster, inSync)}`],
    ...(forcedBy === null ? [] : [['Forced by', `${forcedBy}: others may have had newer data`] as const]),
    ['ID', id],
  ]);
  const columns = [
    { title: 'NODE', value: ({ node }: Replica) => nameIn(cluster, node), shrink: 1 },
    { title: 'STATE', value: ({ state }: Replica) => state },
    { title: 'IN STEP', value: ({ inSync: has }: Replica) => (has ? 'yes' : 'no') },
    { title: 'LACKS', value: ({ lacksBytes }: Replica) => formatSize(lacksBytes), right: true },
    {
      title: 'TO COPY',
      value: ({ resync }: Replica) => (resync === null ? '-' : formatSize(resync.leftBytes)),
      right: true,
    },
    {
      title: 'RATE',
      value: ({ resync }: Replica) => (resync === null ? '-' : `${formatSize(resync.bytesPerSecond)}/s`),
      right: true,
    },
    {
      title: 'LEFT',
      value: ({ resync }: Replica) => (resync === null || resync.etaSeconds === null ? '-' : span(resync.etaSeconds)),
      right: true,
    },
    { title: 'WHY', value: (replica: Replica) => replica.why || '-', shrink: 2, spare: 1 },
  ];
  const reason = why === '' ? [] : ['', ...wrapped(`Here: ${why}.`, width)];
  return [head, '', table(replicas, columns, width), ...reason].join('\n');
}
