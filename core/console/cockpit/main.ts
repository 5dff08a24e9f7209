// The entry for Cockpit: the same pages, carried by its bridge, opened with the token that root can read, in the theme of its shell.
import '../styles/main.css';
import '../parts/icons.ts';
import { html } from 'lit';
import { ApiProblem, problemOf } from '../api/client.ts';
import { useTransport } from '../api/transport.ts';
import { logInWithToken, session } from '../session.ts';
import { standIn } from '../surroundings.ts';
import { frameTheme } from '../theme.ts';
import { carrierTo } from './carrier.ts';
import { Unreachable, findDaemon } from './daemon.ts';
import './locked.ts';

let problem: ApiProblem | undefined;

/** Never rejects. */
async function enter(): Promise<void> {
  problem = undefined;
  try {
    const daemon = await findDaemon();
    useTransport(carrierTo(daemon));
    await logInWithToken(daemon.token);
  } catch (error) {
    problem = error instanceof Unreachable ? locked(error) : problemOf(error);
    // What the daemon does not know is said by the page, and what to do about it.
    if (problem.status === 401) problem = undefined;
    session.dispatchEvent(new Event('change'));
  }
}

const locked = ({ message }: Unreachable): ApiProblem =>
  new ApiProblem({
    ...{ status: 0, code: 'locked', detail: `${message}.` },
    remedy:
      'Turn on administrative access at the top of the page. Another place of the daemon is set in /etc/gemel/cockpit.json.',
  });

standIn({
  chrome: 'pages',
  begin: enter,
  closed: () => html`<gemel-locked .problem=${problem} .again=${() => void enter()}></gemel-locked>`,
});

/** Its shell says it to every page, and keeps it for those that come later. */
function followTheme(style = localStorage.getItem('shell:style') ?? 'auto'): void {
  const dark = style === 'dark' || (style === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);
  frameTheme(dark ? 'dark' : 'light');
}
followTheme();
window.addEventListener('cockpit-style', (event) => {
  followTheme((event as CustomEvent<{ style?: string }>).detail.style);
});
window.addEventListener('storage', ({ key }) => {
  if (key === 'shell:style') followTheme();
});

const permission = cockpit.permission({ admin: true });
permission.addEventListener('changed', () => {
  if (permission.allowed === true && !session.open) void enter();
});

// Only now: it asks for its surroundings when it begins.
await import('../app.ts');
