import { defineProfile } from './profile.ts';

defineProfile({
  name: 'pool',
  title: 'a thin volume of a pool, 512-byte logical, 4096-byte physical blocks',
  createArguments: ['--pool', 'tank', '--block-size', '512', '--physical-block-size', '4096'],
  poolArguments: ['tank', '--size', '256M'],
});
