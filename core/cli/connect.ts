import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { RUN_FILE, TOKEN_FILE, defaultDataFolder } from '../base/data-folder.ts';
import { ServiceError } from '../base/errors.ts';
import { ApiClient } from '../../plugins/sdk/client.ts';

export interface ConnectOptions {
  readonly api?: string | undefined;
  readonly token?: string | undefined;
  /** Data folder of a daemon on this machine. */
  readonly data?: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Finds the daemon: what was passed, the environment, or the one that runs on this machine. Throws ServiceError. */
export function connect(options: ConnectOptions, env: Environment): ApiClient {
  const folder = options.data ?? env['GEMEL_DATA'] ?? defaultFolder(env);
  const api = options.api ?? env['GEMEL_API'] ?? runningApi(folder);
  const token = options.token ?? env['GEMEL_TOKEN'] ?? read(join(folder, TOKEN_FILE))?.trim();
  if (token === undefined)
    throw new ServiceError('unauthorized', `there is no token, and none can be read in ${folder}`);
  return new ApiClient(api, token);
}

function defaultFolder(env: Environment): string {
  return defaultDataFolder({ isRoot: process.getuid?.() === 0, home: homedir() }, env, process.platform);
}

function runningApi(folder: string): string {
  const text = read(join(folder, RUN_FILE));
  const api = text === undefined ? undefined : (JSON.parse(text) as { api?: string }).api;
  if (api === undefined) throw new ServiceError('daemon-unreachable', `no daemon runs with the data folder ${folder}`);
  return api;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'EACCES') return undefined;
    // Somebody else's daemon: that it is there is no secret, its token is.
    throw new ServiceError('unauthorized', `you may not read ${path}`, { cause: error });
  }
}
