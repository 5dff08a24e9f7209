import { Histogram } from '../base/histogram.ts';

/** What a logical unit has done since it was opened. Plain numbers: incremented on the fast path. */
export class LuCounters {
  reads = 0;
  readBytes = 0;
  writes = 0;
  writtenBytes = 0;
  /** Commands other than reads and writes. */
  others = 0;
  /** Commands that ended with CHECK CONDITION, without unit attentions. */
  errors = 0;
  conflicts = 0;
  aborted = 0;
  /** Microseconds from the arrival of a command to its answer. */
  readonly readLatency = new Histogram();
  readonly writeLatency = new Histogram();
}
