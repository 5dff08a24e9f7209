// Who is logged in: a person with a session, whose cookie scripts cannot see, or a token that lives in the memory of this page.
import { nothing } from 'lit';
import { ApiProblem, call } from './api/client.ts';
import type { Answer } from './api/client.ts';
import { credentials } from './api/credentials.ts';
import { changed, data, forgetData } from './api/data.ts';
import type { SourceName } from './api/data.ts';
import { startSeries, stopSeries } from './api/series.ts';
import { startStream, stopStream } from './api/stream.ts';

export type Identity = Answer<'GET /session'>;
export type Role = Identity['role'];

/** Set while a session may be open: without it, nobody is asked who is logged in. No secret. */
const HINT = 'gemel-session';
const ROLES: readonly Role[] = ['viewer', 'operator', 'admin'];

class Session extends EventTarget {
  identity: Identity | undefined;
  /** Why somebody has to log in again. */
  ended: string | undefined;

  get open(): boolean {
    return this.identity !== undefined;
  }

  /** Whether the person may do what `role` may: what is not allowed is not offered. */
  may(role: Role): boolean {
    return ROLES.indexOf(this.identity?.role ?? 'viewer') >= ROLES.indexOf(role);
  }
}

export const session = new Session();

/** What only those may do who have the role; nothing for others. */
export const forRole = (role: Role, content: unknown): unknown => (session.may(role) ? content : nothing);

function begin(identity: Identity): void {
  session.identity = identity;
  session.ended = undefined;
  if (identity.csrf !== null) {
    credentials.useSession(identity.csrf);
    hint()?.setItem(HINT, '1');
  }
  startSeries();
  startStream();
  changed(...(Object.keys(data) as SourceName[]));
  session.dispatchEvent(new Event('change'));
}

function end(why?: string): void {
  session.identity = undefined;
  session.ended = why;
  hint()?.removeItem(HINT);
  stopSeries();
  stopStream();
  forgetData();
  session.dispatchEvent(new Event('change'));
}

credentials.addEventListener('refused', () => {
  end('Your session has ended. Log in again.');
});

/** Goes on with the session of this browser, if there is one. Never rejects. */
export async function resume(): Promise<void> {
  if (hint()?.getItem(HINT) !== '1') return;
  try {
    begin(await call('GET /session', { background: true }));
  } catch {
    hint()?.removeItem(HINT);
  }
}

/** Rejects with ApiProblem. */
export async function logIn(user: string, password: string): Promise<void> {
  begin(await call('POST /session', { body: { user, password } }));
}

/** Makes the first user, an admin, with the code that the daemon has printed. Rejects with ApiProblem. */
export async function firstLogin(code: string, user: string, password: string): Promise<void> {
  begin(await call('POST /first-login', { body: { code, user, password } }));
}

/** With an API token, which stays in the memory of the page. Rejects with ApiProblem. */
export async function logInWithToken(token: string): Promise<void> {
  if (!/^gemel\.[\w-]{43}\.[\w-]{43}$/.test(token)) {
    throw new ApiProblem({
      status: 400,
      code: 'bad-request',
      detail: 'this is not a token of Gemel: it begins with "gemel." and has three parts',
      remedy: 'The daemon keeps one for its owner in the file token of its data folder.',
    });
  }
  credentials.useToken(token);
  begin(await call('GET /session', {}));
}

export async function logOut(): Promise<void> {
  // The session of a token is its memory here.
  if (credentials.kind === 'session') await call('DELETE /session', {}).catch(() => undefined);
  credentials.forget();
  end();
}

/** Browsers refuse it to pages in foreign frames, where cookies do not work either. */
function hint(): Storage | undefined {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}
