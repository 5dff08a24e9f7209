// Who is asking: the cookie of a session (which scripts cannot see), or a token that is kept in the memory of this page only.

class Credentials extends EventTarget {
  #token: string | undefined;
  #csrf: string | undefined;

  /** Headers that prove it. */
  headers(method: string): Record<string, string> {
    if (this.#token !== undefined) return { Authorization: `Bearer ${this.#token}` };
    if (this.#csrf !== undefined && method !== 'GET') return { 'Gemel-CSRF': this.#csrf };
    return {};
  }

  get kind(): 'token' | 'session' | 'none' {
    if (this.#token !== undefined) return 'token';
    return this.#csrf === undefined ? 'none' : 'session';
  }

  useToken(token: string): void {
    this.#token = token;
  }

  /** `csrf`: what the daemon has given this session to prove that its own page is asking. */
  useSession(csrf: string): void {
    this.#csrf = csrf;
  }

  forget(): void {
    this.#token = undefined;
    this.#csrf = undefined;
  }

  /** The daemon does not know us (any more). */
  refused(): void {
    if (this.kind === 'none') return;
    this.forget();
    this.dispatchEvent(new Event('refused'));
  }
}

export const credentials = new Credentials();
