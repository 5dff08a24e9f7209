// Dialogs that ask for something and do it: fields are data, so every dialog behaves alike. The page behind goes on living;
// what goes wrong is shown in the dialog, with everything that was typed still there.
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { problemOf } from '../api/client.ts';
import type { ApiProblem } from '../api/client.ts';
import { bytes, parseBytes } from './format.ts';
import './several.ts';
import { View, button, problemBox } from './view.ts';

export interface Choice {
  readonly value: string;
  readonly label: string;
}

export interface Field {
  readonly name: string;
  readonly label: string;
  /** `size`: bytes, typed like `10 GiB`. `lines`, `several`: Values.lines; for `several` those of the choices that are ticked. `custom`: what `control` draws. */
  readonly type: 'text' | 'size' | 'password' | 'select' | 'checkbox' | 'lines' | 'several' | 'custom';
  readonly control?: (given: {
    readonly values: Values;
    readonly wrong: string | undefined;
    readonly set: (value: string) => void;
  }) => unknown;
  readonly help?: string;
  readonly choices?: readonly Choice[];
  readonly value?: string | boolean;
  readonly required?: boolean;
  /** Whether it makes sense with what the other fields say. */
  readonly when?: (values: Values) => boolean;
  /** What is wrong with it; undefined: nothing. */
  readonly check?: (text: string, values: Values) => string | undefined;
}

export interface Step {
  readonly title: string;
  readonly intro?: unknown;
  readonly fields?: readonly Field[];
  /** Shown below the fields, from what has been chosen so far. */
  readonly summary?: (values: Values) => unknown;
}

export interface FormOptions {
  readonly title: string;
  readonly steps: readonly Step[];
  readonly action: string;
  readonly danger?: boolean;
  /** Does it; what it throws is shown and the dialog stays. What it returns replaces the dialog's content, until it is closed. */
  readonly submit: (values: Values) => Promise<unknown>;
}

/** What has been entered, by the names of the fields. */
export class Values {
  readonly #values = new Map<string, string | boolean>();

  set(name: string, value: string | boolean): void {
    this.#values.set(name, value);
  }

  text(name: string): string {
    const value = this.#values.get(name);
    return typeof value === 'string' ? value.trim() : '';
  }

  /** As typed: blanks belong to a password. */
  secret(name: string): string {
    const value = this.#values.get(name);
    return typeof value === 'string' ? value : '';
  }

  flag(name: string): boolean {
    return this.#values.get(name) === true;
  }

  /** Bytes; undefined: not a size. */
  size(name: string): number | undefined {
    return parseBytes(this.text(name));
  }

  lines(name: string): string[] {
    return this.text(name)
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  }
}

/** Opens a dialog. The focus goes back to where it was when it is closed. */
export function openForm(options: FormOptions): void {
  const form = new Form();
  form.options = options;
  document.querySelector('gemel-app')?.append(form);
}

export class Form extends View {
  static override properties = {
    options: { attribute: false },
    step: { state: true },
    busy: { state: true },
    tried: { state: true },
    problem: { state: true },
    result: { state: true },
  };

  declare options: FormOptions;
  declare step: number;
  declare busy: boolean;
  /** Somebody wanted to go on: now say what is missing. */
  declare tried: boolean;
  declare problem: ApiProblem | undefined;
  declare result: unknown;
  readonly values = new Values();

  constructor() {
    super();
    this.step = 0;
    this.busy = false;
    this.tried = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    for (const field of this.options.steps.flatMap((step) => step.fields ?? [])) {
      this.values.set(field.name, field.value ?? (field.type === 'select' ? (field.choices?.[0]?.value ?? '') : ''));
    }
  }

  protected override firstUpdated(): void {
    const dialog = this.#dialog();
    dialog?.addEventListener('close', () => {
      this.remove();
    });
    dialog?.showModal();
    void this.#focusFirst();
  }

