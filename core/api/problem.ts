// The one place where errors become HTTP answers (RFC 9457 problem details).
import { ERRORS, ServiceError } from '../base/errors.ts';
import type { ErrorCode } from '../base/errors.ts';

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** What happened. */
  readonly detail: string;
  /** Stable; of the error catalogue. */
  readonly code: ErrorCode;
  /** What to do. */
  readonly remedy: string;
  readonly retriable: boolean;
}

export const PROBLEM_TYPE = 'application/problem+json';

export function problemOf(error: ServiceError): Problem {
  const row = ERRORS[error.code];
  return {
    type: `urn:gemel:error:${error.code}`,
    title: error.code.replaceAll('-', ' '),
    status: row.http,
    detail: error.message,
    code: error.code,
    remedy: row.remedy,
    retriable: row.retriable,
  };
}

/** Anything thrown while a request was served, as a ServiceError. What is not recognized is a defect of ours. */
export function toServiceError(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error;
  // Express and its body parser mark what the client did wrong with a 4xx status.
  const status = typeof error === 'object' && error !== null && 'status' in error ? error.status : undefined;
  if (typeof status === 'number' && status >= 400 && status < 500) {
    if (status === 413) return new ServiceError('too-large', 'the request body is too large', { cause: error });
    if (status === 415) {
      return new ServiceError('unsupported-media-type', 'the body has to be plain UTF-8', { cause: error });
    }
    return new ServiceError('bad-request', clientMistake(error), { cause: error });
  }
  return new ServiceError('internal', 'the request failed inside the daemon', { cause: error });
}

function clientMistake(error: unknown): string {
  const type = typeof error === 'object' && error !== null && 'type' in error ? error.type : undefined;
  switch (type) {
    case 'entity.parse.failed':
      return 'the request body is not valid JSON';
    case 'request.aborted':
    case 'request.size.invalid':
      return 'the request body is not as long as the head says';
    default:
      return 'the request is malformed';
  }
}
