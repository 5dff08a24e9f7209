// CDBs that many tests send.
export const TUR = Buffer.alloc(6);

function rw16(opcode: number, lba: number, blocks: number, flags: number): Buffer {
  const cdb = Buffer.alloc(16);
  cdb[0] = opcode;
  cdb[1] = flags;
  cdb.writeBigUInt64BE(BigInt(lba), 2);
  cdb.writeUInt32BE(blocks, 10);
  return cdb;
}

export const FUA = 0x08;
export const read16 = (lba: number, blocks: number, flags = 0): Buffer => rw16(0x88, lba, blocks, flags);
export const write16 = (lba: number, blocks: number, flags = 0): Buffer => rw16(0x8a, lba, blocks, flags);
export const pattern = (length: number, seed: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, i) => (i * 31 + seed) & 0xff));
