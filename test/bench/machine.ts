// What a table says of the machine it was measured on.
import { cpus, release } from 'node:os';

/** `processorsFor`: for whom all of them were, behind their name. */
export const machineFacts = (
  processorsFor = '',
): { date: string; processor: string; kernel: string; node: string } => ({
  date: new Date().toISOString().slice(0, 10),
  processor: `${String(cpus().length)} × ${cpus()[0]?.model ?? 'unknown'}${processorsFor}`,
  kernel: release(),
  node: process.version,
});
