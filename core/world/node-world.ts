// World as it is: this machine, through Node.
import { randomBytes } from 'node:crypto';
// The global of this name is a getter, which every look at the clock would go through.
import { performance } from 'node:perf_hooks';
import type { Clock, World } from '../base/world.ts';
import { learnAsyncReads } from './async-reads.ts';
import { nodeDisk } from './node-disk.ts';
import { nodeNet } from './node-net.ts';
import type { ReceiveMode } from './node-net.ts';

const nodeClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms, fn) {
    const timer = setTimeout(fn, ms);
    return {
      cancel: () => {
        clearTimeout(timer);
      },
    };
  },
  soon(fn) {
    setImmediate(fn);
  },
};

/** The World the daemon runs in. `receive` chooses how sockets receive (tests force both ways). */
export async function nodeWorld(receive: ReceiveMode = 'automatic'): Promise<World> {
  await learnAsyncReads();
  return {
    clock: nodeClock,
    random: { bytes: (length) => randomBytes(length) },
    net: await nodeNet(receive),
    disk: nodeDisk,
  };
}
