/** Options every command has, so that they may stand anywhere on the line. */
export const COMMON_OPTIONS = [
  {
    long: '--api',
    flags: '--api <url>',
    text: 'https://HOST:PORT of the daemon (GEMEL_API); default: the one on this machine',
  },
  {
    long: '--token',
    flags: '--token <token>',
    text: 'the token it printed; others can read it: --token-file and GEMEL_TOKEN hide it',
  },
  { long: '--token-file', flags: '--token-file <file>', text: 'file with the token; - reads standard input' },
  { long: '--context', flags: '--context <name>', text: 'a daemon made known with gemel context add (GEMEL_CONTEXT)' },
  { long: '--data', flags: '--data <folder>', text: 'data folder of a daemon on this machine (GEMEL_DATA)' },
  { long: '--json', flags: '--json', text: 'print JSON' },
] as const;
