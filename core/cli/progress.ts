import { formatSize } from '../base/sizes.ts';
import type { CliContext } from './command.ts';

const BAR = 30;

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
