// The API as the benchmarks use it.
import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import type { Gemel } from './peers.ts';

const V1 = '/api/v1';

/** A client of the API that measures; it believes the authority that the daemon tells. */
export class Client {
  readonly #target: { host: string; port: string; ca: string; headers: Record<string, string> };
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 4 });

  private constructor({ hostname, port }: URL, token: string, ca: string) {
    this.#target = { host: hostname, port, ca, headers: { Authorization: `Bearer ${token}` } };
  }

  static async open({ api, token }: Pick<Gemel, 'api' | 'token'>): Promise<Client> {
    const url = new URL(api);
    const ca = await new Promise<string>((resolve, reject) => {
      httpRequest({ host: url.hostname, port: url.port, path: '/ca.pem' }, (response) => {
        textOf(response).then(resolve, reject);
      })
        .once('error', reject)
        .end();
    });
    return new Client(url, token, ca);
  }

  /** Resolves with the milliseconds it took. */
  call(method: string, path: string, body?: object): Promise<number> {
    const begun = performance.now();
    return new Promise((resolve, reject) => {
      const headers = { ...this.#target.headers, 'Content-Type': 'application/json' };
      const options = { ...this.#target, method, path: V1 + path, headers, agent: this.#agent };
      const request = httpsRequest(options, (response) => {
        textOf(response).then((text) => {
          if ((response.statusCode ?? 500) < 300) resolve(performance.now() - begun);
          else reject(new Error(`${method} ${path}: ${text}`));
        }, reject);
      });
      request.once('error', reject).end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Resolves with what ends it, when the stream has begun. */
  stream(): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const path = `${V1}/events/stream?stats=5`;
      const request = httpsRequest({ ...this.#target, path, agent: false }, (response) => {
        response.resume().on('error', () => undefined);
        resolve(() => request.destroy());
      });
      request.on('error', reject).end();
    });
  }

  /** The value of a metric: of the line that begins with `name`, and with its labels where it has some. */
  async metric(name: string): Promise<number> {
    const text = await new Promise<string>((resolve, reject) => {
      httpsRequest({ ...this.#target, path: '/metrics', agent: this.#agent }, (response) => {
        textOf(response).then(resolve, reject);
      })
        .once('error', reject)
        .end();
    });
    const line = text.split('\n').find((each) => each.startsWith(`${name} `));
    if (line === undefined) throw new Error(`no metric ${name}`);
    return Number(line.slice(name.length + 1));
  }

  close(): void {
    this.#agent.destroy();
  }
}

export async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of response.setEncoding('utf8')) text += String(part);
  return text;
}
