import { defineProfile } from './profile.ts';

defineProfile({ name: '4kn', title: '4096-byte blocks', createArguments: ['--block-size', '4096'], subset: true });
