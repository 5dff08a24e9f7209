import type { LunNexus } from '../scsi/lun-nexus.ts';

/** Something accepted that has not been answered: it can be found by its tag and aborted. */
export interface Pending {
  readonly itt: number;
  readonly nexus: LunNexus;
  /** It was aborted and its abort has been answered: I/O of it still runs, but its tag belongs to the initiator again. */
  abandoned: boolean;
  readonly aborted: boolean;
  /** Task management ended it. `tell`: answer TASK ABORTED, else nothing. */
  abort(tell: boolean): void;
  /** Resolves when nothing of it runs any more. */
  readonly settled: Promise<void>;
  /** It was aborted at another node, which has confirmed that when this resolves (RemoteRun.abort); undefined: it was not. */
  readonly confirmed?: Promise<void> | undefined;
}

/** What was aborted. */
export interface Aborting {
  readonly chosen: readonly Pending[];
  readonly settled: Promise<void>;
  /** As of Pending, of all of them. Nobody may be told that they are over before. */
  readonly confirmed: Promise<void> | undefined;
}

/** Of all of them. */
export function confirmationOf(aborted: readonly Pending[]): Promise<void> | undefined {
  const all = aborted.flatMap(({ confirmed }) => confirmed ?? []);
  return all.length === 0 ? undefined : Promise.all(all).then(() => undefined);
}
