// Who sends a request, and whether he may.
import { timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { Request, RequestHandler, Response } from 'express';
import { ServiceError } from '../../base/errors.ts';
import { SESSION_LIFETIME } from '../../base/limits.ts';
import { mayAct } from '../../control/callers.ts';
import type { Caller } from '../../control/callers.ts';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { Role } from '../../control/records.ts';
import type { RequestContext } from '../route.ts';

/** The prefix makes browsers insist on Secure, on Path=/ and on no Domain (RFC 6265bis §4.1.3.2). */
export const SESSION_COOKIE = '__Host-gemel';
const COOKIE_RULES = 'Path=/; Secure; HttpOnly; SameSite=Strict';
export const CSRF_HEADER = 'Gemel-CSRF';
/** Of requests that are no person's: they do not keep a session alive. */
const BACKGROUND_HEADER = 'Gemel-Background';
/** RFC 9110 §9.2.1 */
const SAFE = ['GET', 'HEAD', 'OPTIONS'];

/**
 * Refuses requests for a host we are not: a web page whose name has been pointed at our address (DNS rebinding) sends its own.
 * Who has a token is no web page. An address cannot be pointed anywhere.
 */
export function requireKnownHost(control: ControlPlane): RequestHandler {
  return (request, _response, next) => {
    if (request.get('authorization') === undefined && !isOurs(control, hostOf(request.get('host') ?? ''))) {
      throw new ServiceError('misdirected', 'this daemon is not known under the name in the Host header');
    }
    next();
  };
}

function isOurs({ certificate, security }: ControlPlane, host: string): boolean {
  if (isIP(host) > 0 || host === 'localhost') return true;
  return security.settings.get().apiNames.includes(host) || certificate()?.covers(host) === true;
}

/** `NAME[:PORT]` without the port and brackets, in lower case. */
function hostOf(header: string): string {
  const [, bracketed, bare] = /^(?:\[([\da-f:.]+)\]|([^:]*))(?::\d{1,5})?$/i.exec(header) ?? [];
  return (bracketed ?? bare ?? '').toLowerCase();
}

/** Finds out who it is. Throws ServiceError unauthorized for a token we do not know; without one it may be nobody. */
export function identify(control: ControlPlane): RequestHandler {
  return (request, response, next) => {
    const touch = request.get(BACKGROUND_HEADER) === undefined && !request.path.endsWith('/events/stream');
    const caller = callerFor(control, request, touch);
    if (caller === undefined && request.get('authorization') !== undefined) {
      throw new ServiceError('unauthorized', 'the daemon does not know this token');
    }
    if (caller !== undefined) response.locals['caller'] = caller;
    next();
  };
}

/** Whose request this is, as far as the daemon knows now. `touch`: it keeps a session of a person alive. */
function callerFor({ tokens, security }: ControlPlane, request: Request, touch: boolean): Caller | undefined {
  const header = request.get('authorization');
  if (header !== undefined) return tokens.check(/^Bearer ([\w.-]{1,200})$/i.exec(header)?.[1] ?? '');
  const secret = cookieOf(request);
  return secret === undefined ? undefined : security.login.withCookie(secret, touch);
}

/** Whether who sent the request that is still being answered may still do what `role` may. */
export function stillMay(control: ControlPlane, request: Request, role: Role): boolean {
  const caller = callerFor(control, request, false);
  return caller !== undefined && mayAct(caller.role, role);
}

function cookieOf(request: Request): string | undefined {
  const pairs = (request.get('cookie') ?? '').split(';').map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(`${SESSION_COOKIE}=`))?.slice(SESSION_COOKIE.length + 1);
}

/** Who it is; undefined: nobody. */
export function callerOf(response: Response): Caller | undefined {
  return response.locals['caller'] as Caller | undefined;
}

/** Throws ServiceError unauthorized for nobody, forbidden for who may not do what `role` may. */
export function requireRole(response: Response, role: Role): void {
  const caller = callerOf(response);
  if (caller === undefined) throw new ServiceError('unauthorized', 'this request carries no token, and no session');
  if (mayAct(caller.role, role)) return;
  throw new ServiceError('forbidden', `this needs the role ${role}; the ${caller.kind} has ${caller.role}`);
}

/** Refuses what a page of somebody else may have made a browser send: it sends cookies along by itself. */
export function refuseForgery(request: Request, response: Response): void {
  if (SAFE.includes(request.method) || request.get('authorization') !== undefined) return;
  const origin = request.get('origin');
  const ours = origin === undefined || (URL.canParse(origin) && new URL(origin).host === request.get('host'));
  if (!ours || !['same-origin', 'none', undefined].includes(request.get('sec-fetch-site'))) {
    throw new ServiceError('forbidden', 'this request comes from a page of another origin');
  }
  const csrf = callerOf(response)?.session?.csrf;
  if (csrf !== undefined && !same(request.get(CSRF_HEADER) ?? '', csrf)) {
    throw new ServiceError('forbidden', `the header ${CSRF_HEADER} is missing, or not the one of this session`);
  }
}

function same(given: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(wanted)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** What a handler may know of the request, and do to the answer, besides its input. */
export function contextOf(request: Request, response: Response): RequestContext {
  return {
    caller: callerOf(response),
    address: addressOf(request),
    setCookie: (secret) => {
      const life = secret === undefined ? 0 : SESSION_LIFETIME / 1000;
      response.set('Set-Cookie', `${SESSION_COOKIE}=${secret ?? ''}; Max-Age=${String(life)}; ${COOKIE_RULES}`);
    },
    identify: (caller) => {
      response.locals['caller'] = caller;
    },
  };
}

/** The peer of the connection: headers that say otherwise can be written by anybody. */
export function addressOf(request: Request): string {
  return (request.socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/i, '');
}
