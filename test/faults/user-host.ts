// The host in this process: test/support/path-host.ts with its writers.
import { WitnessedWriters } from '../support/witnessed-writer.ts';
import type { WriterOptions } from '../support/witnessed-writer.ts';
import type { FaultHost } from './fault-host.ts';

/** Writes every writer has to have acknowledged to be said to go on. */
const SOME = 20;

/** Begins to write. */
export function userHost(options: WriterOptions): FaultHost {
  const writers = new WitnessedWriters(options);
  writers.start();
  return {
    progress: () => writers.progress(SOME),
    takePause: () => writers.takePause(),
    get counts() {
      // Whatever is wrong ends the writers, and with them whoever waits for progress.
      return { writes: writers.writes, errors: 0, bad: 0 };
    },
    verify: async (everywhere) => {
      await writers.stop();
      for (const path of everywhere ? options.paths.keys() : [undefined]) await writers.verify(path);
      writers.start();
    },
    end: async () => {
      try {
        await writers.stop();
      } finally {
        writers.close();
      }
    },
  };
}
