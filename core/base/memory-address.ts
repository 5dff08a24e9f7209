// Where memory lies. Reads past the page cache want memory that begins at a multiple of the block size of the disk, and who
// hands memory to the operating system himself has to name its address. Nothing in Node tells it; the daemon installs a
// function that does where there is one. Who has much memory and reads it here and there wants it in large pages: with small
// ones the processor spends as long on finding out where a block lies as on copying it.

/** What memory for reads past the page cache begins at a multiple of, bytes: no disk has larger logical blocks. */
export const MEMORY_ALIGNMENT = 4096;
/** Bytes of a large page; it begins at a multiple of that. */
export const LARGE_PAGE = 2_097_152;

let find: ((memory: Uint8Array) => number) | undefined;
let advise: ((address: number, bytes: number) => void) | undefined;
/** Of the first byte of each piece of memory; it never moves as long as it is there. */
const known = new WeakMap<ArrayBufferLike, number>();

/** Installs a function that tells where memory begins, or removes it. */
export function useMemoryAddresses(finder: ((memory: Uint8Array) => number) | undefined): void {
  find = finder;
}

/** Installs a function that has large pages made of what is there (whole ones, by address and bytes), or removes it. */
export function useLargePages(adviser: ((address: number, bytes: number) => void) | undefined): void {
  advise = adviser;
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
  return find === undefined ? Buffer.allocUnsafeSlow(bytes) : beginningAt(MEMORY_ALIGNMENT, bytes);
}

/** The same, for intoLargePages(). The system gives it in small pages, as they are written. */
export function largeMemory(bytes: number): Buffer {
  if (find === undefined || advise === undefined || bytes < LARGE_PAGE) return alignedMemory(bytes);
  return beginningAt(LARGE_PAGE, bytes);
}

/**
 * Memory of largeMemory() that has been written, into large pages where they can be had. Not before: to find one may take the
 * kernel a tenth of a millisecond and more, for which whoever writes there first would wait.
 */
export function intoLargePages(memory: Buffer): void {
  const address = addressOf(memory);
  if (advise === undefined || address === undefined || address % LARGE_PAGE !== 0 || memory.length < LARGE_PAGE) return;
  advise(address, memory.length - (memory.length % LARGE_PAGE));
}

function beginningAt(multiple: number, bytes: number): Buffer {
  const memory = Buffer.allocUnsafeSlow(bytes + multiple);
  const beyond = (addressOf(memory) ?? 0) % multiple;
  const skip = beyond === 0 ? 0 : multiple - beyond;
  return memory.subarray(skip, skip + bytes);
}
