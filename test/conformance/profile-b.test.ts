import { defineProfile } from './profile.ts';

defineProfile({
  name: 'b',
  title: 'a file, 512-byte logical, 4096-byte physical blocks, thin',
  createArguments: ['--file', '--block-size', '512', '--physical-block-size', '4096', '--thin'],
});
