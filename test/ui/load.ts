// I/O of a real initiator, as long as a test wants it.
import { spawn } from 'node:child_process';
import { atExit } from '../support/cleanup.ts';

/** Reads `url` with QEMU's initiator until it is ended. */
export function spawnLoad(url: string): { end: () => Promise<void> } {
  let over = false;
  let child = next();
  const forget = atExit(() => {
    child.kill('SIGKILL');
  });
  function next(): ReturnType<typeof spawn> {
    const made = spawn('qemu-img', ['bench', '-f', 'raw', '-c', '100000', '-d', '8', '-s', '16384', url], {
      stdio: 'ignore',
    });
    made.once('exit', () => {
      if (!over) child = next();
    });
    return made;
  }
  return {
    end: async () => {
      over = true;
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await gone;
      forget();
    },
  };
}
