// Chromium, driven by playwright-core: it trusts exactly the certificate of the daemon under test, and tells of everything that
// a page does not do as it should.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { connect } from 'node:tls';
import { chromium } from 'playwright-core';
import type { BrowserContext, Page } from 'playwright-core';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../support/cleanup.ts';

const CHROMIUM = '/usr/bin/chromium';
/** Milliseconds a page may take for anything: the machine is small and busy. */
const PATIENCE = 20_000;

/** Why browser tests cannot run here; false: they can. */
export const needsChromium = (): string | false =>
  existsSync(CHROMIUM) ? false : 'needs Chromium: apt-get install --no-install-recommends chromium';

export interface Browser {
  readonly context: BrowserContext;
  readonly page: Page;
  /** What went wrong in pages so far: errors, messages on the console, and violations of the content security policy. */
  readonly complaints: string[];
}

/** Runs `body` with a fresh profile. `dataFolder`: of the daemon that is trusted. */
export async function withBrowser(
  api: string,
  dataFolder: string,
  body: (browser: Browser) => Promise<void>,
): Promise<void> {
  const profile = temporaryFolder('chromium');
  const pin = await pinOf(api, readFileSync(join(dataFolder, 'tls', 'ca.pem')));
  const context = await chromium.launchPersistentContext(profile.path, {
    executablePath: CHROMIUM,
    headless: true,
    viewport: { width: 1280, height: 800 },
    reducedMotion: 'reduce',
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
      ...['--disable-component-update', '--disable-sync', `--ignore-certificate-errors-spki-list=${pin}`],
    ],
  });
  try {
    context.setDefaultTimeout(PATIENCE);
    const complaints: string[] = [];
    // Lit sets no inline styles by itself; whatever does is found by the policy and told on the console.
    context.on('weberror', (error) => complaints.push(`error: ${error.error().message}`));
    context.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
    });
    const page = context.pages()[0] ?? (await context.newPage());
    await body({ context, page, complaints });
  } finally {
    await context.close();
    profile.remove();
  }
}

/** What `--ignore-certificate-errors-spki-list` takes: the public key of the daemon's certificate, checked against its CA. */
function pinOf(api: string, ca: Buffer): Promise<string> {
  const { hostname, port } = new URL(api);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), ca }, () => {
      const key = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' });
      socket.end();
      if (key === undefined) reject(new Error('the daemon has shown no certificate'));
      else resolve(createHash('sha256').update(key).digest('base64'));
    });
    socket.once('error', reject);
  });
}