  override render(): unknown {
    const { title, steps, action, danger = false } = this.options;
    const step = steps[this.step];
    const isLast = this.step === steps.length - 1;
    const done = this.result !== undefined;
    return html`<dialog aria-labelledby="dialog-title" @cancel=${this.#cancelled}>
      <header>
        <h2 id="dialog-title">${title}</h2>
        <button type="button" class="plain" aria-label="Close" @click=${this.#close} ?disabled=${this.busy}>
          <cds-icon shape="times"></cds-icon>
        </button>
      </header>
      ${steps.length > 1 && !done ? this.#progress() : nothing}
      <form
        novalidate
        @submit=${(event: Event) => {
          event.preventDefault();
          void this.#goOn();
        }}
        @keydown=${(event: KeyboardEvent) => {
          // Enter in a field goes on; the buttons of Clarity are no submit buttons.
          if (event.key !== 'Enter' || !(event.target instanceof HTMLInputElement)) return;
          event.preventDefault();
          void this.#goOn();
        }}
      >
        <div class="dialog-body">
          ${
            done
              ? this.result
              : html`${step?.intro === undefined ? nothing : html`<p>${step.intro}</p>`}
                ${(step?.fields ?? []).filter((field) => field.when?.(this.values) ?? true).map((field) => this.#field(field))}
                ${step?.summary?.(this.values) ?? nothing}`
          }
          ${this.problem === undefined ? nothing : problemBox(this.problem)}
        </div>
        <footer>
          ${
            done
              ? button('Close', this.#close, { kind: 'solid' })
              : html`${button('Cancel', this.#close, { kind: 'flat', disabled: this.busy })}
                ${this.step > 0 ? button('Back', this.#back, { disabled: this.busy }) : nothing}
                ${button(this.busy ? 'Working …' : isLast ? action : 'Next', () => void this.#goOn(), {
                  kind: 'solid',
                  danger: danger && isLast,
                  disabled: this.busy,
                })}`
          }
        </footer>
      </form>
    </dialog>`;
  }

  #progress(): TemplateResult {
    return html`<ol class="wizard" aria-label="Steps">
      ${this.options.steps.map(
        (step, i) =>
          html`<li
            class=${i < this.step ? 'past' : i === this.step ? 'now' : ''}
            aria-current=${i === this.step ? 'step' : nothing}
          >
            ${step.title}
          </li>`,
      )}
    </ol>`;
  }

  #field(field: Field): unknown {
    const wrong = this.tried ? this.#wrongWith(field) : undefined;
    const input = (event: Event): void => {
      const control = event.currentTarget as HTMLInputElement;
      this.values.set(field.name, field.type === 'checkbox' ? control.checked : control.value);
      this.requestUpdate();
    };
    const value = this.values.secret(field.name);
    const size = field.type === 'size' ? this.values.size(field.name) : undefined;
    const help = size === undefined ? (field.help ?? '') : `${bytes(size)}. ${field.help ?? ''}`;
    const message = html`${wrong === undefined ? nothing : html`<cds-control-message status="error">${wrong}</cds-control-message>`}
    ${help === '' || wrong !== undefined ? nothing : html`<cds-control-message>${help}</cds-control-message>`}`;
    const label = html`<label
      >${field.label}${field.required === true ? html` <span aria-hidden="true">*</span>` : nothing}</label
    >`;
    const required = field.required === true ? 'true' : nothing;
    switch (field.type) {
      case 'checkbox':
        return html`<cds-checkbox control-width="shrink"
          >${label}<input
            type="checkbox"
            name=${field.name}
            .checked=${this.values.flag(field.name)}
            @change=${input}
          />${message}</cds-checkbox
        >`;
      case 'select':
        return choice(field.label, field.choices ?? [], value, {
          name: field.name,
          help: wrong ?? help,
          change: (chosen) => {
            this.values.set(field.name, chosen);
            this.requestUpdate();
          },
        });
      case 'custom':
        return field.control?.({
          values: this.values,
          wrong,
          set: (given) => {
            this.values.set(field.name, given);
            this.requestUpdate();
          },
        });
      case 'several':
        return html`<gemel-several
          .name=${field.name}
          .label=${field.label}
          .help=${help}
          .wrong=${wrong}
          .needed=${field.required === true}
          .choices=${field.choices ?? []}
          .chosen=${this.values.lines(field.name)}
          .change=${(chosen: string[]) => {
            this.values.set(field.name, chosen.join('\n'));
            this.requestUpdate();
          }}
        ></gemel-several>`;
      case 'lines':
        return html`<cds-textarea layout="vertical"
          >${label}<textarea name=${field.name} rows="4" .value=${value} @input=${input}></textarea
          >${message}</cds-textarea
        >`;
      case 'password':
        return html`<cds-password layout="vertical"
          >${label}<input
            type="password"
            name=${field.name}
            autocomplete="new-password"
            aria-required=${required}
            .value=${value}
            @input=${input}
          />${message}</cds-password
        >`;
      case 'text':
      case 'size':
        return html`<cds-input layout="vertical"
          >${label}<input
            type="text"
            name=${field.name}
            autocomplete="off"
            spellcheck="false"
            aria-required=${required}
            aria-invalid=${wrong === undefined ? nothing : 'true'}
            .value=${value}
            @input=${input}
          />${message}</cds-input
        >`;
    }
  }

  #wrongWith(field: Field): string | undefined {
    if (field.when?.(this.values) === false) return undefined;
    const text = this.values.text(field.name);
    if (text === '' && field.type !== 'checkbox')
      return field.required !== true
        ? undefined
        : field.type === 'several'
          ? 'Choose at least one.'
          : `${field.label} is needed.`;
    if (field.type === 'size' && this.values.size(field.name) === undefined)
      return 'Write a number and a unit, like 100 GiB.';
    return field.check?.(text, this.values);
  }

  async #goOn(): Promise<void> {
    if (this.busy || this.result !== undefined) return;
    const { steps, submit } = this.options;
    this.tried = true;
    const wrong = (steps[this.step]?.fields ?? []).find((field) => this.#wrongWith(field) !== undefined);
    if (wrong !== undefined) {
      await this.updateComplete;
      this.querySelector<HTMLElement>(`[name="${wrong.name}"]`)?.focus();
      return;
    }
    this.tried = false;
    this.problem = undefined;
    if (this.step < steps.length - 1) {
      this.step++;
      await this.#focusFirst();
      return;
    }
    this.busy = true;
    try {
      const result = await submit(this.values);
      if (result === undefined) this.#dialog()?.close();
      else this.result = result;
    } catch (error) {
      this.problem = problemOf(error);
    } finally {
      this.busy = false;
    }
  }

  async #focusFirst(): Promise<void> {
    await this.updateComplete;
    this.querySelector<HTMLElement>('.dialog-body input, .dialog-body select, .dialog-body textarea')?.focus();
  }

  #dialog(): HTMLDialogElement | null {
    return this.querySelector('dialog');
  }

  readonly #back = (): void => {
    this.step--;
    this.tried = false;
    this.problem = undefined;
  };

  readonly #close = (): void => {
    if (!this.busy) this.#dialog()?.close();
  };

  /** Escape, while something is being done: it would only hide what comes of it. */
  readonly #cancelled = (event: Event): void => {
    if (this.busy) event.preventDefault();
  };
}

/** One of several. (The select of Clarity brings a style element along, which the content security policy refuses.) */
export function choice(
  label: string,
  choices: readonly Choice[],
  value: string,
  { name, help = '', change }: { name: string; help?: string; change: (value: string) => void },
): TemplateResult {
  return html`<div class="choice">
    <label for=${`choice-${name}`}>${label}</label>
    <select
      id=${`choice-${name}`}
      name=${name}
      aria-describedby=${help === '' ? nothing : `choice-${name}-help`}
      @change=${(event: Event) => {
        change((event.currentTarget as HTMLSelectElement).value);
      }}
    >
      ${choices.map((each) => html`<option value=${each.value} ?selected=${each.value === value}>${each.label}</option>`)}
    </select>
    ${help === '' ? nothing : html`<span id=${`choice-${name}-help`} class="help">${help}</span>`}
  </div>`;
}

customElements.define('gemel-form', Form);
