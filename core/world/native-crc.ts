import { useNativeCrc32c } from '../base/crc32c.ts';

/** Uses the prebuilt CRC32C of @node-rs/crc32 when there is one for this machine. False: plain TypeScript it is. */
export async function loadNativeCrc(): Promise<boolean> {
  try {
    const { crc32c } = await import('@node-rs/crc32');
    // A wrong sum would be worse than a slow one: RFC 7143 appendix A.4, 32 bytes of zeros.
    if (crc32c(Buffer.alloc(32)) !== 0x8a91_36aa) return false;
    useNativeCrc32c((data, seed) => crc32c(data, seed));
    return true;
  } catch {
    return false;
  }
}
