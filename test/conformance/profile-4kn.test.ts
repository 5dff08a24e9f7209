import { defineProfile } from './profile.ts';

defineProfile({
  name: '4kn',
  title: '4096-byte blocks, written back by the cache',
  // When a write counts as stable has nothing to do with the size of blocks: profiles b and pool make each one so. Here OrWrite would
  // write a gigabyte that way.
  createArguments: ['--block-size', '4096', '--durability', 'volatile'],
  subset: true,
});
