// The API on a real port over a real control plane.
import { request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { createApp } from '../../../core/api/app.ts';
import { listenApi } from '../../../core/api/listener.ts';
import type { TlsIdentity } from '../../../core/api/tls/identity.ts';
import { ServedTls } from '../../../core/api/tls/served.ts';
import type { ServedCertificate } from '../../../core/control/certificate-view.ts';
import { nodeWorld } from '../../../core/world/node-world.ts';
import { Contract } from './contract.ts';
import { recordingLog, withPlane } from '../control/fixture.ts';
import type { Plane } from '../control/fixture.ts';

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  readonly headers: IncomingHttpHeaders;
  readonly json: Record<string, unknown>;
}

export interface Asking {
  readonly token?: string | undefined;
  readonly body?: string | Buffer | undefined;
  /** Content-Type of the body. */
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Api {
  readonly plane: Plane;
  readonly tls: TlsIdentity;
  readonly url: string;
  readonly port: number;
  readonly admin: string;
  readonly viewer: string;
  /** One request; `token` undefined: without. */
  readonly ask: (method: string, path: string, options?: Asking) => Promise<Answer>;
  /** The same port without TLS. */
  readonly plain: (method: string, path: string) => Promise<Answer>;
}

/** The same for all planes. */
let contract: Contract | undefined;

export async function withApi(body: (api: Api) => Promise<void>): Promise<void> {
  await withPlane(async (plane) => {
    const log = recordingLog(plane.logged);
    const served = await ServedTls.open({
      ...{ world: await nodeWorld(), log, folder: join(plane.folder, 'tls'), node: 'test', files: undefined },
      hosts: () => ['localhost', '127.0.0.1', 'storage.example'],
    });
    const tls = served.own;
    const certificate = (): ServedCertificate => served.view('https://192.0.2.1:7480');
    const listener = await listenApi('127.0.0.1', 0, tls, createApp({ ...plane, certificate }, log));
    const target = { host: '127.0.0.1', port: listener.port, agent: false } as const;
    contract ??= new Contract(plane);
    try {
      await body({
        plane,
        tls,
        url: `https://127.0.0.1:${String(listener.port)}`,
        port: listener.port,
        admin: await plane.tokens.issue('admin', 'admin', tls.fingerprint),
        viewer: await plane.tokens.issue('viewer', 'viewer', tls.fingerprint),
        ask: async (method, path, { token, body: content, type = 'application/json', headers: more = {} } = {}) => {
          const headers: Record<string, string> = token === undefined ? {} : { Authorization: `Bearer ${token}` };
          if (content !== undefined) headers['Content-Type'] = type;
          Object.assign(headers, more);
          // Otherwise Node would take the name from a Host header of the test.
          const identity = { ca: tls.ca, servername: 'localhost' };
          const answer = await collect(
            (done) => httpsRequest({ ...target, ...identity, method, path, headers }, done),
            content,
          );
          if (method !== 'HEAD') contract?.check(method, path, answer);
          return answer;
        },
        plain: (method, path) => collect((done) => httpRequest({ ...target, method, path }, done)),
      });
    } finally {
      await listener.close(100);
    }
  });
}

function collect(
  open: (done: (response: IncomingMessage) => void) => ClientRequest,
  content?: string | Buffer,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = open((response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => {
        const type = response.headers['content-type'] ?? '';
        const json = (type.includes('json') && text !== '' ? JSON.parse(text) : {}) as Record<string, unknown>;
        resolve({ status: response.statusCode ?? 0, type, text, json, headers: response.headers });
      });
    });
    request.setTimeout(60_000, () => request.destroy(new Error('no answer')));
    request.on('error', reject);
    request.end(content);
  });
}
