const MIN_COLUMN = 6;

export interface Column<T> {
  readonly title: string;
  readonly value: (row: T) => string;
  /** Numbers stand on the right. */
  readonly right?: boolean;
  /** Narrowed first when the table is too wide; higher goes first. */
  readonly shrink?: number;
}

/** A table of `rows` within `width` characters (undefined: not a terminal); what does not fit is cut with an ellipsis. */
export function table<T>(rows: readonly T[], columns: readonly Column<T>[], width = Infinity): string {
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
        const text = value.length > room ? `${value.slice(0, room - 1)}…` : value;
        return columns[i]?.right === true ? text.padStart(room) : text.padEnd(room);
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

/** Without control characters, which names from the network may contain and terminals obey. */
function printable(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}
