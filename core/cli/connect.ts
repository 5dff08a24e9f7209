import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { RUN_FILE, TOKEN_FILE, defaultDataFolder } from '../base/data-folder.ts';
import { ServiceError, messageOf } from '../base/errors.ts';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { contextNamed, readContexts } from './contexts.ts';
import type { Context } from './contexts.ts';

export interface ConnectOptions {
  readonly api?: string | undefined;
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
  /** Name of one of the user's contexts. */
  readonly context?: string | undefined;
  /** Data folder of a daemon on this machine. */
  readonly data?: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Finds the daemon: what was passed, the context that was named, the environment, the context in use, or the daemon that runs
 * on this machine. Throws ServiceError.
 */
export function connect(options: ConnectOptions, env: Environment, readStdin = (): string => ''): ApiClient {
  const named = contextFor(options, env);
  const folder = options.data ?? env['GEMEL_DATA'] ?? defaultFolder(env);
  const api = options.api ?? named?.api ?? env['GEMEL_API'] ?? runningApi(folder);
  const passed = options.token ?? tokenIn(options.tokenFile, readStdin);
  const token = passed ?? named?.token ?? env['GEMEL_TOKEN'] ?? read(join(folder, TOKEN_FILE))?.trim();
  if (token === undefined)
    throw new ServiceError('unauthorized', `there is no token, and none can be read in ${folder}`);
  return new ApiClient(api, token);
}

/** The context that counts; undefined: none does. A token is for one daemon, so a context and another address do not mix. */
function contextFor(options: ConnectOptions, env: Environment): Context | undefined {
  const name = options.context ?? (env['GEMEL_CONTEXT'] === '' ? undefined : env['GEMEL_CONTEXT']);
  const elsewhere = options.api !== undefined || options.data !== undefined;
  if (options.context !== undefined && elsewhere) {
    throw new ServiceError('bad-request', '--context says which daemon; leave out --api and --data');
  }
  if (elsewhere) return undefined;
  if (name !== undefined) return contextNamed(readContexts(env), name);
  if (env['GEMEL_API'] !== undefined || env['GEMEL_DATA'] !== undefined) return undefined;
  const contexts = readContexts(env);
  return contexts.current === undefined ? undefined : contextNamed(contexts, contexts.current);
}

function tokenIn(file: string | undefined, readStdin: () => string): string | undefined {
  if (file === undefined) return undefined;
  try {
    return (file === '-' ? readStdin() : readFileSync(file, 'utf8')).trim();
  } catch (error) {
    throw new ServiceError('bad-request', `the token cannot be read: ${messageOf(error)}`, { cause: error });
  }
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
