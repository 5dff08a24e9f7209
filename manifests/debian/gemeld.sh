#!/bin/sh
# The daemon. libuv reads the size of its thread pool when the process begins: four threads for each processor and four more.
if [ -z "${UV_THREADPOOL_SIZE:-}" ]; then
  UV_THREADPOOL_SIZE=$(($(nproc) * 4 + 4))
  [ "$UV_THREADPOOL_SIZE" -le 32 ] || UV_THREADPOOL_SIZE=32
fi
export UV_THREADPOOL_SIZE
exec /usr/bin/node --enable-source-maps --max-semi-space-size=32 /usr/lib/gemel/dist/core/daemon.js "$@"
