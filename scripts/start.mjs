// `npm start`: sets up what is missing, then runs the daemon.
import { become, daemonEnvironment, prepare } from './bootstrap.mjs';

await prepare();
// libuv reads this when the process begins, so it has to be set before.
become('dist/core/daemon.js', process.argv.slice(2), daemonEnvironment());
