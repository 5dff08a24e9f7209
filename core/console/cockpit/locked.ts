// What is shown in Cockpit while the daemon does not let us in: why, and what to do.
import { html } from 'lit';
import { ApiProblem } from '../api/client.ts';
import { View, button, problemBox } from '../parts/view.ts';

class Locked extends View {
  static override properties = { problem: { attribute: false }, again: { attribute: false } };
  declare problem: ApiProblem | undefined;
  declare again: (() => void) | undefined;

  override render(): unknown {
    const problem = this.problem ?? new ApiProblem(ENDED);
    return html`<main class="login">
      <div class="card">
        <h1>Shared storage</h1>
        ${problemBox(problem)} ${button('Try again', () => this.again?.(), { kind: 'solid' })}
      </div>
    </main>`;
  }
}

const ENDED = {
  status: 401,
  code: 'unauthorized',
  detail: 'The daemon does not take the token of this page any more.',
  remedy: 'It may have been replaced: try again, and the new one is read.',
};

customElements.define('gemel-locked', Locked);
