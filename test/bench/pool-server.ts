// A process that serves one volume of a pool over iSCSI as the daemon would (LUN 0), and a memory volume beside it (LUN 1).
// Started by pool.ts with its options as JSON; answers requests over the channel it was started with.
import { randomBytes } from 'node:crypto';
import { silentLog } from '../../core/base/log.ts';
import type { Log } from '../../core/base/log.ts';
import { CachedVolume } from '../../core/cache/cached-volume.ts';
import { L1Cache } from '../../core/cache/l1-cache.ts';
import { openPool } from '../../core/pool/open.ts';
import { Durability } from '../../core/volume/volume.ts';
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import { loadNativeCrc } from '../../core/world/native-crc.ts';
import { nodeWorld } from '../../core/world/node-world.ts';
import { IQN, startTarget } from '../support/target.ts';
import { MIB, freshPool, placeOf } from './pool-fixture.ts';

export interface ServerOptions {
  readonly folder: string;
  /** Bytes. */
  readonly volume: number;
  readonly cache: number;
  readonly journal: number;
  readonly memory: number;
  /** Open the pool that is there. */
  readonly existing: boolean;
}

export type ServerRequest =
  | { readonly kind: 'checkpoint' | 'facts' | 'close' }
  /** Writes all of the volume once, with data that nobody could compress. */
  | { readonly kind: 'fill' }
  /** Snapshots, with a small write before each so that they differ. */
  | { readonly kind: 'snapshots'; readonly count: number };

export interface ServerFacts {
  /** `HOST:PORT/IQN` for the load generator. */
  readonly url: string;
  readonly appends: number;
  readonly appendedBytes: number;
  readonly checkpoints: number;
  readonly destagedBytes: number;
  /** Milliseconds the request took. */
  readonly took: number;
}

const complaints: Log = {
  ...silentLog,
  error: (fields, message) => {
    console.error(message, JSON.stringify(fields));
  },
};

async function serve(options: ServerOptions): Promise<void> {
  await loadNativeCrc();
  const world = await nodeWorld();
  const { folder, journal } = options;
  const made = options.existing
    ? (await openPool(placeOf(world, folder, complaints))).pool
    : await freshPool(world, folder, options.volume * 2, journal);
  const first = [...made.entries.keys()].at(0);
  const id = first ?? (await made.create({ size: options.volume, thick: false, created: 0 }));
  const cache = new L1Cache(options.cache, options.cache / 2);
  const opened = made.open(id, { blockSize: 512, durability: Durability.durable, readOnly: false });
  const volume = new CachedVolume(opened, cache, world.clock);
  const target = await startTarget({ volumes: [volume, new MemoryVolume(Math.max(options.memory, MIB))] });
  const facts = (took: number): ServerFacts => ({
    url: `127.0.0.1:${String(target.port)}/${IQN}`,
    appends: made.journal.appends,
    appendedBytes: made.journal.appendedBytes,
    checkpoints: made.checkpoints,
    destagedBytes: volume.counters().destagedBytes,
    took,
  });
  const handle = async (request: ServerRequest): Promise<void> => {
    const begun = performance.now();
    if (request.kind === 'checkpoint') await made.checkpoint();
    if (request.kind === 'fill') {
      for (let at = 0; at < options.volume; at += MIB) {
        const length = Math.min(MIB, options.volume - at);
        await volume.write(at, randomBytes(length), 0, length, false);
      }
    }
    if (request.kind === 'snapshots') {
      const block = Buffer.alloc(4096, 0x77);
      for (let i = 0; i < request.count; i++) {
        block.writeUInt32BE(i, 0);
        await volume.write(((i * 7919) % Math.floor(options.volume / 4096)) * 4096, block, 0, 4096, false);
        await made.copy([id], false, 0);
      }
    }
    if (request.kind === 'close') {
      await target.close();
      await volume.close();
      await made.close();
    }
    process.send?.(facts(performance.now() - begun));
    if (request.kind === 'close') process.disconnect();
  };
  process.on('message', (request) => {
    handle(request as ServerRequest).catch((error: unknown) => {
      console.error(error);
      process.exit(1);
    });
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.(facts(0));
}

const [text] = process.argv.slice(2);
// Imported for its types alone it does nothing.
if (text !== undefined && process.send !== undefined) await serve(JSON.parse(text) as ServerOptions);
