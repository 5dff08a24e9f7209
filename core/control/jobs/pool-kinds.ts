// Jobs on the data of a pool: scrub, check.
import { ServiceError } from '../../base/errors.ts';
import { MAX_REPORTED_DAMAGE, SCRUB_RATE } from '../../base/limits.ts';
import type { CheckResult } from '../../pool/check.ts';
import type { Catalog } from '../catalog.ts';
import type { EventObject, Events } from '../events.ts';
import type { PoolManager } from '../pools.ts';
import type { AnyKind, JobRecord } from './job.ts';
import { JobStopped, isOver, jobKind } from './job.ts';
import type { Jobs } from './jobs.ts';

export interface ScrubJob {
  readonly pool: string;
  /** Bytes a second. */
  readonly rate?: number | undefined;
}

export interface CheckJob {
  readonly pool: string;
}

export interface PoolKindOptions {
  readonly catalog: Catalog;
  readonly pools: PoolManager;
  readonly events: Events;
}

const poolObject = ({ pool }: { readonly pool: string }): EventObject => ({ kind: 'pool', name: pool });

/** The job of this kind that works on the pool now. */
export function runningOn(catalog: Catalog, kind: string, name: string): JobRecord | undefined {
  return catalog.jobs.values().find((job) => job.kind === kind && job.object.name === name && !isOver(job));
}

/** Runs the check of a pool as a job; who asks while one runs gets the answer of that one. */
export async function checkByJob(jobs: Jobs, catalog: Catalog, pool: string): Promise<CheckResult> {
  const { id } = runningOn(catalog, 'pool-check', pool) ?? (await jobs.submit('pool-check', { pool }));
  const { state, result, error } = await jobs.wait(id);
  if (error !== undefined) throw new ServiceError(error.code, error.message);
  if (state !== 'done') throw new ServiceError('interrupted', `the check of pool '${pool}' was stopped`);
  return result as unknown as CheckResult;
}

export function poolKinds({ catalog, pools, events }: PoolKindOptions): AnyKind[] {
  /** Throws ServiceError unless the pool is open and no job of this kind works on it. */
  const only = (kind: string, pool: string, doing: string): void => {
    pools.pool(pool);
    if (runningOn(catalog, kind, pool) !== undefined) {
      throw new ServiceError('in-use', `pool '${pool}' is being ${doing} already`);
    }
  };
  return [
    jobKind<ScrubJob>({
      kind: 'pool-scrub',
      // From the beginning: what was read before the crash may have been damaged by it.
      resume: 'continue',
      cancellable: true,
      title: ({ pool }) => `scrub of pool ${pool}`,
      object: poolObject,
      prepare: (asked) => {
        only('pool-scrub', asked.pool, 'scrubbed');
        return { pool: asked.pool, rate: asked.rate ?? SCRUB_RATE };
      },
      steps: () => [
        {
          name: 'read',
          background: true,
          do: async ({ request: { pool, rate = SCRUB_RATE }, stopped, checkpoint, progress }) => {
            const view = await pools.jobs(pool).runScrub(rate, stopped, ({ doneBytes, totalBytes, damaged }) => {
              const found = damaged.length === 0 ? '' : `, ${String(damaged.length)} damaged`;
              progress(totalBytes === 0 ? 0 : doneBytes / totalBytes, `reading${found}`);
            });
            const { doneBytes, damaged, state } = view;
            if (damaged.length > 0) {
              const first = `${damaged[0]?.volume ?? ''} at byte ${String(damaged[0]?.position ?? 0)}`;
              const text = `scrub found ${String(damaged.length)} damaged block(s) in pool '${pool}': ${first}`;
              events.post({ severity: 'critical', code: 'scrub-damage', object: poolObject({ pool }), text });
            }
            checkpoint();
            if (state !== 'done') throw new ServiceError('interrupted', `pool '${pool}' was closed`);
            const listed = damaged.slice(0, MAX_REPORTED_DAMAGE).map((each) => ({ ...each }));
            return { doneBytes, damagedBlocks: damaged.length, damaged: listed };
          },
        },
      ],
    }),
    jobKind<CheckJob>({
      kind: 'pool-check',
      resume: 'continue',
      cancellable: true,
      title: ({ pool }) => `check of pool ${pool}`,
      object: poolObject,
      prepare: (asked) => {
        only('pool-check', asked.pool, 'checked');
        return { pool: asked.pool };
      },
      steps: () => [
        {
          name: 'count',
          background: true,
          do: async ({ request: { pool }, stopped, progress }) => {
            const work = pools.jobs(pool);
            const looking = work.check(() => {
              // It asks many times a second.
              progress(work.checking ?? 0, 'counting references');
              return stopped();
            });
            const result = await looking.catch((error: unknown) => {
              throw stopped() ? new JobStopped() : error;
            });
            if (result.findings.length > 0) {
              const text = `pool '${pool}' is not consistent: ${result.findings[0] ?? ''}`;
              events.post({ severity: 'critical', code: 'pool-inconsistent', object: poolObject({ pool }), text });
            }
            return { ...result };
          },
        },
      ],
    }),
  ];
}
