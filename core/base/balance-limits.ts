// Limits of the balance of ownership over the nodes of a cluster.

/** Milliseconds between two looks; a load nobody has told anything new of for so long is not known. */
export const BALANCE_INTERVAL = 30_000;
export const BALANCE_STALE = 100_000;
/** Milliseconds a node has to have had everything of a volume before that is given back to it. */
export const BALANCE_SETTLE = 60_000;
/** Milliseconds a volume stays where it is after it has moved, whyever; where a person has put it. */
export const BALANCE_REST = 600_000;
export const BALANCE_HELD = 1_800_000;
/** How many times what the least loaded node carries another one has to carry, by how much more, for how many looks. */
export const BALANCE_RATIO = 2;
export const BALANCE_LEAST = 400;
export const BALANCE_LOOKS = 4;
/** Share of the latest value in the average a load is. */
export const BALANCE_SMOOTH = 0.4;
/** Bytes that weigh as much as one command. */
export const BALANCE_BYTES = 65_536;
/** Milliseconds for which the node that moves something has the turn. */
export const BALANCE_TURN = 60_000;
