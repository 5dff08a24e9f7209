import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { ApiProblem, call, problemOf } from '../api/client.ts';
import { View, button, note, problemBox } from '../parts/view.ts';
import { firstLogin, logIn, logInWithToken, session } from '../session.ts';
import favicon from '../favicon.svg';

type Way = 'password' | 'token' | 'first';

/** The code of the first login, out of the address: it must not stay there, nor in the history. */
function takeCode(): string | undefined {
  const [, code] = /^#first-login=([\w.-]{1,200})$/.exec(location.hash) ?? [];
  if (code !== undefined) history.replaceState(null, '', `${location.pathname}${location.search}`);
  return code;
}

const code = takeCode();

class Login extends View {
  static override properties = {
    way: { state: true },
    problem: { state: true },
    busy: { state: true },
    nobodyYet: { state: true },
  };
  declare way: Way;
  declare problem: ApiProblem | undefined;
  declare busy: boolean;
  /** There is no user, so nobody can log in with a password. */
  declare nobodyYet: boolean;

  constructor() {
    super();
    this.way = code === undefined ? 'password' : 'first';
    this.busy = false;
    this.nobodyYet = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener('hashchange', this.#moved);
    call('GET /first-login', { background: true }).then(
      ({ open }) => {
        this.nobodyYet = open;
        if (!open && this.way === 'first') this.way = 'password';
      },
      (error: unknown) => {
        this.problem = problemOf(error);
      },
    );
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    window.removeEventListener('hashchange', this.#moved);
  }

  override render(): unknown {
    const action = this.way === 'first' ? 'Create the first user' : 'Log in';
    return html`<main class="login">
      <form class="card" novalidate @submit=${this.#submit} @keydown=${this.#keydown}>
        <h1><img src=${favicon} alt="" width="36" height="36" /> Gemel</h1>
        ${this.#fields()}
        ${session.ended === undefined || this.problem !== undefined ? nothing : note('info', session.ended)}
        ${this.problem === undefined ? nothing : problemBox(this.problem)}
        ${button(this.busy ? 'One moment …' : action, () => void this.#go(), { kind: 'solid', disabled: this.busy })}
        ${this.way === 'first' ? nothing : this.#otherWay()}
      </form>
    </main>`;
  }

  #fields(): TemplateResult {
    if (this.way === 'token') {
      return html`<p>Log in with an API token.</p>
        <cds-password layout="vertical"
          ><label>API token</label
          ><input type="password" name="token" autocomplete="off" aria-required="true" /><cds-control-message
            >It is kept in the memory of this page only, and gone when you close or reload it.</cds-control-message
          ></cds-password
        >`;
    }
    const first = this.way === 'first';
    return html`<p>
        ${first ? 'Welcome. Make the first user, who may do everything.' : 'Log in to the storage console.'}
      </p>
      ${
        this.nobodyYet && !first
          ? note(
              'info',
              html`There is no user yet. Open the link the daemon has printed at its start, or run
                <code>gemel first-login</code> on the storage machine for a new one.`,
            )
          : nothing
      }
      <cds-input layout="vertical"
        ><label>User name</label
        ><input name="user" autocomplete="username" autocapitalize="none" spellcheck="false" aria-required="true"
      /></cds-input>
      <cds-password layout="vertical"
        ><label>Password</label
        ><input
          type="password"
          name="password"
          autocomplete=${first ? 'new-password' : 'current-password'}
          aria-required="true"
        />
        ${first ? html`<cds-control-message>At least 12 characters.</cds-control-message>` : nothing}</cds-password
      >
      ${
        first
          ? html`<cds-password layout="vertical"
              ><label>The password again</label
              ><input type="password" name="again" autocomplete="new-password" aria-required="true"
            /></cds-password>`
          : nothing
      }`;
  }

  #otherWay(): TemplateResult {
    const other: Way = this.way === 'token' ? 'password' : 'token';
    return button(
      other === 'token' ? 'Use an API token' : 'Use a password',
      () => {
        this.problem = undefined;
        this.way = other;
      },
      { kind: 'flat' },
    );
  }

  readonly #moved = (): void => {
    // The link of the first login, opened where the page is open already.
    if (/^#first-login=/.test(location.hash)) location.reload();
  };

  readonly #submit = (event: Event): void => {
    event.preventDefault();
    void this.#go();
  };

  readonly #keydown = (event: KeyboardEvent): void => {
    if (event.key !== 'Enter' || !(event.target instanceof HTMLInputElement)) return;
    event.preventDefault();
    void this.#go();
  };

  #value(name: string): string {
    return this.querySelector<HTMLInputElement>(`input[name="${name}"]`)?.value ?? '';
  }

  async #go(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    this.problem = undefined;
    try {
      await this.#enter();
    } catch (error) {
      this.problem = told(problemOf(error));
      this.querySelector<HTMLInputElement>('input[type="password"]')?.focus();
    } finally {
      this.busy = false;
    }
  }

  #enter(): Promise<void> {
    const user = this.#value('user').trim();
    const password = this.#value('password');
    if (this.way === 'token') return logInWithToken(this.#value('token').trim());
    if (this.way === 'password') return logIn(user, password);
    if (password !== this.#value('again')) {
      const problem = {
        status: 400,
        code: 'bad-request',
        detail: 'The two passwords differ.',
        remedy: 'Type the same twice.',
      };
      return Promise.reject(new ApiProblem(problem));
    }
    return firstLogin(code ?? '', user, password);
  }
}

/** Words of their own for what people meet here. */
function told(problem: ApiProblem): ApiProblem {
  const { status, code: what, message, retryAfter } = problem;
  if (what === 'throttled') {
    const remedy = retryAfter === undefined ? 'Wait a moment.' : `Try again in ${retryAfter} seconds.`;
    return new ApiProblem({ status, code: what, detail: 'Too many attempts.', remedy });
  }
  if (what !== 'unauthorized') return problem;
  return new ApiProblem({
    status,
    code: what,
    detail: message,
    remedy: 'Check the name and the password, or ask an admin to set a new one.',
  });
}

customElements.define('gemel-login', Login);
