// How plugins and `gemel` talk to the daemon: HTTPS with the certificate authority the token vouches for.
import { X509Certificate, createHash, timingSafeEqual } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import type { IncomingMessage, RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { RequestOptions as SecureOptions } from 'node:https';
import { API_NAME, CLUSTER_API_NAME } from '../../core/base/api-name.ts';
import { ERRORS, ServiceError, messageOf } from '../../core/base/errors.ts';
import type { ErrorCode } from '../../core/base/errors.ts';

/** Milliseconds without a byte from the daemon, and of a request with its answer. */
export interface Patience {
  readonly silence: number;
  readonly whole: number;
  /** Something may have happened although nobody answers. */
  readonly isChange: boolean;
}
/** A daemon that does not even say by whom it is certified hangs; reading takes no time, but lists are long; changes wait for other nodes. */
const PATIENCE = {
  greeting: { silence: 10_000, whole: 10_000, isChange: false },
  read: { silence: 30_000, whole: 300_000, isChange: false },
  change: { silence: 300_000, whole: 300_000, isChange: true },
};
/** The same for a stream of events, in which something comes at least every half minute. */
const STREAM_PATIENCE = 120_000;
/** Bytes of an answer. */
const MAX_ANSWER = 67_108_864;
const MAX_CA = 65_536;
/** Where a daemon says what it is certified by, and the name under which it shows that: its own CA, and that of its cluster. */
const AUTHORITIES = [
  ['/ca.pem', API_NAME],
  ['/cluster-ca.pem', CLUSTER_API_NAME],
] as const;
const PREFIX = '/api/v1';
/** Items asked for at a time. */
const PAGE = 1000;

interface Answer {
  readonly status: number;
  readonly body: string;
}

export class ApiClient {
  readonly #url: URL;
  readonly #token: string;
  readonly #patience: Readonly<Record<keyof typeof PATIENCE, Patience>>;
  #trust: { readonly ca: string; readonly servername: string } | undefined;

  /** Throws ServiceError bad-request or unauthorized when address or token cannot be right. */
  constructor(api: string, token: string, patience: typeof PATIENCE = PATIENCE) {
    const url = URL.canParse(api) ? new URL(api) : undefined;
    if (url?.protocol !== 'https:')
      throw new ServiceError(
        'bad-request',
        `'${api}' is not the address of an API; it looks like https://127.0.0.1:7480`,
      );
    if (!/^gemel\.[\w-]+\.[\w-]+$/.test(token)) throw new ServiceError('unauthorized', 'the token is not complete');
    this.#url = url;
    this.#token = token;
    this.#patience = patience;
  }

  /** Calls the API; `path` below /api/v1. Throws ServiceError: what the daemon said, or why it could not be asked. */
  async call(
    method: string,
    path: string,
    body?: unknown,
    more: Readonly<Record<string, string>> = {},
  ): Promise<unknown> {
    const headers: Record<string, string> = { ...more, ...this.#headers('application/json') };
    const content = body === undefined ? undefined : JSON.stringify(body);
    if (content !== undefined) headers['Content-Type'] = 'application/json';
    const options = { ...(await this.#target(path)), method, headers };
    const patience = method === 'GET' ? this.#patience.read : this.#patience.change;
    const answer = await this.#send((answered) => httpsRequest(options, answered), content, MAX_ANSWER, patience);
    if (answer.status >= 400) throw refusal(answer);
    return answer.body === '' ? undefined : JSON.parse(answer.body);
  }

  /**
   * All items of a list; `path` as for call(). Follows the pages: what comes or goes meanwhile may be missing or there, what
   * stays is there once. Throws ServiceError.
   */
  async list(path: string): Promise<unknown[]> {
    const items: unknown[] = [];
    for (let next: string | null = `${path}${path.includes('?') ? '&' : '?'}limit=${String(PAGE)}`; next !== null;) {
      const page = (await this.call('GET', next)) as { items: unknown[]; next: string | null };
      for (const item of page.items) items.push(item);
      if (page.next !== null && !page.next.startsWith(`${PREFIX}/`)) {
        throw new ServiceError('untrusted-server', `the list goes on elsewhere: ${page.next.slice(0, 100)}`);
      }
      next = page.next === null ? null : page.next.slice(PREFIX.length);
    }
    return items;
  }

  /**
   * Follows a stream of server-sent events: `tell` gets the name and the data of each. Resolves when the daemon ends it, or
   * `signal` does. Rejects with ServiceError.
   */
  async stream(path: string, tell: (event: string, data: string) => void, signal: AbortSignal): Promise<void> {
    const options = { ...(await this.#target(path)), method: 'GET', headers: this.#headers('text/event-stream') };
    await new Promise<void>((resolve, reject) => {
      const fail = (error: Error): void => {
        if (signal.aborted) resolve();
        else reject(unreachable(error, this.#url.host));
      };
      const request = httpsRequest({ ...options, signal }, (response) => {
        const status = response.statusCode ?? 0;
        response.on('error', fail).on('end', () => {
          if (status < 400) resolve();
          else reject(refusal({ status, body: rest }));
        });
        let rest = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          rest += text;
          if (status >= 400) return;
          const blocks = rest.split('\n\n');
          rest = blocks.pop() ?? '';
          for (const block of blocks) tellOf(block, tell);
          if (rest.length > MAX_ANSWER) request.destroy(new Error('the event is too large'));
        });
      });
      request.setTimeout(STREAM_PATIENCE, () => request.destroy(new Error('no answer in time')));
      request.on('error', fail);
      request.end();
    });
  }

  /** Where, and with whom. Whatever certificate browsers are shown, the one for us was made by the CA of the token. */
  async #target(path: string): Promise<SecureOptions> {
    this.#trust ??= await this.#trusted();
    const place = { host: hostOf(this.#url), port: portOf(this.#url), path: PREFIX + path };
    return { ...place, ...this.#trust, minVersion: 'TLSv1.2', agent: false };
  }

  #headers(accept: string): Record<string, string> {
    return { Authorization: `Bearer ${this.#token}`, Accept: accept };
  }

  /** A CA certificate of the daemon, fetched in the clear and believed only if the token names its fingerprint. */
  async #trusted(): Promise<{ ca: string; servername: string }> {
    const expected = Buffer.from(this.#token.split('.')[2] ?? '', 'base64url');
    let isDaemon = false;
    for (const [path, servername] of AUTHORITIES) {
      const options: RequestOptions = { host: hostOf(this.#url), port: portOf(this.#url), path, agent: false };
      const { status, body } = await this.#send(
        (answered) => httpRequest(options, answered),
        undefined,
        MAX_CA,
        this.#patience.greeting,
      );
      const actual = status === 200 ? fingerprint(body) : undefined;
      if (actual?.length === expected.length && timingSafeEqual(actual, expected)) return { ca: body, servername };
      isDaemon ||= actual !== undefined;
      if (!isDaemon) break;
    }
    const why = isDaemon
      ? `the token was not made by the daemon at ${this.#url.host}, nor in its cluster`
      : `${this.#url.host} does not answer like a gemeld`;
    throw new ServiceError('untrusted-server', why);
  }

  #send(
    open: (answered: (response: IncomingMessage) => void) => ReturnType<typeof httpRequest>,
    content: string | undefined,
    limit: number,
    { silence, whole, isChange }: Patience,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        clearTimeout(timer);
        reject(unreachable(error, this.#url.host));
      };
      const request = open((response) => {
        const parts: Buffer[] = [];
        let length = 0;
        response.on('data', (part: Buffer) => {
          parts.push(part);
          length += part.length;
          if (length > limit) request.destroy(new Error('the answer is too large'));
        });
        response.on('error', fail);
        response.on('end', () => {
          clearTimeout(timer);
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts).toString() });
        });
      });
      const late = (milliseconds: number): void => {
        const seconds = String(milliseconds / 1000);
        const doubt = isChange ? '; nobody knows whether it was done' : '';
        request.destroy(new Error(`no answer within ${seconds} s${doubt}`));
      };
      request.setTimeout(silence, () => {
        late(silence);
      });
      const timer = setTimeout(late, whole, whole);
      request.on('error', fail);
      request.end(content);
    });
  }
}

/** One event (HTML, "Interpreting an event stream"); a block of comments is none. */
function tellOf(block: string, tell: (event: string, data: string) => void): void {
  const lines = block.split('\n');
  const of = (field: string): string[] =>
    lines.filter((line) => line.startsWith(`${field}:`)).map((line) => line.slice(field.length + 1).replace(/^ /, ''));
  const event = of('event').at(-1);
  const data = of('data');
  if (event !== undefined || data.length > 0) tell(event ?? 'message', data.join('\n'));
}

const hostOf = (url: URL): string => url.hostname.replace(/^\[(.*)\]$/, '$1');
const portOf = (url: URL): number => (url.port === '' ? 443 : Number(url.port));

function fingerprint(pem: string): Buffer | undefined {
  try {
    return createHash('sha256').update(new X509Certificate(pem).raw).digest();
  } catch {
    return undefined;
  }
}

function unreachable(error: NodeJS.ErrnoException, host: string): ServiceError {
  const tls = /CERT|TLS|SSL|SIGNATURE|ISSUER/.test(error.code ?? '');
  if (tls) return new ServiceError('untrusted-server', `${host}: ${messageOf(error)}`, { cause: error });
  const why = error.code === 'ECONNREFUSED' ? 'nobody listens there' : messageOf(error);
  return new ServiceError('daemon-unreachable', `no daemon at ${host}: ${why}`, { cause: error });
}

/** The daemon's problem document as the error it stands for. */
function refusal({ status, body }: Answer): ServiceError {
  let problem: { code?: unknown; detail?: unknown } = {};
  try {
    problem = JSON.parse(body) as typeof problem;
  } catch {
    // Not from our daemon; the status has to do.
  }
  const known = typeof problem.code === 'string' && problem.code in ERRORS;
  const code = known ? (problem.code as ErrorCode) : 'internal';
  const detail =
    typeof problem.detail === 'string' ? problem.detail : `the daemon answered with status ${String(status)}`;
  return new ServiceError(code, detail);
}
