// A link between two nodes as the daemon has it: over loopback, without TLS.
import { silentLog } from '../../core/base/log.ts';
import type { Log } from '../../core/base/log.ts';
import type { World } from '../../core/base/world.ts';
import type { PeerLink } from '../../core/mirror/link/peer-link.ts';
import { Peers } from '../../core/mirror/link/peers.ts';
import { until } from './until.ts';

export interface PeerPair {
  /** At node `a` to `b`, and at `b` to `a`. */
  readonly first: PeerLink;
  readonly second: PeerLink;
  close(): Promise<void>;
}

/** Resolves when both are up. */
export async function peerPair(world: World, log: Log = silentLog): Promise<PeerPair> {
  const nodes = ['a', 'b'].map(
    (node) => new Peers({ world, log, cluster: '5'.repeat(32), node, boot: `${node}-boot` }),
  );
  const [a, b] = nodes as [Peers, Peers];
  await Promise.all(nodes.map((each) => each.listen('127.0.0.1', 0)));
  const first = a.add({ node: 'b', host: '127.0.0.1', port: b.port });
  const second = b.add({ node: 'a', host: '127.0.0.1', port: a.port });
  await until(() => first.up && second.up);
  return {
    first,
    second,
    close: async () => {
      await Promise.all(nodes.map((each) => each.close()));
    },
  };
}
