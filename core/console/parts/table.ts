// A table that stays smooth with ten thousand rows: only those in sight are in the document.
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { View } from './view.ts';

export interface Column<T> {
  readonly label: string;
  readonly cell: (row: T) => unknown;
  /** What the column is sorted by; without it, it is not. */
  readonly sort?: (row: T) => string | number;
  readonly numeric?: boolean;
}

/** Rows up to this many are seen at a glance: no search box. */
const GLANCE = 8;
/** Rows up to this many are all in the document. */
const ALL = 100;
/** Pixels of a row of one line, as in the style sheet. */
const ROW_HEIGHT = 40;
/** Rows above and below what is in sight. */
const MARGIN = 20;

export class Table<T> extends View {
  static override properties = {
    label: {},
    columns: { attribute: false },
    rows: { attribute: false },
    search: { attribute: false },
    sorted: { state: true },
    wanted: { state: true },
    first: { state: true },
  };

  /** For screen readers. */
  declare label: string;
  declare columns: readonly Column<T>[];
  declare rows: readonly T[];
  /** The text of a row in which the search box looks; undefined: no search box. */
  declare search: ((row: T) => string) | undefined;
  declare sorted: { column: number; descending: boolean };
  declare wanted: string;
  declare first: number;
  /** Pixels of a row as they are drawn: some have two lines. */
  #rowHeight = ROW_HEIGHT;

  constructor() {
    super();
    this.label = '';
    this.columns = [];
    this.rows = [];
    this.sorted = { column: 0, descending: false };
    this.wanted = '';
    this.first = 0;
  }

  override render(): unknown {
    const rows = this.#visibleRows();
    const all = rows.length <= ALL;
    const first = all ? 0 : Math.max(0, Math.min(this.first, rows.length) - MARGIN);
    const last = all ? rows.length : Math.min(rows.length, this.first + 60 + MARGIN);
    return html`${this.search === undefined || this.rows.length <= GLANCE ? nothing : this.#searchBox(rows.length)}
      <div
        class="table-box"
        tabindex=${all ? -1 : 0}
        @scroll=${(event: Event) => {
          this.first = Math.floor((event.currentTarget as HTMLElement).scrollTop / this.#rowHeight);
        }}
      >
        <table aria-label=${this.label} aria-rowcount=${rows.length + 1}>
          <thead>
            <tr>
              ${this.columns.map((column, i) => this.#heading(column, i))}
            </tr>
          </thead>
          <tbody>
            ${gap(first * this.#rowHeight, this.columns.length)}
            ${rows.slice(first, last).map(
              (row, i) =>
                html`<tr aria-rowindex=${first + i + 2}>
                  ${this.columns.map(
                    (column) => html`<td class=${column.numeric === true ? 'numeric' : ''}>${column.cell(row)}</td>`,
                  )}
                </tr>`,
            )}
            ${gap((rows.length - last) * this.#rowHeight, this.columns.length)}
          </tbody>
        </table>
      </div>`;
  }

  /** How high rows are is seen once they are there, and only from the top: measuring while somebody scrolls would make them jump. */
  protected override updated(): void {
    if (this.rows.length <= ALL || this.first > 0) return;
    const rows = [...this.querySelectorAll<HTMLElement>('tbody tr:not(.gap)')];
    const height = rows.reduce((sum, { offsetHeight }) => sum + offsetHeight, 0) / Math.max(1, rows.length);
    if (height < 1 || Math.abs(height - this.#rowHeight) < 1) return;
    this.#rowHeight = height;
    this.requestUpdate();
  }

  #visibleRows(): readonly T[] {
    const { search, wanted, sorted } = this;
    const text = wanted.trim().toLowerCase();
    const found =
      text === '' || search === undefined
        ? this.rows
        : this.rows.filter((row) => search(row).toLowerCase().includes(text));
    const by = this.columns[sorted.column]?.sort;
    if (by === undefined) return found;
    const sign = sorted.descending ? -1 : 1;
    return found
      .map((row) => ({ row, key: by(row) }))
      .sort((a, b) => (a.key < b.key ? -sign : a.key > b.key ? sign : 0))
      .map(({ row }) => row);
  }

  #searchBox(found: number): TemplateResult {
    return html`<div class="search">
      <cds-icon shape="search"></cds-icon>
      <input
        type="search"
        placeholder="Search"
        aria-label=${`Search in ${this.label}`}
        .value=${this.wanted}
        @input=${(event: InputEvent) => {
          this.wanted = (event.currentTarget as HTMLInputElement).value;
        }}
      />
      <span role="status">${this.wanted === '' ? '' : `${found} of ${this.rows.length}`}</span>
    </div>`;
  }

  #heading(column: Column<T>, i: number): TemplateResult {
    const numeric = column.numeric === true ? 'numeric' : '';
    if (column.sort === undefined) return html`<th scope="col" class=${numeric}>${column.label}</th>`;
    const { sorted } = this;
    const is = sorted.column === i;
    const order = is ? (sorted.descending ? 'descending' : 'ascending') : 'none';
    return html`<th scope="col" class=${numeric} aria-sort=${order}>
      <button
        type="button"
        class="sort"
        @click=${() => {
          this.sorted = { column: i, descending: is && !sorted.descending };
        }}
      >
        ${column.label}${is ? html`<cds-icon shape="angle" size="sm" direction=${sorted.descending ? 'down' : 'up'}></cds-icon>` : nothing}
      </button>
    </th>`;
  }
}

/** Room for rows that are not in the document. */
function gap(pixels: number, columns: number): unknown {
  if (pixels <= 0) return nothing;
  return html`<tr aria-hidden="true" class="gap">
    <td colspan=${columns} .height=${String(Math.round(pixels))}></td>
  </tr>`;
}

customElements.define('gemel-table', Table);

/** A table of these rows. */
export function table<T>(
  label: string,
  rows: readonly T[],
  columns: readonly Column<T>[],
  search?: (row: T) => string,
): TemplateResult {
  return html`<gemel-table .label=${label} .rows=${rows} .columns=${columns} .search=${search}></gemel-table>`;
}
