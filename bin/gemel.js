#!/usr/bin/env node
// The command line client. In a fresh checkout it sets itself up first.
import { existsSync } from 'node:fs';

const main = new URL('../dist/core/cli/main.js', import.meta.url);
if (!existsSync(main)) {
  const { prepare } = await import('../scripts/bootstrap.mjs');
  await prepare();
}
await import(main.href);
