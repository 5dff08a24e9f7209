// Logging in and out, and the very first login.
import { ServiceError } from '../../base/errors.ts';
import { SESSION_IDLE } from '../../base/limits.ts';
import type { Caller } from '../../control/callers.ts';
import type { ControlPlane } from '../../control/control-plane.ts';
import { route } from '../route.ts';
import type { RequestContext, Route } from '../route.ts';
import { ChangeOwnPassword, FirstLogin, FirstLoginLink, FirstLoginState, Identity, Login } from './schemas.ts';

export function sessionRoutes(control: ControlPlane): Route[] {
  const { security } = control;
  const { login, firstLogin, sessions } = security;
  const tag = 'session';
  return [
    route({
      method: 'post',
      path: '/session',
      tag,
      role: 'public',
      summary: 'Log in with user and password: sets the cookie of a session',
      body: Login,
      status: 201,
      response: Identity,
      confidential: true,
      problems: ['unauthorized', 'throttled'],
      handle: async ({ body }, context) => {
        const { caller, secret } = await login.withPassword(body.user, body.password, context.address);
        return enter(context, caller, secret);
      },
    }),
    route({
      method: 'get',
      path: '/session',
      tag,
      role: 'viewer',
      summary: 'Who sends this request, and what he may do',
      response: Identity,
      problems: [],
      handle: (_input, { caller }) => identityOf(known(caller)),
    }),
    route({
      method: 'delete',
      path: '/session',
      tag,
      role: 'viewer',
      summary: 'Log out: ends the session',
      problems: ['bad-request'],
      handle: async (_input, { caller, setCookie }) => {
        if (caller?.session === undefined) throw new ServiceError('bad-request', 'a token has no session to end');
        await sessions.end(caller.session.id);
        setCookie(undefined);
      },
    }),
    route({
      method: 'put',
      path: '/session/password',
      tag,
      role: 'viewer',
      summary: 'Change the own password: ends all other sessions of the user',
      body: ChangeOwnPassword,
      problems: ['bad-request', 'unauthorized', 'throttled'],
      handle: ({ body }, { caller, address }) => login.changePassword(known(caller), body.current, body.next, address),
    }),
    route({
      method: 'get',
      path: '/first-login',
      tag,
      role: 'public',
      summary: 'Whether the first user is still to be made',
      response: FirstLoginState,
      problems: [],
      handle: () => ({ open: firstLogin.open }),
    }),
    route({
      method: 'post',
      path: '/first-login',
      tag,
      role: 'public',
      summary: 'Make the first user, an admin, and log in as it',
      body: FirstLogin,
      status: 201,
      response: Identity,
      confidential: true,
      problems: ['unauthorized', 'throttled', 'exists'],
      handle: async ({ body }, context) => {
        const user = await firstLogin.use(body.code, body.user, body.password, context.address);
        const { caller, secret } = await login.begin(user);
        return enter(context, caller, secret);
      },
    }),
    route({
      method: 'post',
      path: '/first-login/code',
      tag,
      role: 'admin',
      summary: 'Make a code for the first login; the one before is void',
      status: 201,
      response: FirstLoginLink,
      confidential: true,
      problems: ['exists'],
      handle: () => {
        const { code, expires } = firstLogin.issue();
        const url = `${control.certificate()?.url ?? ''}/#first-login=${code}`;
        return { url, code, expires: new Date(expires).toISOString() };
      },
    }),
  ];
}

function enter(context: RequestContext, caller: Caller, secret: string): unknown {
  context.identify(caller);
  context.setCookie(secret);
  return identityOf(caller);
}

function identityOf({ kind, name, role, session, token }: Caller): unknown {
  const iso = (time: number | undefined): string | null => (time === undefined ? null : new Date(time).toISOString());
  return {
    ...{ kind: kind === 'user' ? 'session' : 'token', name, role, csrf: session?.csrf ?? null },
    created: iso(session?.created ?? token?.created),
    expires: iso(session?.expires ?? token?.expires),
    idleSeconds: session === undefined ? null : SESSION_IDLE / 1000,
  };
}

/** The rows with a role are served to somebody. */
function known(caller: Caller | undefined): Caller {
  if (caller === undefined) throw new ServiceError('unauthorized', 'nobody is logged in');
  return caller;
}
