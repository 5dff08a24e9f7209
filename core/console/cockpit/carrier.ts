// Requests of the console through the bridge of Cockpit: the browser talks to Cockpit only, and the bridge, on the machine that is
// administered, to the daemon, whose certificate it checks against the daemon's own CA.
import { ApiProblem } from '../api/client.ts';
import type { Request, Transport } from '../api/transport.ts';

export interface Daemon {
  /** HOST:PORT of the API. */
  readonly api: string;
  /** The file with the CA certificate of the daemon (PEM). */
  readonly authority: string;
}

/** A transport to this daemon. Throws when `api` is not HOST:PORT. */
export function carrierTo({ api, authority }: Daemon): Transport {
  const [, host, port] = /^(?:https:\/\/)?(\[[\da-f:]+\]|[\w.-]+):(\d{1,5})\/?$/i.exec(api) ?? [];
  if (host === undefined || port === undefined) throw new Error(`'${api}' is not HOST:PORT`);
  const address = host.replace(/^\[(.*)\]$/, '$1');
  // A file, and not its content: from that the bridge of Cockpit 287 makes a file that is gone when it is read for the second time.
  const tls = { authority: { file: authority }, validate: true };
  const http = cockpit.http({ address, port: Number(port), tls, superuser: 'try' });
  return (path, request) => carry(http, path, request);
}

const FOREIGN = {
  status: 0,
  code: 'untrusted-server',
  detail: 'What answers there has a certificate that the CA of the daemon has not made for this name.',
  remedy: 'Compare "api" and "authority" in /etc/gemel/cockpit.json with gemel status.',
};

function carry(http: CockpitHttp, path: string, { method, headers, body, signal }: Request): Promise<Response> {
  return new Promise((resolve, reject) => {
    const encoder = new TextEncoder();
    let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
    const stream = new ReadableStream<Uint8Array>({
      start: (mine) => {
        controller = mine;
      },
      cancel: () => {
        asked.close('cancelled');
      },
    });
    let answered = false;
    const asked = http.request({ method, path, headers, body: body ?? '' });
    const abort = (): void => {
      asked.close('cancelled');
    };
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
    void asked.response((status, received) => {
      answered = true;
      // The Fetch standard (§2.2.3): these have no body, not even an empty one.
      resolve(new Response([204, 205, 304].includes(status) ? null : stream, { status, headers: received }));
    });
    void asked.stream((data) => {
      if (data !== '') controller?.enqueue(encoder.encode(data));
    });
    const end = (error?: CockpitError): void => {
      signal.removeEventListener('abort', abort);
      // Any status that is not 2xx is an error to Cockpit; to us it is an answer. Only what has a `problem` has none, or not all of it.
      const broken = error !== undefined && (!answered || typeof error.problem === 'string');
      const why = new TypeError(error?.message ?? error?.problem ?? 'no answer');
      if (!answered) reject(error?.problem === 'unknown-hostkey' ? new ApiProblem(FOREIGN) : why);
      try {
        if (broken) controller?.error(why);
        else controller?.close();
      } catch {
        // Whoever read it has turned away.
      }
    };
    asked.then(
      () => {
        end();
      },
      (error: unknown) => {
        end(error as CockpitError);
      },
    );
  });
}
