// The exporters of images (qemu-storage-daemon) a daemon runs.
import { readFileSync, readdirSync } from 'node:fs';
import process from 'node:process';

/** Process ids of the exporters whose sockets are in this data folder. */
export function exportersOf(dataFolder: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      if (!Number.isInteger(pid)) return false;
      try {
        const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return program.endsWith('qemu-storage-daemon') && args.some((each) => each.includes(`${dataFolder}/images/`));
      } catch {
        return false;
      }
    });
}

export function killExporters(dataFolder: string): void {
  for (const pid of exportersOf(dataFolder)) process.kill(pid, 'SIGKILL');
}
