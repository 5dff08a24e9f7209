import { defineProfile } from './profile.ts';

defineProfile({
  name: 'a',
  title: 'the default pool, 512-byte logical and physical blocks, thin, written back by the cache',
  createArguments: ['--block-size', '512', '--physical-block-size', '512', '--thin', '--durability', 'volatile'],
});
