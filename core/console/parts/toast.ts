// What has just been done or gone wrong, in a corner: it blocks nothing and goes away by itself, unless it is bad news.
import { html } from 'lit';
import { problemOf } from '../api/client.ts';
import { View, sentence } from './view.ts';

interface Toast {
  readonly id: number;
  readonly kind: 'success' | 'danger' | 'info';
  readonly text: string;
  readonly more: string;
}

/** Milliseconds good news stays. */
const STAYS = 6_000;
const MOST = 3;

const toasts: Toast[] = [];
const changes = new EventTarget();
let next = 1;

export function toast(kind: Toast['kind'], text: string, more = ''): void {
  const made = { id: next++, kind, text, more };
  toasts.push(made);
  if (toasts.length > MOST) toasts.shift();
  changes.dispatchEvent(new Event('change'));
  if (kind !== 'danger') setTimeout(dismiss, STAYS, made.id);
}

/** Bad news stays until somebody has read it. */
export function toastProblem(what: string, error: unknown): void {
  const problem = problemOf(error);
  toast('danger', `${what}: ${problem.message}`, problem.remedy);
}

function dismiss(id: number): void {
  const at = toasts.findIndex((each) => each.id === id);
  if (at < 0) return;
  toasts.splice(at, 1);
  changes.dispatchEvent(new Event('change'));
}

class Toasts extends View {
  override connectedCallback(): void {
    super.connectedCallback();
    changes.addEventListener('change', this.#draw);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    changes.removeEventListener('change', this.#draw);
  }

  readonly #draw = (): void => {
    this.requestUpdate();
  };

  override render(): unknown {
    return html`<div class="toasts" role="log" aria-live="polite" aria-label="Messages">
      ${toasts.map(
        ({ id, kind, text, more }) =>
          html`<div class=${`alert toast ${kind}`}>
            <cds-icon shape=${kind === 'danger' ? 'error-standard' : `${kind}-standard`} size="md"></cds-icon>
            <div>
              <strong>${kind === 'danger' ? sentence(text) : `${text}.`}</strong
              >${more === '' ? '' : html`<div>${more}</div>`}
            </div>
            <button
              type="button"
              class="plain"
              aria-label="Dismiss"
              @click=${() => {
                dismiss(id);
              }}
            >
              <cds-icon shape="times"></cds-icon>
            </button>
          </div>`,
      )}
    </div>`;
  }
}

customElements.define('gemel-toasts', Toasts);
