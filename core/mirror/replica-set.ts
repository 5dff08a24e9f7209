// Which nodes have a copy of a volume. Its owner changes that, in its term: nobody else writes the record of a volume that is served.
import { ServiceError, messageOf } from '../base/errors.ts';
import { MAX_REPLICAS } from '../base/limits.ts';
import { olderVersion, versionOfMessage } from './link/versions.ts';
import { MirrorMessage } from './messages.ts';
import { Member } from './member.ts';
import type { Term } from './term.ts';

export interface ReplicaChange {
  readonly what: 'add' | 'remove';
  /** Id of the node. */
  readonly node: string;
}

/** Makes the change, if it is not made yet. Rejects with a ServiceError when the copies do not allow it, or the term ends. */
export function changeReplicas(term: Term, { what, node }: ReplicaChange): Promise<void> {
  return what === 'add' ? addReplica(term, node) : removeReplica(term, node);
}

/** The node, which has a fresh copy, is one of the replicas from now on, and is brought up to date. */
async function addReplica(term: Term, node: string): Promise<void> {
  const { record } = term.known;
  if (record.replicas.includes(node)) return;
  if (record.replicas.length >= MAX_REPLICAS) {
    throw new ServiceError('replica-state', `a volume has ${String(MAX_REPLICAS)} copies at most`);
  }
  // An older one does not hear how many there are, and would not note where it is writing.
  const old = term.olderThan(versionOfMessage(MirrorMessage.ask), node);
  if (old !== undefined) throw new ServiceError('replica-state', olderVersion(old));
  // A mark no copy can have, and no note of what it lacks was made under: everything is compared.
  const stamp = `new.${String(term.epoch)}.${String(term.nextSession())}`;
  const done = await term.changeRecord((before) => ({
    ...before,
    replicas: [...before.replicas.filter((each) => each !== node), node],
    joined: { ...before.joined, [node]: stamp },
  }));
  if (!done) throw over(term);
  // Before it can be in sync, the others have to know that there are three: from then on each notes where it is writing.
  const others = [...term.members.values()].filter(({ state }) => state === 'sync');
  await Promise.all(
    others.map((member) =>
      term.tellReplicas(member, others.length + 2).catch((error: unknown) => term.eject(member, messageOf(error))),
    ),
  );
  term.check();
  if (!term.members.has(node)) term.members.set(node, new Member(node));
  term.options.log.info({ volume: term.options.volume, peer: node }, 'a node gets a copy');
  term.options.onChange();
}

/** The node is none of the replicas any more; what it has is worth nothing from then on. */
async function removeReplica(term: Term, node: string): Promise<void> {
  const { regions, log, volume, onChange } = term.options;
  if (node === term.options.node) throw new ServiceError('replica-state', `${node} serves it: hand it over first`);
  if (!term.known.record.replicas.includes(node)) return;
  const member = term.members.get(node);
  if (member !== undefined) {
    member.isExcluded = true;
    await term.eject(member, 'its copy is given up');
  }
  // Until the record says so, what it lacks is noted: after a crash it is a replica as before.
  const done = await term.changeRecord((before) => ({
    ...before,
    inSync: before.inSync.filter((each) => each !== node),
    replicas: before.replicas.filter((each) => each !== node),
    joined: Object.fromEntries(Object.entries(before.joined).filter(([each]) => each !== node)),
  }));
  if (!done) throw over(term);
  term.members.delete(node);
  regions.forgetDirty(node);
  await regions.update({
    tracks: Object.fromEntries(Object.entries(regions.facts.tracks).filter(([each]) => each !== node)),
  });
  log.info({ volume, peer: node }, 'a node has no copy any more');
  onChange();
}

const over = (term: Term): ServiceError =>
  new ServiceError('peer-unreachable', `${term.options.node} does not serve it any more: try again`);
