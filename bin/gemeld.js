#!/usr/bin/env node
// The daemon, with the thread pool it needs: libuv reads its size when the process begins.
import { become, daemonEnvironment } from '../scripts/bootstrap.mjs';

become('dist/core/daemon.js', process.argv.slice(2), daemonEnvironment());
