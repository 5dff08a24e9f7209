// Contexts: the daemons one person works with. The file holds tokens, so it is for its owner only.
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { ServiceError, messageOf } from '../base/errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface Context {
  readonly api: string;
  readonly token: string;
}

export interface Contexts {
  /** The one that is used when nobody names another. */
  readonly current: string | undefined;
  readonly all: Readonly<Record<string, Context>>;
}

/** A file larger than this many bytes is none of ours. */
const MAX_FILE = 1_048_576;
/** Contexts one person has. */
const MAX_CONTEXTS = 256;

/** Where the contexts of this user are: GEMEL_CONTEXTS, or below XDG_CONFIG_HOME. */
export function contextsFile(env: Environment): string {
  const named = env['GEMEL_CONTEXTS'];
  if (named !== undefined && named !== '') return named;
  const config = env['XDG_CONFIG_HOME'];
  return join(
    config?.startsWith('/') === true ? config : join(env['HOME'] ?? homedir(), '.config'),
    'gemel',
    'contexts.json',
  );
}

/** Throws ServiceError when the file is not ours to believe: damaged, or readable by others. */
export function readContexts(env: Environment): Contexts {
  const path = contextsFile(env);
  let text: string;
  try {
    const { mode, size } = statSync(path);
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new ServiceError(
        'bad-request',
        `others may read or change ${path}, which has tokens in it: chmod 600 ${path}`,
      );
    }
    if (size > MAX_FILE) throw new ServiceError('bad-request', `${path} is too large to be a list of contexts`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { current: undefined, all: {} };
    throw new ServiceError('bad-request', `${path} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  const contexts = parse(text);
  if (contexts === undefined) throw new ServiceError('bad-request', `${path} is damaged: correct or remove it`);
  return contexts;
}

function parse(text: string): Contexts | undefined {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof content !== 'object' || content === null || !('contexts' in content)) return undefined;
  const { contexts, current } = content as { contexts: unknown; current?: unknown };
  if (typeof contexts !== 'object' || contexts === null) return undefined;
  const all = Object.entries(contexts as Record<string, unknown>);
  const good = all.every(([, each]) => {
    const { api, token } = (each ?? {}) as { api?: unknown; token?: unknown };
    return typeof api === 'string' && typeof token === 'string';
  });
  return good
    ? { current: typeof current === 'string' ? current : undefined, all: contexts as Record<string, Context> }
    : undefined;
}

/** Replaces the file; a crash leaves the old or the new one. Throws ServiceError. */
export function writeContexts(env: Environment, { current, all }: Contexts): void {
  if (Object.keys(all).length > MAX_CONTEXTS) {
    throw new ServiceError('limit-reached', `there are at most ${String(MAX_CONTEXTS)} contexts`);
  }
  const path = contextsFile(env);
  const beside = `${path}.new-${String(process.pid)}`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(beside, `${JSON.stringify({ current, contexts: all }, undefined, 2)}\n`, { mode: 0o600, flag: 'wx' });
    // The mask of the user may have taken bits away, never added any.
    chmodSync(beside, 0o600);
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw new ServiceError('folder-unusable', `${path} cannot be written: ${messageOf(error)}`, { cause: error });
  }
}

/** The context with this name. Throws ServiceError not-found. */
export function contextNamed({ all }: Contexts, name: string): Context {
  const found = Object.hasOwn(all, name) ? all[name] : undefined;
  if (found !== undefined) return found;
  const known = Object.keys(all).sort();
  const hint = known.length === 0 ? 'there is none (gemel context add)' : `there are ${known.join(', ')}`;
  throw new ServiceError('not-found', `there is no context '${name.slice(0, 63)}'; ${hint}`);
}
