import { defineProfile } from './profile.ts';

defineProfile({ name: 'd', title: 'write-protected', createArguments: ['--read-only'], subset: true });
