// How requests reach the daemon: the browser sends them, unless the console stands inside something that carries them (cockpit/).

export interface Request {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

/** Sends a request; `path` begins with a slash. Rejects when there is no answer at all. */
export type Transport = (path: string, request: Request) => Promise<Response>;

let transport: Transport = (path, request) =>
  fetch(path, { ...request, credentials: 'same-origin', cache: 'no-store' });

export function useTransport(other: Transport): void {
  transport = other;
}

export const send: Transport = (path, request) => transport(path, request);
