// Any number out of many: boxes to tick, those ticked first, and a search box when there are more than a screen takes.
import { html, nothing } from 'lit';
import type { Choice } from './form.ts';
import { View } from './view.ts';

/** Boxes shown at once; the search finds the others. */
const SHOWN = 100;
/** Choices up to this many need no search box. */
const EASY = 8;

export class Several extends View {
  static override properties = {
    name: {},
    label: {},
    help: {},
    wrong: { attribute: false },
    needed: { type: Boolean },
    choices: { attribute: false },
    chosen: { attribute: false },
    change: { attribute: false },
    wanted: { state: true },
  };

  declare name: string;
  declare label: string;
  declare help: string;
  /** What is wrong with what is chosen; undefined: nothing. */
  declare wrong: string | undefined;
  declare needed: boolean;
  declare choices: readonly Choice[];
  /** Values of the choices that are ticked. */
  declare chosen: readonly string[];
  declare change: (chosen: string[]) => void;
  declare wanted: string;
  /** Ticked when the list was last looked at: a box does not jump away from under the pointer. */
  #first = new Set<string>();

  constructor() {
    super();
    this.help = '';
    this.needed = false;
    this.choices = [];
    this.chosen = [];
    this.wanted = '';
  }

  protected override firstUpdated(): void {
    this.#first = new Set(this.chosen);
    if (this.#first.size > 0) this.requestUpdate();
  }

  override render(): unknown {
    const text = this.wanted.trim().toLowerCase();
    const found = text === '' ? this.choices : this.choices.filter(({ label }) => label.toLowerCase().includes(text));
    const ordered = [
      ...found.filter(({ value }) => this.#first.has(value)),
      ...found.filter(({ value }) => !this.#first.has(value)),
    ];
    const chosen = new Set(this.chosen);
    const message = this.wrong ?? this.help;
    return html`<fieldset class="several" aria-describedby=${message === '' ? nothing : `several-${this.name}-help`}>
      <legend>${this.label}${this.needed ? html` <span aria-hidden="true">*</span>` : nothing}</legend>
      ${this.choices.length > EASY ? this.#search(found.length) : nothing}
      <ul>
        ${ordered.slice(0, SHOWN).map(
          ({ value, label }) =>
            html`<li>
              <label
                ><input
                  type="checkbox"
                  name=${this.name}
                  value=${value}
                  .checked=${chosen.has(value)}
                  @change=${(event: Event) => {
                    this.#tick(value, (event.currentTarget as HTMLInputElement).checked);
                  }}
                />
                <span>${label}</span></label
              >
            </li>`,
        )}
      </ul>
      ${ordered.length > SHOWN ? html`<p class="muted">${ordered.length - SHOWN} more: search for them.</p>` : nothing}
      ${
        message === ''
          ? nothing
          : html`<p
              id=${`several-${this.name}-help`}
              class=${this.wrong === undefined ? 'help' : 'help wrong'}
              role=${this.wrong === undefined ? nothing : 'alert'}
            >
              ${message}
            </p>`
      }
    </fieldset>`;
  }

  #search(found: number): unknown {
    return html`<div class="search">
      <cds-icon shape="search"></cds-icon>
      <input
        type="search"
        placeholder="Search"
        aria-label=${`Search in ${this.label}`}
        .value=${this.wanted}
        @keydown=${(event: KeyboardEvent) => {
          // Enter goes on in a dialog; here it is what people press after a search.
          if (event.key === 'Enter') event.stopPropagation();
        }}
        @input=${(event: InputEvent) => {
          this.#first = new Set(this.chosen);
          this.wanted = (event.currentTarget as HTMLInputElement).value;
        }}
      />
      <span role="status"
        >${this.chosen.length} chosen${this.wanted === '' ? '' : `, ${found} of ${this.choices.length} found`}</span
      >
    </div>`;
  }

  #tick(value: string, on: boolean): void {
    this.chosen = on ? [...this.chosen, value] : this.chosen.filter((each) => each !== value);
    this.change([...this.chosen]);
  }
}

customElements.define('gemel-several', Several);
