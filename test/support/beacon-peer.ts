// A node in a thread of its own that answers beacons and counts them, while the thread of the test does nothing.
import { parentPort, workerData } from 'node:worker_threads';
import { silentLog } from '../../core/base/log.ts';
import { LinkMessage } from '../../core/mirror/link/hello.ts';
import { Peers } from '../../core/mirror/link/peers.ts';
import { nodeWorld } from '../../core/world/node-world.ts';

/** How many beacons have come. */
export type BeaconCount = Int32Array<SharedArrayBuffer>;

const count = workerData as BeaconCount;
const peers = new Peers({ world: await nodeWorld(), log: silentLog, cluster: 'c', node: 'peer', boot: 'boot-1' });
await peers.listen('127.0.0.1', 0);
const link = peers.add({ node: 'me', host: '127.0.0.1', port: 1 });
link.handlers.beacon.set(LinkMessage.beacon, () => {
  Atomics.add(count, 0, 1);
  return { header: Buffer.from('{"boot":"boot-1"}') };
});
parentPort?.postMessage(peers.port);
