// Conditional requests (RFC 9110 §13). An ETag is `"REVISION.HASH"`: the revision of the record in the catalog, and the hash of
// what is shown. The whole of it says whether a copy is what would be shown now, so it is a strong one. Whether somebody else
// has changed the record since is said by its revision alone: a change is not refused because counters have moved on.
import { createHash } from 'node:crypto';
import type { Request, Response } from 'express';
import { ServiceError } from '../base/errors.ts';
import { MAX_CONDITION } from '../base/limits.ts';
import { Turn } from '../base/turn.ts';
import type { Resource, Route } from './route.ts';

/** The value of the header ETag for a record that is shown as `text`. */
export function etagOf(revision: number, text: string): string {
  const hash = createHash('sha256').update(text).digest('base64url').slice(0, 16);
  return `"${revision.toString(36)}.${hash}"`;
}

/** Conditions of requests, and the order of changes of the same record. */
export class Conditions {
  readonly #turns = new Map<string, { turn: Turn; users: number }>();
  readonly #isChanging: (id: string) => boolean;

  /** `isChanging`: a job is at work that changes the record with this id (Resource). */
  constructor(isChanging: (id: string) => boolean) {
    this.#isChanging = isChanging;
  }

  /**
   * Does what a request asks for if its conditions hold; changes of one record are done one after the other, so that nothing
   * of the API comes between condition and change. Sets ETag. Resolves with the JSON of the answer; undefined: there is none,
   * as with status 304, which is set. Rejects with ServiceError precondition-failed, and with what `perform` does.
   */
  async run(
    row: Route,
    request: Request,
    response: Response,
    input: { readonly params: unknown; readonly body: unknown },
    perform: () => Promise<unknown>,
  ): Promise<string | undefined> {
    const { resource, method, begins } = row;
    const later = begins?.(input.body as never);
    const ordered = <T>(work: () => Promise<T>): Promise<T> =>
      later === undefined ? work() : this.#inTurn(later, work);
    if (resource === undefined) return textOf(row, await ordered(perform));
    const look = (): Resource => resource(input.params as never);
    if (method === 'get') return this.#show(row, request, response, look().revision, perform);
    return this.#inTurn(look().id, async () => {
      const { id, revision } = look();
      require(request, method, revision);
      if (revision !== undefined && request.get('if-match') !== undefined && this.#isChanging(id)) {
        throw new ServiceError('precondition-failed', 'a job is changing it: wait for the job, then read it again');
      }
      const text = textOf(row, await ordered(perform));
      const after = look().revision;
      if (text !== undefined && after !== undefined) response.set('ETag', etagOf(after, text));
      return text;
    });
  }

  async #show(
    row: Route,
    request: Request,
    response: Response,
    revision: number | undefined,
    perform: () => Promise<unknown>,
  ): Promise<string | undefined> {
    // The revision is from before: a change in between makes an ETag that is too old, never one that hides the change.
    const text = textOf(row, await perform());
    if (text === undefined || revision === undefined) return text;
    const tag = etagOf(revision, text);
    response.set('ETag', tag);
    const copies = tagsIn(request, 'if-none-match');
    if (copies !== undefined && (copies === '*' || copies.some((copy) => copy.replace(/^W\//, '') === tag))) {
      response.status(304);
      return undefined;
    }
    return text;
  }

  async #inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const entry = this.#turns.get(id) ?? { turn: new Turn(), users: 0 };
    this.#turns.set(id, entry);
    entry.users++;
    try {
      return await entry.turn.run(work);
    } finally {
      if (--entry.users === 0) this.#turns.delete(id);
    }
  }
}

const textOf = (row: Route, result: unknown): string | undefined =>
  row.response === undefined ? undefined : JSON.stringify(result);

/** Throws ServiceError precondition-failed when a change of the record is not to be made. */
function require(request: Request, method: Route['method'], revision: number | undefined): void {
  const wanted = tagsIn(request, 'if-match');
  // Who wants to change what is not there is told so; only PUT would create it.
  if (wanted !== undefined && (revision !== undefined || method === 'put')) {
    const now = revision?.toString(36);
    const holds =
      wanted === '*' ? now !== undefined : wanted.some((tag) => now !== undefined && revisionIn(tag) === now);
    if (!holds) throw new ServiceError('precondition-failed', 'it was changed since it was read');
  }
  const unwanted = tagsIn(request, 'if-none-match');
  if (unwanted === undefined) return;
  if (unwanted !== '*')
    throw new ServiceError('bad-request', 'If-None-Match of a change is "*": create it, do not replace it');
  if (revision !== undefined) throw new ServiceError('precondition-failed', 'there is one already');
}

/** Of a strong ETag; weak ones never match (RFC 9110 §13.1.1). */
const revisionIn = (tag: string): string | undefined => /^"([\da-z]+)\./.exec(tag)?.[1];

/** The ETags a header names, `*`, or (undefined) there is no such header. Throws ServiceError bad-request. */
function tagsIn(request: Request, name: 'if-match' | 'if-none-match'): string[] | '*' | undefined {
  const value = request.get(name)?.trim();
  if (value === undefined) return undefined;
  if (value === '*') return '*';
  // RFC 9110 §8.8.3: etagc excludes the quote, so that a comma inside of one separates nothing.
  const whole = /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"(?:[ \t]*,[ \t]*(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*")*$/;
  if (value.length > MAX_CONDITION || !whole.test(value)) {
    throw new ServiceError('bad-request', `the header ${name} is not a list of ETags in double quotes`);
  }
  return value.match(/(?:W\/)?"[^"]*"/g) ?? [];
}
