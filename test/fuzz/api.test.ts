import assert from 'node:assert/strict';
import { Agent, request as httpsRequest } from 'node:https';
import { connect } from 'node:tls';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { routesOf } from '../../core/api/app.ts';
import { messageOf } from '../../core/base/errors.ts';
import { Contract } from '../unit/api/contract.ts';
import { withApi } from '../unit/api/fixture.ts';
import type { Answer, Api } from '../unit/api/fixture.ts';
import { requests } from './api-requests.ts';
import type { FuzzRequest } from './api-requests.ts';

/** Milliseconds of requests, and for one of them on a machine that is busy. */
const TIME = 12_000;
/** Bursts of requests: a faster machine does not send others. */
const RUNS = 1_500;
const PATIENCE = 30_000;
const seed = Number(process.env['GEMEL_FUZZ_SEED'] ?? 1);

function send({ port, tls, admin }: Api, agent: Agent, asked: FuzzRequest): Promise<Answer> {
  const { method, path, headers, body } = asked;
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'Content-Length': String(body.length) };
    const all = { Authorization: `Bearer ${admin}`, ...length, ...headers };
    const options = { host: '127.0.0.1', port, ca: tls.ca, agent, method, path, headers: all };
    const request = httpsRequest(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('error', reject).on('end', () => {
        const { statusCode: status = 0, headers: answered } = response;
        resolve({ status, type: answered['content-type'] ?? '', text, json: {}, headers: answered });
      });
    });
    request.setTimeout(PATIENCE, () => request.destroy(new Error('no answer')));
    request.on('error', reject);
    // What says that it has no body must not have one: that would be two requests.
    request.end(headers['Content-Length'] === '0' ? undefined : body);
  });
}

/** Sends bytes as they are, and resolves with what came back when the connection is over. */
function raw({ port, tls }: Api, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, ca: tls.ca, servername: 'localhost' }, () =>
      socket.write(bytes, 'latin1'),
    );
    let text = '';
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error(`no answer to ${bytes.slice(0, 60)}`)));
    socket.on('data', (part: Buffer) => (text += part.toString('latin1')));
    socket.once('error', (error: Error) => {
      if ('code' in error && ['ECONNRESET', 'EPIPE'].includes(String(error.code))) resolve(text);
      else reject(error);
    });
    socket.once('close', () => {
      resolve(text);
    });
  });
}

async function stillServes({ ask, plane, admin: token }: Api): Promise<void> {
  assert.equal((await ask('GET', '/healthz')).status, 200);
  const body = '{"name":"after-all","size":1048576,"kind":"memory"}';
  const made = await ask('POST', '/api/v1/volumes', { token, body });
  assert.equal(made.status, 201, made.text);
  assert.deepEqual(
    plane.logged.filter((line) => line.includes('request failed')),
    [],
  );
}

describe('the API under requests nobody would send', () => {
  it(`answers all of them, none with 500, as the document says (seed ${String(seed)})`, async () => {
    await withApi(async (api) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 8 });
      const rows = routesOf(api.plane);
      const contract = new Contract(api.plane);
      const broken = new Set<string>();
      const statuses = new Map<number, number>();
      const check = async (burst: readonly FuzzRequest[]): Promise<void> => {
        await Promise.all(
          burst.map(async (asked) => {
            const answer = await send(api, agent, asked);
            const { status, text, type } = answer;
            statuses.set(status, (statuses.get(status) ?? 0) + 1);
            const what = `${asked.method} ${asked.path} ${String(asked.body).slice(0, 300)}: ${String(status)} ${text.slice(0, 500)}`;
            assert.ok(status < 500 || status === 507, what);
            if (status >= 400 && asked.method !== 'HEAD') {
              assert.match(type, /^application\/problem\+json/, what);
              const { code, detail, remedy } = JSON.parse(text) as Record<string, unknown>;
              for (const each of [code, detail, remedy]) assert.ok(typeof each === 'string' && each !== '', what);
            }
            try {
              if (asked.method !== 'HEAD') contract.check(asked.method, asked.path, answer);
            } catch (error) {
              broken.add(messageOf(error));
            }
          }),
        );
      };
      try {
        const bursts = fc.array(requests(rows), { minLength: 1, maxLength: 8 });
        const limits = { interruptAfterTimeLimit: TIME, numRuns: RUNS, markInterruptAsFailure: false };
        await fc.assert(fc.asyncProperty(bursts, check), { seed, ...limits, endOnFailure: true });
      } finally {
        agent.destroy();
      }
      assert.deepEqual([...broken], []);
      const kinds = [...statuses.keys()];
      for (const least of [200, 201, 400, 404, 405, 412, 415, 422])
        assert.ok(kinds.includes(least), `none with ${String(least)}: ${kinds.join(' ')}`);
      await stillServes(api);
    });
  });

  it('survives what is not HTTP, or is two requests for one of the two sides', async () => {
    await withApi(async (api) => {
      const head = `Host: localhost\r\nAuthorization: Bearer ${api.admin}\r\n`;
      const post = `POST /api/v1/volumes HTTP/1.1\r\n${head}Content-Type: application/json\r\n`;
      const cases = [
        'GET / HTTP/9.9\r\n\r\n',
        '\0\0\0\0\r\n\r\n',
        `GET /${'a'.repeat(100_000)} HTTP/1.1\r\n${head}\r\n`,
        `GET /healthz HTTP/1.1\r\n${'X: y\r\n'.repeat(5000)}\r\n`,
        `GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n`,
        `GET /healthz HTTP/1.1\r\nX: \x01\x02\r\nConnection: close\r\n\r\n`,
        `${post}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        `${post}Content-Length: -1\r\n\r\n`,
        `${post}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}`,
        `${post}Transfer-Encoding: chunked\r\n\r\nZZ\r\n`,
        `${post}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n{"nam\r\n0\r\n\r\n`,
        `GET /api/v1/volumes HTTP/1.0\r\n${head}\r\n`,
      ];
      for (const bytes of cases) {
        const answer = await raw(api, bytes);
        assert.ok(!/^HTTP\/1\.1 5/.test(answer), answer.slice(0, 200));
        if (bytes.startsWith('\0')) assert.match(answer, /"code":"bad-request"/);
      }
      await stillServes(api);
    });
  });
});
