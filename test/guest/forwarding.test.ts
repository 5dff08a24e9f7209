// A real Linux initiator with dm-multipath at two nodes that serve one disk.
import { describe, it } from 'node:test';
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import { IQN } from '../support/target.ts';
import { startTwoNodes } from '../support/two-nodes.ts';
import { assertGuest, HOST_ADDRESS, prepareGuest, runGuest } from './guest.ts';

const guest = await prepareGuest();
const skip = 'skip' in guest ? guest.skip : false;

describe('a Linux guest at two nodes', { skip }, () => {
  if ('skip' in guest) return;

  it('follows the owner of its disk, and loses nothing with it', async () => {
    const nodes = await startTwoNodes({ volume: new MemoryVolume(256 * 1_048_576), peers: true });
    try {
      const env = {
        IQN,
        PORTAL_A: `${HOST_ADDRESS}:${String(nodes.a.port)}`,
        PORTAL_B: `${HOST_ADDRESS}:${String(nodes.b.port)}`,
      };
      const result = await runGuest(
        guest,
        { script: 'forwarding.sh', env },
        {
          on: {
            move: () => nodes.handOver('b'),
            // The node is gone with its portal; the other one takes over when it has waited long enough.
            lose: async () => {
              nodes.takeOver('a');
              await nodes.b.server.shutdown();
            },
          },
        },
      );
      assertGuest(result, [
        'the owner is preferred',
        'files while it moves',
        'the path follows the owner',
        'files while it is lost',
        'no error in the file system',
        'fsck finds nothing',
        'all files as written',
      ]);
    } finally {
      await nodes.close();
    }
  });
});
