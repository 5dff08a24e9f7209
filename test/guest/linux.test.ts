// A real Linux initiator: open-iscsi, dm-multipath, ext4 and sg3_utils in a guest.
import { describe, it } from 'node:test';
import { withDaemon, type Daemon } from '../support/daemon.ts';
import { openHop } from '../support/net.ts';
import { assertGuest, HOST_ADDRESS, prepareGuest, runGuest } from './guest.ts';

const guest = await prepareGuest();
const skip = 'skip' in guest ? guest.skip : false;

const portOf = (daemon: Daemon, portal: number): number => Number(daemon.portals[portal]?.split(':').at(-1));

describe('a Linux guest', { skip, concurrency: 1 }, () => {
  if ('skip' in guest) return;

  it('keeps an ext4 on dm-multipath through a path cut and sees the disk grow', async () => {
    await withDaemon({ portals: 2 }, async (daemon) => {
      const disk = await daemon.createVolume('multipath', '256M');
      const hops = [await openHop(portOf(daemon, 0)), await openHop(portOf(daemon, 1))] as const;
      try {
        const result = await runGuest(
          guest,
          {
            script: 'multipath.sh',
            env: {
              IQN: disk.iqn,
              PORTAL_A: `${HOST_ADDRESS}:${hops[0].port}`,
              PORTAL_B: `${HOST_ADDRESS}:${hops[1].port}`,
              NEW_BYTES: String(384 * 1024 * 1024),
            },
          },
          {
            on: {
              cut: () => {
                hops[0].cut();
              },
              restore: () => hops[0].restore(),
              grow: () => daemon.gemelJson(['volume', 'resize', 'multipath', '--size', '384M']),
            },
          },
        );
        assertGuest(result, [
          'files during the cut',
          'fsck finds nothing',
          'all files as written',
          'the new size is seen',
        ]);
      } finally {
        await Promise.all(hops.map((hop) => hop.close()));
      }
    });
  });

  it('is told when a pool fills up, and why it is full', async () => {
    await withDaemon({ args: ['--no-demo'] }, async (daemon) => {
      await daemon.gemelJson(['pool', 'create', 'tank', '--size', '64M']);
      await daemon.gemelJson(['pool', 'threshold', 'tank', '50']);
      const disk = await daemon.createVolume('thin', '16G');
      const env = { IQN: disk.iqn, PORTAL: `${HOST_ADDRESS}:${portOf(daemon, 0)}` };
      assertGuest(await runGuest(guest, { script: 'thin.sh', env }), ['the kernel is told', 'there is room again']);
    });
  });

  it('signs in with mutual CHAP and digests, and every sg probe is answered', async () => {
    const initiator = 'iqn.2026-01.example.gemel:probes';
    const chap = { user: 'probes', secret: 'guest-secret-01', mutualUser: 'gemel', mutualSecret: 'target-secret-02' };
    await withDaemon({}, async (daemon) => {
      await daemon.addInitiator(initiator, chap);
      const disk = await daemon.createVolume('probes', '256M', ['--map', initiator]);
      const result = await runGuest(guest, {
        script: 'probes.sh',
        env: {
          GUEST_IQN: initiator,
          IQN: disk.iqn,
          PORTAL: `${HOST_ADDRESS}:${portOf(daemon, 0)}`,
          CHAP_USER: chap.user,
          CHAP_SECRET: chap.secret,
          MUTUAL_USER: chap.mutualUser,
          MUTUAL_SECRET: chap.mutualSecret,
        },
      });
      assertGuest(result, ['login with mutual CHAP and digests', 'same data', 'PR clear', 'ready after the resets']);
    });
  });

  it('has its disks copied inside the storage, from one target to the other', async () => {
    await withDaemon({}, async (daemon) => {
      await daemon.gemelJson(['pool', 'create', 'tank', '--size', '1G']);
      const from = await daemon.createVolume('from', '64M');
      const to = await daemon.createVolume('to', '64M');
      const PORTAL = `${HOST_ADDRESS}:${portOf(daemon, 0)}`;
      const result = await runGuest(guest, { script: 'copy.sh', env: { IQN_A: from.iqn, IQN_B: to.iqn, PORTAL } });
      assertGuest(result, ['sg_xcopy: same data', 'ddpt: same data', 'ddpt: it is there']);
    });
  });
});
