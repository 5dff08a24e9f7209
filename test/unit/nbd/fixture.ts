// A NBD server of ours over a memory volume on a unix socket, and a client of ours.
import { join } from 'node:path';
import { NbdServer } from '../../../core/nbd/server.ts';
import type { NbdExport, NbdExports } from '../../../core/nbd/export.ts';
import { NbdVolume } from '../../../core/nbd/nbd-volume.ts';
import type { NbdVolumeOptions } from '../../../core/nbd/nbd-volume.ts';
import { MemoryVolume } from '../../../core/volume/memory-volume.ts';
import { RangeLocks } from '../../../core/volume/range-locks.ts';
import type { Volume } from '../../../core/volume/volume.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import type { Log } from '../../../core/base/log.ts';
import type { World } from '../../../core/base/world.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

export interface Noted {
  readonly level: string;
  readonly message: string;
}

/** A log that keeps what it is told. */
export function keptLog(noted: Noted[]): Log {
  const at =
    (level: string) =>
    (_: unknown, message: string): void => {
      noted.push({ level, message });
    };
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), child: () => log };
  return log;
}

export interface Served extends NbdExport {
  gone: boolean;
  users: number;
  /** It can be opened, and its first request ends the connection. */
  dropping: boolean;
}

/** Exports by name, as a daemon has them. */
export class Shelf implements NbdExports {
  readonly all = new Map<string, Served>();
  readonly #opened = new WeakSet<NbdExport>();

  add(name: string, volume: Volume, readOnly = false): Served {
    const served = {
      name,
      description: `disk ${name}`,
      volume,
      locks: new RangeLocks(),
      readOnly,
      gone: false,
      users: 0,
      dropping: false,
    };
    this.all.set(name, served);
    return served;
  }

  names(): string[] {
    return [...this.all.keys()];
  }

  find(name: string): NbdExport | undefined {
    const found = this.all.get(name);
    if (found?.dropping !== true) return found;
    const opened = this.#opened;
    return {
      ...found,
      get gone() {
        return opened.has(this);
      },
    };
  }

  opened(served: NbdExport): void {
    this.#opened.add(served);
    (served as Served).users++;
  }

  closed(served: NbdExport): void {
    (served as Served).users--;
  }
}

export async function nbdFixture(volume: Volume = new MemoryVolume(8_388_608)) {
  const folder = temporaryFolder('nbd');
  const world: World = await nodeWorld();
  const noted: Noted[] = [];
  const log = keptLog(noted);
  const shelf = new Shelf();
  const served = shelf.add('disk', volume);
  const path = join(folder.path, 'nbd.sock');
  const start = async (): Promise<NbdServer> => {
    const server = new NbdServer({ world, log, exports: shelf });
    await server.listen({ path, mode: 0o600 });
    return server;
  };
  let server = await start();
  const open = (options: Partial<NbdVolumeOptions> = {}): Promise<NbdVolume> =>
    NbdVolume.open({
      ...{ world, log, to: { path }, exportName: 'disk', blockSize: 512 as const, durability: 'durable' as const },
      ...options,
    });
  return {
    ...{ world, log, noted, shelf, served, path, open, folder },
    get server(): NbdServer {
      return server;
    },
    restart: async (): Promise<void> => {
      server = await start();
    },
    stop: (): Promise<void> => server.close(0),
    end: async (): Promise<void> => {
      await server.close(0);
      folder.remove();
    },
  };
}
