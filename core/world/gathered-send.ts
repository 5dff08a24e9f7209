// writev(2) for a Gather: Node takes a Buffer for every piece, and to make one costs a tenth of what there is to do for a small
// read. koffi, a package that need not be there, makes the call; without it answers are copied together.
import { endianness } from 'node:os';
import { Gather } from '../base/gather.ts';

/** Bytes that the operating system has taken, or -1. */
export type WriteVector = (fd: number, address: number, count: number) => number;

interface Koffi {
  readonly load: (library: null) => { readonly func: (declaration: string) => WriteVector };
}

/** What is sent of one event loop: it is filled and handed over in one turn, so one is enough. */
let shared: Gather | undefined;

export function sharedGather(): Gather {
  shared ??= new Gather();
  return shared;
}

/** The call, or undefined where it cannot be made. */
export async function writeVector(): Promise<WriteVector | undefined> {
  // The layout of struct iovec is that of 64-bit systems.
  const fits = process.platform === 'linux' && endianness() === 'LE' && ['x64', 'arm64'].includes(process.arch);
  if (!fits || sharedGather().address === undefined) return undefined;
  try {
    // Not by its name: where the package is not installed the compiler does not know it.
    const name: string = 'koffi';
    const { default: koffi } = (await import(name)) as { readonly default: Koffi };
    return koffi.load(null).func('long writev(int fd, intptr_t vector, int count)');
  } catch {
    return undefined;
  }
}
