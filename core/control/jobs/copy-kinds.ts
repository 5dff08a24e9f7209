// Jobs on the copies of volumes in a cluster: one more, one less, all of a node that is to go.
import { ServiceError } from '../../base/errors.ts';
import { JOB_TELL } from '../../base/limits.ts';
import type { Clock } from '../../base/world.ts';
import type { Copies } from '../copies.ts';
import { jobKind } from './job.ts';
import type { AnyKind, StepContext } from './job.ts';

export interface CopyJob {
  readonly volume: string;
  /** Name or id. */
  readonly node: string;
}

interface Copy {
  readonly volume: string;
  readonly id: string;
  readonly node: string;
  /** Of the node. */
  readonly name: string;
}

export interface EvacuateJob {
  /** Name or id. */
  readonly node: string;
}

interface Evacuate {
  readonly node: string;
  readonly name: string;
  /** What happens with each volume: a copy elsewhere first, where there is a node for it. */
  readonly moves: readonly {
    readonly volume: string;
    readonly id: string;
    readonly to?: string;
    readonly toName?: string;
  }[];
}

export interface VerifyJob {
  readonly volume: string;
  /** Replicas get what the node that serves it has. */
  readonly repair?: boolean | undefined;
  /** Bytes a second; undefined: as fast as it goes. */
  readonly rate?: number | undefined;
}

interface Verify extends VerifyJob {
  readonly id: string;
}

/** Ranges a job tells of. */
const MAX_TOLD = 64;

export interface CopyKindOptions {
  /** Undefined: this node is in no cluster. */
  readonly copies: () => Copies | undefined;
  readonly clock: Clock;
}

export function copyKinds(options: CopyKindOptions): AnyKind[] {
  const copies = (): Copies => {
    const found = options.copies();
    if (found !== undefined) return found;
    throw new ServiceError('bad-request', 'copies on several nodes take a cluster (gemel cluster init)');
  };
  /** Waits until the copy has everything. */
  const sync = async (id: string, node: string, context: StepContext<unknown>): Promise<undefined> => {
    for (;;) {
      // A node that is away for a while is no reason to give up: somebody can cancel it.
      const found = await copies()
        .progress(id, node)
        .catch((error: unknown) => {
          if (error instanceof ServiceError && error.code === 'not-found') throw error;
          return { inSync: false, share: undefined };
        });
      if (found.inSync) return undefined;
      context.progress(found.share ?? 0, 'copying');
      context.checkpoint();
      await new Promise<void>((resolve) => options.clock.after(JOB_TELL, resolve));
    }
  };
  return [
    jobKind<Copy, CopyJob>({
      kind: 'replica-add',
      resume: 'continue',
      cancellable: true,
      title: ({ volume, name }) => `copy of volume ${volume} on ${name}`,
      object: ({ volume }) => ({ kind: 'volume', name: volume }),
      prepare: async ({ volume, node: to }) => {
        const { record, node } = await copies().checkAdd(volume, to);
        return { volume, id: record.id, node: node.id, name: node.name };
      },
      steps: () => [
        {
          name: 'make',
          background: true,
          do: async ({ request: { id, node } }) => {
            await copies().make(id, node);
            return undefined;
          },
          undo: ({ request: { id, node } }) => copies().giveUp(id, node),
        },
        {
          name: 'join',
          background: true,
          do: async ({ request: { id, node } }) => {
            await copies().join(id, node);
            return undefined;
          },
          undo: ({ request: { id, node } }) => copies().giveUp(id, node),
        },
        {
          name: 'copy',
          background: true,
          weight: 8,
          do: (context) => sync(context.request.id, context.request.node, context),
        },
      ],
    }),
    jobKind<Copy, CopyJob>({
      kind: 'replica-remove',
      resume: 'continue',
      cancellable: false,
      title: ({ volume, name }) => `removal of the copy of volume ${volume} on ${name}`,
      object: ({ volume }) => ({ kind: 'volume', name: volume }),
      prepare: async ({ volume, node: from }) => {
        const { record, node } = await copies().checkRemove(volume, from);
        return { volume, id: record.id, node: node.id, name: node.name };
      },
      steps: () => [
        {
          name: 'remove',
          background: true,
          do: async ({ request: { id, node } }) => {
            await copies().giveUp(id, node);
            return undefined;
          },
        },
      ],
    }),
    evacuate(copies, sync),
    verify(copies),
  ];
}

function verify(copies: () => Copies): AnyKind {
  return jobKind<Verify, VerifyJob>({
    kind: 'replica-verify',
    // From the beginning: hosts have written since.
    resume: 'continue',
    cancellable: true,
    title: ({ volume, repair }) =>
      `${repair === true ? 'comparison and repair' : 'comparison'} of the copies of ${volume}`,
    object: ({ volume }) => ({ kind: 'volume', name: volume }),
    prepare: async ({ volume, repair, rate }) => {
      const { id } = await copies().checkVerify(volume);
      return { volume, id, ...(repair === undefined ? {} : { repair }), ...(rate === undefined ? {} : { rate }) };
    },
    steps: () => [
      {
        name: 'compare',
        background: true,
        do: async (context) => {
          const { id, repair = false, rate } = context.request;
          const onProgress = (done: number, total: number): void => {
            context.progress(done / total, 'comparing');
            context.checkpoint();
          };
          const { different, ...found } = await copies().verify(id, { repair, rate, onProgress });
          return { ...found, different: different.slice(0, MAX_TOLD).map((each) => ({ ...each })) };
        },
      },
    ],
  });
}

function evacuate(
  copies: () => Copies,
  sync: (id: string, node: string, context: StepContext<unknown>) => Promise<undefined>,
): AnyKind {
  return jobKind<Evacuate, EvacuateJob>({
    kind: 'node-evacuate',
    resume: 'continue',
    // What has been moved stays where it is then.
    cancellable: true,
    title: ({ name }) => `removal of all copies on ${name}`,
    object: ({ name }) => ({ kind: 'node', name }),
    prepare: async ({ node: which }) => {
      const node = copies().node(which);
      const moves: { volume: string; id: string; to?: string; toName?: string }[] = [];
      for (const record of copies().on(node.id)) {
        const to = copies().placeFor(record);
        if (to === undefined) await copies().checkRemove(record.name, node.id);
        else await copies().checkAdd(record.name, to.id);
        moves.push({ volume: record.name, id: record.id, ...(to === undefined ? {} : { to: to.id, toName: to.name }) });
      }
      return { node: node.id, name: node.name, moves };
    },
    steps: ({ moves }) => [
      ...moves.flatMap(({ volume, id, to, toName = '' }) => [
        ...(to === undefined
          ? []
          : [
              {
                name: `copy ${volume} to ${toName}`,
                background: true,
                weight: 8,
                do: async (context: StepContext<Evacuate>) => {
                  await copies().make(id, to);
                  await copies().join(id, to);
                  return sync(id, to, context);
                },
              },
            ]),
        {
          name: `remove ${volume}`,
          background: true,
          do: async ({ request }: StepContext<Evacuate>) => {
            await copies().giveUp(id, request.node);
            return undefined;
          },
        },
      ]),
      {
        name: 'deleted volumes',
        background: true,
        do: async ({ request }: StepContext<Evacuate>) => {
          await copies().forgetDeleted(request.node, false);
          return undefined;
        },
      },
    ],
  });
}
