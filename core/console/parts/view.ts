import { LitElement, html, nothing } from 'lit';
import type { ReactiveController, TemplateResult } from 'lit';
import type { ApiProblem } from '../api/client.ts';
import type { Source } from '../api/source.ts';

/** An element without a shadow: one style sheet for all, and labels, headings and links that find each other. */
export abstract class View extends LitElement {
  protected override createRenderRoot(): this {
    return this;
  }

  /** Draws anew whenever one of these has news, and keeps them up to date while this element is shown. */
  protected watch(...sources: Source<unknown>[]): void {
    for (const source of sources) this.addController(new Watching(this, source));
  }
}

class Watching implements ReactiveController {
  readonly #host: LitElement;
  readonly #source: Source<unknown>;
  readonly #changed = (): void => {
    this.#host.requestUpdate();
  };

  constructor(host: LitElement, source: Source<unknown>) {
    this.#host = host;
    this.#source = source;
  }

  hostConnected(): void {
    this.#source.subscribe(this.#changed);
  }

  hostDisconnected(): void {
    this.#source.unsubscribe(this.#changed);
  }
}

/** `content` of what a source has, or that it is on its way, or why it is not there. What was there once stays visible. */
export function shown<T>(source: Source<T>, content: (value: T) => unknown): unknown {
  const { value, problem } = source;
  return html`${problem === undefined ? nothing : problemBox(problem)}
  ${value === undefined ? (problem === undefined ? waiting() : nothing) : content(value)}`;
}

export function waiting(): TemplateResult {
  return html`<p class="waiting" role="status"><cds-progress-circle size="sm"></cds-progress-circle> Loading …</p>`;
}

/** What happened and what to do. */
export function problemBox(problem: ApiProblem): TemplateResult {
  return html`<div class="alert danger" role="alert">
    <cds-icon shape="error-standard" size="md"></cds-icon>
    <div>
      <strong>${sentence(problem.message)}</strong>
      <div>${problem.remedy}</div>
    </div>
  </div>`;
}

export function note(kind: 'info' | 'warning' | 'success' | 'danger', text: unknown): TemplateResult {
  const shape = kind === 'danger' ? 'error-standard' : `${kind}-standard`;
  return html`<div class=${`alert ${kind}`}>
    <cds-icon shape=${shape} size="md"></cds-icon>
    <div>${text}</div>
  </div>`;
}

/** There is nothing yet: what it would be, and what to do first. */
export function empty(icon: string, title: string, text: unknown, action: unknown = nothing): TemplateResult {
  return html`<div class="empty">
    <cds-icon shape=${icon} size="xl"></cds-icon>
    <h2>${title}</h2>
    <p>${text}</p>
    ${action}
  </div>`;
}

export function button(
  label: string,
  click: () => void,
  options: { kind?: 'solid' | 'outline' | 'flat'; danger?: boolean; disabled?: boolean; icon?: string } = {},
): TemplateResult {
  const { kind = 'outline', danger = false, disabled = false, icon } = options;
  return html`<cds-button
    type="button"
    action=${kind}
    status=${danger ? 'danger' : 'primary'}
    size="sm"
    ?disabled=${disabled}
    @click=${(event: Event) => {
      // Else Clarity makes a hidden button with an inline style, which the content security policy refuses.
      event.preventDefault();
      if (!disabled) click();
    }}
    >${icon === undefined ? nothing : html`<cds-icon shape=${icon}></cds-icon>`}${label}</cds-button
  >`;
}

/** A state in a word and a colour. */
export function state(kind: 'success' | 'warning' | 'danger' | 'info' | 'neutral', text: string): TemplateResult {
  return html`<span class=${`state ${kind}`}>${text}</span>`;
}

/** Heading of a page, with what can be done there. */
export function pageHead(title: string, text: unknown, actions: unknown = nothing): TemplateResult {
  return html`<header class="page-head">
    <div>
      <h1 tabindex="-1">${title}</h1>
      <p>${text}</p>
    </div>
    <div class="actions">${actions}</div>
  </header>`;
}

/** How much of something is used. */
export function meter(share: number, label: string, warnAt = 0.8): TemplateResult {
  const clamped = Math.min(1, Math.max(0, share));
  const level = share >= 0.95 ? 'danger' : share >= warnAt ? 'warning' : 'good';
  return html`<meter class=${level} min="0" max="1" .value=${clamped} aria-label=${label} title=${label}></meter>`;
}

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** With a capital and a full stop. */
export function sentence(text: string): string {
  const begun = capital(text);
  return /[.!?:]$/.test(begun) ? begun : `${begun}.`;
}
