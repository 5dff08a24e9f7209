// What the daemon is told: flag before environment before config file before default.
import { join, resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import { z } from 'zod';
import { ServiceError } from '../base/errors.ts';
import { CACHE_SHARE, MAX_CACHE, MIN_CACHE, MAX_DEFAULT_CACHE } from '../base/limits.ts';
import { formatHostPort, parseHostPort } from '../base/host-port.ts';
import type { HostPort } from '../base/host-port.ts';
import { formatSize, parseSize } from '../base/sizes.ts';
import { poolSize } from '../control/pool-plan.ts';
import { checkSize } from '../control/volume-request.ts';
import { checkIqnPrefix } from '../control/names.ts';
import type { PortalOptions } from '../iscsi/context.ts';
import { BLOCK } from '../volume/grain.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export const LOG_FORMATS = ['auto', 'json', 'text'] as const;

export interface DaemonOptions {
  readonly json: boolean;
  readonly data: string;
  /** As set; undefined: nobody has set any. */
  readonly portals: readonly PortalOptions[] | undefined;
  readonly api: HostPort;
  /** PEM files of a certificate for the API and its key; undefined: of our own CA. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Unix socket of the NBD server; undefined: none. */
  readonly nbdSocket: string | undefined;
  /** Its TCP address, and the PEM files of its TLS: who has no certificate of that authority gets nothing. */
  readonly nbd: (HostPort & { readonly ca: string; readonly cert: string; readonly key: string }) | undefined;
  /** Bytes; undefined: neither a pool nor a disk at the first start. */
  readonly demoSize: number | undefined;
  /** Bytes of the pool of the first start; undefined: what the file system has. */
  readonly poolSize: number | undefined;
  readonly iqnPrefix: string;
  /** Bytes of the RAM cache; 0: none. */
  readonly cacheSize: number;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly logFormat: (typeof LOG_FORMATS)[number];
}

/** The text was asked for (--help, --version): print it and end with status 0. */
export class TextAnswer extends Error {}

/** One source of settings, as written by a person. */
const Settings = z.strictObject({
  data: z.string().min(1).optional(),
  portals: z.array(z.string()).min(1).max(64).optional(),
  api: z.string().optional(),
  demoSize: z.string().optional(),
  demo: z.boolean().optional(),
  poolSize: z.string().optional(),
  iqnPrefix: z.string().optional(),
  tlsCert: z.string().min(1).optional(),
  tlsKey: z.string().min(1).optional(),
  nbdSocket: z.string().min(1).optional(),
  nbdListen: z.string().optional(),
  nbdTls: z.string().min(1).optional(),
  cacheSize: z.string().optional(),
  logLevel: z.enum(LOG_LEVELS).optional(),
  logFormat: z.enum(LOG_FORMATS).optional(),
});
type Settings = z.infer<typeof Settings>;

/**
 * Names are under the domain of the project. Sites that have a domain set their own with --iqn-prefix before the first
 * start; target names of existing disks never change.
 */
const DEFAULTS = {
  api: '127.0.0.1:7480',
  demoSize: '10G',
  demo: true,
  iqnPrefix: 'iqn.2026-11.org.gemel',
  logLevel: 'info',
  logFormat: 'auto',
} as const;

/** Where a new node listens when nobody sets anything. */
export const USUAL_PORTALS: readonly PortalOptions[] = [{ host: '127.0.0.1', port: 3260, group: 1 }];

export interface OptionSources {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Content of the config file. Throws when it cannot be read. */
  readonly readFile: (path: string) => string;
  readonly defaultData: string;
  /** Bytes of memory of this machine. */
  readonly memory: number;
  readonly version: string;
}

/** Merges all sources. Throws ServiceError bad-request that names the wrong setting, or TextAnswer. */
export function readOptions(sources: OptionSources): DaemonOptions {
  const { flags, json, config } = fromFlags(sources.argv, sources.version);
  const env = fromEnvironment(sources.env);
  const configFile = config ?? sources.env['GEMEL_CONFIG'];
  const file = configFile === undefined ? {} : fromFile(configFile, sources.readFile);
  const none = {
    ...{ cacheSize: undefined, poolSize: undefined, tlsCert: undefined, tlsKey: undefined },
    ...{ portals: undefined, nbdSocket: undefined, nbdListen: undefined, nbdTls: undefined },
  };
  const defaults = { ...DEFAULTS, data: sources.defaultData, ...none };
  const merged = { ...defaults, ...defined(file), ...defined(env), ...defined(flags) };
  const portals = merged.portals?.map(parsePortal);
  const api = parseHostPort(merged.api, 'api');
  // A zone is for connecting to a neighbour; no URL has a place for it.
  if (api.host.includes('%')) throw new ServiceError('bad-request', `api: '${merged.api}' is not an address for a URL`);
  checkDistinct(portals ?? USUAL_PORTALS, api);
  return {
    json,
    data: merged.data,
    portals,
    api,
    tls: tlsOf(merged.tlsCert, merged.tlsKey),
    nbdSocket: nbdSocketOf(merged.nbdSocket, merged.data),
    nbd: nbdOf(merged.nbdListen, merged.nbdTls),
    demoSize: merged.demo ? checkSize(parseSize(merged.demoSize), BLOCK) : undefined,
    poolSize: merged.poolSize === undefined ? undefined : poolSize(parseSize(merged.poolSize)),
    iqnPrefix: checkIqnPrefix(merged.iqnPrefix),
    cacheSize: cacheSizeOf(merged.cacheSize, sources.memory),
    logLevel: merged.logLevel,
    logFormat: merged.logFormat,
  };
}

/** Throws ServiceError bad-request for one without the other. */
function tlsOf(cert: string | undefined, key: string | undefined): DaemonOptions['tls'] {
  if (cert !== undefined && key !== undefined) return { cert, key };
  if (cert === undefined && key === undefined) return undefined;
  throw new ServiceError('bad-request', '--tls-cert and --tls-key belong together');
}

/** Bytes of the path of a unix socket (sun_path). */
const MAX_SOCKET_PATH = 107;

/** In the data folder unless told otherwise; `none`: there is none. Throws ServiceError bad-request. */
function nbdSocketOf(wanted: string | undefined, data: string): string | undefined {
  if (wanted === 'none') return undefined;
  if (wanted === undefined) {
    const path = resolve(data, 'nbd.sock');
    return Buffer.byteLength(path) > MAX_SOCKET_PATH ? undefined : path;
  }
  if (Buffer.byteLength(wanted) <= MAX_SOCKET_PATH) return resolve(wanted);
  throw new ServiceError('bad-request', `nbd-socket: a path has at most ${String(MAX_SOCKET_PATH)} bytes`);
}

/** Throws ServiceError bad-request for one without the other. */
function nbdOf(listen: string | undefined, folder: string | undefined): DaemonOptions['nbd'] {
  if (listen === undefined && folder === undefined) return undefined;
  if (listen === undefined || folder === undefined) {
    throw new ServiceError(
      'bad-request',
      '--nbd-listen and --nbd-tls belong together: nothing is served over TCP without TLS',
    );
  }
  const [ca, cert, key] = ['ca-cert.pem', 'server-cert.pem', 'server-key.pem'].map((name) => join(folder, name));
  return { ...parseHostPort(listen, 'nbd-listen'), ca: ca ?? '', cert: cert ?? '', key: key ?? '' };
}

/** Bytes. Throws ServiceError bad-request. */
function cacheSizeOf(text: string | undefined, memory: number): number {
  if (text === undefined) return Math.min(Math.floor(memory / CACHE_SHARE), MAX_DEFAULT_CACHE);
  const size = text === '0' ? 0 : parseSize(text);
  if (size > MAX_CACHE) throw new ServiceError('bad-request', `the cache has at most ${formatSize(MAX_CACHE)}`);
  if (size === 0 || size >= MIN_CACHE) return size;
  throw new ServiceError('bad-request', `the cache has at least ${formatSize(MIN_CACHE)} (24M, 4G), or 0 for none`);
}

/** `HOST:PORT[,TPGT[,ADVERTISED]]`. Throws ServiceError bad-request. */
export function parsePortal(text: string): PortalOptions {
  const [listen = '', tag = '1', ...rest] = text.split(',');
  const advertised = rest.length === 0 ? undefined : rest.join(',');
  const { host, port } = parseHostPort(listen, 'portal');
  const group = Number(tag);
  // RFC 7143 §4.4.1: 16 bits; 0 is left out because the tag is also the relative target port identifier.
  if (!/^\d{1,5}$/.test(tag) || group < 1 || group > 65535) {
    throw new ServiceError('bad-request', `portal '${text}': the portal group tag is a number from 1 to 65535`);
  }
  if (advertised === undefined) return { host, port, group };
  parseHostPort(advertised, 'advertised portal');
  return { host, port, group, advertised };
}

/** Throws ServiceError bad-request for two addresses that cannot be listened on at once: each sounds free by itself. */
function checkDistinct(portals: readonly HostPort[], api: HostPort): void {
  const named = [...portals.map((each) => ({ what: 'portal', ...each })), { what: 'api', ...api }];
  const overlap = (a: string, b: string): boolean => {
    const family = (host: string): number => (host.includes(':') ? 6 : 4);
    // [::] takes IPv4 as well.
    return a === b || [a, b].includes('::') || ([a, b].includes('0.0.0.0') && family(a) === family(b));
  };
  named.forEach((one, i) => {
    const other = named.slice(0, i).find((each) => each.port === one.port && overlap(each.host, one.host));
    if (other === undefined || one.port === 0) return;
    const [first, second] = [other, one].map(({ what, host, port }) => `${what} ${formatHostPort(host, port)}`);
    throw new ServiceError(
      'bad-request',
      `${first ?? ''} and ${second ?? ''} are the same port: leave one out or change it`,
    );
  });
}

function fromFlags(
  argv: readonly string[],
  version: string,
): { flags: Settings; json: boolean; config: string | undefined } {
  let text = '';
  const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];
  const program = new Command('gemeld')
    .description('Serves disks over iSCSI.')
    .version(version)
    .option('--json', 'print one JSON line when ready', false)
    .option('--data <folder>', 'where disks and settings live (GEMEL_DATA)')
    .option('--portal <host:port[,tag[,advertised]]>', 'iSCSI address, repeatable (GEMEL_PORTAL, by spaces)', collect)
    .option('--api <host:port>', 'HTTPS address of the API (GEMEL_API_LISTEN)')
    .option('--tls-cert <file>', 'PEM certificate of the API, with its chain (GEMEL_TLS_CERT)')
    .option('--tls-key <file>', 'PEM key of that certificate (GEMEL_TLS_KEY)')
    .option('--nbd-socket <path>', 'unix socket for NBD, or none (default: nbd.sock in --data) (GEMEL_NBD_SOCKET)')
    .option('--nbd-listen <host:port>', 'NBD over TCP, with TLS only (GEMEL_NBD_LISTEN)')
    .option('--nbd-tls <folder>', 'its ca-cert.pem, server-cert.pem, server-key.pem (GEMEL_NBD_TLS)')
    .option('--demo-size <size>', 'size of the thin disk made at the first start, default 10G (GEMEL_DEMO_SIZE)')
    .option('--pool-size <size>', 'pool made at the first start (default: 9/10 of what is free) (GEMEL_POOL_SIZE)')
    .option('--no-demo', 'make neither pool nor disk at the first start (GEMEL_NO_DEMO=1)')
    .option('--iqn-prefix <iqn>', 'what new target names start with, fixed at the first start (GEMEL_IQN_PREFIX)')
    .option('--cache-size <size>', 'RAM cache, 0 for none (default: a quarter of RAM, at most 4G) (GEMEL_CACHE_SIZE)')
    .option('--log-level <level>', LOG_LEVELS.join(', '))
    .option('--log-format <format>', LOG_FORMATS.join(', '))
    .option('--config <file>', 'JSON file with the same settings (GEMEL_CONFIG)')
    .allowExcessArguments(false)
    .configureOutput({ writeOut: (part) => (text += part), writeErr: () => undefined })
    .exitOverride();
  try {
    program.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) throw new TextAnswer(text);
    const what = error.message.replace(/^error: /, '');
    throw new ServiceError('bad-request', `${what} (gemeld --help lists what there is)`, { cause: error });
  }
  const given = program.opts<
    Record<string, string | undefined> & { json: boolean; demo: boolean; portal?: string[] }
  >();
  const { json, demo, portal, config, ...rest } = given;
  const flags = { ...rest, portals: portal, demo: demo ? undefined : false };
  return { flags: checkSettings(flags, 'command line'), json, config };
}

