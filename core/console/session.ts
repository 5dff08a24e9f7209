// Who is logged in.
import { credentials } from './api/credentials.ts';
import { ApiProblem, call } from './api/client.ts';
import { changed, data, forgetData } from './api/data.ts';
import { startSeries, stopSeries } from './api/series.ts';

export const session = new (class extends EventTarget {
  open = false;
})();

function begin(): void {
  session.open = true;
  startSeries();
  changed(...(Object.keys(data) as (keyof typeof data)[]));
  session.dispatchEvent(new Event('change'));
}

function end(): void {
  session.open = false;
  stopSeries();
  forgetData();
  session.dispatchEvent(new Event('change'));
}

credentials.addEventListener('refused', end);

/** With an API token, which stays in the memory of the page. Rejects with ApiProblem. */
export async function logInWithToken(token: string): Promise<void> {
  if (!/^gemel\.[\w-]{43}\.[\w-]{43}$/.test(token)) {
    throw new ApiProblem({
      status: 400,
      code: 'bad-request',
      detail: 'This is not a token of Gemel: it begins with "gemel." and has three parts.',
      remedy: 'The daemon keeps one for its owner in the file token of its data folder.',
    });
  }
  credentials.useToken(token);
  await call('GET /status', {});
  begin();
}

export function logOut(): void {
  credentials.forget();
  end();
}
