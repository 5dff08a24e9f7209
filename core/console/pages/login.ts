import { html, nothing } from 'lit';
import type { ApiProblem } from '../api/client.ts';
import { problemOf } from '../api/client.ts';
import { View, button, problemBox } from '../parts/view.ts';
import { logInWithToken } from '../session.ts';

class Login extends View {
  static override properties = { problem: { state: true }, busy: { state: true } };
  declare problem: ApiProblem | undefined;
  declare busy: boolean;

  override render(): unknown {
    return html`<main class="login">
      <form class="card" novalidate @submit=${this.#submit} @keydown=${this.#keydown}>
        <h1><img src=${new URL('../favicon.svg', import.meta.url).pathname} alt="" width="36" height="36" /> Gemel</h1>
        <p>Log in to the storage console.</p>
        <cds-password
          ><label>API token</label
          ><input type="password" name="token" autocomplete="off" aria-required="true" /><cds-control-message
            >It is kept in the memory of this page only, and gone when you close or reload it.</cds-control-message
          ></cds-password
        >
        ${this.problem === undefined ? nothing : problemBox(this.problem)}
        ${button(this.busy ? 'Logging in …' : 'Log in', () => void this.#logIn(), { kind: 'solid', disabled: this.busy })}
      </form>
    </main>`;
  }

  readonly #submit = (event: Event): void => {
    event.preventDefault();
    void this.#logIn();
  };

  readonly #keydown = (event: KeyboardEvent): void => {
    if (event.key !== 'Enter' || !(event.target instanceof HTMLInputElement)) return;
    event.preventDefault();
    void this.#logIn();
  };

  async #logIn(): Promise<void> {
    const input = this.querySelector<HTMLInputElement>('input[name="token"]');
    this.busy = true;
    this.problem = undefined;
    try {
      await logInWithToken(input?.value.trim() ?? '');
    } catch (error) {
      this.problem = problemOf(error);
      input?.focus();
    } finally {
      this.busy = false;
    }
  }
}

customElements.define('gemel-login', Login);
