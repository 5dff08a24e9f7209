// Requests nobody would send to what a node has in a cluster only: handlers that ask other nodes and the common store.
import assert from 'node:assert/strict';
import { Agent, request as httpsRequest } from 'node:https';
import fc from 'fast-check';
import { balanceRoutes } from '../../core/api/routes/balance.ts';
import { clusterRoutes } from '../../core/api/routes/cluster.ts';
import { replicationRoutes } from '../../core/api/routes/replication.ts';
import { API_NAME } from '../../core/base/api-name.ts';
import type { ControlPlane } from '../../core/control/control-plane.ts';
import { requests } from './api-requests.ts';
import type { FuzzRequest } from './api-requests.ts';

/** Milliseconds of all, and of one on a machine that is busy. */
const TIME = 6_000;
const PATIENCE = 60_000;
/** They end the cluster, or take minutes when they are right. */
const LEFT_OUT = new Set([
  ...['DELETE /cluster', 'DELETE /cluster/nodes/:node', 'POST /volumes/:name/replication/drill'],
]);

interface At {
  /** https://HOST:PORT */
  readonly api: string;
  readonly token: string;
}

/** Which statuses came. Fails when one is not to be expected, or no problem document. `names`: of a volume and two nodes there are. */
export async function fuzzCluster({ api, token }: At, names: readonly [string, string, string]): Promise<Set<number>> {
  // Only what they take and where they are is looked at; nothing is called.
  const none = {} as ControlPlane;
  const rows = [...clusterRoutes(none), ...replicationRoutes(none), ...balanceRoutes(none)].filter(
    ({ method, path }) => !LEFT_OUT.has(`${method.toUpperCase()} ${path}`),
  );
  const [volume, one, other] = names;
  const real = ({ method, path, headers, body }: FuzzRequest): FuzzRequest => ({
    ...{ method, headers },
    path: path.replace(/\/volumes\/[vw](?=\/)/, `/volumes/${volume}`).replace(/\/nodes\/[vw](?=\/)/, `/nodes/${one}`),
    body:
      body &&
      Buffer.from(body.toString('latin1').replaceAll('"v"', `"${one}"`).replaceAll('"w"', `"${other}"`), 'latin1'),
  });
  const ca = await (await fetch(`http://${new URL(api).host}/ca.pem`)).text();
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const statuses = new Set<number>();
  const send = (asked: FuzzRequest): Promise<void> =>
    new Promise((resolve, reject) => {
      const { method, path, headers, body } = asked;
      const url = new URL(api);
      const length = body === undefined ? {} : { 'Content-Length': String(body.length) };
      const all = { Authorization: `Bearer ${token}`, ...length, ...headers };
      const options = {
        host: url.hostname,
        port: url.port,
        agent,
        method,
        path,
        headers: all,
        ca,
        servername: API_NAME,
      };
      const request = httpsRequest(options, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('error', reject).on('end', () => {
          const { statusCode: status = 0 } = response;
          statuses.add(status);
          try {
            const what = `${method} ${path} ${String(body).slice(0, 300)}: ${String(status)} ${text.slice(0, 500)}`;
            assert.ok(status < 500 || status === 503, what);
            if (status >= 400 && method !== 'HEAD') {
              assert.match(response.headers['content-type'] ?? '', /^application\/problem\+json/, what);
            }
            resolve();
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        });
      });
      request.setTimeout(PATIENCE, () => request.destroy(new Error(`no answer to ${method} ${path}`)));
      request.on('error', reject);
      request.end(headers['Content-Length'] === '0' ? undefined : body);
    });
  try {
    const bursts = fc.array(requests(rows), { minLength: 1, maxLength: 4 });
    const limits = { interruptAfterTimeLimit: TIME, numRuns: 400, markInterruptAsFailure: false, endOnFailure: true };
    const check = async (burst: readonly FuzzRequest[]): Promise<void> => {
      // Those about volumes alone are not what this is about, and make some.
      const meant = burst.filter(({ path }) => /\/(cluster|replication)/.test(path));
      await Promise.all(meant.map((each) => send(real(each))));
    };
    await fc.assert(fc.asyncProperty(bursts, check), { seed: Number(process.env['GEMEL_FUZZ_SEED'] ?? 1), ...limits });
  } finally {
    agent.destroy();
  }
  return statuses;
}
