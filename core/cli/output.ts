/** Characters a narrowed column keeps. */
const MIN_COLUMN = 12;

export interface Column<T> {
  readonly title: string;
  readonly value: (row: T) => string;
  /** Numbers stand on the right. */
  readonly right?: boolean;
  /** Narrowed first when the table is too wide; higher goes first. */
  readonly shrink?: number;
  /** What tells rows apart is at the end (of an iSCSI name, say): the beginning is cut. */
  readonly keepEnd?: boolean;
  /** Left out when narrowing is not enough; higher goes first. --json has everything. */
  readonly spare?: number;
}

/**
 * A table of `rows` within `width` characters (undefined: not a terminal); what does not fit is cut with an ellipsis, and
 * when that is not enough, spare columns are left out.
 */
export function table<T>(rows: readonly T[], all: readonly Column<T>[], width = Infinity): string {
  const least = (column: Column<T>): number => {
    const widest = Math.max(column.title.length, ...rows.map((row) => column.value(row).length));
    return column.shrink === undefined ? widest : Math.min(widest, MIN_COLUMN);
  };
  let columns = all;
  while (columns.reduce((sum, column) => sum + least(column) + 2, -2) > width) {
    const most = Math.max(...columns.map((column) => column.spare ?? 0));
    if (most === 0) break;
    columns = columns.filter((column) => column.spare !== most);
  }
  return fit(rows, columns, width);
}

function fit<T>(rows: readonly T[], columns: readonly Column<T>[], width: number): string {
  const cells = rows.map((row) => columns.map((column) => printable(column.value(row))));
  const widths = columns.map((column, i) => Math.max(column.title.length, ...cells.map((row) => row[i]?.length ?? 0)));
  let excess = widths.reduce((sum, each) => sum + each + 2, -2) - width;
  const order = columns.map((column, i) => ({ i, shrink: column.shrink ?? 0 })).sort((a, b) => b.shrink - a.shrink);
  for (const { i, shrink } of order) {
    if (excess <= 0 || shrink === 0) break;
    const cut = Math.min(excess, Math.max(0, (widths[i] ?? 0) - MIN_COLUMN));
    widths[i] = (widths[i] ?? 0) - cut;
    excess -= cut;
  }
  const line = (values: readonly string[]): string =>
    values
      .map((value, i) => {
        const room = widths[i] ?? 0;
        const { right, keepEnd } = columns[i] ?? {};
        const cut = keepEnd === true ? `…${value.slice(value.length - room + 1)}` : `${value.slice(0, room - 1)}…`;
        const text = value.length > room ? cut : value;
        return right === true ? text.padStart(room) : text.padEnd(room);
      })
      .join('  ')
      .trimEnd();
  return [line(columns.map((column) => column.title)), ...cells.map(line)].join('\n');
}

/** `key  value` lines. */
export function facts(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([key]) => key.length));
  return pairs.map(([key, value]) => `${key.padEnd(width)}  ${printable(value)}`).join('\n');
}

/** The words of `text` on lines of at most `width` characters; a longer word has a line of its own. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of printable(text).split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Without control characters, which names from the network may contain and terminals obey. */
function printable(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}
