import { defineProfile } from './profile.ts';

defineProfile({
  name: 'pool',
  title: 'a thin volume of a pool, 512-byte logical, 4096-byte physical blocks',
  createArguments: ['--pool', 'tank', '--block-size', '512', '--physical-block-size', '4096'],
  poolArguments: ['tank', '--size', '256M'],
  // Unmap gives back 65536 blocks at a time where WRITE SAME takes as many, and writes them with one WRITE before, whatever the
  // MAXIMUM TRANSFER LENGTH of VPD B0h: on a LUN that has fewer it leaves that out.
  sizes: { WriteSame16: '31M' },
});
