// NBD in the daemon: the volumes that are mapped to its clients, and volumes that live behind other people's servers.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ServiceError, messageOf } from '../base/errors.ts';
import { formatHostPort } from '../base/host-port.ts';
import type { Log } from '../base/log.ts';
import { parseNbdUri } from '../base/nbd-uri.ts';
import type { TlsIdentity, World } from '../base/world.ts';
import type { Catalog } from '../control/catalog.ts';
import type { OpenNbd } from '../control/node-backend.ts';
import { NBD_CLIENTS } from '../control/records.ts';
import type { Units } from '../control/units.ts';
import type { NbdExport, NbdExports } from '../nbd/export.ts';
import { NbdVolume } from '../nbd/nbd-volume.ts';
import { NbdServer } from '../nbd/server.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import { Durability } from '../volume/volume.ts';
import type { DaemonOptions } from './options.ts';

/** Root, and the group the file has, may open the socket. */
const SOCKET_MODE = 0o660;

interface Parts {
  readonly world: World;
  readonly log: Log;
  readonly catalog: Catalog;
  readonly units: Units;
}

/** The served volumes that are mapped to `nbd`, under their names. */
class MappedVolumes implements NbdExports {
  readonly #parts: Parts;
  readonly #exports = new WeakMap<LogicalUnit, Map<boolean, NbdExport>>();
  readonly #leave = new WeakMap<NbdExport, (() => void)[]>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  names(): string[] {
    const { units } = this.#parts;
    return units.all().flatMap(({ record: { name } }) => (this.find(name) === undefined ? [] : [name]));
  }

  find(name: string): NbdExport | undefined {
    const { catalog, log, units } = this.#parts;
    const lu = units.unit(name);
    const access = this.#access(name);
    if (lu === undefined || access === undefined) return undefined;
    if (isReserved(lu)) {
      log.warn({ volume: name }, 'reserved by an initiator: not opened over NBD, which knows no reservations');
      return undefined;
    }
    const kinds = this.#exports.get(lu) ?? new Map<boolean, NbdExport>();
    this.#exports.set(lu, kinds);
    const made = kinds.get(access.readOnly);
    if (made !== undefined) return made;
    const isGone = (): boolean =>
      lu.retired || units.unit(name) !== lu || this.#access(name)?.readOnly !== access.readOnly || isReserved(lu);
    const served: NbdExport = {
      name,
      description: `Gemel volume ${catalog.volumes.get(name)?.id ?? ''}`,
      volume: lu.volume,
      locks: lu.locks,
      readOnly: access.readOnly,
      get gone() {
        return isGone();
      },
      count: (kind, bytes, failed) => {
        const { counters } = lu;
        if (failed) counters.errors++;
        else if (kind === 'read') {
          counters.reads++;
          counters.readBytes += bytes;
        } else {
          counters.writes++;
          counters.writtenBytes += bytes;
        }
      },
    };
    kinds.set(access.readOnly, served);
    return served;
  }

  opened(served: NbdExport): void {
    const leave = this.#leave.get(served) ?? [];
    this.#leave.set(served, leave);
    leave.push(this.#parts.units.use(served.name, 'a NBD client'));
  }

  closed(served: NbdExport): void {
    this.#leave.get(served)?.pop()?.();
  }

  #access(name: string): { readonly readOnly: boolean } | undefined {
    return this.#parts.catalog.volumes.get(name)?.maps.find(({ who }) => who === NBD_CLIENTS);
  }
}

const isReserved = (lu: LogicalUnit): boolean => lu.reservations.reservation !== undefined;

/** Listens where the options say. Rejects with a ServiceError; nothing listens then. */
export async function startNbd(options: DaemonOptions, parts: Parts): Promise<NbdServer> {
  const { world, log } = parts;
  const server = new NbdServer({ world, log, exports: new MappedVolumes(parts) });
  try {
    if (options.nbdSocket !== undefined) await server.listen({ path: options.nbdSocket, mode: SOCKET_MODE });
    if (options.nbd !== undefined) {
      const { host, port, ca, cert, key } = options.nbd;
      await server.listen({ host, port, tls: await identityFrom(ca, cert, key) });
      log.info({ address: formatHostPort(host, port) }, 'NBD with TLS is served');
    }
  } catch (error) {
    await server.close(0);
    throw error;
  }
  return server;
}

/** How the node opens volumes of kind `nbd`. */
export function nbdOpener(world: World, log: Log): OpenNbd {
  return async ({ path, blockSize, durability }) => {
    const { to, exportName, certificates } = parseNbdUri(path);
    const options = {
      ...{ world, log, to, exportName },
      blockSize: blockSize === 4096 ? (4096 as const) : (512 as const),
      durability: durability === Durability.volatile ? Durability.volatile : Durability.durable,
    };
    if (certificates === undefined) return NbdVolume.open(options);
    const [ca, cert, key] = ['ca-cert.pem', 'client-cert.pem', 'client-key.pem'].map((name) =>
      join(certificates, name),
    );
    const identity = await identityFrom(ca ?? '', cert ?? '', key ?? '');
    return NbdVolume.open({ ...options, tls: { ...identity, expect: 'host' in to ? to.host : '' } });
  };
}

async function identityFrom(ca: string, cert: string, key: string): Promise<TlsIdentity> {
  const read = async (path: string): Promise<string> => {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      throw new ServiceError('bad-request', `${path} cannot be read: ${messageOf(error)}`, { cause: error });
    }
  };
  return { ca: await read(ca), cert: await read(cert), key: await read(key) };
}
