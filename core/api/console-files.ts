// Serves the web console: the files `scripts/console.mjs` has made, out of memory, to everybody. They hold no secrets;
// whoever has them can do nothing without a session or a token.
import type { Dirent } from 'node:fs';
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import type { RequestHandler } from 'express';
import { MAX_CONSOLE_FILES } from '../base/limits.ts';

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  woff2: 'font/woff2',
  png: 'image/png',
  txt: 'text/plain; charset=utf-8',
};
const CODINGS = [
  ['br', 'br'],
  ['gzip', 'gz'],
] as const;
const PAGE = '/index.html';
/** In index.html: where the build leaves room for the origins that may embed the page. */
const ORIGINS_MARK = 'gemel-frame-origins" content=""';

interface ConsoleFile {
  readonly type: string;
  readonly content: Buffer;
  /** By content coding (RFC 9110 §8.4.1). */
  readonly coded: ReadonlyMap<string, Buffer>;
}

export interface ConsoleOptions {
  /** Where the build has put the console. */
  readonly folder: string;
  /** Origins besides our own that may show the console in a frame, as of now. They have been checked when they were set. */
  readonly frameOrigins: () => readonly string[];
}

/** Answers what belongs to the console and leaves everything else to `next`. Without a build it says so on `/`. */
export function consoleFiles({ folder, frameOrigins }: ConsoleOptions): RequestHandler {
  const files = filesIn(folder);
  return (request, response, next) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      next();
      return;
    }
    const path = request.path === '/' ? PAGE : request.path;
    const file = files.get(path);
    if (file === undefined && path === PAGE) {
      response.status(503).type('text/plain').send('The console has not been built: run npm run build.\n');
      return;
    }
    if (file === undefined) {
      next();
      return;
    }
    response.set({
      // The name of an asset changes with its content.
      'Cache-Control': path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-store',
      'Content-Type': file.type,
      'Content-Security-Policy': contentPolicy(frameOrigins()),
      Vary: 'Accept-Encoding',
    });
    // The page says who may embed it, so what was compressed at the build is not the same any more.
    if (path === PAGE) {
      response.end(withOrigins(file.content, frameOrigins()));
      return;
    }
    const [coding] = CODINGS.map(([name]) => name).filter(
      (name) => file.coded.has(name) && accepts(request.get('accept-encoding') ?? '', name),
    );
    if (coding !== undefined) response.set('Content-Encoding', coding);
    response.end((coding === undefined ? undefined : file.coded.get(coding)) ?? file.content);
  };
}

/** Stricter than for other answers: what is not named is refused; no inline scripts, no inline styles, no eval. */
function contentPolicy(frameOrigins: readonly string[]): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "font-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    `frame-ancestors ${["'self'", ...frameOrigins].join(' ')}`,
  ].join('; ');
}

/** True when `header` names the coding without refusing it (RFC 9110 §12.5.3). */
function accepts(header: string, coding: string): boolean {
  return header.split(',').some((each) => {
    const [name = '', ...parameters] = each.split(';').map((part) => part.trim().toLowerCase());
    return name === coding && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}

function filesIn(folder: string): Map<string, ConsoleFile> {
  const files = new Map<string, ConsoleFile>();
  for (const name of namesIn(folder).slice(0, MAX_CONSOLE_FILES)) {
    const type = TYPES[name.slice(name.lastIndexOf('.') + 1)];
    if (type === undefined) continue;
    const path = `/${relative(folder, name).replaceAll(sep, '/')}`;
    const content = readFileSync(name);
    files.set(path, { type, content, coded: codedOf(name) });
  }
  return files;
}

function namesIn(folder: string): string[] {
  let entries: Dirent[];
  try {
    entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  } catch {
    return [];
  }
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

function codedOf(name: string): Map<string, Buffer> {
  const coded = new Map<string, Buffer>();
  for (const [coding, extension] of CODINGS) {
    try {
      coded.set(coding, readFileSync(`${name}.${extension}`));
    } catch {
      // Not everything gains from compression.
    }
  }
  return coded;
}

/** Origins have no character that means anything in HTML. */
function withOrigins(page: Buffer, frameOrigins: readonly string[]): Buffer {
  const origins = frameOrigins.join(' ');
  return Buffer.from(page.toString().replace(ORIGINS_MARK, ORIGINS_MARK.replace('""', `"${origins}"`)));
}
