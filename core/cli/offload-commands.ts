import type { Command } from 'commander';
import { ServiceError } from '../base/errors.ts';
import { formatSize } from '../base/sizes.ts';
import type { CopyRoutes, OffloadFinding, OffloadHost, OffloadKind, OffloadVolume } from './answers.ts';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { facts, table } from './output.ts';

const POLICIES = ['auto', 'always', 'share-only', 'never', 'default'];

const filter = (volume: string | undefined): string => (volume === undefined ? '' : `?volume=${segment(volume)}`);

export function addOffloadCommands(program: Command, doctor: Command, context: CliContext): void {
  program
    .command('offload [volume]')
    .description('what the storage has done for its hosts, what it refused and why')
    .action(async (volume: string | undefined, _options: unknown, command: Command) => {
      const all = (await context.client(command).list(`/offload${filter(volume)}`)) as OffloadVolume[];
      show(context, command, all, (volumes) => offloadTable(volumes, context.width));
    });
  doctor
    .command('offload [volume]')
    .description('why clones, zeroing and the like were not offloaded')
    .action(async (volume: string | undefined, _options: unknown, command: Command) => {
      const found = await context.client(command).list(`/doctor/offload${filter(volume)}`);
      show(context, command, found as OffloadFinding[], findingsText);
    });
  program
    .command('copy-route [policy]')
    .description('whether copies are taken: auto, always, share-only, never, default')
    .option('--volume <name>', 'of this disk only')
    .action(async (policy: string | undefined, options: { volume?: string }, command: Command) => {
      const client = context.client(command);
      if (policy !== undefined && !POLICIES.includes(policy)) {
        throw new ServiceError('bad-request', `the policy is one of ${POLICIES.join(', ')}`);
      }
      const body = { policy, volume: options.volume };
      const answer = policy === undefined ? client.call('GET', '/copy-route') : client.call('PUT', '/copy-route', body);
      show(context, command, (await answer) as CopyRoutes, ({ node, volumes }) =>
        facts([['All disks', node], ...volumes.map((each): [string, string] => [each.volume, each.policy])]),
      );
    });
}

interface Row {
  readonly volume: OffloadVolume;
  readonly host: OffloadHost;
  readonly kind: OffloadKind;
}

function offloadTable(volumes: readonly OffloadVolume[], width: number | undefined): string {
  const rows = volumes.flatMap((volume) =>
    volume.hosts.flatMap((host) => host.kinds.map((kind): Row => ({ volume, host, kind }))),
  );
  if (rows.length === 0) return 'No host has asked for anything yet. See gemel doctor offload.';
  const columns = [
    { title: 'DISK', value: (row: Row) => row.volume.volume, shrink: 1 },
    { title: 'HOST', value: (row: Row) => row.host.initiator, shrink: 2, keepEnd: true },
    { title: 'COMMAND', value: (row: Row) => row.kind.kind },
    { title: 'USED', value: (row: Row) => String(row.kind.used), right: true },
    { title: 'SHARED', value: (row: Row) => formatSize(row.kind.sharedBytes), right: true },
    { title: 'COPIED', value: (row: Row) => formatSize(row.kind.copiedBytes), right: true },
    { title: 'TIME', value: (row: Row) => `${row.kind.seconds.toFixed(1)} s`, right: true, spare: 1 },
    { title: 'REFUSED', value: (row: Row) => String(row.kind.refused), right: true },
    { title: 'LAST', value: (row: Row) => row.kind.last?.reason ?? '-', spare: 2 },
  ];
  return table(rows, columns, width);
}

function findingsText(found: readonly OffloadFinding[]): string {
  if (found.length === 0) return 'No disks are served.';
  return found
    .map(({ volume, host, level, text, remedy }) => {
      const head = `${level.padEnd(7)}  ${volume}${host === null ? '' : ` ${host}`}`;
      return [head, `         ${text}`, ...(remedy === null ? [] : [`         ${remedy}`])].join('\n');
    })
    .join('\n');
}
