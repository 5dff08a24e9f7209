// Versions of what the nodes say to each other. Two nodes use the highest one both know (HELLO), so that a cluster goes on while
// its nodes are upgraded one after the other: what an older node does not know is not sent to it, and whoever wants it is told to
// upgrade that node first.
//
// For a new version: raise `max`, and name in the tables below what it adds. A field of a JSON header that older nodes may ignore
// needs no entry. `min` is raised when no release one may upgrade from speaks it any more.

export interface LinkVersions {
  readonly min: number;
  readonly max: number;
}

/** Versions this build speaks. */
export const LINK_VERSIONS: LinkVersions = { min: 1, max: 2 };

/** Types of messages by the version that has added them, where that is not the first one. */
const MESSAGES_SINCE: ReadonlyMap<number, number> = new Map([
  // ASK, and with it the number of copies that changes; POINT LOOK, POINT READ, POINT ASK.
  ...[0x28, 0x29, 0x2a, 0x2b].map((type) => [type, 2] as const),
]);

/** The same for operations on volumes (messages.ts: Operation), which every replica that is in sync has to know. */
const OPERATIONS_SINCE: ReadonlyMap<number, number> = new Map([
  // snapshot, rollback
  ...[10, 11].map((operation) => [operation, 2] as const),
]);

/** The version from which on a type of message is known. */
export const versionOfMessage = (type: number): number => MESSAGES_SINCE.get(type) ?? 1;

/** The version from which on an operation is known. */
export const versionOfOperation = (operation: number): number => OPERATIONS_SINCE.get(operation) ?? 1;

/** What people are told who want something of a node that does not know it. */
export const olderVersion = (node: string): string =>
  `${node} runs an older version, which does not know this: upgrade it first`;

/** The highest version of both ranges; undefined: there is none. */
export function commonVersion(a: LinkVersions, b: LinkVersions): number | undefined {
  const highest = Math.min(a.max, b.max);
  return highest >= Math.max(a.min, b.min) ? highest : undefined;
}

/** The versions of this build but none above `most`, as an older build has them; undefined: all. */
export function versionsUpTo(most: number | undefined): LinkVersions {
  const { min, max } = LINK_VERSIONS;
  return most === undefined || !Number.isInteger(most)
    ? LINK_VERSIONS
    : { min, max: Math.max(min, Math.min(most, max)) };
}
