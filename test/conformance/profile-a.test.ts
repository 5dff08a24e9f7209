import { defineProfile } from './profile.ts';

defineProfile({
  name: 'a',
  title: 'the default pool, 512-byte logical and physical blocks, thin, written back by the cache',
  createArguments: ['--block-size', '512', '--physical-block-size', '512', '--thin', '--durability', 'volatile'],
  // Unmap gives back 65536 blocks at a time where WRITE SAME takes as many, and writes them with one WRITE before, whatever the
  // MAXIMUM TRANSFER LENGTH of VPD B0h: on a LUN that has fewer it leaves that out.
  sizes: { WriteSame16: '31M' },
});
