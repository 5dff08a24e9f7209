// The frame: how a plugin shows these pages inside another console. The whole contract is in docs/console.md.
//
// The page says `gemel:ready` to its parent; the parent answers `gemel:frame` with theme, place and, where cookies do not
// reach into the frame, a token. Messages count only when they come from the parent and from an origin that the daemon
// was told about; the same list stands in the Content-Security-Policy, so no other page can show us at all.
import { linkTo } from './router.ts';
import type { Theme } from './theme.ts';
import { frameTheme } from './theme.ts';

/** What the parent may say, and say again when it changes. */
export interface FrameMessage {
  readonly type: 'gemel:frame';
  readonly theme?: Theme;
  /** The page to show, and what it should be about. */
  readonly context?: { readonly page?: string; readonly name?: string };
  readonly session?: { readonly token?: string };
  /** `none`: without our own header and navigation. */
  readonly chrome?: 'full' | 'none';
}

export interface FrameOptions {
  readonly onToken: (token: string) => void;
  readonly onChrome: (chrome: 'full' | 'none') => void;
}

export const isFramed = (): boolean => window.parent !== window;

/** Origins that may embed this page: our own, and those the daemon has written into the page. */
export function frameOrigins(): string[] {
  const meta = document.querySelector('meta[name="gemel-frame-origins"]')?.getAttribute('content') ?? '';
  return [location.origin, ...meta.split(' ').filter((each) => each !== '')];
}

/** Listens to the parent, if there is one, and tells it that we do. */
export function joinFrame(options: FrameOptions): void {
  if (!isFramed()) return;
  const origins = frameOrigins();
  window.addEventListener('message', (event: MessageEvent<unknown>) => {
    if (event.source !== window.parent || !origins.includes(event.origin)) return;
    const message = checked(event.data);
    if (message === undefined) return;
    if (message.theme !== undefined) frameTheme(message.theme);
    if (message.chrome !== undefined) options.onChrome(message.chrome);
    if (message.session?.token !== undefined) options.onToken(message.session.token);
    if (message.context?.page !== undefined) location.hash = linkTo(message.context.page, message.context.name);
  });
  tellParent({ type: 'gemel:ready', version: 1 });
  window.addEventListener('hashchange', () => {
    tellParent({ type: 'gemel:place', hash: location.hash });
  });
}

/** Only to a parent of a known origin: the browser drops it for any other, and complains. Nothing in it is secret. */
function tellParent(message: object): void {
  const parent = parentOrigin();
  for (const origin of frameOrigins()) {
    if (parent === undefined || parent === origin) window.parent.postMessage(message, origin);
  }
}

/** Undefined: this browser does not say. */
function parentOrigin(): string | undefined {
  // HTML §7.2.4; Firefox does not have it, and what it was sent from is told only if the parent's policy lets it.
  const { ancestorOrigins } = location as { ancestorOrigins?: DOMStringList };
  const [nearest] = ancestorOrigins ?? [];
  if (nearest !== undefined) return nearest;
  return URL.canParse(document.referrer) ? new URL(document.referrer).origin : undefined;
}

/** The message, if it is one: whoever sent it, it is input. */
function checked(data: unknown): FrameMessage | undefined {
  if (typeof data !== 'object' || data === null) return undefined;
  const { type, theme, context, session, chrome } = data as Record<string, unknown>;
  if (type !== 'gemel:frame') return undefined;
  const page = textIn(context, 'page');
  const name = textIn(context, 'name');
  const token = textIn(session, 'token');
  return {
    type,
    ...(theme === 'light' || theme === 'dark' ? { theme } : {}),
    ...(chrome === 'full' || chrome === 'none' ? { chrome } : {}),
    ...(page === undefined || !/^[a-z-]+$/.test(page)
      ? {}
      : { context: { page, ...(name === undefined ? {} : { name }) } }),
    ...(token === undefined ? {} : { session: { token } }),
  };
}

function textIn(object: unknown, key: string): string | undefined {
  if (typeof object !== 'object' || object === null) return undefined;
  const value: unknown = (object as Record<string, unknown>)[key];
  return typeof value === 'string' && value.length <= 300 ? value : undefined;
}
