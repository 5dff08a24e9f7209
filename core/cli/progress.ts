import { formatSize } from '../base/sizes.ts';
import type { CliContext } from './command.ts';

const BAR = 30;
/** Columns of a terminal that does not say how wide it is. */
const COLUMNS = 80;

/**
 * `creation of pool tank  [#####     ]  17 %  about 12 s`: `share` 0 to 1, `seconds` to go if that is known. Cut to the
 * terminal so that it never wraps: of what is done first, the bar is what people look at.
 */
export function shareLine(what: string, share: number, seconds: number | null | undefined, columns = COLUMNS): string {
  const part = Math.min(Math.max(share, 0), 1);
  const bar = '#'.repeat(Math.floor(part * BAR)).padEnd(BAR);
  const left = seconds === null || seconds === undefined ? '' : `  about ${duration(seconds)}`;
  const end = `  [${bar}]  ${String(Math.floor(part * 100)).padStart(3)} %${left}`;
  const room = Math.max(0, columns - 1 - end.length);
  const name = what.length <= room ? what : `${what.slice(0, Math.max(0, room - 1))}…`;
  return `${name}${end}`.slice(0, columns - 1);
}

function duration(seconds: number): string {
  if (seconds < 120) return `${String(Math.ceil(seconds))} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 120 ? `${String(minutes)} min` : `${String(Math.ceil(minutes / 60))} h`;
}

export interface Progress {
  /** 0 to 100. */
  readonly update: (percent: number) => void;
  /** Takes the line away. */
  readonly end: () => void;
}

/** One line that is drawn over and over while `total` bytes are worked on; nothing without a terminal. */
export function startProgress(terminal: CliContext['terminal'], what: string, total: number): Progress {
  if (terminal === undefined) return { update: () => undefined, end: () => undefined };
  let drawn = '';
  return {
    update: (percent) => {
      const line = progressLine(what, percent, total, terminal.columns());
      if (line === drawn) return;
      drawn = line;
      terminal.write(`\r${line}\u001b[K`);
    },
    end: () => {
      if (drawn !== '') terminal.write('\r\u001b[K');
    },
  };
}

/** `Importing  [#####     ]  17 %  1.7 of 10 GiB`, cut to the terminal so that it never wraps. */
export function progressLine(what: string, percent: number, total: number, columns: number): string {
  const part = Math.min(Math.max(percent, 0), 100) / 100;
  const filled = Math.floor(part * BAR);
  const bar = '#'.repeat(filled).padEnd(BAR);
  const amount = `${formatSize(Math.floor(part * total))} of ${formatSize(total)}`;
  return `${what}  [${bar}]  ${String(Math.floor(part * 100)).padStart(3)} %  ${amount}`.slice(0, columns - 1);
}
