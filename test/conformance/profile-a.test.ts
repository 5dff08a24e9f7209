import { defineProfile } from './profile.ts';

defineProfile({
  name: 'a',
  title: '512-byte logical and physical blocks, thin',
  createArguments: ['--block-size', '512', '--physical-block-size', '512', '--thin'],
});
