// `gemeld witness`: the third vote of a pair. It runs a member of etcd and keeps no data.
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { ServiceError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { World } from '../../base/world.ts';
import { requireEtcd } from './etcd-process.ts';
import { readClusterFile } from './cluster-files.ts';
import { enter, nodeAddress, nodeName } from './joining.ts';
import { etcdOf } from './membership.ts';

export interface WitnessOptions {
  readonly data: string;
  readonly address: string | undefined;
  readonly name: string | undefined;
}

/** Throws ServiceError bad-request. */
export function witnessOptions(argv: readonly string[]): WitnessOptions {
  const program = new Command('gemeld witness')
    .requiredOption('--data <folder>')
    .option('--address <host:port>')
    .option('--name <name>')
    .allowExcessArguments(false)
    .configureOutput({ writeOut: () => undefined, writeErr: () => undefined })
    .exitOverride();
  try {
    program.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const what = error.message.replace(/^error: /, '');
    throw new ServiceError('bad-request', `witness: ${what}`, { cause: error });
  }
  const { data = '', address, name } = program.opts<{ data?: string; address?: string; name?: string }>();
  return { data, address, name };
}

/**
 * Lets itself into the cluster at the first start, with the token from standard input, and runs etcd. Returns the function
 * that ends it. `onRemoved`: the cluster does without it from now on. Rejects with ServiceError.
 */
export async function startWitness(
  options: WitnessOptions,
  world: World,
  log: Log,
  onRemoved: () => void,
): Promise<() => Promise<void>> {
  const { data, address, name } = options;
  requireEtcd();
  let file = await readClusterFile(world, data);
  if (file === undefined) {
    const token = readFileSync(0, 'utf8').trim();
    if (address === undefined || token === '') {
      throw new ServiceError('bad-request', 'the first start of a witness takes --address and a token of the cluster');
    }
    const who = { id: world.random.bytes(4).toString('hex'), name: nodeName(name), role: 'witness' as const };
    file = await enter({ world, log, data }, token, { ...who, address: nodeAddress(address) });
  }
  const etcd = etcdOf(data, file, world, log, onRemoved);
  etcd.start();
  log.info({ cluster: file.cluster.slice(0, 8), name: file.node.name }, 'witness runs');
  return () => etcd.stop();
}
