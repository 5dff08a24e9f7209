#!/bin/sh
# The command line client.
exec /usr/bin/node /usr/lib/gemel/dist/core/cli/main.js "$@"
