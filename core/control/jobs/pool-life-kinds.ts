// Jobs by which pools come and go: made, made larger, taken off this node, attached to it.
import { normalize } from 'node:path';
import { ServiceError } from '../../base/errors.ts';
import { formatSize } from '../../base/sizes.ts';
import { GRAIN } from '../../volume/grain.ts';
import type { Catalog } from '../catalog.ts';
import type { EventObject } from '../events.ts';
import type { ImportPool, PlannedExport, PlannedImport, PoolMoves } from '../pool-moves.ts';
import type { CreatePool, GrowPool } from '../pool-plan.ts';
import type { PlannedPool } from '../pool-site.ts';
import type { PoolManager } from '../pools.ts';
import type { PoolRecord } from '../records.ts';
import { isOver, jobKind } from './job.ts';
import type { AnyKind } from './job.ts';
import { runningOn } from './pool-kinds.ts';

export interface GrowPoolJob extends GrowPool {
  readonly pool: string;
}

/** As the journal has it. */
interface GrowPoolPlan extends GrowPoolJob {
  /** Bytes of volume data it had. */
  readonly from: number;
}

export interface ExportPoolJob {
  readonly pool: string;
  /** Although initiators use volumes of it. */
  readonly force?: boolean | undefined;
}

export interface PoolLifeOptions {
  readonly catalog: Catalog;
  readonly pools: PoolManager;
  readonly moves: PoolMoves;
}

const CREATE = 'pool-create';

const normalized = (path: string | undefined): string | undefined => (path === undefined ? undefined : normalize(path));
const poolObject = (name: string): EventObject => ({ kind: 'pool', name });

/** A job makes this pool, and goes on with it. */
export const isBeingMade = (catalog: Catalog, { name, id }: PoolRecord): boolean =>
  catalog.jobs
    .values()
    .some(
      (job) =>
        job.kind === CREATE &&
        job.object.name === name &&
        !isOver(job) &&
        (job.request as unknown as PlannedPool).record.id === id,
    );

export function poolLifeKinds({ catalog, pools, moves }: PoolLifeOptions): AnyKind[] {
  const bytesOf = (pool: string): number => pools.pool(pool).allocator.total * GRAIN;
  return [
    jobKind<PlannedPool, CreatePool>({
      kind: CREATE,
      resume: 'continue',
      cancellable: true,
      title: ({ record }) => `creation of pool ${record.name}`,
      object: ({ record }) => poolObject(record.name),
      prepare: (asked) => pools.plan(asked),
      steps: () => [
        {
          name: 'reserve',
          do: async ({ request }) => {
            await pools.reserve(request);
            return undefined;
          },
          // All of it, whichever step it came to: the record is what says that there is something to take back.
          undo: ({ request }) => pools.undoCreate(request),
        },
        {
          name: 'format',
          weight: 8,
          do: async ({ request, checkpoint, progress }) => {
            checkpoint();
            progress(0, 'writing journal and checksums');
            await pools.format(request);
            return undefined;
          },
        },
        {
          name: 'open',
          do: async ({ request, checkpoint }) => {
            checkpoint();
            await pools.begin(request);
            return { name: request.record.name, capacityBytes: bytesOf(request.record.name) };
          },
        },
      ],
    }),
    jobKind<GrowPoolPlan, GrowPoolJob>({
      kind: 'pool-grow',
      resume: 'continue',
      cancellable: false,
      title: ({ pool }) => `more room for pool ${pool}`,
      object: ({ pool }) => poolObject(pool),
      prepare: ({ pool, bytes, folder, device }) => {
        const from = bytesOf(pool);
        if (runningOn(catalog, 'pool-grow', pool) !== undefined) {
          throw new ServiceError('in-use', `pool '${pool}' is being made larger already`);
        }
        return { pool, bytes, folder: normalized(folder), device: normalized(device), from };
      },
      steps: () => [
        {
          name: 'grow',
          do: async ({ request: { pool, from, ...wanted }, progress }) => {
            // Slabs are added one by one: a crash may have come after some, or all, of them.
            const got = bytesOf(pool) - from;
            const { folder, device, bytes } = wanted;
            const isMember = pools.members(pool).some(({ path }) => path === folder || path === device);
            const left = bytes === undefined ? undefined : bytes - got;
            const done =
              folder === undefined && device === undefined ? got > 0 && (left ?? 0) <= 0 : isMember && got > 0;
            if (!done) {
              progress(0, bytes === undefined ? 'adding room' : `adding ${formatSize(bytes)}`);
              const all = folder !== undefined || left === undefined ? wanted : { ...wanted, bytes: left };
              await pools.grow(pool, all);
            }
            return { from, to: bytesOf(pool) };
          },
        },
      ],
    }),
    jobKind<PlannedExport, ExportPoolJob>({
      kind: 'pool-export',
      resume: 'continue',
      cancellable: false,
      title: ({ name }) => `export of pool ${name}`,
      object: ({ name }) => poolObject(name),
      prepare: ({ pool, force = false }) => moves.planExport(pool, force),
      steps: () => [
        {
          // In one piece: volumes are withdrawn, the pool is closed and says in its superblock that it left; or all is as it was.
          name: 'export',
          do: async ({ request }) => {
            await moves.release(request);
            return { name: request.name, parts: request.parts.map((part) => ({ ...part })) };
          },
        },
      ],
    }),
    jobKind<PlannedImport, ImportPool>({
      kind: 'pool-import',
      resume: 'continue',
      cancellable: false,
      title: ({ name }) => `import of pool ${name}`,
      object: ({ name }) => poolObject(name),
      prepare: (asked) => moves.planImport(asked),
      steps: () => [
        {
          name: 'adopt',
          weight: 4,
          do: async ({ request }) => {
            await moves.adopt(request);
            return undefined;
          },
          undo: ({ request }) => {
            moves.refuseAdopted(request);
            return Promise.resolve();
          },
        },
        {
          name: 'serve',
          do: async ({ request: { name } }) => ({ name, volumes: await moves.serve(name) }),
        },
      ],
    }),
  ];
}
