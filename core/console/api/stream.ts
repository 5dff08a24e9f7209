// The stream of events: the daemon says what has changed, and who looks at it loads it anew. While there is no stream, the
// sources look by themselves at intervals (source.ts), so a page behind an old proxy is only slower.
import { API_PREFIX } from './client.ts';
import { credentials } from './credentials.ts';
import { changed } from './data.ts';
import type { SourceName } from './data.ts';
import { send } from './transport.ts';

/** What the pages have to load anew when the daemon speaks of a topic. */
const SHOWN_BY: Readonly<Record<string, readonly SourceName[]>> = {
  volumes: ['volumes', 'status', 'pools', 'targets'],
  maps: ['volumes', 'initiators', 'hosts'],
  snapshots: ['snapshots', 'volumes', 'schedules'],
  pools: ['pools', 'capacity'],
  targets: ['targets'],
  initiators: ['initiators'],
  hosts: ['hosts', 'hostGroups', 'volumes'],
  schedules: ['schedules'],
  portals: ['portals', 'status'],
  policies: ['policies'],
  'deleted-volumes': ['deletedVolumes'],
  alerts: ['alerts', 'alertRules'],
  'alert-targets': ['alertTargets'],
  users: ['users'],
  tokens: ['tokens'],
  settings: ['security', 'certificate'],
  jobs: ['jobs', 'volumes', 'pools'],
  events: ['events', 'alerts'],
  cluster: ['cluster', 'replication'],
  replication: ['replication', 'divergence'],
  sessions: ['sessions', 'status', 'volumes', 'hosts'],
};
/** Milliseconds between two attempts; the second is for when it has failed again and again. */
const RETRY = 2_000;
const MOST_RETRY = 60_000;

let stop: AbortController | undefined;

export function startStream(): void {
  stop?.abort();
  const mine = (stop = new AbortController());
  void follow(mine.signal);
}

export function stopStream(): void {
  stop?.abort();
  stop = undefined;
}

/** Until it is told to stop. Never rejects. */
async function follow(signal: AbortSignal): Promise<void> {
  let wait = RETRY;
  let last: string | undefined;
  while (!signal.aborted) {
    try {
      for await (const { id, event } of eventsOf(signal, last)) {
        last = id ?? last;
        wait = RETRY;
        if (event === 'reset') changed(...new Set(Object.values(SHOWN_BY).flat()));
        else changed(...(SHOWN_BY[event] ?? []));
      }
    } catch {
      // The daemon is gone, or the connection: the sources say so where it matters.
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(wait * 2, MOST_RETRY);
  }
}

interface StreamEvent {
  readonly id: string | undefined;
  readonly event: string;
}

/** EventSource of browsers sends no headers, and so no token; the format is the one of WHATWG HTML §9.2. */
async function* eventsOf(signal: AbortSignal, last: string | undefined): AsyncGenerator<StreamEvent> {
  const response = await send(`${API_PREFIX}/events/stream`, {
    method: 'GET',
    headers: {
      ...credentials.headers('GET'),
      'Gemel-Background': '1',
      ...(last === undefined ? {} : { 'Last-Event-ID': last }),
    },
    signal,
  });
  if (response.status === 401) credentials.refused();
  if (!response.ok || response.body === null) throw new Error(`status ${response.status}`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const field = (name: string): string | undefined =>
        block
          .split('\n')
          .find((line) => line.startsWith(`${name}:`))
          ?.slice(name.length + 1)
          .trim();
      const event = field('event');
      if (event !== undefined) yield { id: field('id'), event };
    }
  }
}
