// Where the daemon is, and the proof that we may ask it. The token is a file that only root can read; it is read by the bridge when
// the user has administrative access, stays in the memory of this page, and is stored nowhere.
import type { Daemon } from './carrier.ts';

/** What the administrator may say in CONFIGURATION; where it says nothing, the daemon is on this machine, as its package installs it. */
interface Configuration {
  readonly api: string;
  /** Files of this machine. */
  readonly token: string;
  readonly authority: string;
}

const DEFAULTS: Configuration = {
  api: '127.0.0.1:7480',
  token: '/var/lib/gemel/token',
  authority: '/var/lib/gemel/tls/ca.pem',
};
const CONFIGURATION = '/etc/gemel/cockpit.json';
/** Bytes of any of these files. */
const MOST = 65_536;

export class Unreachable extends Error {}

/** Throws Unreachable, with what is missing. */
export async function findDaemon(): Promise<Daemon & { token: string }> {
  const { api, token, authority } = await configuration();
  const secret = (await need(token)).trim();
  await need(authority);
  return { api, token: secret, authority };
}

async function configuration(): Promise<Configuration> {
  const path = await configurationPath();
  const text = await read(path);
  if (text === null) return DEFAULTS;
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    throw new Unreachable(`${path} is not JSON`);
  }
  if (typeof given !== 'object' || given === null) throw new Unreachable(`${path} is not a JSON object`);
  const known: Record<string, string> = { ...DEFAULTS };
  for (const [key, value] of Object.entries(given)) {
    if (!(key in known) || typeof value !== 'string') throw new Unreachable(`${path}: ${key} is not known, or no text`);
    known[key] = value;
  }
  return { ...DEFAULTS, ...known };
}

/** The file beside the page names it, so that one machine can have several daemons, each with a page. */
async function configurationPath(): Promise<string> {
  const response = await fetch('./settings.json', { cache: 'no-store' });
  if (!response.ok) return CONFIGURATION;
  const { configuration: path } = (await response.json()) as { configuration?: unknown };
  return typeof path === 'string' ? path : CONFIGURATION;
}

async function need(path: string): Promise<string> {
  const text = await read(path);
  if (text === null) throw new Unreachable(`there is no ${path}: is Gemel installed here, and has it been started?`);
  return text;
}

async function read(path: string): Promise<string | null> {
  const file = cockpit.file(path, { superuser: 'try', max_read_size: MOST });
  try {
    return await file.read();
  } catch (error) {
    const { problem, message } = error as CockpitError;
    if (problem === 'access-denied') throw new Unreachable(`${path} may be read with administrative access only`);
    throw new Unreachable(`${path}: ${message ?? problem ?? 'it cannot be read'}`);
  } finally {
    file.close();
  }
}