function fromEnvironment(env: OptionSources['env']): Settings {
  const text = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  const settings = {
    data: text('GEMEL_DATA'),
    portals: text('GEMEL_PORTAL')?.trim().split(/\s+/),
    api: text('GEMEL_API_LISTEN'),
    demoSize: text('GEMEL_DEMO_SIZE'),
    demo: text('GEMEL_NO_DEMO') === '1' ? false : undefined,
    poolSize: text('GEMEL_POOL_SIZE'),
    iqnPrefix: text('GEMEL_IQN_PREFIX'),
    cacheSize: text('GEMEL_CACHE_SIZE'),
    tlsCert: text('GEMEL_TLS_CERT'),
    tlsKey: text('GEMEL_TLS_KEY'),
    nbdSocket: text('GEMEL_NBD_SOCKET'),
    nbdListen: text('GEMEL_NBD_LISTEN'),
    nbdTls: text('GEMEL_NBD_TLS'),
    logLevel: text('GEMEL_LOG_LEVEL'),
    logFormat: text('GEMEL_LOG_FORMAT'),
  };
  return checkSettings(settings, 'environment');
}

function fromFile(path: string, readFile: OptionSources['readFile']): Settings {
  let content: unknown;
  try {
    content = JSON.parse(readFile(path));
  } catch (error) {
    const why = error instanceof SyntaxError ? 'is not valid JSON' : 'cannot be read';
    throw new ServiceError('bad-request', `the config file ${path} ${why}`, { cause: error });
  }
  return checkSettings(content, `config file ${path}`);
}

function checkSettings(settings: unknown, where: string): Settings {
  const result = Settings.safeParse(settings);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = issue === undefined || issue.path.length === 0 ? '' : ` ${issue.path.map(String).join('.')}:`;
  throw new ServiceError('bad-request', `${where}:${field} ${issue?.message ?? 'not settings'}`);
}

/** Without the settings that were not given. */
type Given<T> = { [K in keyof T]-?: Exclude<T[K], undefined> };
function defined<T extends object>(settings: T): Partial<Given<T>> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as Partial<Given<T>>;
}
