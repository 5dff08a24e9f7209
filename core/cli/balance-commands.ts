// `cluster balance`: what each node carries.
import { Argument } from 'commander';
import type { Command } from 'commander';
import type { Cluster } from './answers.ts';
import { show } from './command.ts';
import type { CliContext } from './command.ts';
import { table } from './output.ts';

interface Balance {
  readonly enabled: boolean;
  readonly nodes: readonly { readonly node: string; readonly load: number | null; readonly volumes: number }[];
  readonly last: { readonly volume: string; readonly to: string; readonly why: string; readonly time: string } | null;
}

export function addBalanceCommand(cluster: Command, context: CliContext): void {
  cluster
    .command('balance')
    .description('show what each node carries, or let disks move to the less loaded one by themselves, or not')
    .addArgument(new Argument('[state]').choices(['on', 'off']))
    .action(async (state: string | undefined, _options: unknown, command: Command) => {
      const client = context.client(command);
      const answer =
        state === undefined
          ? await client.call('GET', '/cluster/balance')
          : await client.call('PUT', '/cluster/balance', { enabled: state === 'on' });
      const { nodes } = (await client.call('GET', '/cluster')) as Cluster;
      const nameOf = (id: string): string => nodes.find((each) => each.id === id)?.name ?? id;
      show(context, command, answer as Balance, (each) => balanceText(each, nameOf, context.width));
    });
}

function balanceText({ enabled, nodes, last }: Balance, nameOf: (id: string) => string, width?: number): string {
  const columns = [
    { title: 'NODE', value: ({ node }: Balance['nodes'][number]) => nameOf(node), shrink: 1 },
    { title: 'DISKS', value: ({ volumes }: Balance['nodes'][number]) => String(volumes), right: true },
    {
      title: 'LOAD/S',
      value: ({ load }: Balance['nodes'][number]) => (load === null ? '-' : load.toFixed(0)),
      right: true,
    },
  ];
  const moved =
    last === null ? [] : [`Last from here: ${last.volume} to ${nameOf(last.to)} (${last.why}) at ${last.time}`];
  return [
    table(nodes, columns, width),
    enabled ? 'Disks move by themselves when a node carries much more.' : 'No disk moves by itself.',
    ...moved,
  ].join('\n');
}
