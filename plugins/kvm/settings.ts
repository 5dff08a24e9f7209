// What is known about this host: /etc/gemel/kvm.json, or what the command line says instead.
import { readFileSync, statSync } from 'node:fs';
import { ServiceError, messageOf } from '../../core/base/errors.ts';
import { parseUri } from './rpc/transport.ts';
import type { Address } from './rpc/transport.ts';

export const SETTINGS_FILE = '/etc/gemel/kvm.json';
const INITIATOR_FILE = '/etc/iscsi/initiatorname.iscsi';
const STATE_FOLDER = '/var/lib/gemel-kvm';
const VHOST_SOCKETS = '/run/gemel-vhost';
const LIBVIRT_URI = 'qemu:///system';

export interface KvmSettings {
  /** Name of the host in the catalog. */
  readonly host: string;
  /** iSCSI name it logs in with, in lower case. */
  readonly initiator: string;
  readonly libvirt: Address;
  /** Where flows are remembered. */
  readonly state: string;
  /** HOST:PORT of the portal to use, instead of the first of a volume: libvirt takes exactly one. */
  readonly portal: string | undefined;
  readonly chap: { readonly user: string; readonly secretFile: string } | undefined;
  /** Unix socket of gemeld's NBD server, on the storage host itself. */
  readonly nbdSocket: string | undefined;
  /** Where the sockets of vhost-user disks are; the last part of its name says whose they are. */
  readonly vhostFolder: string;
  /** The API, when the command line says nothing. */
  readonly api: string | undefined;
  readonly tokenFile: string | undefined;
}

const KEYS = [
  'host',
  'initiator',
  'libvirt',
  'state',
  'portal',
  'chapUser',
  'chapSecretFile',
  'nbdSocket',
  'vhostFolder',
  'api',
  'tokenFile',
] as const;
export type GivenSettings = Readonly<Partial<Record<(typeof KEYS)[number], string>>>;

/** `given` counts before the file. Throws ServiceError bad-request. */
export function readSettings(file: string | undefined, given: GivenSettings): KvmSettings {
  const all = { ...fromFile(file), ...given };
  const { host, chapUser, chapSecretFile } = all;
  if (host === undefined || !/^[a-z0-9][a-z0-9.-]{0,62}$/.test(host)) {
    throw new ServiceError(
      'bad-request',
      `'${host ?? ''}' is not the name of a host: set "host" in ${SETTINGS_FILE}, or --host`,
    );
  }
  if ((chapUser === undefined) !== (chapSecretFile === undefined)) {
    throw new ServiceError('bad-request', 'chapUser and chapSecretFile belong together');
  }
  const initiator = (all.initiator ?? ownInitiator()).toLowerCase();
  if (!/^(iqn\.\d{4}-\d{2}\.|eui\.|naa\.)[\x21-\x7e]{1,200}$/.test(initiator)) {
    throw new ServiceError('bad-request', `'${initiator.slice(0, 100)}' is no iSCSI name`);
  }
  const vhostFolder = all.vhostFolder ?? VHOST_SOCKETS;
  if (!/^\/.*\/gemel-vhost$/.test(vhostFolder)) {
    throw new ServiceError('bad-request', `"vhostFolder" has to end with /gemel-vhost: ${vhostFolder}`);
  }
  return {
    host,
    initiator,
    libvirt: parseUri(all.libvirt ?? LIBVIRT_URI),
    state: all.state ?? STATE_FOLDER,
    portal: all.portal,
    chap: chapUser === undefined ? undefined : { user: chapUser, secretFile: chapSecretFile ?? '' },
    nbdSocket: all.nbdSocket,
    vhostFolder,
    api: all.api,
    tokenFile: all.tokenFile,
  };
}

/** The CHAP secret of this host. Throws ServiceError bad-request. */
export function readSecret(file: string): Buffer {
  try {
    if (statSync(file).size > 4096) throw new Error('it is too large');
    return Buffer.from(readFileSync(file, 'utf8').replace(/\r?\n$/, ''), 'utf8');
  } catch (error) {
    throw new ServiceError('bad-request', `the CHAP secret cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

function fromFile(file: string | undefined): GivenSettings {
  let text: string;
  try {
    text = readFileSync(file ?? SETTINGS_FILE, 'utf8');
  } catch (error) {
    if (file === undefined) return {};
    throw new ServiceError('bad-request', `the settings cannot be read: ${messageOf(error)}`, { cause: error });
  }
  const bad = (why: string): ServiceError => new ServiceError('bad-request', `${file ?? SETTINGS_FILE}: ${why}`);
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch (error) {
    throw bad(messageOf(error));
  }
  if (typeof read !== 'object' || read === null) throw bad('it is no object');
  for (const [key, value] of Object.entries(read)) {
    if (!(KEYS as readonly string[]).includes(key)) throw bad(`'${key}' is no setting`);
    if (typeof value !== 'string') throw bad(`'${key}' is no text`);
  }
  return read;
}

/** What open-iscsi calls this host. */
function ownInitiator(): string {
  try {
    const name = /^\s*InitiatorName\s*=\s*(\S+)/m.exec(readFileSync(INITIATOR_FILE, 'utf8'))?.[1];
    if (name !== undefined) return name;
  } catch {
    // Said below.
  }
  throw new ServiceError('bad-request', `no iSCSI name: set "initiator" in ${SETTINGS_FILE}, or --initiator`);
}
