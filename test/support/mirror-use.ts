// What tests of the mirror do with a cluster.
import assert from 'node:assert/strict';
import { MirrorCluster, block, content } from './mirror-cluster.ts';

/** Bytes of a block of these tests. */
export const BLOCK = 4096;

/** Runs `use` with a cluster of these nodes, and ends it. */
export async function withCluster(
  names: readonly string[],
  use: (c: MirrorCluster) => Promise<void>,
  prepare?: (c: MirrorCluster) => void,
): Promise<void> {
  const c = await MirrorCluster.make(names, prepare);
  try {
    await use(c);
  } finally {
    await c.close();
  }
}

/** Writes block `n` of a volume at a node; `version` is what it says afterwards. */
export async function put(c: MirrorCluster, node: string, n: number, version: number, id = 'v'): Promise<void> {
  await c.volume(node, id).write(n * BLOCK, block(version), 0, BLOCK, false);
}

/** What block `n` says. */
export async function get(c: MirrorCluster, node: string, n: number, id = 'v'): Promise<number> {
  const data = Buffer.alloc(BLOCK);
  await c.volume(node, id).read(n * BLOCK, BLOCK, data, 0);
  return data.readUInt32BE(0);
}

/** The copies of two nodes are the same. */
export async function assertSame(c: MirrorCluster, a: string, b: string, id = 'v'): Promise<void> {
  const [one, two] = [c.node(a).copies.get(id), c.node(b).copies.get(id)];
  assert.ok(one !== undefined && two !== undefined);
  const [first, second] = [await content(one), await content(two)];
  const at = first.findIndex((byte, index) => byte !== second[index]);
  assert.ok(at < 0 && first.length === second.length, `the copies of ${a} and ${b} differ at ${String(at)}`);
}
