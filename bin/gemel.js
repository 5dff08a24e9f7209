#!/usr/bin/env node
// The command line client. In a checkout it builds itself first.
import { existsSync } from 'node:fs';

const main = new URL('../dist/core/cli/main.js', import.meta.url);
if (existsSync(new URL('../tsconfig.json', import.meta.url))) {
  const { prepare } = await import('../scripts/bootstrap.mjs');
  await prepare();
}
await import(main.href);
