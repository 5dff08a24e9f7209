// The header Idempotency-Key of POST requests.
import type { Request, Response } from 'express';
import { ServiceError } from '../base/errors.ts';
import type { KeptRequests, Outcome } from '../control/kept-requests.ts';
import { PROBLEM_TYPE, problemOf, toServiceError } from './problem.ts';
import type { Route } from './route.ts';

const KEY = /^[\x21-\x7e]{1,128}$/;
const JSON_TYPE = 'application/json';

/** The key of a request; undefined: it has none, or one that means nothing. Throws ServiceError bad-request. */
export function keyOf(row: Route, request: Request): string | undefined {
  const key = request.get('idempotency-key');
  if (key === undefined || row.method !== 'post') return undefined;
  if (!KEY.test(key)) {
    throw new ServiceError('bad-request', 'an Idempotency-Key has 1 to 128 printable ASCII characters without spaces');
  }
  return key;
}

/**
 * Answers with what `perform` (the JSON of the answer) makes of the request, or with what was answered to the same request of
 * `caller` under the same key. Rejects with ServiceError as KeptRequests.once does, and with a defect of `perform`.
 */
export async function answerOnce(
  kept: KeptRequests,
  {
    row,
    request,
    response,
    caller,
    key,
  }: { row: Route; request: Request; response: Response; caller: string; key: string },
  perform: () => Promise<string | undefined>,
): Promise<void> {
  const asked = JSON.stringify([request.method, request.originalUrl, request.body ?? null]);
  let defect: Error | undefined;
  const work = async (): Promise<Outcome> => {
    try {
      const body = await perform();
      const etag = response.get('ETag');
      return {
        answer: { status: row.status, type: JSON_TYPE, body, etag },
        keep: true,
        confidential: row.confidential,
      };
    } catch (thrown) {
      const error = toServiceError(thrown);
      if (error.code === 'internal') defect = thrown instanceof Error ? thrown : error;
      const problem = problemOf(error);
      const answer = { status: problem.status, type: PROBLEM_TYPE, body: JSON.stringify(problem), etag: undefined };
      // What may go well the next time is worth another try under the same key.
      return { answer, keep: !problem.retriable };
    }
  };
  const { answer, repeated } = await kept.once({ caller, key, request: asked }, row.repeatable, work);
  if (defect !== undefined) throw defect;
  if (repeated) response.set('Idempotency-Replayed', 'true');
  if (answer.etag !== undefined) response.set('ETag', answer.etag);
  response.status(answer.status);
  if (answer.body === undefined) response.end();
  else response.type(answer.type).send(answer.body);
}
