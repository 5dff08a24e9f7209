// Where memory lies. Reads past the page cache want memory that begins at a multiple of the block size of the disk, and who
// hands memory to the operating system himself has to name its address. Nothing in Node tells it; the daemon installs a
// function that does where there is one.

/** What memory for reads past the page cache begins at a multiple of, bytes: no disk has larger logical blocks. */
export const MEMORY_ALIGNMENT = 4096;

let find: ((memory: Uint8Array) => number) | undefined;
/** Of the first byte of each piece of memory; it never moves as long as it is there. */
const known = new WeakMap<ArrayBufferLike, number>();

/** Installs a function that tells where memory begins, or removes it. */
export function useMemoryAddresses(finder: ((memory: Uint8Array) => number) | undefined): void {
  find = finder;
}

/** Address of the first byte of `memory`; undefined: nobody can tell. */
export function addressOf(memory: Uint8Array): number | undefined {
  const { buffer, byteOffset } = memory;
  const start = known.get(buffer);
  if (start !== undefined) return start + byteOffset;
  if (find === undefined) return undefined;
  const address = find(memory);
  known.set(buffer, address - byteOffset);
  return address;
}

/** `bytes` of memory, not cleared, that begin at a multiple of MEMORY_ALIGNMENT where that can be told. */
export function alignedMemory(bytes: number): Buffer {
  if (find === undefined) return Buffer.allocUnsafeSlow(bytes);
  const memory = Buffer.allocUnsafeSlow(bytes + MEMORY_ALIGNMENT);
  const beyond = (addressOf(memory) ?? 0) % MEMORY_ALIGNMENT;
  const skip = beyond === 0 ? 0 : MEMORY_ALIGNMENT - beyond;
  return memory.subarray(skip, skip + bytes);
}
