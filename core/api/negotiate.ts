// What client and server have to agree on before anything is done: method, media types (RFC 9110 §9, §12).
import { isUtf8 } from 'node:buffer';
import type { Express, Request, RequestHandler, Response } from 'express';
import express from 'express';
import { ServiceError } from '../base/errors.ts';
import { MAX_API_BODY } from '../base/limits.ts';
import { API_PREFIX } from './prefix.ts';
import type { Route } from './route.ts';

/** Throws ServiceError not-acceptable when the client does not take `type`. */
export function requireAcceptable(request: Request, type: string): void {
  if (request.accepts(type) === false) {
    throw new ServiceError('not-acceptable', `this answers ${type}, which the Accept header excludes`);
  }
}

export const JSON_TYPE = 'application/json; charset=utf-8';

/** Sends `text`. Express' own send() takes If-None-Match for its business, also where there is no ETag. */
export function sendText(response: Response, type: string, text: string): void {
  response.set('Content-Type', type).end(text);
}

/** Parses the JSON body of `row`, if it wants one. Errors are those of toServiceError. */
export function bodyParser(row: Route): RequestHandler[] {
  if (row.body === undefined) return [];
  const parse = express.json({ limit: MAX_API_BODY, strict: true, inflate: false, verify: checkBytes });
  return [requireJson, parse];
}

/** The parsed body. Throws ServiceError bad-request when there is none. */
export function bodyOf(request: Request): unknown {
  if (request.body !== undefined) return request.body;
  throw new ServiceError('bad-request', 'send a JSON body with Content-Type: application/json');
}

const requireJson: RequestHandler = (request, _response, next) => {
  const { 'content-length': length = '0', 'transfer-encoding': coding } = request.headers;
  if (length === '0' && coding === undefined) throw new ServiceError('bad-request', 'the request has no body');
  if (request.is('application/json') === false) {
    throw new ServiceError('unsupported-media-type', 'the body has to be JSON, with Content-Type: application/json');
  }
  next();
};

/** The body parser takes nothing for `{}`, and anything for UTF-8; a request that lost its body must not change anything. */
function checkBytes(_request: unknown, _response: unknown, body: Buffer): void {
  if (body.length === 0) throw new ServiceError('bad-request', 'the request body is empty');
  if (!isUtf8(body)) throw new ServiceError('bad-request', 'the request body is not valid UTF-8');
}

/**
 * Answers what is left on the paths of `methods` (method by path): OPTIONS with what there is, everything else with
 * method-not-allowed (RFC 9110 §15.5.6 wants Allow in both).
 */
export function refuseOtherMethods(app: Express, methods: ReadonlyMap<string, readonly string[]>): void {
  for (const [path, known] of methods) {
    const allow = [
      ...known.map((method) => method.toUpperCase()),
      ...(known.includes('get') ? ['HEAD'] : []),
      'OPTIONS',
    ];
    app.all(path, (request: Request, response: Response) => {
      response.set('Allow', allow.join(', '));
      if (request.method !== 'OPTIONS') {
        throw new ServiceError('method-not-allowed', `there is no ${request.method} on this path`);
      }
      response.status(204).end();
    });
  }
}

/** Methods of these routes, by path. */
export function methodsOf(routes: readonly Route[]): Map<string, string[]> {
  const methods = new Map<string, string[]>();
  for (const { method, path } of routes) {
    const full = API_PREFIX + path;
    methods.set(full, [...(methods.get(full) ?? []), method]);
  }
  return methods;
}
