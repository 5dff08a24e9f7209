// The storage gateway (experimental, and off unless somebody starts it): a second socket in front of libvirtd, on which clients see one
// more pool – the storage – and can create, clone, grow, delete and attach volumes of it. libvirtd and its own socket stay as they are.
import { chmodSync, chownSync, readFileSync, unlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { ServiceError, messageOf } from '../../../core/base/errors.ts';
import type { ApiCall } from '../../sdk/typed-api.ts';
import type { OpsContext } from '../ops/context.ts';
import { MAX_CLIENTS, POOL_INTERVAL } from '../rpc/limits.ts';
import { openTransport } from '../rpc/transport.ts';
import { rowsFor } from './answers.ts';
import { Connection } from './connection.ts';
import { PoolFace } from './face.ts';

export interface GatewayOptions {
  readonly context: OpsContext;
  readonly call: ApiCall;
  /** The unix socket of the gateway. */
  readonly socket: string;
  /** Group that may use it; only our own user when absent. Whoever may use it can do everything to libvirtd that we can. */
  readonly group?: string | undefined;
  /** Name of the pool clients see. */
  readonly pool: string;
  readonly log: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Serves until `signal`. Rejects with ServiceError bad-request or in-use when it cannot begin. */
export async function runGateway(options: GatewayOptions): Promise<void> {
  const { context, call, pool, signal, log } = options;
  if (!/^[a-z0-9][a-z0-9_.-]{0,62}$/i.test(pool))
    throw new ServiceError('bad-request', `'${pool}' is no name for a pool`);
  const face = new PoolFace(context, call, pool);
  const rows = rowsFor(face);
  const connections = new Set<Connection>();
  let last: string | undefined;
  const tellAll = (): void => {
    for (const each of connections) each.tell();
  };
  const serve = async (client: Socket): Promise<void> => {
    if (connections.size >= MAX_CLIENTS) throw new ServiceError('limit-reached', `${String(MAX_CLIENTS)} clients`);
    client.pause();
    const libvirtd = await openTransport(context.settings.libvirt);
    const connection = new Connection({ client, libvirtd, rows, pool: face.pool, onChanged: tellAll });
    connections.add(connection);
    client.resume();
    await connection.closed;
    connections.delete(connection);
  };
  const server = createServer((client) => {
    serve(client).catch((error: unknown) => {
      log(`a client was turned away: ${messageOf(error)}`);
      client.destroy();
    });
  });
  await listen(server, options);
  log(`pool ${pool} for clients of qemu+unix:///system?socket=${options.socket}`);
  // What others do to the storage is told to clients as well.
  const timer = setInterval(() => {
    if (![...connections].some((each) => each.wantsEvents)) return;
    face.signature().then(
      (now) => {
        if (last !== undefined && now !== last) tellAll();
        last = now;
      },
      () => undefined,
    );
  }, POOL_INTERVAL);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else
      signal.addEventListener('abort', () => {
        resolve();
      });
  });
  clearInterval(timer);
  for (const each of connections) each.close();
  await new Promise((resolve) => server.close(resolve));
}

/** Takes the place of a socket that nobody listens on any more, and of nothing else. */
async function listen(server: ReturnType<typeof createServer>, { socket, group }: GatewayOptions): Promise<void> {
  const gid = group === undefined ? undefined : groupId(group);
  if (await isServed(socket)) throw new ServiceError('in-use', `${socket} is served by somebody already`);
  const before = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(socket, resolve);
    });
  } catch (error) {
    throw new ServiceError('bad-request', `${socket}: ${messageOf(error)}`, { cause: error });
  } finally {
    process.umask(before);
  }
  if (gid === undefined) return;
  chownSync(socket, -1, gid);
  chmodSync(socket, 0o660);
}

function isServed(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') unlinkSync(socket);
      resolve(false);
    });
  });
}

function groupId(name: string): number {
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${name}:`));
  if (line === undefined) throw new ServiceError('bad-request', `there is no group '${name}'`);
  return Number(line.split(':')[2]);
}
