// A line plot: SVG, drawn anew for each point. Screen readers get the numbers as a sentence.
import { html, nothing, svg } from 'lit';
import { View } from './view.ts';

export interface Line {
  readonly label: string;
  /** Milliseconds since 1970, and the value; undefined: there is none at that time. */
  readonly points: readonly (readonly [number, number | undefined])[];
}

const WIDTH = 600;
const HEIGHT = 240;
const LEFT = 88;
const BOTTOM = 28;
const TOP = 12;
const RIGHT = 8;
/** Milliseconds a plot shows when there is little yet. */
const LEAST_TIME = 60_000;

export class Plot extends View {
  static override properties = {
    label: {},
    lines: { attribute: false },
    format: { attribute: false },
    least: { type: Number },
    binary: { type: Boolean },
    hovered: { state: true },
  };

  declare label: string;
  declare lines: readonly Line[];
  declare format: (value: number) => string;
  /** The scale ends here or above: noise should not fill the plot. */
  declare least: number;
  /** Of bytes: ticks at powers of two. */
  declare binary: boolean;
  /** The time somebody points at. */
  declare hovered: number | undefined;

  constructor() {
    super();
    this.label = '';
    this.lines = [];
    this.format = String;
    this.least = 1;
    this.binary = false;
  }

  override render(): unknown {
    const times = this.lines.flatMap((line) => line.points.map(([at]) => at));
    const end = times.length === 0 ? Date.now() : Math.max(...times);
    const begin = Math.min(end - LEAST_TIME, ...times);
    const values = this.lines.flatMap((line) => line.points.map(([, value]) => value ?? 0));
    const top = niceTop(Math.max(this.least, ...values), this.binary);
    const x = (at: number): number => LEFT + ((at - begin) / (end - begin)) * (WIDTH - LEFT - RIGHT);
    const y = (value: number): number => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
    return html`<figure class="plot">
      <figcaption>
        <span class="plot-title">${this.label}</span>
        <span class="legend">
          ${this.lines.map(
            (line, i) =>
              html`<span class="key"
                ><i class=${`dot line-${i}`}></i>${line.label} <b>${this.#valueOf(line)}</b></span
              >`,
          )}
        </span>
      </figcaption>
      <svg
        viewBox=${`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label=${this.#spoken()}
        @pointermove=${(event: PointerEvent) => {
          const box = (event.currentTarget as SVGElement).getBoundingClientRect();
          const at = ((event.clientX - box.left) / box.width) * WIDTH;
          this.hovered = begin + ((at - LEFT) / (WIDTH - LEFT - RIGHT)) * (end - begin);
        }}
        @pointerleave=${() => {
          this.hovered = undefined;
        }}
      >
        ${[0, 0.5, 1].map(
          (share) => svg`
            <line class="grid" x1=${LEFT} x2=${WIDTH - RIGHT} y1=${y(share * top)} y2=${y(share * top)} />
            <text class="tick" x=${LEFT - 8} y=${y(share * top) + 5} text-anchor="end">${this.format(share * top)}</text>`,
        )}
        <text class="tick" x=${LEFT} y=${HEIGHT - 4}>${ago(end - begin)}</text>
        <text class="tick" x=${WIDTH - RIGHT} y=${HEIGHT - 4} text-anchor="end">now</text>
        ${this.lines.map((line, i) => svg`<path class=${`line line-${i}`} d=${pathOf(line, x, y)} />`)}
        ${
          this.hovered === undefined || this.hovered < begin
            ? nothing
            : svg`<line class="cross" x1=${x(this.hovered)} x2=${x(this.hovered)} y1=${TOP} y2=${HEIGHT - BOTTOM} />`
        }
      </svg>
    </figure>`;
  }

  /** At the time somebody points at, else the last one. */
  #valueOf(line: Line): string {
    const at = this.hovered;
    const point =
      at === undefined
        ? line.points.at(-1)
        : line.points.reduce<(typeof line.points)[number] | undefined>(
            (best, each) => (best === undefined || Math.abs(each[0] - at) < Math.abs(best[0] - at) ? each : best),
            undefined,
          );
    return point?.[1] === undefined ? '–' : this.format(point[1]);
  }

  #spoken(): string {
    const now = this.lines.map((line) => {
      const value = line.points.at(-1)?.[1];
      return `${line.label} ${value === undefined ? 'nothing' : this.format(value)}`;
    });
    return `${this.label}, now: ${now.join(', ')}`;
  }
}

/** A power of two, or 1, 2 or 5 times one of ten: the grid should stand still while values move. */
function niceTop(value: number, binary: boolean): number {
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((each) => each * step).find((each) => each >= value) ?? value;
}

function pathOf(line: Line, x: (at: number) => number, y: (value: number) => number): string {
  let path = '';
  let pen = 'M';
  for (const [at, value] of line.points) {
    if (value === undefined) {
      pen = 'M';
      continue;
    }
    path += `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = 'L';
  }
  return path;
}

const ago = (milliseconds: number): string => {
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 120 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
};

customElements.define('gemel-plot', Plot);
