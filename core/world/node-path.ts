// Unix sockets to listen on.
import { chmod, lstat, unlink } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { Socket as NodeSocket } from 'node:net';
import { ServiceError, messageOf } from '../base/errors.ts';
import type { Listener } from '../base/world.ts';

/** Net.listenPath. Rejects with a ServiceError: port-taken (somebody listens there), address-unusable. */
export async function listenOnPath(
  path: string,
  mode: number,
  accepted: (socket: NodeSocket) => void,
): Promise<Listener> {
  await removeStale(path);
  const server = createServer({ pauseOnConnect: true }, accepted);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const code = error.code === 'EADDRINUSE' ? 'port-taken' : 'address-unusable';
      reject(new ServiceError(code, `unix socket ${path}: ${messageOf(error)}`, { cause: error }));
    });
    server.listen({ path }, resolve);
  });
  server.removeAllListeners('error');
  // Running out of file descriptors must not end the process.
  server.on('error', () => undefined);
  await chmod(path, mode);
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => {
        resolve();
      });
    });
  return { address: path, port: 0, close };
}

/** Removes a socket nobody listens on, left behind by a process that was killed. */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw new ServiceError('address-unusable', `${path} exists and is no socket`);
  const refused = await new Promise<boolean>((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ECONNREFUSED');
    });
  });
  if (!refused) throw new ServiceError('port-taken', `somebody listens on the unix socket ${path}`);
  await unlink(path);
}
