// Jobs on volumes and snapshots: deletion with the space that comes back, another size, clones of a group at one instant.
import { ServiceError } from '../../base/errors.ts';
import { JOB_TELL, MAX_GROUP } from '../../base/limits.ts';
import { formatSize } from '../../base/sizes.ts';
import type { Clock } from '../../base/world.ts';
import type { Catalog } from '../catalog.ts';
import type { EventObject } from '../events.ts';
import type { PoolManager } from '../pools.ts';
import type { Provisioner } from '../provision.ts';
import type { Snapshots } from '../snapshots.ts';
import type { Trash } from '../trash.ts';
import { jobKind } from './job.ts';
import type { AnyKind, Step, StepContext } from './job.ts';

export interface DeleteVolumeJob {
  readonly name: string;
  readonly force?: boolean | undefined;
  readonly withSnapshots?: boolean | undefined;
  /** At once and for good, instead of keeping the data for a while. */
  readonly purge?: boolean | undefined;
}

/** As the journal has it: which one it was, whoever has the name later. */
interface DeleteVolume extends DeleteVolumeJob {
  readonly id: string;
  /** Milliseconds the data is kept. */
  readonly keep: number;
  readonly pool?: string;
  /** Ids whose space comes back. */
  readonly ids: readonly string[];
}

export interface PurgeVolumeJob {
  /** Name or id of a deleted volume. */
  readonly volume: string;
}

export interface DeleteSnapshotJob {
  readonly volume: string;
  readonly snapshot: string;
}

interface DeleteSnapshot extends DeleteSnapshotJob {
  readonly id: string;
  readonly pool: string;
}

export interface ResizeVolumeJob {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly force?: boolean | undefined;
}

interface ResizeVolume extends ResizeVolumeJob {
  readonly before: number;
}

export interface CloneGroupJob {
  /** What is cloned, all of one pool and at one instant, and the names of the clones. */
  readonly volumes: readonly { readonly source: string; readonly name: string }[];
}

interface CloneGroup {
  readonly volumes: readonly { readonly source: string; readonly name: string; readonly id: string }[];
  /** Of the snapshots in between. */
  readonly snapshot: string;
}

export interface VolumeKindOptions {
  readonly catalog: Catalog;
  readonly pools: PoolManager;
  readonly provisioner: Provisioner;
  readonly snapshots: Snapshots;
  readonly trash: Trash;
  readonly clock: Clock;
}

const volumeObject = ({ name }: { readonly name: string }): EventObject => ({ kind: 'volume', name });

/** Waits until the space of these volumes and snapshots of a pool is free. */
function spaceStep<R>(
  { pools, clock }: VolumeKindOptions,
  of: (request: R) => { pool: string | undefined; ids: readonly string[] },
): Step<R> {
  return {
    name: 'space',
    background: true,
    weight: 4,
    do: async ({ request, checkpoint, progress }) => {
      const { pool = '', ids } = of(request);
      for (;;) {
        const open = pool !== '' && pools.problem(pool) === undefined;
        const work = open ? pools.jobs(pool) : undefined;
        const left = ids.filter((id) => work?.freeing(id) === true);
        if (work === undefined || left.length === 0) return undefined;
        const done = left.reduce((sum, id) => sum + work.freed(id), ids.length - left.length);
        progress(done / ids.length, 'giving space back');
        checkpoint();
        await new Promise<void>((resolve) => clock.after(JOB_TELL, resolve));
      }
    },
  };
}

