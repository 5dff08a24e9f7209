// Numbers of the NBD protocol (github.com/NetworkBlockDevice/nbd, doc/proto.md); section names of that text are cited.

/** "Newstyle negotiation". */
export const NBD_MAGIC = 0x4e42444d41474943n; // NBDMAGIC
export const OPTION_MAGIC = 0x49484156454f5054n; // IHAVEOPT
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;

export const HandshakeFlag = { fixedNewstyle: 0x0001, noZeroes: 0x0002 } as const;

export const Option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;

export const OptionReply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  unsupported: 0x8000_0001,
  policy: 0x8000_0002,
  invalid: 0x8000_0003,
  platform: 0x8000_0004,
  tlsRequired: 0x8000_0005,
  unknown: 0x8000_0006,
  shutdown: 0x8000_0007,
  blockSizeRequired: 0x8000_0008,
  tooBig: 0x8000_0009,
} as const;

export const Info = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

/** "Transmission flags". */
export const ExportFlag = {
  hasFlags: 0x0001,
  readOnly: 0x0002,
  flush: 0x0004,
  fua: 0x0008,
  rotational: 0x0010,
  trim: 0x0020,
  writeZeroes: 0x0040,
  df: 0x0080,
  multiConn: 0x0100,
  cache: 0x0400,
  fastZero: 0x0800,
} as const;

/** "Transmission phase". */
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

export const Command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;
export type Command = (typeof Command)[keyof typeof Command];

export const CommandFlag = { fua: 0x0001, noHole: 0x0002, df: 0x0004, reqOne: 0x0008, fastZero: 0x0010 } as const;

/** "Structured reply types"; from 8001h on they are errors. */
export const Chunk = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  error: 0x8001,
  errorOffset: 0x8002,
} as const;
export const CHUNK_DONE = 0x0001;
export const CHUNK_ERROR = 0x8000;

/** "Error values". */
export const NbdError = {
  permission: 1,
  io: 5,
  memory: 12,
  invalid: 22,
  noSpace: 28,
  overflow: 75,
  notSupported: 95,
  shutdown: 108,
} as const;

/** The metadata context that tells what is allocated ("Metadata querying"), and the flags of its descriptors. */
export const BASE_ALLOCATION = 'base:allocation';
export const AllocationFlag = { hole: 1, zero: 2 } as const;
