// Offloaded copies by tokens from a Linux guest: ddpt, ddptctl and sg_vpd against two disks of a pool.
import { describe, it } from 'node:test';
import { withDaemon } from '../support/daemon.ts';
import { assertGuest, HOST_ADDRESS, prepareGuest, runGuest } from './guest.ts';

const guest = await prepareGuest();
const skip = 'skip' in guest ? guest.skip : false;

describe('a Linux guest with ddpt', { skip }, () => {
  if ('skip' in guest) return;

  it('copies by tokens what was there when they were made', async () => {
    await withDaemon({}, async (daemon) => {
      await daemon.gemelJson(['pool', 'create', 'tank', '--size', '256M']);
      const a = await daemon.createVolume('odx-a', '64M');
      const b = await daemon.createVolume('odx-b', '64M');
      const portal = `${HOST_ADDRESS}:${String(daemon.portals[0]?.split(':').at(-1))}`;
      const result = await runGuest(guest, { script: 'odx.sh', env: { IQN_A: a.iqn, IQN_B: b.iqn, PORTAL: portal } });
      assertGuest(result, [
        'what was there when the token was made',
        'the copy is the image',
        'the deleted token is refused',
      ]);
    });
  });
});