export function volumeKinds(options: VolumeKindOptions): AnyKind[] {
  const { catalog, provisioner, snapshots, trash } = options;
  return [
    jobKind<DeleteVolume, DeleteVolumeJob>({
      kind: 'volume-delete',
      resume: 'continue',
      cancellable: false,
      title: ({ name }) => `deletion of volume ${name}`,
      object: volumeObject,
      prepare: async (asked) => {
        const { name, force = false, withSnapshots = false, purge = false } = asked;
        if (!force) await provisioner.sessionsEnd(name);
        const record = provisioner.volume(name);
        provisioner.refuseDeletion(record, force, withSnapshots);
        const keep = purge ? 0 : trash.keepFor(record);
        const ids = [record.id, ...catalog.snapshotsOf(name).map((snapshot) => snapshot.id)];
        const pool = record.pool === undefined ? {} : { pool: record.pool };
        return { name, force, withSnapshots, purge, id: record.id, keep, ids, ...pool };
      },
      steps: ({ keep }) => [
        {
          name: 'delete',
          do: async ({ request: { name, id, force = false, withSnapshots = false, keep } }) => {
            const isIt = catalog.volumes.get(name)?.id === id;
            if (isIt) await provisioner.delete(name, force, withSnapshots, keep);
            const kept = catalog.deleted.get(id);
            return kept === undefined ? undefined : { keptUntil: new Date(kept.until).toISOString() };
          },
        },
        ...(keep > 0 ? [] : [spaceStep(options, ({ pool, ids }: DeleteVolume) => ({ pool, ids }))]),
      ],
    }),
    jobKind<DeleteVolume, PurgeVolumeJob>({
      kind: 'volume-purge',
      resume: 'continue',
      cancellable: false,
      title: ({ name }) => `purge of deleted volume ${name}`,
      object: volumeObject,
      prepare: (asked) => {
        const { volume, snapshots: kept } = trash.get(asked.volume);
        const pool = volume.pool === undefined ? {} : { pool: volume.pool };
        return { name: volume.name, id: volume.id, keep: 0, ids: [volume, ...kept].map((each) => each.id), ...pool };
      },
      steps: () => [
        {
          name: 'delete',
          do: async ({ request: { id } }) => {
            if (catalog.deleted.get(id) !== undefined) await trash.purge(id);
            return undefined;
          },
        },
        spaceStep(options, ({ pool, ids }: DeleteVolume) => ({ pool, ids })),
      ],
    }),
    jobKind<DeleteSnapshot, DeleteSnapshotJob>({
      kind: 'snapshot-delete',
      resume: 'continue',
      cancellable: false,
      title: ({ volume, snapshot }) => `deletion of snapshot ${volume}@${snapshot}`,
      object: ({ volume, snapshot }) => ({ kind: 'snapshot', name: `${volume}@${snapshot}` }),
      prepare: ({ volume, snapshot }) => {
        const { id, pool } = snapshots.get(volume, snapshot);
        return { volume, snapshot, id, pool };
      },
      steps: () => [
        {
          name: 'delete',
          do: async ({ request: { volume, snapshot, id } }) => {
            const isIt = catalog.snapshots.get(`${volume}@${snapshot}`)?.id === id;
            if (isIt) await snapshots.delete(volume, snapshot);
            return undefined;
          },
        },
        spaceStep(options, ({ pool, id }: DeleteSnapshot) => ({ pool, ids: [id] })),
      ],
    }),
    jobKind<ResizeVolume, ResizeVolumeJob>({
      kind: 'volume-resize',
      resume: 'continue',
      cancellable: false,
      title: ({ name, size }) => `volume ${name} to ${formatSize(size)}`,
      object: volumeObject,
      prepare: ({ name, size, force = false }) => ({ name, size, force, before: provisioner.volume(name).size }),
      steps: () => [
        {
          name: 'resize',
          do: async ({ request: { name, size, force = false } }) => {
            // A resize that a crash interrupted was finished when the volume was opened.
            await provisioner.resize(name, size, force);
            return { size };
          },
        },
      ],
    }),
    cloneGroup(catalog, provisioner, snapshots),
  ];
}

function cloneGroup(catalog: Catalog, provisioner: Provisioner, snapshots: Snapshots): AnyKind {
  const eraseSnapshots = async ({ request }: StepContext<CloneGroup>): Promise<void> => {
    for (const { source } of request.volumes) {
      if (catalog.snapshots.get(`${source}@${request.snapshot}`) === undefined) continue;
      await snapshots.delete(source, request.snapshot);
    }
  };
  const cloneStep = ({ source, name, id }: CloneGroup['volumes'][number]): Step<CloneGroup> => ({
    name: `clone ${name}`,
    do: async ({ request, checkpoint }) => {
      checkpoint();
      if (catalog.volumes.get(name)?.id !== id) await snapshots.clone(source, request.snapshot, { name }, id);
      return { name };
    },
    undo: async () => {
      if (catalog.volumes.get(name)?.id === id) await provisioner.delete(name, false);
    },
  });
  return jobKind<CloneGroup, CloneGroupJob>({
    kind: 'clone-group',
    resume: 'continue',
    cancellable: true,
    title: ({ volumes }) => `clone of ${volumes.map(({ source }) => source).join(', ')}`.slice(0, 200),
    object: ({ volumes }) => ({ kind: 'volume', name: volumes[0]?.source ?? '' }),
    prepare: ({ volumes }) => {
      if (volumes.length === 0 || volumes.length > MAX_GROUP) {
        throw new ServiceError('bad-request', `a group has 1 to ${String(MAX_GROUP)} volumes`);
      }
      for (const { source, name } of volumes) {
        provisioner.volume(source);
        if (catalog.volumes.get(name) !== undefined) {
          throw new ServiceError('exists', `there is a volume '${name}' already`);
        }
      }
      const snapshot = `clone-${provisioner.newId().slice(0, 16)}`;
      return { snapshot, volumes: volumes.map((each) => ({ ...each, id: provisioner.newId() })) };
    },
    steps: ({ volumes }) => [
      {
        name: 'snapshot',
        do: async ({ request }) => {
          // A crash leaves all of the group or none.
          const { source = '' } = request.volumes[0] ?? {};
          if (catalog.snapshots.get(`${source}@${request.snapshot}`) !== undefined) return undefined;
          await snapshots.create(
            request.volumes.map((each) => each.source),
            request.snapshot,
          );
          return undefined;
        },
        undo: eraseSnapshots,
      },
      ...volumes.map(cloneStep),
      {
        name: 'clean up',
        do: async (context) => {
          await eraseSnapshots(context);
          return { volumes: context.request.volumes.map(({ name }) => name) };
        },
      },
    ],
  });
}
