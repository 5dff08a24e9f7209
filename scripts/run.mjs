// `node scripts/run.mjs dist/FILE.js ...args`: sets up what is missing, then runs that file.
import { become, fail, prepare } from './bootstrap.mjs';

const [file, ...args] = process.argv.slice(2);
if (file === undefined) fail('usage: node scripts/run.mjs dist/FILE.js [arguments]');
await prepare();
become(file, args);
